use super::*;

use crate::agent::environment::Environment;

use proptest::prelude::*;

fn bash(command: &str, mode: &str) -> HookEvent {
    HookEvent {
        hook_event_name: "PreToolUse".into(),
        permission_mode: mode.into(),
        tool_name: "Bash".into(),
        tool_input: json!({"command": command, "timeout": 5000, "run_in_background": true}),
        ..HookEvent::default()
    }
}

const EXE: &str = "/opt/orchestra/bin/orchestra";

fn passes(command: &str, mode: &str) -> bool {
    match in_session(&bash(command, mode), Path::new(EXE)) {
        Verdict::Allow { input } => {
            // Nothing but the program's own name changed.
            let rest = command.trim().strip_prefix("orchestra").unwrap();
            let words: Vec<&str> = rest.split_whitespace().collect();
            let mut line = format!("'{EXE}'");
            for word in words {
                line.push(' ');
                line.push_str(word);
            }
            assert_eq!(input["command"], line);
            assert_eq!(input["timeout"], 5000);
            assert_eq!(input["run_in_background"], true);
            true
        }
        Verdict::NoOpinion => false,
        Verdict::Deny(why) => panic!("{command}: never denied in a session, but: {why}"),
    }
}

#[test]
fn an_instance_speaks_of_itself_and_conducts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let [worktree, main] = ["tree", "main"].map(|name| {
        let path = dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    });
    let bounds = Bounds::new(&worktree, &main, None, Environment::default());
    let verdict = |command: &str| in_instance(&bash(command, "acceptEdits"), &bounds);
    for command in [
        "orchestra report stuck --reason 'may I `git push`? or git stash; rm -rf ..' --option a",
        "orchestra report note 'never git push from /somewhere/else'",
        "echo question | orchestra report stuck --reason -",
        "orchestra report progress half --percent 50 && make",
        "orchestra --color never status",
        "orchestra doctor --json",
        "orchestra",
        "./target/debug/orchestra cleanup all",
    ] {
        assert_eq!(verdict(command), Verdict::NoOpinion, "{command}");
    }
    for command in [
        "orchestra control cancel",
        "cd . && orchestra --repo . cleanup all",
        "env A=b orchestra run x",
        "orchestra merge automatic",
        "orchestra doctor --fix",
        "orchestra doctor --json $MORE",
        // The shell would run what is between these quotes.
        "orchestra report stuck --reason \"may I `git push`?\"",
    ] {
        assert!(matches!(verdict(command), Verdict::Deny(_)), "{command}");
    }
}

#[test]
fn own_commands_of_the_exact_shape_pass_and_nothing_else() {
    let yes = [
        "orchestra",
        "orchestra status",
        " orchestra  status ",
        "orchestra status detailed",
        "orchestra status issues --json",
        "orchestra status --orchestration 20261121-091500-a1b2c3",
        "orchestra list",
        "orchestra list --json",
        "orchestra logs user-auth",
        "orchestra logs user-auth --orchestration a",
        "orchestra report",
        "orchestra report --orchestration a --json",
        "orchestra wait --orchestration a --timeout 600",
        "orchestra doctor",
        "orchestra schema plan",
        "orchestra --version",
        "orchestra --help",
        "orchestra plan --orchestration a",
        "orchestra plan --json --orchestration a --dry-run",
        "orchestra run --orchestration a",
        "orchestra run --orchestration a --max-workers 3 --timeout 900 --detach",
        "orchestra run --no-merge --orchestration a",
        "orchestra merge review",
        "orchestra merge manual --orchestration a",
        "orchestra cleanup success",
        "orchestra cleanup all --dry-run",
        "orchestra control pause",
        "orchestra control resume user-auth",
        "orchestra control retry user-auth --orchestration a",
        "orchestra control scale-up",
    ];
    for command in yes {
        assert!(passes(command, "default"), "{command} must pass");
    }
    let no = [
        "",
        " ",
        "ls",
        "orchestrate status",
        "/usr/bin/orchestra status",
        "./orchestra status",
        "ORCHESTRA status",
        "X=1 orchestra status",
        "sudo orchestra status",
        "orchestra status; touch evil",
        "touch evil; orchestra status",
        "orchestra status && rm -rf x",
        "orchestra status || x",
        "orchestra status | sh",
        "orchestra status & x",
        "orchestra status\nrm x",
        "orchestra status\trm",
        "orchestra status\rrm",
        "orchestra status > out",
        "orchestra status 2>&1",
        "orchestra status < in",
        "orchestra status $(x)",
        "orchestra status `x`",
        "orchestra status $HOME",
        "orchestra status ${IFS}x",
        "orchestra status *",
        "orchestra status ~",
        "orchestra status #x",
        "orchestra status \\x",
        "orchestra status 'summary'",
        "orchestra status \"summary\"",
        "orchestra status {a,b}",
        "orchestra status !x",
        "orchestra status (x)",
        "orchestra status resources extra",
        "orchestra status everything",
        "orchestra status --watch",
        "orchestra status --repo /else",
        "orchestra --repo /else status",
        "orchestra -v status",
        "orchestra plan Add",
        "orchestra plan",
        "orchestra plan --tasks plan.json",
        "orchestra plan --orchestration",
        "orchestra plan --orchestration ../x",
        "orchestra plan --orchestration -x",
        "orchestra plan --orchestration=a",
        "orchestra run",
        "orchestra run --tasks plan.json",
        "orchestra run --tasks -",
        "orchestra run --orchestration a --verify true",
        "orchestra run --orchestration a --setup x",
        "orchestra run --orchestration a --permission-mode bypassPermissions",
        "orchestra run --orchestration a --agent x",
        "orchestra run --orchestration a --repo /x",
        "orchestra run --orchestration a --worktree-dir /x",
        "orchestra run --orchestration a --max-budget-usd 1000",
        "orchestra run --orchestration a --max-workers 99999999",
        "orchestra run --orchestration a --max-workers x",
        "orchestra run --orchestration a extra",
        "orchestra merge",
        "orchestra merge automatic",
        "orchestra merge review automatic",
        "orchestra cleanup",
        "orchestra cleanup all",
        "orchestra cleanup failed",
        "orchestra cleanup failed --orchestration a",
        "orchestra control",
        "orchestra control cancel",
        "orchestra control answer user-auth yes",
        "orchestra control broadcast x",
        "orchestra control pause a b",
        "orchestra control scale-up a",
        "orchestra conduct a",
        "orchestra supervise a b",
        "orchestra play x",
        "orchestra worktree --plan x",
        "orchestra attach a",
        "orchestra init",
        "orchestra unknown",
        "orchestra\u{a0}status",
        "orchestra statu\u{0455}",
        "orchestra status \u{202e}x",
        "orchestra status\0",
    ];
    for command in no {
        assert!(!passes(command, "default"), "{command:?} must not pass");
    }
}

#[test]
fn in_plan_mode_only_looking_passes() {
    assert!(passes("orchestra status", "plan"));
    assert!(!passes("orchestra run --orchestration a", "plan"));
    assert!(!passes("orchestra control pause", "plan"));
}

#[test]
fn other_tools_and_events_are_none_of_its_business() {
    let exe = Path::new(EXE);
    let mut event = bash("orchestra status", "default");
    event.tool_name = "Edit".into();
    assert_eq!(in_session(&event, exe), Verdict::NoOpinion);
    event = bash("orchestra status", "default");
    event.hook_event_name = "PostToolUse".into();
    assert_eq!(in_session(&event, exe), Verdict::NoOpinion);
    event = bash("orchestra status", "default");
    event.tool_input = json!({"command": ["orchestra"]});
    assert_eq!(in_session(&event, exe), Verdict::NoOpinion);
    assert_eq!(
        in_session(&bash("orchestra status", ""), Path::new("/it's/orchestra")),
        Verdict::NoOpinion
    );
}

proptest! {
    /// Whatever passes is made of harmless characters only.
    #[test]
    fn what_passes_holds_nothing_that_a_shell_reads(
        tail in "[ -~\n\t;&|$`'\"<>(){}*?\\\\]{0,60}",
        head in proptest::sample::select(vec!["orchestra ", "orchestra status ", "orchestra run --orchestration a ", "orchestra control pause "]),
    ) {
        let command = format!("{head}{tail}");
        if let Verdict::Allow { input } = in_session(&bash(&command, "default"), Path::new(EXE)) {
            let line = input["command"].as_str().unwrap().to_owned();
            let rest = line.strip_prefix(&format!("'{EXE}'")).unwrap();
            prop_assert!(rest.chars().all(|c| c.is_ascii_alphanumeric() || " -_./:,+@%".contains(c)), "{line}");
            prop_assert!(command.starts_with("orchestra"));
        }
    }

    /// One character added or changed never turns a refused flag into an allowed one.
    #[test]
    fn dangerous_flags_never_pass(
        flag in proptest::sample::select(vec!["--verify", "--setup", "--permission-mode", "--agent", "--repo", "--tasks", "--worktree-dir", "--base-branch", "--max-budget-usd", "--output", "--cleanup"]),
        value in "[a-z0-9/.]{0,8}",
        joined in any::<bool>(),
        before in any::<bool>(),
    ) {
        let flag = if joined { format!("{flag}={value}") } else { format!("{flag} {value}") };
        let command = if before {
            format!("orchestra run {flag} --orchestration a")
        } else {
            format!("orchestra run --orchestration a {flag}")
        };
        prop_assert!(!passes(&command, "default"), "{}", command);
    }
}

#[test]
fn answers_have_the_shape_that_the_client_reads() {
    assert_eq!(Verdict::NoOpinion.answer(), None);
    let deny = Verdict::Deny("no".into()).answer().unwrap();
    assert_eq!(deny["hookSpecificOutput"]["permissionDecision"], "deny");
    assert_eq!(deny["hookSpecificOutput"]["permissionDecisionReason"], "no");
}
