use proptest::prelude::*;
use serde_json::json;

use super::read::{PLAN_FIELDS, SEQUENCE_FIELDS, TASK_FIELDS};
use super::shape::ANALYZER_FIELDS;
use super::*;
use crate::core::plan::{OverlapPolicy, Plan, Priority, SequenceDraft, TaskDraft};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/plans/", $name, ".json"))
    };
}

const FIXTURES: [&str; 5] = [
    fixture!("three-parts"),
    fixture!("users-and-docs"),
    fixture!("payment-emergency"),
    fixture!("release-chain"),
    fixture!("four-phases"),
];

fn strict() -> Limits {
    Limits {
        overlap: OverlapPolicy::Refuse,
        ..Limits::default()
    }
}

fn good(text: &str) -> ValidPlan {
    match parse(text.as_bytes(), &Limits::default()) {
        Ok(parsed) => parsed.plan,
        Err(faults) => panic!("{faults}\n{text}"),
    }
}

fn faults(text: &str) -> Faults {
    match parse(text.as_bytes(), &Limits::default()) {
        Ok(_) => panic!("must be refused: {text}"),
        Err(faults) => faults,
    }
}

/// The places and problems of all faults, one per line.
fn told(faults: &Faults) -> Vec<String> {
    faults
        .list()
        .iter()
        .map(|fault| format!("{}: {}", fault.place, fault.problem))
        .collect()
}

fn phases(plan: &ValidPlan) -> Vec<Vec<&str>> {
    let names = |phase: &Vec<_>| phase.iter().map(|ix| plan.name(*ix).as_str()).collect();
    plan.phases().iter().map(names).collect()
}

fn roles(plan: &ValidPlan) -> Vec<&str> {
    plan.tasks().iter().map(|task| task.role()).collect()
}

#[test]
fn three_parts_run_at_once() {
    let plan = good(fixture!("three-parts"));
    assert_eq!(phases(&plan), [["frontend", "backend", "database"]]);
    assert_eq!(roles(&plan), ["feature-development"; 3]);
    assert!(plan.emergency().is_none() && plan.sequenced().is_empty());
    // The longest first.
    let mut order: Vec<_> = plan.ixs().collect();
    order.sort_by_cached_key(|ix| plan.start_order(*ix));
    assert_eq!(plan.name(order[0]).as_str(), "backend");
}

#[test]
fn users_and_docs() {
    let plan = good(fixture!("users-and-docs"));
    let expected: [&[&str]; 3] = [
        &["user-management"],
        &["authentication", "user-dashboard"],
        &["update-docs"],
    ];
    assert_eq!(phases(&plan), expected);
    assert_eq!(roles(&plan)[3], "documentation");
}

#[test]
fn a_payment_bug_is_an_emergency_and_its_file_is_touched_by_one_at_a_time() {
    let plan = good(fixture!("payment-emergency"));
    let emergency = plan.emergency().unwrap();
    assert_eq!(emergency.words, ["critical"]);
    assert_eq!(emergency.critical.len(), 1);
    assert_eq!(
        roles(&plan),
        [
            "bugfix",
            "feature-development",
            "refactoring",
            "documentation"
        ]
    );
    let expected: [&[&str]; 2] = [
        &["fix-payment-bug", "user-profiles", "update-api-docs"],
        &["optimize-performance"],
    ];
    assert_eq!(phases(&plan), expected);
    let sequenced: Vec<_> = plan
        .sequenced()
        .iter()
        .map(|edge| {
            (
                plan.name(edge.before).as_str(),
                plan.name(edge.after).as_str(),
            )
        })
        .collect();
    assert_eq!(
        sequenced,
        [
            ("fix-payment-bug", "optimize-performance"),
            ("user-profiles", "optimize-performance")
        ]
    );
    let refused = parse(fixture!("payment-emergency").as_bytes(), &strict()).unwrap_err();
    assert_eq!(
        told(&refused),
        [
            "tasks[2].files[0]: \"optimize-performance\" and \"fix-payment-bug\" may run at the same \
             time and touch the same files: \"src/**/*.rs\" meets \"src/payment/**\"",
            "tasks[2].files[0]: \"optimize-performance\" and \"user-profiles\" may run at the same \
             time and touch the same files: \"src/**/*.rs\" meets \"src/profiles/**\"",
        ]
    );
}

#[test]
fn a_release_is_a_chain() {
    let plan = good(fixture!("release-chain"));
    assert_eq!(plan.phases().len(), 4);
    assert_eq!(plan.critical_path().len(), 4);
    let chains: Vec<_> = plan.ixs().map(|ix| plan.remaining_chain(ix)).collect();
    assert_eq!(chains, [4, 3, 2, 1]);
    assert_eq!(roles(&plan)[3], "feature-development");
}

#[test]
fn five_tasks_in_exactly_four_phases() {
    let plan = good(fixture!("four-phases"));
    let expected: [&[&str]; 4] = [
        &["database-schema"],
        &["api-endpoints"],
        &["frontend-components"],
        &["documentation", "testing"],
    ];
    assert_eq!(phases(&plan), expected);
    assert_eq!(roles(&plan)[3..], ["documentation", "testing"]);
}

#[test]
fn older_shapes_are_read() {
    let plan = good(r#"{"tasks":[{"name":"a","type":"bugfix"},{"name":"b","type":"docs"}]}"#);
    assert_eq!(roles(&plan), ["bugfix", "documentation"]);
    let plan = good(r#"[{"name":"a"},{"name":"b","dependencies":["A"]}]"#);
    assert_eq!(phases(&plan), [["a"], ["b"]]);
    let plan = good(
        r#"{"tasks":[{"name":"a","description":"d","prompt":"p","allowed_tools":[],"base_branch":"main"},
                     {"name":"b","description":"d","allowedTools":["Edit","Bash(git add *)"],"prompt":null}]}"#,
    );
    let [a, b] = plan.tasks() else { panic!() };
    assert_eq!((a.instruction(), b.instruction()), ("p", "d"));
    assert_eq!(a.allowed_tools, None);
    assert_eq!(b.allowed_tools.as_ref().map(Vec::len), Some(2));
    assert_eq!(a.base_branch.as_ref().unwrap().as_str(), "main");
}

#[test]
fn every_field_arrives() {
    let plan = good(
        r#"{"schemaVersion":1,"$schema":"x","request":"r","tasks":[{
            "name":"Some Name","description":"d","prompt":"p","type":"testing","subagent":"orchestra:bugfix",
            "dependencies":[],"priority":"HIGH","files":["a/**"],"successCriteria":["c"],
            "allowed_tools":["Edit"],"baseBranch":"dev","model":"opus[1m]","timeoutSeconds":60,
            "maxBudgetUsd":0.5,"max_attempts":2,"estimatedMinutes":2.5,"issueNumber":7}]}"#,
    );
    let task = &plan.tasks()[0];
    assert_eq!(plan.request(), Some("r"));
    assert_eq!(
        (task.name.as_str(), task.role()),
        ("Some-Name", "orchestra:bugfix")
    );
    assert_eq!(task.priority, Priority::High);
    assert_eq!(task.files[0].as_str(), "a/**");
    assert_eq!(task.success_criteria, ["c"]);
    assert_eq!(task.model.as_ref().unwrap().as_str(), "opus[1m]");
    assert_eq!(
        (task.timeout_seconds, task.max_attempts),
        (Some(60), Some(2))
    );
    assert_eq!(
        (task.max_budget_usd, task.estimated_minutes),
        (Some(0.5), Some(3))
    );
    assert_eq!(task.issue_number, Some(7));
}

#[test]
fn all_faults_of_a_bad_plan_at_once() {
    let text = r#"{
      "requst": "x",
      "tasks": [
        {"name": "api", "dependencies": ["databse", "api", 5], "priority": "urgent"},
        {"name": "database", "dependancies": [], "depends_on": ["ui"], "timeout_seconds": "600"},
        {"name": "../etc/passwd", "files": ["/etc/**", "src/[a"], "max_budget_usd": -1},
        {"name": "API", "type": "feature", "type": "bugfix", "colour": 1},
        {"name": "one", "dependencies": ["two"], "base_branch": "a..b", "max_attempts": 0},
        {"name": "two", "dependencies": ["three"], "allowed_tools": ["Edit,Write"]},
        {"name": "three", "dependencies": ["one", "one"], "files": "src"},
        "four",
        {"description": "no name"}
      ]
    }"#;
    insta::assert_snapshot!(faults(text).to_string(), @r#"
    the plan has 22 faults:
      tasks[0].dependencies[0]: There is no task "databse". Did you mean "database"? Otherwise add that task or remove the dependency.
      tasks[0].dependencies[1]: "api" waits for itself. Remove this dependency.
      tasks[0].dependencies[2]: A text was expected, not a number. Write a text in quotation marks, or remove the entry.
      tasks[0].priority: "urgent" is not a priority. Write critical, high, normal or low.
      tasks[1].dependancies: There is no field "dependancies". Did you mean "dependencies"? Otherwise remove it.
      tasks[1].depends_on: There is no field "depends_on". Did you mean "dependencies"? Otherwise remove it.
      tasks[1].timeout_seconds: A number was expected, not a text. Write 600 without quotation marks.
      tasks[2].files[0]: "/etc/**" is not a usable glob: it is an absolute path. Write it relative to the root of the repository, as in "src/api/**".
      tasks[2].files[1]: "src/[a" is not a usable glob: '[' has no counterpart. Close it, or write [[] or [{] for the character itself.
      tasks[2].max_budget_usd: -1 is not an amount of money above 0 and up to 1000000. Write US dollars, such as 2.5, or leave it out.
      tasks[2].name: "../etc/passwd" is not usable as a name: it holds '/'; use letters a-z, digits, '-', '_' and '.'. Call it "etc-passwd", for example.
      tasks[3].colour: There is no field "colour". Remove it; known fields are name, description, prompt, type, subagent, dependencies, priority, files, success_criteria, allowed_tools, base_branch, model, timeout_seconds, max_budget_usd, max_attempts, estimated_minutes, issue_number.
      tasks[3].name: "API" and "api" (tasks[0]) are one name: blanks become '-', and some file systems ignore case. Give it a name of its own, such as "api-2".
      tasks[3].type: The field "type" occurs twice. Keep one of them.
      tasks[4].base_branch: "a..b" is not a branch name that git accepts: it holds '..', '@{' or '//'. Write the name of an existing branch, such as main.
      tasks[4].dependencies[0]: These tasks wait for each other in a circle: one → two → three → one. Remove one of these dependencies, or join the tasks into one.
      tasks[4].max_attempts: 0 is not a whole number from 1 to 100. Write how many times it may be tried, such as 3, or leave it out.
      tasks[5].allowed_tools[0]: "Edit,Write" is not usable here: it holds ','. Write one tool per entry, such as "Edit" or "Bash(git add *)".
      tasks[6].files: A list was expected, not a text. Write ["src"].
      tasks[7]: The task is a text, not an object. Write {"name": "four"}.
      tasks[8].name: The task has no name. Add "name": "…", with letters, digits and '-'.
      requst: There is no field "requst". Did you mean "request"? Otherwise remove it.
    "#);
}

#[test]
fn unusable_names_are_refused_and_a_usable_one_is_offered() {
    let long = "a".repeat(300);
    for (name, offered) in [
        ("../x", "x"),
        ("-rf", "rf"),
        (".git", "git"),
        ("a/b", "a-b"),
        ("a\u{1b}[31mb", "a-31mb"),
        ("a\0b", "a-b"),
        ("", "task-1"),
        ("日本", "task-1"),
        (long.as_str(), &long[..50]),
    ] {
        let faults = faults(&json!({ "tasks": [{ "name": name }] }).to_string());
        let [fault] = faults.list() else {
            panic!("{faults}")
        };
        assert_eq!(fault.place, "tasks[0].name");
        assert!(fault.remedy.contains(&format!("{offered:?}")), "{fault}");
        assert!(!fault.to_string().contains(['\u{1b}', '\0']) && fault.to_string().len() < 400);
    }
}

#[test]
fn names_that_become_one_are_refused() {
    for (one, other) in [("a b", "a-b"), ("User", "uSER"), ("x", "x")] {
        let text = json!({ "tasks": [{ "name": one }, { "name": "q" }, { "name": other }] });
        let faults = faults(&text.to_string());
        let [fault] = faults.list() else {
            panic!("{faults}")
        };
        assert_eq!(fault.place, "tasks[2].name", "{fault}");
        assert!(
            fault.problem.contains("tasks[0]") && fault.remedy.contains("-2"),
            "{fault}"
        );
    }
}

#[test]
fn each_circle_is_shown_once() {
    let needs = |name: &str, needs: &[&str]| json!({ "name": name, "dependencies": needs });
    let tasks = [
        needs("a", &["b"]),
        needs("b", &["c"]),
        needs("c", &["a", "b"]),
        needs("d", &["a"]),
        needs("e", &["f"]),
        needs("f", &["e"]),
    ];
    assert_eq!(
        told(&faults(&json!({ "tasks": tasks }).to_string())),
        [
            "tasks[0].dependencies[0]: These tasks wait for each other in a circle: a → b → c → a",
            "tasks[4].dependencies[0]: These tasks wait for each other in a circle: e → f → e",
        ]
    );
}

#[test]
fn what_is_not_a_plan() {
    for (text, place, problem) in [
        ("", "line 1, column 1", "empty"),
        ("do it", "line 1, column 1", "not JSON"),
        ("5", "plan", "a number, not an object"),
        ("{}", "tasks", "missing"),
        (r#"{"tasks":{}}"#, "tasks", "A list was expected"),
        (r#"{"tasks":[]}"#, "tasks", "There is no task"),
        (
            r#"{"schemaVersion":2,"tasks":[{"name":"a"}]}"#,
            "schemaVersion",
            "version 2",
        ),
        (r#"{"tasks":[{"name":"a"}],"tasks":[]}"#, "tasks", "twice"),
        (
            r#"{"tasks":[{"name":"a","baseBranch":"x","base_branch":"y"}]}"#,
            "tasks[0].base_branch",
            "twice",
        ),
        (
            r#"{"tasks":[{"name":"a"}],"sequenced":[{"before":"a","after":"b"}]}"#,
            "sequenced[0].after",
            "no task",
        ),
        (
            "{\"tasks\":[{\"name\":\"a\",\"prompt\":\"x\\u0000\"}]}",
            "tasks[0].prompt",
            "NUL",
        ),
        (
            r#"{"tasks":[{"name":"a","timeout_seconds":1.5}]}"#,
            "tasks[0].timeout_seconds",
            "1.5",
        ),
        (
            r#"{"tasks":[{"name":"a","issue_number":1e18}]}"#,
            "tasks[0].issue_number",
            "whole number",
        ),
        (
            r#"{"tasks":[{"name":"a","max_budget_usd":0}]}"#,
            "tasks[0].max_budget_usd",
            "money",
        ),
    ] {
        let faults = faults(text);
        let [fault] = faults.list() else {
            panic!("{text}: {faults}")
        };
        assert_eq!(fault.place, place, "{text}");
        assert!(fault.problem.contains(problem), "{text}: {fault}");
    }
}

#[test]
fn absurd_sizes_are_refused_at_once() {
    let huge = vec![b' '; 10 * 1024 * 1024];
    assert!(told(&parse(&huge, &Limits::default()).unwrap_err())[0].contains("10485760 bytes"));
    let tasks = |count: usize| {
        let tasks: Vec<_> = (0..count)
            .map(|n| json!({ "name": format!("t{n}") }))
            .collect();
        json!({ "tasks": tasks }).to_string()
    };
    assert!(told(&faults(&tasks(101)))[0].contains("101 tasks"));
    assert!(told(&faults(&tasks(5000)))[0].contains("5000 tasks"));
    let limits = Limits {
        max_tasks: 20_000,
        ..Limits::default()
    };
    let parsed = parse(tasks(10_000).as_bytes(), &limits).unwrap();
    assert_eq!(parsed.plan.phases().len(), 1);
    let numbers = format!("[{}0]", "0,".repeat(500_000));
    assert_eq!(faults(&numbers).count(), 1);
    let long = json!({ "request": "r".repeat(100_000), "tasks": [{ "name": "a", "prompt": "x".repeat(200_001) }] });
    assert_eq!(told(&faults(&long.to_string())).len(), 1);
    // Many wrong names, each of the greatest length: looking for near ones must not take over.
    let wrong: Vec<_> = (0..100)
        .map(|n| json!({ "name": format!("{n:x>80}"), "dependencies": (0..500).map(|k| format!("{k:y>80}")).collect::<Vec<_>>() }))
        .collect();
    assert_eq!(
        faults(&json!({ "tasks": wrong }).to_string()).count(),
        50_000
    );
}

#[test]
fn hints_stop_nothing() {
    let notes = |text: &str| -> Vec<String> {
        let parsed = parse(text.as_bytes(), &Limits::default()).unwrap();
        parsed.notes.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        notes(r#"[{"name":"a"}]"#),
        [
            "tasks: there is only one task: one ordinary session is enough for it.",
            "tasks: without prompt and description the name is all that an instance is told: a.",
        ]
    );
    assert_eq!(
        notes(
            r#"[{"name":"a","prompt":"p"},{"name":"b","prompt":"p","dependencies":["a","a"],"files":["**"]}]"#
        ),
        [
            "tasks[1].files[0]: this glob covers the whole repository, so that no other task with \
             files can run at the same time.",
            "tasks[1].dependencies[1]: this dependency is there already; it counts once.",
        ]
    );
    let many: Vec<_> = (0..21)
        .map(|n| json!({ "name": format!("t{n}"), "prompt": "p" }))
        .collect();
    assert!(notes(&json!(many).to_string())[0].contains("21 tasks are many"));
}

#[test]
fn the_sample_shows_a_good_plan() {
    let parsed = parse(sample().as_bytes(), &strict()).unwrap();
    assert_eq!(parsed.notes, []);
    let expected: [&[&str]; 2] = [
        &["accounts-api", "dashboard-ui"],
        &["integration-tests", "docs"],
    ];
    assert_eq!(phases(&parsed.plan), expected);
}

#[test]
fn what_is_written_reads_the_same() {
    for text in FIXTURES.into_iter().chain([sample()]) {
        let plan = good(text);
        let written = write(&plan);
        // The added edges are written too, so that nothing is left to refuse.
        let again = parse(written.as_bytes(), &strict()).unwrap().plan;
        assert_eq!(again, plan);
        assert_eq!(write(&again), written);
    }
}

/// A value for each field of a task that both the reader and the schema must take.
fn sample_of(field: &str) -> serde_json::Value {
    match field {
        "dependencies" => json!(["other"]),
        "files" => json!(["src/**"]),
        "success_criteria" => json!(["c"]),
        "allowed_tools" => json!(["Edit"]),
        "priority" => json!("high"),
        "max_budget_usd" => json!(1.5),
        "timeout_seconds" | "max_attempts" | "estimated_minutes" | "issue_number" => json!(5),
        _ => json!("word"),
    }
}

#[test]
fn schema_and_reader_agree() {
    let schema = json_schema();
    let properties = |value: &serde_json::Value| -> Vec<String> {
        let mut names: Vec<_> = value["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        names.sort();
        names
    };
    let sorted = |fields: &[&str]| {
        let mut fields: Vec<_> = fields.iter().map(ToString::to_string).collect();
        fields.sort();
        fields
    };
    let definitions = &schema["$defs"];
    assert_eq!(properties(&schema), sorted(PLAN_FIELDS));
    assert_eq!(properties(&definitions["TaskShape"]), sorted(TASK_FIELDS));
    assert_eq!(
        properties(&definitions["SequenceShape"]),
        sorted(SEQUENCE_FIELDS)
    );
    let analyzer = analyzer_schema();
    assert_eq!(
        properties(&analyzer["properties"]["tasks"]["items"]),
        sorted(ANALYZER_FIELDS)
    );

    let validator = jsonschema::validator_for(&schema).unwrap();
    let agree = |instance: serde_json::Value, good: bool| {
        let read = parse(instance.to_string().as_bytes(), &Limits::default());
        assert_eq!(read.is_ok(), good, "{instance}: {read:?}");
        assert_eq!(validator.is_valid(&instance), good, "{instance}");
    };
    let with = |field: &str, value: serde_json::Value| {
        let mut task = json!({ "name": "a" });
        task[field] = value;
        json!({ "tasks": [task, { "name": "other" }] })
    };
    for field in TASK_FIELDS {
        agree(with(field, sample_of(field)), true);
        agree(with(field, json!({})), false);
        agree(with(&format!("{field}x"), sample_of(field)), false);
        if sample_of(field).is_number() {
            agree(with(field, json!(0)), false);
            agree(with(field, json!("5")), false);
        }
    }
    agree(with("priority", json!("urgent")), false);
    agree(json!({ "tasks": [] }), false);
    agree(
        json!({ "schemaVersion": 1, "tasks": [{ "name": "a" }] }),
        true,
    );
    agree(
        json!({ "schemaVersion": 2, "tasks": [{ "name": "a" }] }),
        false,
    );
    agree(json!({ "tasks": [{ "name": "a" }], "extra": 1 }), false);
    agree(json!({ "request": "x" }), false);
    agree(json!({ "tasks": [{ "type": "x" }] }), false);
}

#[test]
fn what_is_written_fits_the_schema() {
    let validator = jsonschema::validator_for(&json_schema()).unwrap();
    for text in FIXTURES.into_iter().chain([sample()]) {
        let written = serde_json::from_str(&write(&good(text))).unwrap();
        assert!(validator.is_valid(&written), "{written}");
    }
}

#[test]
fn what_a_model_is_asked_for_fits_the_whole_schema() {
    let analyzer = jsonschema::validator_for(&analyzer_schema()).unwrap();
    let whole = jsonschema::validator_for(&json_schema()).unwrap();
    let text = fixture!("three-parts");
    let mut answer: serde_json::Value = serde_json::from_str(text).unwrap();
    for task in answer["tasks"].as_array_mut().unwrap() {
        task["prompt"] = json!("Do it");
    }
    assert!(analyzer.is_valid(&answer) && whole.is_valid(&answer));
    answer["tasks"][0]["model"] = json!("opus");
    assert!(
        !analyzer.is_valid(&answer),
        "money and models are the person's"
    );
    assert!(analyzer_schema().to_string().len() < json_schema().to_string().len());
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-f]", 1 => "[A-C]-[a-c]", 1 => Just("../x".to_owned()), 1 => Just("a b".to_owned())]
}

fn task() -> impl Strategy<Value = TaskDraft> {
    let glob = prop::sample::select(vec!["a/**", "a/b", "b/*", "*.md", "src/{a,b}", "[a]/x", ""]);
    let word = prop::option::weighted(
        0.2,
        prop::sample::select(vec!["high", "feature", "main", "x y", "-x", ""]),
    );
    let number = prop::option::weighted(
        0.2,
        prop_oneof![4 => (1..50_u32).prop_map(f64::from), 1 => any::<f64>()],
    );
    (
        (
            name(),
            prop::option::of("\\PC{0,20}"),
            word.clone(),
            word.clone(),
            word.clone(),
            word,
        ),
        (
            prop::collection::vec(name(), 0..3),
            prop::collection::vec(glob.prop_map(str::to_owned), 0..3),
            prop::option::weighted(0.2, prop::collection::vec(Just("Edit".to_owned()), 0..2)),
        ),
        (
            number.clone(),
            number.clone(),
            number.clone(),
            number.clone(),
            number,
        ),
    )
        .prop_map(
            |((name, text, kind, priority, base, model), (dependencies, files, tools), numbers)| {
                TaskDraft {
                    name,
                    description: text.clone(),
                    prompt: text,
                    kind: kind.map(str::to_owned),
                    subagent: None,
                    dependencies,
                    priority: priority.map(str::to_owned),
                    files,
                    success_criteria: vec!["\u{202e}c".to_owned()],
                    allowed_tools: tools,
                    base_branch: base.map(str::to_owned),
                    model: model.map(str::to_owned),
                    timeout_seconds: numbers.0,
                    max_budget_usd: numbers.1,
                    max_attempts: numbers.2,
                    estimated_minutes: numbers.3,
                    issue_number: numbers.4,
                }
            },
        )
}

/// Tasks that are mostly good: names and dependencies that exist and close no circle.
fn good_plan() -> impl Strategy<Value = Plan> {
    let tasks = prop::collection::vec(
        (
            task(),
            prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        ),
        1..10,
    );
    (prop::option::of("\\PC{0,30}"), tasks).prop_map(|(request, drafts)| {
        let mut tasks: Vec<TaskDraft> = Vec::new();
        for (n, (mut draft, needs)) in drafts.into_iter().enumerate() {
            draft.dependencies = match n {
                0 => Vec::new(),
                _ => needs
                    .iter()
                    .map(|need| tasks[need.index(n)].name.clone())
                    .collect(),
            };
            draft.name = format!("t{n}");
            draft.files.retain(|glob| !glob.is_empty());
            draft.priority = draft.priority.filter(|word| word == "high");
            for word in [&mut draft.kind, &mut draft.base_branch, &mut draft.model] {
                *word = word
                    .take()
                    .filter(|word| word == "feature" || word == "main");
            }
            for number in [
                &mut draft.timeout_seconds,
                &mut draft.max_budget_usd,
                &mut draft.max_attempts,
                &mut draft.estimated_minutes,
                &mut draft.issue_number,
            ] {
                *number = number.filter(|n| n.fract() == 0.0 && (1.0..50.0).contains(n));
            }
            tasks.push(draft);
        }
        Plan {
            request,
            tasks,
            sequenced: Vec::new(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a draft holds: a plan that keeps its promises, or faults.
    #[test]
    fn any_draft_is_refused_or_valid(
        tasks in prop::collection::vec(task(), 0..5),
        edges in prop::collection::vec((name(), name()), 0..2),
    ) {
        let sequenced = edges
            .into_iter()
            .map(|(before, after)| SequenceDraft { before, after, because: Vec::new() })
            .collect();
        let plan = Plan { request: None, tasks, sequenced };
        match plan.validate(&Limits::default(), Faults::default()) {
            Err(faults) => prop_assert!(!faults.is_empty()),
            Ok((valid, _)) => prop_assert_eq!(valid.order().len(), plan.tasks.len()),
        }
    }

    #[test]
    fn valid_plans_keep_their_promises_and_read_the_same(plan in good_plan()) {
        let (valid, _) = plan.validate(&Limits::default(), Faults::default()).unwrap();
        let mut phase_of = vec![0; valid.len()];
        for (number, phase) in valid.phases().iter().enumerate() {
            phase.iter().for_each(|ix| phase_of[ix.index()] = number);
        }
        for ix in valid.ixs() {
            for dep in valid.deps(ix) {
                prop_assert!(phase_of[dep.index()] < phase_of[ix.index()]);
                prop_assert!(valid.remaining_chain(*dep) > valid.remaining_chain(ix));
            }
            for other in valid.ixs().filter(|other| phase_of[other.index()] == phase_of[ix.index()]) {
                let meet = valid.task(ix).files.iter().any(|a| valid.task(other).files.iter().any(|b| a.may_overlap(b)));
                prop_assert!(ix == other || !meet);
            }
        }
        let path: u64 = valid.critical_path().len() as u64;
        prop_assert_eq!(path > 0, true);
        let written = write(&valid);
        let again = parse(written.as_bytes(), &strict());
        prop_assert!(again.is_ok(), "{again:?}\n{written}");
        let again = again.unwrap().plan;
        prop_assert_eq!(write(&again), written);
        prop_assert_eq!(&again, &valid);
        let back = Plan::from(&valid).validate(&strict(), Faults::default()).unwrap().0;
        prop_assert_eq!(back, valid);
    }

    /// Bytes of any kind end in faults, never in a crash.
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\":,a-z0-9/*`\\\\ \n]{0,80}") {
        prop_assert!(parse(&bytes, &Limits::default()).is_err());
        let _ = parse(text.as_bytes(), &Limits::default());
    }

    /// A plan with anything changed in it ends in a plan or in faults, never in a crash.
    #[test]
    fn any_damage_is_survived(at in any::<prop::sample::Index>(), cut in 0..6_usize, put in "[\\[\\]{}\":,\\\\/*0x ]{0,3}") {
        let text = fixture!("payment-emergency");
        let at = at.index(text.len());
        let end = (at + cut).min(text.len());
        let damaged = format!("{}{put}{}", &text[..at], &text[end..]);
        if let Err(faults) = parse(damaged.as_bytes(), &Limits::default()) {
            prop_assert!(faults.list().iter().all(|f| !f.place.is_empty() && !f.remedy.is_empty()));
        }
    }
}

#[test]
fn every_small_cut_names_its_place() {
    let text = fixture!("payment-emergency");
    for cut in 1..6 {
        for at in 0..text.len() {
            let end = (at + cut).min(text.len());
            if !text.is_char_boundary(at) || !text.is_char_boundary(end) {
                continue;
            }
            let damaged = format!("{}{}", &text[..at], &text[end..]);
            if let Err(faults) = parse(damaged.as_bytes(), &Limits::default()) {
                for fault in faults.list() {
                    assert!(
                        !fault.place.is_empty() && !fault.remedy.is_empty(),
                        "{fault:?} of {}",
                        &damaged[at.saturating_sub(60)..(at + 60).min(damaged.len())]
                    );
                }
            }
        }
    }
}
