use super::*;
use crate::core::record::{MergeMode, Verdict};
use crate::view::page::Page;
use crate::view::testkit::{Sample, oid, settings};
use crate::view::{detailed, issues, report, report_json, summary};

fn of_ten() -> Sample {
    (1..=10).fold(Sample::flat(10), |sample, n| {
        sample.done(&format!("t{n}"), 10)
    })
}

fn verify(commit: char) -> QueueWork {
    QueueWork::Verify {
        commit: oid(commit),
    }
}

fn text(sample: Sample) -> Option<String> {
    progress(&sample.build())
}

/// Two are proven; four more are merged.
fn busy() -> Sample {
    of_ten()
        .merged(&[("t1", '1'), ("t2", '2')])
        .verified('2', true)
        .proven('2')
        .merged(&[("t3", '3'), ("t4", '4'), ("t5", '5'), ("t6", '6')])
}

#[test]
fn what_is_being_done_is_told_with_its_figures() {
    let ten = || Record::IntegrationStarted {
        mode: MergeMode::Automatic,
        only: None,
        asked: false,
    };
    assert_eq!(text(of_ten()), None);
    assert_eq!(
        text(of_ten().record(ten())).as_deref(),
        Some("0 of 10 proven")
    );
    for (sample, said) in [
        (busy().work(verify('6')), "verifying 4 more"),
        (
            busy().verified('6', false).work(verify('6')),
            "red: verifying 4 again",
        ),
        (
            busy()
                .verified('6', false)
                .verified('6', false)
                .work(verify('4')),
            "red: looking for the cause among 4",
        ),
        (
            busy()
                .verified('6', false)
                .verified('6', false)
                .verified('4', true)
                .work(verify('5')),
            "red: looking for the cause among 2",
        ),
        (
            busy()
                .verified('6', false)
                .verified('6', false)
                .verified('4', true)
                .verified('5', false)
                .work(verify('5')),
            "red with t5: finding out why",
        ),
        (
            busy().work(QueueWork::Deliver {
                from: oid('b'),
                to: oid('2'),
            }),
            "delivering 2222222222",
        ),
    ] {
        let found = text(sample).unwrap();
        assert_eq!(found, format!("2 of 10 proven, {said}"));
    }
    let aside = busy().red("t9", &[]).work(verify('6'));
    let found = text(aside).unwrap();
    assert_eq!(found, "2 of 10 proven, verifying, 1 set aside");
    // Where no command decides, nothing is proven.
    let mut snapshot = busy().work(verify('6')).build();
    snapshot.merging.verifies = false;
    assert!(progress(&snapshot).unwrap().starts_with("2 of 10 merged"));
}

#[test]
fn a_base_branch_that_is_red_is_an_issue_while_the_run_goes_on() {
    let snapshot = Sample::flat(2)
        .working("t2", 5, None)
        .done("t1", 10)
        .merged(&[("t1", '1')])
        .verified('1', false)
        .verified('1', false)
        .verified('b', false);
    let checking = snapshot.work(verify('b'));
    let looked = checking.record(Record::QueueEnded {
        result: QueueResult::Verified {
            green: false,
            tail: "broken since yesterday".into(),
        },
    });
    let snapshot = looked.build();
    assert_eq!(
        progress(&snapshot).as_deref(),
        Some("0 of 2 proven, the base branch itself is red")
    );
    let found = issues::issues(&snapshot);
    assert_eq!(found[0].kind, "base is red");
    assert_eq!(found[0].details, ["  | broken since yesterday"]);
}

/// Seven of ten are delivered, three set aside.
fn partial() -> Sample {
    let links: Vec<(String, char)> = (1..=7_u8)
        .map(|n| (format!("t{n}"), char::from(b'0' + n)))
        .collect();
    let links: Vec<(&str, char)> = links.iter().map(|(n, c)| (n.as_str(), *c)).collect();
    of_ten()
        .merged(&links)
        .settled("t2", "CHANGELOG.md", "union")
        .verified('7', false)
        .verified('7', true)
        .proven('7')
        .red("t8", &["t1"])
        .conflict("t9", &["src/lib.rs", "README.md"], &["t2"])
        .aside(
            "t10",
            AsideWhy::Because {
                task: TaskName::parse("t9").unwrap(),
            },
        )
        .delivered('7')
        .finished(Verdict::Partial)
}

#[test]
fn the_last_words_name_what_was_set_aside_and_what_comes_next() {
    insta::assert_snapshot!(last_words(&partial().build()).join("\n"), @r"
    7 of 10 delivered as 7777777777 (verified), 3 set aside
    set aside:
      t8   the tree is red with it and t1 together
      t9   it conflicts with t2 in src/lib.rs, README.md
      t10  it builds on t9, which was set aside
    orchestra status issues --orchestration run-1 - what you can do about it
    ");
    assert_eq!(
        last_words(&of_ten().finished(Verdict::Success).build()),
        [""; 0]
    );
}

/// Two of ten could be delivered.
fn too_little() -> Snapshot {
    let mut snapshot = of_ten()
        .merged(&[("t1", '1'), ("t2", '2')])
        .verified('2', true)
        .proven('2')
        .conflict("t3", &["a"], &["t1"])
        .presented('2')
        .record(Record::IntegrationEnded {
            result: IntegrationEnd::Conflict {
                task: TaskName::parse("t3").unwrap(),
                files: vec!["a".into()],
            },
        })
        .finished(Verdict::Failed)
        .build();
    snapshot.settings = Some(settings("run-1"));
    snapshot
}

#[test]
fn too_little_to_deliver_says_where_it_waits_and_what_delivers_it() {
    let snapshot = too_little();
    insta::assert_snapshot!(last_words(&snapshot).join("\n"), @r"
    nothing was delivered: only 2 of 10 results can be (80% are needed)
    set aside:
      t3  it conflicts with t1 in a
    orchestra status issues --orchestration run-1 - what you can do about it
    orchestra merge automatic --orchestration run-1 - delivers the others; they wait on orchestra/run-1
    ");
    let results = report_json::results(&snapshot);
    assert_eq!(
        results.integration.unwrap().branch.as_deref(),
        Some("orchestra/run-1")
    );
    assert!(
        results
            .follow_ups
            .last()
            .unwrap()
            .contains("orchestra/run-1"),
        "{:?}",
        results.follow_ups
    );
    let first = &issues::issues(&snapshot)[0];
    assert_eq!(first.kind, "not delivered");
    assert!(first.remedies[0].starts_with("orchestra merge automatic"));
    let text = summary::render(&snapshot, &Page::new(80, false));
    assert!(text.contains(
        "results    nothing was delivered: only 2 of 10 results can be (80% are needed)"
    ));
    assert!(text.contains("orchestra merge automatic - "));
    assert!(report::failure(&snapshot).contains("orchestra/run-1"));
}

#[test]
fn issues_have_both_sides_and_what_can_be_done_at_80_columns() {
    insta::assert_snapshot!(issues::render(&partial().build(), &Page::new(80, false)), @r#"
    run-1  PARTIAL SUCCESS  took 1m
    "Create frontend, build backend, setup database"

    [x] t8 - SET ASIDE
        the verify command passes with it alone and fails with it and t1 together
        (in eeeeeeeeee)
          | running 2 tests
          | test orders ... FAILED
          | error: 1 test failed
        -> orchestra control retry t8 --orchestration run-1
           its own instance goes on, on top of what was delivered
        -> git worktree add --detach ../red eeeeeeeeee - the tree on which it fails

    [x] t9 - SET ASIDE
        it conflicts with t2 in src/lib.rs, README.md
        t9: task/t9 at dddddddddd
          asked: Make t9 work as it should
          did: t9 works, with tests.
        t2: task/t2 at dddddddddd
          asked: Make t2 work as it should
          did: t2 works, with tests.
        -> orchestra control answer t9 "HOW TO RESOLVE IT" --orchestration run-1
           an instance resolves it as you say
        -> orchestra control retry t9 --orchestration run-1
           its own instance goes on, on top of what was delivered
        -> orchestra merge manual --orchestration run-1
           you merge it, one at a time

    [x] t10 - SET ASIDE
        it builds on t9, which was set aside
        -> nothing for itself: it is merged when t9 is

    [!] the run - FLAKY CHECK
        the verify command gave both answers on the same commit 7777777777: 1 green,
        1 red; it counted as green
        -> make it dependable: one that fails at times may let a bad result through
    "#);
}

#[test]
fn a_summary_of_a_partial_delivery_at_80_columns() {
    insta::assert_snapshot!(summary::render(&partial().build(), &Page::new(80, false)), @r#"
    run-1  PARTIAL SUCCESS  took 1m
    "Create frontend, build backend, setup database"

    progress   [####################] 100%  10 of 10 tasks done
    worktrees  10
    results    7 of 10 delivered as 7777777777 (verified), 3 set aside
    ended      2026-11-21 09:01:40 UTC

    [+] t1 - DONE (10s), delivered - Make t1 work as it should
    [+] t2 - DONE (10s), delivered - Make t2 work as it should
    [+] t3 - DONE (10s), delivered - Make t3 work as it should
    [+] t4 - DONE (10s), delivered - Make t4 work as it should
    [+] t5 - DONE (10s), delivered - Make t5 work as it should
    [+] t6 - DONE (10s), delivered - Make t6 work as it should
    [+] t7 - DONE (10s), delivered - Make t7 work as it should
    [!] t8 - DONE (10s), SET ASIDE - Make t8 work as it should
        Set aside: the tree is red with it and t1 together
    [!] t9 - DONE (10s), SET ASIDE - Make t9 work as it should
        Set aside: it conflicts with t2 in src/lib.rs, README.md
    [!] t10 - DONE (10s), SET ASIDE - Make t10 work as it should
        Set aside: it builds on t9, which was set aside

    orchestra status issues - what was set aside, and what you can do
    "#);
}

#[test]
fn details_tell_where_a_result_is() {
    let text = detailed::render(&partial().build(), &Page::new(80, false));
    for part in [
        "    result    delivered in 2222222222\n    settled   CHANGELOG.md (union)\n",
        "    result    set aside, not delivered\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let text = detailed::render(&busy().build(), &Page::new(80, false));
    for part in [
        "    result    proven in 1111111111, not delivered yet\n",
        "    result    merged in 6666666666, being verified\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn a_conflict_that_is_being_resolved_is_told() {
    let name = |text: &str| TaskName::parse(text).unwrap();
    let resolving = of_ten()
        .merged(&[("t1", '1')])
        .verified('1', true)
        .proven('1')
        .record(Record::ResolverAdded {
            resolution: Resolution {
                resolver: name("resolve-t2"),
                task: name("t2"),
                onto: oid('1'),
                theirs: oid('d'),
                merged: vec![name("t1")],
                files: vec!["src/lib.rs".into()],
                with: vec![name("t1")],
                partly: None,
                guidance: None,
            },
        });
    let snapshot = resolving.build();
    let text = summary::render(&snapshot, &Page::new(80, false));
    for part in [
        "merging    1 of 10 proven, resolve-t2 resolves a conflict of t2\n",
        "t1 - DONE (10s), proven - ",
        "t2 - DONE (10s), in conflict - ",
        "    Conflict: resolve-t2 resolves it (src/lib.rs)\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let status = serde_json::to_value(report_json::status_report(&snapshot)).unwrap();
    assert_eq!(status["merging"]["state"], "resolving");
    assert_eq!(status["merging"]["proven"], 1);
    assert_eq!(status["resolutions"][0]["files"][0], "src/lib.rs");
    assert_eq!(status["tasks"][1]["integration"]["state"], "resolving");
}

#[test]
fn files_for_tools_have_the_same_facts_and_fit_their_schemas() {
    let snapshot = partial().build();
    let results = serde_json::to_value(report_json::results(&snapshot)).unwrap();
    jsonschema::validate(&crate::format::results::json_schema(), &results).unwrap();
    let status = serde_json::to_value(report_json::status_report(&snapshot)).unwrap();
    jsonschema::validate(&crate::format::status_report::json_schema(), &status).unwrap();
    for file in [&results, &status] {
        let task = |n: usize| &file["tasks"][n - 1]["integration"];
        assert_eq!(task(1)["state"], "delivered");
        assert_eq!(task(1)["commit"], "1".repeat(40));
        assert_eq!(task(1)["setAside"], serde_json::Value::Null);
        assert_eq!(
            task(2)["settled"],
            serde_json::json!([{"path": "CHANGELOG.md", "by": "union"}])
        );
        assert_eq!(
            task(8)["setAside"],
            serde_json::json!({
                "why": "red", "files": [], "with": ["t1"], "commit": "e".repeat(40),
                "evidence": "running 2 tests\ntest orders ... FAILED\nerror: 1 test failed",
            })
        );
        assert_eq!(
            task(9)["setAside"]["files"],
            serde_json::json!(["src/lib.rs", "README.md"])
        );
        assert_eq!(task(10)["setAside"]["why"], "because");
        assert_eq!(file["verifyRuns"], 2);
        assert_eq!(
            file["flaky"],
            serde_json::json!([{"commit": "7".repeat(40), "green": 1, "red": 1}])
        );
    }
    // Of a task that is not done nothing is known.
    let snapshot = Sample::flat(1).working("t1", 5, None).build();
    let results = serde_json::to_value(report_json::results(&snapshot)).unwrap();
    assert_eq!(results["tasks"][0]["integration"], serde_json::Value::Null);
    // Files of before are still read.
    let mut old = results;
    for field in ["verifyRuns", "flaky"] {
        old.as_object_mut().unwrap().remove(field);
    }
    serde_json::from_value::<crate::format::results::ResultsFile>(old).unwrap();
}

#[test]
fn a_report_shows_what_was_set_aside_and_what_was_settled() {
    let text = report::success(&partial().build(), Some(&[]));
    for part in [
        "- **Integration**: 7 of 10 delivered as 7777777777 (verified), 3 set aside\n",
        "- **Verify runs**: 2 on merged results\n",
        "  - conflict in `CHANGELOG.md` settled mechanically (union)\n",
        "## Set aside\n\n- **t8** (set aside): the verify command passes with it alone",
        "orchestra control answer t9 \"HOW TO RESOLVE IT\"",
        "- t8 was set aside: ",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}
