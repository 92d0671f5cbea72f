use super::*;
use crate::core::plan::{Faults, Limits, Plan, TaskDraft};

fn show(plan: &Plan, options: &Options) -> String {
    let (plan, notes) = plan
        .validate(&Limits::default(), Faults::default())
        .unwrap();
    render(&plan, &notes, options)
}

fn emergency() -> Plan {
    let task = |name: &str, minutes: f64| TaskDraft {
        estimated_minutes: Some(minutes),
        description: Some(format!(
            "What {name} is about, in so many words that the line must be broken somewhere"
        )),
        ..TaskDraft::new(name)
    };
    Plan {
        request: Some(
            "Fix critical payment bug, add user profiles, optimize performance, update API docs"
                .to_owned(),
        ),
        tasks: vec![
            TaskDraft {
                priority: Some("critical".to_owned()),
                ..task("fix-payment", 20.0).touching(["src/payment/**"])
            },
            task("user-profiles", 30.0).touching(["src/profiles/**"]),
            task("optimize-performance", 40.0).touching(["src/**/*.rs"]),
            TaskDraft {
                issue_number: Some(12.0),
                ..task("update-docs", 10.0).after(["user-profiles"])
            },
        ],
        sequenced: Vec::new(),
    }
}

#[test]
fn an_emergency_with_tasks_in_sequence() {
    let options = Options {
        width: 72,
        workers: 2,
        ..Options::default()
    };
    insta::assert_snapshot!(show(&emergency(), &options), @r#"
    EMERGENCY RUN (critical: fix-payment; the request says "critical")
    Request: Fix critical payment bug, add user profiles, optimize
             performance, update API docs
    4 tasks in 2 phases, up to 2 at once

    Phase 1 (in parallel)
      fix-payment    bugfix, priority critical, about 20 min
          What fix-payment is about, in so many words that the line must be
          broken somewhere
      user-profiles  feature-development, about 30 min
          What user-profiles is about, in so many words that the line must
          be broken somewhere

    Phase 2 (in parallel)
      optimize-performance  feature-development, about 40 min
          What optimize-performance is about, in so many words that the line
          must be broken somewhere
          waits for fix-payment, user-profiles (same files)
      update-docs           documentation, about 10 min, issue #12
          What update-docs is about, in so many words that the line must be
          broken somewhere
          needs user-profiles

    Put in sequence, because they expect to touch the same files
      optimize-performance waits for fix-payment: src/**/*.rs meets
      src/payment/**
      optimize-performance waits for user-profiles: src/**/*.rs meets
      src/profiles/**

    Overlaps: cannot be foreseen for 1 task of 4 without files

    Estimate: 70 min with 2 at once, 100 min one after the other (sums of
              the plan's own estimates; merging and verifying not included)
    Cost: unknown (too few past tasks here)
    "#);
}

#[test]
fn a_plan_of_names_only() {
    let plan = Plan {
        tasks: vec![TaskDraft::new("api"), TaskDraft::new("docs").after(["api"])],
        ..Plan::default()
    };
    insta::assert_snapshot!(show(&plan, &Options::default()), @r#"
    2 tasks in 2 phases, one at a time

    Phase 1
      api  feature-development

    Phase 2
      docs  documentation
          needs api

    Overlaps: cannot be foreseen, as no task names its files

    Estimate: unknown (the plan gives none, and there are too few past tasks here)
    Cost: unknown (too few past tasks here)

    Notes
      tasks: without prompt and description the name is all that an instance is told: api, docs
    "#);
}

#[test]
fn faults_with_their_remedies() {
    let plan = Plan {
        tasks: vec![
            TaskDraft::new("../x"),
            TaskDraft::new("docs").after(["dox"]),
        ],
        ..Plan::default()
    };
    let faults = plan
        .validate(&Limits::default(), Faults::default())
        .unwrap_err();
    insta::assert_snapshot!(render_faults(&faults, &Options { width: 60, ..Options::default() }), @r#"
    The plan has 2 faults:

      tasks[0].name
        "../x" is not usable as a name: it holds '/'; use
        letters a-z, digits, '-', '_' and '.'.
        → Call it "x", for example.

      tasks[1].dependencies[0]
        There is no task "dox".
        → Add that task or remove the dependency.
    "#);
}

#[test]
fn colours_change_nothing_but_colours() {
    let plain = show(&emergency(), &Options::default());
    let coloured = show(
        &emergency(),
        &Options {
            color: true,
            ..Options::default()
        },
    );
    assert!(!plain.contains('\u{1b}') && coloured.contains("\u{1b}["));
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
}

#[test]
fn a_terminal_obeys_nothing_of_a_plan() {
    let plan = Plan {
        request: Some("a\u{1b}]0;x\u{7}b\u{202e}c\nd".to_owned()),
        tasks: vec![
            TaskDraft {
                description: Some("\u{1b}[2J".to_owned()),
                ..TaskDraft::new("a")
            },
            TaskDraft {
                description: Some("y".repeat(5000)),
                ..TaskDraft::new("b")
            },
        ],
        ..Plan::default()
    };
    let text = show(&plan, &Options::default());
    assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text:?}");
    assert!(text.len() < 1500);
}

#[test]
fn no_line_is_wider_than_the_page() {
    let mut plan = emergency();
    plan.tasks[0].description = Some(format!(
        "{} 広い文字の説明文がここに入ります",
        "x".repeat(200)
    ));
    for width in [0, 40, 60, 120] {
        let text = show(
            &plan,
            &Options {
                width,
                ..Options::default()
            },
        );
        for line in text.lines() {
            assert!(line.width() <= width.max(40) + 30, "{width}: {line}");
        }
    }
    for line in wrap("one two three fourfivesix 広い文字 seven", 8) {
        assert!(line.width() <= 8, "{line}");
    }
    assert_eq!(wrap("one two three", 7), ["one two", "three"]);
}
