//! Settings before and after.

use std::fs;

use super::*;
use crate::cli::{Env, run_args};
use crate::view::page::Page;

struct Home(tempfile::TempDir);

struct Said {
    exit: Exit,
    out: String,
    err: String,
}

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn run(&self, args: &str, input: &str) -> Said {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut stdin = input.as_bytes();
        let page = Page::new(80, false);
        let mut context = Context {
            out: &mut out,
            err: &mut err,
            stdin: &mut stdin,
            env: Env::of([("HOME", self.0.path())]),
            cwd: self.path("repo"),
            page,
            err_page: page,
            terminal: false,
            verbose: 0,
            repo: None,
        };
        let args = ["orchestra", "statusline"]
            .into_iter()
            .chain(args.split(' '));
        let exit = run_args(args, &mut context);
        Said {
            exit,
            out: String::from_utf8(out).unwrap(),
            err: String::from_utf8(err).unwrap(),
        }
    }

    fn good(&self, args: &str) -> String {
        let said = self.run(args, "");
        assert_eq!(said.exit, Exit::Success, "{args}: {}{}", said.out, said.err);
        said.out
    }

    fn command(&self, name: &str) -> String {
        let line = status_line(&self.read(name)).unwrap().unwrap();
        line.command().unwrap().to_owned()
    }

    /// Every file and folder below, with its text.
    fn all(&self) -> Vec<(PathBuf, Option<String>)> {
        let mut found = Vec::new();
        let mut open = vec![self.0.path().to_owned()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path.clone());
                    found.push((path, None));
                } else {
                    let text = fs::read_to_string(&path).unwrap();
                    found.push((path, Some(text)));
                }
            }
        }
        found.sort();
        found
    }
}

const USER: &str = ".claude/settings.json";

#[test]
fn what_was_there_comes_back_to_the_letter() {
    for before in [
        None,
        Some("{}"),
        Some("{\"model\":\"x\"}"),
        Some(
            "{\n  // mine\n  \"statusLine\": {\n    \"type\": \"command\",\n    \"command\": \"it's \\\"mine\\\"\"\n  },\n  \"z\": 1,\n  \"a\": 2\n}\n",
        ),
        Some("{\n  \"statusLine\": null\n}"),
        Some(""),
    ] {
        let home = Home::new();
        home.write("repo/.git/HEAD", "");
        fs::create_dir_all(home.path(".local/share")).unwrap();
        if let Some(text) = before {
            home.write(USER, text);
        }
        let at_first = home.all();
        let said = home.good("install --dry-run");
        assert!(
            said.contains("+") && said.contains("orchestra-statusline"),
            "{said}"
        );
        assert_eq!(home.all(), at_first);
        // Nobody says yes.
        for answer in ["", "\n", "no\n"] {
            assert!(
                home.run("install", answer)
                    .out
                    .contains("Nothing was changed")
            );
            assert_eq!(home.all(), at_first);
        }
        assert!(home.run("install", "y\n").out.contains("Changed "));
        let command = home.command(USER);
        let kept = before.is_some_and(|text| text.contains("mine\\"));
        assert_eq!(
            beside(&command),
            kept.then(|| "it's \"mine\"".to_owned()),
            "{command}"
        );
        assert!(home.good("install --yes").contains("already"));
        assert!(
            home.good("remove --dry-run")
                .contains("Nothing was changed")
        );
        home.good("remove --yes");
        assert_eq!(home.all(), at_first, "{before:?}");
        assert!(home.good("remove --yes").contains("in none"));
        assert_eq!(home.all(), at_first);
    }
}

#[test]
fn what_others_changed_meanwhile_stays() {
    let old =
        "{\n  \"statusLine\": { \"command\": \"mine\",   \"type\": \"command\" },\n  \"a\": 1\n}\n";
    let home = Home::new();
    home.write(USER, old);
    home.good("install --yes");
    let changed = home.read(USER).replace("\"a\": 1", "\"a\": 1,\n  \"b\": 2");
    home.write(USER, &changed);
    home.good("remove --yes");
    assert_eq!(
        home.read(USER),
        old.replace("\"a\": 1", "\"a\": 1,\n  \"b\": 2")
    );
    // The record is gone: the command tells what was before.
    home.good("install --yes");
    fs::remove_dir_all(home.path(".local")).unwrap();
    assert!(home.good("install --yes").contains("already"));
    home.good("remove --yes");
    let line = status_line(&home.read(USER)).unwrap().unwrap();
    assert_eq!(line.command(), Some("mine"));
    // The person put another in place of ours: that is not touched.
    home.good("install --yes");
    home.write(USER, old);
    assert!(home.good("remove --yes").contains("in none"));
    assert_eq!(home.read(USER), old);
    assert!(!home.path(".local/share/orchestra").exists());
}

#[test]
fn settings_that_are_not_understood_are_left_alone() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let home = Home::new();
    for bad in [
        "{",
        "[]",
        "{\"statusLine\": 1, \"statusLine\": 2}",
        "\u{feff}x",
    ] {
        home.write(USER, bad);
        for args in ["install --yes", "remove --yes", "install --dry-run"] {
            let said = home.run(args, "");
            assert_eq!(said.exit, Exit::Environment, "{args} {bad}");
            assert!(said.err.contains("nothing was changed"), "{}", said.err);
        }
        assert_eq!(home.read(USER), bad);
    }
    fs::write(home.path(USER), [0xff, 0xfe]).unwrap();
    assert_eq!(home.run("install --yes", "").exit, Exit::Environment);
    // A link stays a link, and a private file private.
    fs::remove_file(home.path(USER)).unwrap();
    home.write("dotfiles/settings.json", "{}");
    let real = home.path("dotfiles/settings.json");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&real, home.path(USER)).unwrap();
    home.good("install --yes");
    assert!(home.path(USER).is_symlink());
    assert_eq!(
        fs::metadata(&real).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(home.command("dotfiles/settings.json").contains(PROGRAM));
}

#[test]
fn a_project_keeps_what_its_settings_hide() {
    let home = Home::new();
    home.write("repo/.git/HEAD", "");
    home.write("repo/sub/x", "");
    home.good("install --scope local --yes");
    assert!(
        home.command("repo/.claude/settings.local.json")
            .ends_with(BESIDE_USER)
    );
    home.good("install --scope project --yes");
    assert!(
        home.command("repo/.claude/settings.json")
            .ends_with(BESIDE_USER)
    );
    home.good("remove --yes");
    assert!(!home.path("repo/.claude").exists());
    // The project's own is what a person's own for the project hides.
    let settings = r#"{"statusLine": {"type": "command", "command": "team"}}"#;
    home.write("repo/.claude/settings.json", settings);
    home.good("install --scope local --yes");
    let command = home.command("repo/.claude/settings.local.json");
    assert_eq!(beside(&command).as_deref(), Some("team"));
    home.good("remove --scope local --yes");
    assert_eq!(home.read("repo/.claude/settings.json"), settings);
}
