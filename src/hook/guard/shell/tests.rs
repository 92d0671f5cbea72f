use super::*;

/// Every simple command of a script, wherever it stands, with the words that are fixed.
fn seen(script: &Script, found: &mut Vec<Vec<Option<String>>>) {
    for command in script
        .chains
        .iter()
        .flat_map(|chain| &chain.links)
        .flat_map(|link| &link.commands)
    {
        of_command(command, found);
    }
}

fn of_words<'a>(words: impl IntoIterator<Item = &'a Word>, found: &mut Vec<Vec<Option<String>>>) {
    for word in words {
        let mut scripts = Vec::new();
        scripts_in(&word.pieces, &mut scripts);
        scripts.iter().for_each(|script| seen(script, found));
    }
}

fn of_command(command: &Command, found: &mut Vec<Vec<Option<String>>>) {
    match &command.kind {
        Kind::Simple(simple) => {
            for assignment in &simple.assignments {
                of_words(&assignment.values, found);
            }
            of_words(&simple.words, found);
            found.push(simple.words.iter().map(Word::fixed).collect());
        }
        Kind::Group(script) | Kind::Subshell(script) => seen(script, found),
        Kind::If { arms, otherwise } => {
            for (condition, body) in arms {
                seen(condition, found);
                seen(body, found);
            }
            if let Some(body) = otherwise {
                seen(body, found);
            }
        }
        Kind::Case { subject, arms } => {
            of_words(subject, found);
            arms.iter().for_each(|arm| seen(arm, found));
        }
        Kind::Loop { variable, parts } => {
            if let Some((_, Some(words))) = variable {
                of_words(words, found);
            }
            parts.iter().for_each(|part| seen(part, found));
        }
        Kind::Function { body, .. } => of_command(body, found),
        Kind::Test(words) => of_words(words, found),
    }
    for redirect in &command.redirects {
        match redirect {
            Redirect::Read(word) | Redirect::Write(word) => of_words([word], found),
            Redirect::Text(body) => of_words(body.get(), found),
            Redirect::Copy => {}
        }
    }
}

fn show(line: &str) -> String {
    let mut found = Vec::new();
    seen(&read(line).unwrap(), &mut found);
    found
        .iter()
        .map(|words| {
            let words: Vec<&str> = words
                .iter()
                .map(|word| word.as_deref().unwrap_or("~"))
                .collect();
            words.join("|")
        })
        .collect::<Vec<_>>()
        .join(" ;; ")
}

#[test]
fn simple_commands_are_found_wherever_they_stand() {
    for (line, wanted) in [
        ("git push", "git|push"),
        ("  git   'pu'\"sh\" ", "git|push"),
        (
            "a && b || c; d & e | f\ng",
            "a ;; b ;; c ;; d ;; e ;; f ;; g",
        ),
        ("(a; b) && { c; }", "a ;; b ;; c"),
        ("echo $(git push) x", "git|push ;; echo|~|x"),
        ("echo \"a $(b `c`) d\"", "c ;; b|~ ;; echo|~"),
        ("echo `a \\`b\\``", "b ;; a|~ ;; echo|~"),
        (
            "if a; then b; elif c; then d; else e; fi",
            "a ;; b ;; c ;; d ;; e",
        ),
        ("for f in x; do git push; done", "git|push"),
        ("while a; do b; done", "a ;; b"),
        ("case x in (y) a;; z|w) b ;& *) c; esac", "a ;; b ;; c"),
        ("A=1 B='x y' git push", "git|push"),
        ("a > out 2>&1 >> more 2>err", "a"),
        ("cat <<'X' > out\ngit push\nX\nb", "cat ;; b"),
        ("cat <<-X\n\tgit $(push)\n\tX\nb", "cat ;; push ;; b"),
        ("a <<< 'git push'", "a"),
        ("a # git push\nb", "a ;; b"),
        ("a\\\n b\\\nc", "a|bc"),
        ("a x#y", "a|x#y"),
        ("diff <(git push) b", "git|push ;; diff|~|b"),
        ("a $X ${Y:-z} *.rs {b,c}", "a|~|~|~|b|c"),
        ("$'\\x67it' $'pu\\'sh'", "git|pu'sh"),
        ("f() { a; }; function g { b; }", "a ;; b"),
        ("[[ a > b && -n $(c) ]] && d", "c ;; d"),
        ("(( a < 3 )); b", "b"),
        ("((a); (b))", "a ;; b"),
        ("echo 'it'\\''s'", "echo|it's"),
        ("coproc a b", "a|b"),
        ("", ""),
    ] {
        assert_eq!(show(line), wanted, "{line}");
    }
}

#[test]
fn what_is_not_understood_is_said() {
    for line in [
        "'a",
        "\"a",
        "a $(b",
        "(a",
        "`a",
        "${a",
        "a)",
        "fi",
        "if a; then b",
        "a <<",
        "a >",
        "for a in b; c",
        "a <<E",
        "$(cat <<E)\nx\nE",
        "case a in b) c",
        "{ a",
        "a (b)",
        "; a",
        "[[ a",
        "a >! b",
        "${ a; }",
    ] {
        assert!(matches!(read(line), Err(ShellFault::Syntax(_))), "{line}");
    }
    for line in ["(".repeat(500), "$(".repeat(500), "{ ".repeat(500)] {
        assert_eq!(read(&line), Err(ShellFault::TooDeep), "{}", &line[..9]);
    }
}

/// What bash itself runs of a line was seen in it, or the line was not understood.
mod compared {
    use super::*;

    use std::fs;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    /// The words that `probe` was called with, a line for each call.
    #[allow(clippy::disallowed_methods, reason = "the shell that is compared with")]
    fn run_by_bash(line: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        let at = dir.path().join("at");
        fs::create_dir(&bin).unwrap();
        fs::create_dir(&at).unwrap();
        let log = dir.path().join("log");
        let mut child = Command::new("/bin/bash")
            .args(["--norc", "--noprofile", "-c"])
            // A function, so that no process is started for each call.
            .arg(format!(
                "probe() {{ printf '%s|' \"$@\" >> \"$LOG\"; printf '\\n' >> \"$LOG\"; }}\n\
                 export -f probe\n{line}"
            ))
            .env_clear()
            .env("PATH", &bin)
            .env("LOG", &log)
            .current_dir(&at)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let _ = child.wait();
        let text = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
        text.lines().map(str::to_owned).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_that_bash_runs_goes_unseen(
            parts in proptest::collection::vec(proptest::sample::select(vec![
                "probe", "probe a", "probe 'b c'", "probe", " ", " ", " ", ";", "\n", "&&", "||", "|", "&",
                "(", ")", "{ ", "; }", "$(", "`", "\"", "'", "\\", "\\\n", "#", " #", "<<E\n", "\nE\n",
                "<<'E'\n", "<<-E\n", "if ", "; then ", "; fi", "else ", "case x in ", "x) ", ";; esac",
                "for i in a b; do ", "; done", "[[ a ]]", "[[ ", " ]]", "((", "))", "$((1))", "${x:-", "}",
                "$'a\\'b'", "$x", "{a,b}", "<(", ">o", "2>&1", "<<<", "!", "time ", "x=1 ", "x=(", "f() ",
                "$\"", "*", "?(", "coproc ", "function g ", "${#x}", "E", "eval ",
            ]), 1..14),
        ) {
            let line = parts.concat();
            if let Ok(script) = read(&line) {
                let ran = run_by_bash(&line);
                let mut found = Vec::new();
                super::seen(&script, &mut found);
                let probes: Vec<_> = found
                    .iter()
                    .filter(|words| words.iter().any(|w| w.as_deref().is_none_or(|w| w.contains("probe"))))
                    .collect();
                for call in ran {
                    let fits = probes.iter().any(|words| {
                        if words.iter().any(Option::is_none) || words[0].as_deref() != Some("probe") {
                            return true;
                        }
                        let mut text: String = words[1..].iter().flatten().map(|w| format!("{w}|")).collect();
                        if text.is_empty() {
                            text.push('|');
                        }
                        text.split('\n').any(|part| part == call)
                    });
                    prop_assert!(fits, "{line:?} ran {call:?}, seen: {found:?}");
                }
            }
        }
    }
}
