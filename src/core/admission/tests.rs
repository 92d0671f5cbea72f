use proptest::prelude::*;

use super::*;

const MB: u64 = 1_000_000;

/// A reserve of 1000 MB of memory and 2000 MB of disk.
fn machine(memory: u64) -> Machine {
    Machine {
        memory_total: Some(10_000 * MB),
        memory_available: Some(memory * MB),
        disk_total: Some(40_000 * MB),
        disk_free: Some(30_000 * MB),
        load1: Some(1.0),
        cpus: Some(4.0),
        cpu_waits: None,
        memory_stall: Some(0.0),
    }
}

const FOOTPRINT: Footprint = Footprint {
    memory: 400 * MB,
    disk: 1000 * MB,
};

fn using(memory: &[u64]) -> Vec<Usage> {
    let usage = |memory: &u64| Usage {
        memory: Some(memory * MB),
        disk: Some(1000 * MB),
    };
    memory.iter().map(usage).collect()
}

fn slots(machine: &Machine, running: &[Usage]) -> (Option<u32>, Option<Shortage>) {
    let room = room(machine, FOOTPRINT, running, &Thresholds::default());
    (room.slots, room.shortage)
}

#[test]
fn as_many_run_as_have_room_beside_the_reserve() {
    let by = |n, shortage| (Some(n), Some(shortage));
    for (memory, running, expected) in [
        // Just enough for two, and a byte too little.
        (1800, vec![], by(2, Shortage::Memory)),
        (1799, vec![], by(1, Shortage::Memory)),
        // One always.
        (0, vec![], by(1, Shortage::Memory)),
        (0, vec![400, 400, 400], by(3, Shortage::Memory)),
        // What runs will grow: the room for that is taken.
        (1800, vec![100], by(2, Shortage::Memory)),
        (1800, vec![0, 0], by(2, Shortage::Memory)),
        // One that grew beyond the footprint leaves what is left to others.
        (1800, vec![5000], by(3, Shortage::Memory)),
    ] {
        assert_eq!(
            slots(&machine(memory), &using(&running)),
            expected,
            "{memory} {running:?}"
        );
    }
    let disk = |free: u64| Machine {
        disk_free: Some(free * MB),
        ..machine(9000)
    };
    assert_eq!(slots(&disk(5000), &[]), by(3, Shortage::Disk));
    assert_eq!(slots(&disk(100), &[]), by(1, Shortage::Disk));
    assert_eq!(slots(&disk(4000), &using(&[1, 1])), by(4, Shortage::Disk));
    let one = Usage::default();
    assert_eq!(
        slots(&disk(4000), &[one, one]),
        by(2, Shortage::Disk),
        "two worktrees that are not made yet"
    );
}

#[test]
fn under_load_no_more_begin_than_run() {
    let loaded = |load1| Machine {
        load1: Some(load1),
        ..machine(9000)
    };
    let running = using(&[400, 400, 400]);
    let by_load = (Some(3), Some(Shortage::Load));
    assert_eq!(slots(&loaded(8.1), &running), by_load);
    assert_eq!(slots(&loaded(8.1), &[]), (Some(1), Some(Shortage::Load)));
    assert_ne!(slots(&loaded(8.0), &running), by_load);
    let careless = Thresholds {
        max_load_per_cpu: 0.0,
        ..Thresholds::default()
    };
    let room = room(&loaded(800.0), FOOTPRINT, &running, &careless);
    assert_ne!(room.shortage, Some(Shortage::Load));
    // In a container, the load of the whole machine says nothing.
    let waits = |percent| Machine {
        load1: None,
        cpu_waits: Some(percent),
        ..machine(9000)
    };
    assert_eq!(slots(&waits(95.0), &running), by_load);
    assert_ne!(slots(&waits(50.0), &running), by_load);
}

#[test]
fn what_cannot_be_measured_limits_nothing() {
    let nothing = Machine::default();
    let room = room(&nothing, FOOTPRINT, &using(&[1, 1]), &Thresholds::default());
    assert_eq!(room, Room::default());
    let mut gate = Gate::default();
    let admission = gate.look(Millis(0), &nothing, FOOTPRINT, &[], &Thresholds::default());
    assert_eq!(admission.conditions(), Conditions::default());
}

/// A gate and its clock.
#[derive(Default)]
struct Rig {
    gate: Gate,
    at: u64,
}

impl Rig {
    /// The next look, two seconds later.
    fn look(&mut self, machine: &Machine, running: &[u64]) -> Admission {
        self.at += 2000;
        self.gate.look(
            Millis(self.at),
            machine,
            FOOTPRINT,
            &using(running),
            &Thresholds::default(),
        )
    }
}

#[test]
fn less_at_once_and_more_only_when_it_lasts() {
    let mut rig = Rig::default();
    assert_eq!(rig.look(&machine(2600), &[]).slots, Some(4));
    assert_eq!(rig.look(&machine(1900), &[]).slots, Some(2));
    for _ in 0..3 {
        assert_eq!(rig.look(&machine(3000), &[]).slots, Some(2));
    }
    assert_eq!(rig.look(&machine(3000), &[]).slots, Some(4));
    // Just enough for one more is not enough to change anything.
    for _ in 0..10 {
        assert_eq!(rig.look(&machine(3010), &[]).slots, Some(4));
    }
    // Neither is what comes and goes.
    for _ in 0..10 {
        assert_eq!(rig.look(&machine(3600), &[]).slots, Some(4));
        assert_eq!(rig.look(&machine(2650), &[]).slots, Some(4));
    }
}

#[test]
fn a_press_takes_one_and_gives_the_machine_a_rest() {
    let mut rig = Rig::default();
    let (short, enough) = (machine(300), machine(9000));
    assert!(!rig.look(&enough, &[400; 3]).pressed);
    let pressed = rig.look(&short, &[400; 3]);
    assert_eq!((pressed.slots, pressed.pressed), (Some(2), true));
    // While it goes nobody else has to, and nothing begins.
    for _ in 0..5 {
        let waits = rig.look(&short, &[400; 3]);
        assert_eq!((waits.slots, waits.pressed), (Some(2), false));
    }
    // It is gone, and that helped: for a while nothing begins again.
    let gone = rig.look(&enough, &[400; 2]);
    assert_eq!((gone.slots, gone.pressed), (Some(2), false));
    let until = rig.at + 28_000;
    while rig.at < until {
        let rests = rig.look(&enough, &[400; 2]);
        assert_eq!((rests.slots, rests.pressed), (Some(2), false));
    }
    let rested = rig.look(&enough, &[400; 2]);
    assert!(rested.slots.unwrap() > 2, "{rested:?}");
    // Pressed again: the rest is longer.
    assert!(rig.look(&short, &[400; 3]).pressed);
    let until = rig.at + 55_000;
    while rig.at < until {
        assert_eq!(rig.look(&enough, &[400; 2]).slots, Some(2));
    }
}

#[test]
fn a_press_that_did_not_help_takes_another_one_but_never_the_last() {
    let mut rig = Rig::default();
    let short = machine(300);
    assert!(rig.look(&short, &[400; 3]).pressed);
    let again = (0..20).position(|_| {
        let admission = rig.look(&short, &[400; 2]);
        assert_eq!(admission.slots, Some(1));
        admission.pressed
    });
    assert_eq!(
        again,
        Some(3),
        "after it was seen what the first one helped"
    );
    for _ in 0..50 {
        let admission = rig.look(&short, &[400]);
        assert_eq!((admission.slots, admission.pressed), (Some(1), false));
    }
    // A standstill presses as well, whatever seems to be available.
    let still = Machine {
        memory_stall: Some(60.0),
        ..machine(5000)
    };
    assert!(Rig::default().look(&still, &[400; 2]).pressed);
    assert!(!Rig::default().look(&still, &[400]).pressed);
}

#[test]
fn worktrees_that_fail_are_made_one_by_one_for_a_while() {
    let mut rig = Rig::default();
    let enough = machine(9000);
    rig.gate.worktree_failed(Millis(rig.at));
    assert_ne!(rig.look(&enough, &[]).slots, Some(1), "one is an accident");
    rig.gate.worktree_made();
    rig.gate.worktree_failed(Millis(rig.at));
    assert_ne!(rig.look(&enough, &[]).slots, Some(1), "not in a row");
    rig.gate.worktree_failed(Millis(rig.at));
    let until = rig.at + 58_000;
    while rig.at < until {
        let admission = rig.look(&enough, &[]);
        assert_eq!(admission.slots, Some(1));
        assert_eq!(admission.shortage, Some(Shortage::Worktrees));
    }
    assert_ne!(rig.look(&enough, &[]).slots, Some(1));
}

fn any_machine() -> impl Strategy<Value = Machine> {
    let bytes = || proptest::option::of(0..20_000 * MB);
    let percent = || proptest::option::of(0.0..100.0f64);
    (
        (bytes(), bytes(), bytes(), bytes()),
        (proptest::option::of(0.0..100.0f64), percent(), percent()),
        proptest::option::of(0.1..64.0f64),
    )
        .prop_map(
            |((total, available, disk, free), (load1, waits, stall), cpus)| Machine {
                memory_total: total,
                memory_available: available,
                disk_total: disk,
                disk_free: free,
                load1,
                cpus,
                cpu_waits: waits,
                memory_stall: stall,
            },
        )
}

proptest! {
    /// Never none, never fewer than run by the plain reckoning, more memory never less room,
    /// and what is allowed fits beside the reserve.
    #[test]
    fn the_reckoning_holds(
        machine in any_machine(),
        running in proptest::collection::vec(0u64..2000, 0..8),
        memory in 1u64..3000,
        more in 0u64..5000,
    ) {
        let footprint = Footprint { memory: memory * MB, disk: 10 * MB };
        let running = using(&running);
        let thresholds = Thresholds::default();
        let now = room(&machine, footprint, &running, &thresholds);
        let count = u32::try_from(running.len()).unwrap();
        if let Some(slots) = now.slots {
            prop_assert!(slots >= 1 && slots >= count);
            if let Some(left) = machine.memory_available {
                let beside = u64::from(slots - count.min(slots)) * footprint.memory;
                prop_assert!(slots == 1 || beside <= left);
            }
        }
        prop_assert!(count >= 2 || !now.pressed);
        let richer = Machine {
            memory_available: machine.memory_available.map(|m| m + more * MB),
            ..machine
        };
        let then = room(&richer, footprint, &running, &thresholds);
        prop_assert!(then.slots >= now.slots);
        prop_assert!(!then.pressed || now.pressed);
    }

    /// However the machine and the instances go: one may always run; whoever is asked to
    /// leave is not replaced at once; two are never asked in one breath.
    #[test]
    fn a_gate_holds(looks in proptest::collection::vec(
        (any_machine(), proptest::collection::vec(0u64..2000, 0..6)), 1..80,
    )) {
        let mut rig = Rig::default();
        let mut last_press: Option<u64> = None;
        for (machine, running) in looks {
            let admission = rig.look(&machine, &running);
            prop_assert!(admission.slots.is_none_or(|slots| slots >= 1));
            if admission.pressed {
                let count = u32::try_from(running.len()).unwrap();
                prop_assert!(count >= 2);
                prop_assert!(admission.slots.unwrap() < count);
                prop_assert!(last_press.is_none_or(|at| rig.at >= at + SETTLING.0));
                last_press = Some(rig.at);
            }
        }
    }
}
