//! What machine and provider allow a run, in words.

use crate::core::time::Timestamp;

use super::clock;
use crate::format::conditions_file::SourceEntry;

/// `held until 15:00:00 UTC (usage limit): nothing new starts`, `at most 2 at once: why`; none
/// when nothing holds a run back.
#[must_use]
pub fn sentence(
    slots: Option<u32>,
    hold: Option<(Timestamp, &str)>,
    pressed: bool,
    why: Option<&str>,
    now: Timestamp,
) -> Option<String> {
    let why = why.map_or(String::new(), |why| format!(": {why}"));
    match (hold, slots) {
        (Some((until, why)), _) if until > now => Some(format!(
            "held until {} ({why}): nothing new starts",
            moment(until, now)
        )),
        _ if pressed => Some(format!("memory is short{why}")),
        (_, Some(slots)) => Some(format!("at most {slots} at once{why}")),
        _ => None,
    }
}

/// What one source says, as [`sentence`].
#[must_use]
pub fn told_by(source: &SourceEntry, now: Timestamp) -> Option<String> {
    let hold = source.hold.as_ref();
    let hold = hold.map(|hold| (hold.until, hold.why.as_str()));
    sentence(
        source.slots,
        hold,
        source.pressed,
        source.why.as_deref(),
        now,
    )
}

/// The time of the day; with the date when it is another one than today's.
#[must_use]
pub fn moment(at: Timestamp, now: Timestamp) -> String {
    let day = |at: Timestamp| at.rfc3339().chars().take(10).collect::<String>();
    if day(at) == day(now) {
        format!("{} UTC", clock::time_of_day(at))
    } else {
        clock::date_time(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_say_until_when_and_why() {
        let now = Timestamp(1_795_252_437_000);
        let later = Timestamp(now.0 + 60_000);
        let hold = Some((later, "usage limit"));
        for (slots, hold, pressed, why, said) in [
            (
                Some(1),
                hold,
                false,
                None,
                Some("held until 09:14:57 UTC (usage limit): nothing new starts"),
            ),
            (
                Some(2),
                Some((now, "over")),
                false,
                Some("rate limit"),
                Some("at most 2 at once: rate limit"),
            ),
            (None, None, true, None, Some("memory is short")),
            (None, None, false, Some("x"), None),
        ] {
            assert_eq!(sentence(slots, hold, pressed, why, now).as_deref(), said);
        }
        assert_eq!(
            moment(Timestamp(now.0 + 86_400_000), now),
            "2026-11-22 09:13:57 UTC"
        );
    }
}
