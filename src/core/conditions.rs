//! What the world outside of a run allows at the moment: the machine and the provider.
//!
//! Conditions are no decisions: they are not journaled, a new conductor looks for itself.

use super::time::Timestamp;

/// The conditions. By default nothing holds anything back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conditions {
    /// How many instances of this run machine and provider bear at once; unknown when absent.
    /// One always may run, if only to find out.
    pub slots: Option<u32>,
    /// Nothing starts for a while.
    pub hold: Option<Hold>,
    /// Whether memory is so short that an instance has to go.
    pub pressed: bool,
}

/// Nothing starts until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// When it may go on.
    pub until: Timestamp,
    /// Why, for people.
    pub why: String,
}

impl Conditions {
    /// Both together: the stricter of each.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let slots = match (self.slots, other.slots) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let hold = match (self.hold, other.hold) {
            (Some(a), Some(b)) => Some(if a.until >= b.until { a } else { b }),
            (a, b) => a.or(b),
        };
        Self {
            slots,
            hold,
            pressed: self.pressed || other.pressed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_of_both_counts() {
        let hold = |at, why: &str| {
            Some(Hold {
                until: Timestamp(at),
                why: why.into(),
            })
        };
        let machine = Conditions {
            slots: Some(3),
            hold: hold(5, "machine"),
            pressed: true,
        };
        let provider = Conditions {
            slots: Some(2),
            hold: hold(9, "provider"),
            pressed: false,
        };
        let both = machine.clone().and(provider);
        assert_eq!(both.slots, Some(2));
        assert_eq!(both.hold, hold(9, "provider"));
        assert!(both.pressed);
        assert_eq!(machine.clone().and(Conditions::default()), machine);
    }
}
