//! Results that each add a dependency: lock files are settled, and the tools accept them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::harness::Room;

/// A step that runs a command with the tools in `PATH`, and fails the task when it fails.
fn must(command: &str) -> [Value; 2] {
    [
        json!({"run": format!("( {command} ) > \"$ROOM/tool.log\" 2>&1 && touch .tool-done")}),
        json!({"require": {"path": ".tool-done"}}),
    ]
}

/// Writes the manifest, lets the tool lock it, and commits.
fn adds(manifest: &str, text: &str, tool: &str) -> Value {
    let mut steps = vec![json!({"write": {"path": manifest, "text": text}})];
    steps.extend(must(tool));
    steps.push(json!({"delete": ".tool-done"}));
    steps.push(json!({"commit": "Add a dependency"}));
    json!({ "steps": steps })
}

fn settled(room: &Room) -> String {
    fs::read_to_string(room.only_run().log()).unwrap()
}

fn run_in(room: &Room, folder: &Path, command: &str) {
    let script = format!("cd '{}' && {command}", folder.display());
    let call = format!("alias.tool=!{script}");
    room.git(&["-c", &call, "tool"]);
}

#[test]
fn two_results_that_add_a_crate_each() {
    let mut room = Room::new();
    let cargo = Path::new(env!("CARGO")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    room.set("PATH", format!("{}:{path}", cargo.display()));
    room.set("ORCHESTRA_RESOLVERS", "0");
    let manifest = |names: &[&str]| {
        let mut text = "[package]\nname = \"app\"\nversion = \"0.1.0\"\n\n[workspace]\n\n\
                        [dependencies]\n"
            .to_owned();
        for name in names {
            text += &format!("{name} = {{ path = \"crates/{name}\" }}\n");
        }
        text
    };
    room.write(".gitignore", "target\nignored\n");
    for name in ["bar", "foo", "old"] {
        let own = format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\n");
        room.write(&format!("crates/{name}/Cargo.toml"), &own);
        room.write(&format!("crates/{name}/src/lib.rs"), "");
    }
    room.write("src/main.rs", "fn main() {}\n");
    room.write("Cargo.toml", &manifest(&["old"]));
    run_in(&room, &room.repo, "cargo generate-lockfile --offline");
    room.git(&["add", "-A"]);
    room.git(&["commit", "--quiet", "-m", "A project"]);
    room.plan(&[("one", &[]), ("two", &[])]);
    let lock = "cargo update --workspace --offline";
    room.script(&json!({
        "one": adds("Cargo.toml", &manifest(&["foo", "old"]), lock),
        "two": adds("Cargo.toml", &manifest(&["bar", "old"]), lock),
    }));
    room.run(&["--verify", "cargo build --locked --offline"])
        .expect(0);
    let text = room.read("Cargo.lock");
    for name in ["foo", "bar", "old"] {
        assert!(text.contains(&format!("name = \"{name}\"")), "{text}");
        assert!(room.read("Cargo.toml").contains(&format!("{name} = ")));
    }
    let log = settled(&room);
    assert!(log.contains("Cargo.lock"), "{log}");
    room.assert_tidy();
}

#[test]
fn two_results_that_add_a_package_each() {
    let mut room = Room::new();
    room.set("ORCHESTRA_RESOLVERS", "0");
    room.set("npm_config_update_notifier", "false");
    let manifest = |names: &[&str]| {
        let lines: Vec<String> = names
            .iter()
            .map(|n| format!("    \"{n}\": \"file:vendor/{n}\""))
            .collect();
        format!(
            "{{\n  \"name\": \"app\",\n  \"version\": \"1.0.0\",\n  \"dependencies\": {{\n{}\n  }}\n}}\n",
            lines.join(",\n")
        )
    };
    let lock = "npm install --package-lock-only --ignore-scripts --no-audit --no-fund --offline";
    room.write(".gitignore", "node_modules\nignored\n");
    for name in ["a", "b", "c"] {
        let own = format!("{{\"name\": \"{name}\", \"version\": \"1.0.0\"}}\n");
        room.write(&format!("vendor/{name}/package.json"), &own);
    }
    room.write("package.json", &manifest(&["a"]));
    run_in(&room, &room.repo, lock);
    room.git(&["add", "-A"]);
    room.git(&["commit", "--quiet", "-m", "A project"]);
    room.plan(&[("one", &[]), ("two", &[])]);
    room.script(&json!({
        "one": adds("package.json", &manifest(&["a", "b"]), lock),
        "two": adds("package.json", &manifest(&["a", "c"]), lock),
    }));
    let verify = "npm ci --offline --ignore-scripts --no-audit --no-fund";
    room.run(&["--verify", verify]).expect(0);
    assert_eq!(room.read("package.json"), manifest(&["a", "b", "c"]));
    let text: Value = serde_json::from_str(&room.read("package-lock.json")).unwrap();
    for name in ["a", "b", "c"] {
        assert_eq!(
            text["packages"][format!("vendor/{name}")]["version"],
            "1.0.0"
        );
    }
    let log = settled(&room);
    assert!(log.contains("package-lock.json"), "{log}");
    room.assert_tidy();
}
