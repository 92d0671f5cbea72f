//! What is installed in Claude Code, and whether all of it is there.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::statusline::data;
use super::{Checks, Context};
use crate::format::client_settings::{self, PROGRAM};

/// The plugin, as the client names it, whatever marketplace it is from.
const PLUGIN: &str = "orchestra@";

pub(super) fn find(checks: &mut Checks, cx: &Context<'_>) {
    let Some(client) = client_folder(cx) else {
        return;
    };
    let Ok(data) = data(cx) else { return };
    let program = data.join("current/bin/orchestra");
    let scopes = scopes(&client);
    if scopes.is_empty() {
        checks.good("plugin", "not in Claude Code; install.sh puts it there");
    } else if program.is_file() {
        let build = std::fs::read_link(data.join("current")).unwrap_or_default();
        let build = build.file_name().unwrap_or_default().to_string_lossy();
        let scopes = scopes.join(", ");
        checks.good(
            "plugin",
            format!("in Claude Code ({scopes}), build {build}"),
        );
    } else {
        checks.warn(
            "plugin",
            format!(
                "it is in Claude Code, and its programs are not in {}: its commands only say so",
                data.display()
            ),
            "run install.sh of the plugin",
        );
    }
    let settings = client.join("settings.json");
    let line = std::fs::read_to_string(&settings)
        .ok()
        .and_then(|text| client_settings::status_line(&text).ok()?);
    let Some(line) = line.filter(client_settings::StatusLine::is_ours) else {
        return;
    };
    match line.command().and_then(called) {
        Some(path) if path.is_absolute() && !path.is_file() => checks.warn(
            "status line",
            format!(
                "{} calls {}, which is not there",
                settings.display(),
                path.display()
            ),
            "orchestra statusline install (or remove)",
        ),
        _ => checks.good("status line", format!("in {}", settings.display())),
    }
}

/// The program that a command of ours calls, as it is written there.
fn called(command: &str) -> Option<PathBuf> {
    let (path, _) = command.strip_prefix('\'')?.split_once('\'')?;
    path.ends_with(PROGRAM).then(|| PathBuf::from(path))
}

fn client_folder(cx: &Context<'_>) -> Option<PathBuf> {
    match cx.env.get("CLAUDE_CONFIG_DIR") {
        Some(folder) => Some(cx.cwd.join(folder)),
        None => Some(cx.env.home()?.join(".claude")),
    }
}

/// For whom the client has the plugin.
fn scopes(client: &Path) -> Vec<String> {
    let text = std::fs::read(client.join("plugins/installed_plugins.json")).unwrap_or_default();
    let list: Value = serde_json::from_slice(&text).unwrap_or_default();
    let mut scopes: Vec<String> = list["plugins"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| name.starts_with(PLUGIN))
        .flat_map(|(_, entries)| entries.as_array().into_iter().flatten())
        .filter_map(|entry| entry["scope"].as_str().map(str::to_owned))
        .collect();
    scopes.sort();
    scopes.dedup();
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Env;
    use crate::cli::doctor::State;
    use crate::view::page::Page;

    fn look(home: &Path) -> Vec<(&'static str, State, String)> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let page = Page::new(80, false);
        let context = Context {
            out: &mut out,
            err: &mut err,
            stdin: &mut std::io::empty(),
            env: Env::of([("HOME", home)]),
            cwd: home.to_owned(),
            page,
            err_page: page,
            terminal: false,
            verbose: 0,
            repo: None,
        };
        let mut checks = Checks::default();
        find(&mut checks, &context);
        checks
            .0
            .into_iter()
            .map(|c| (c.name, c.state, c.what))
            .collect()
    }

    #[test]
    fn what_is_only_half_there_is_told() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let write = |path: &str, text: &str| {
            let path = home.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let states = || -> Vec<(&'static str, State)> {
            look(home)
                .into_iter()
                .map(|(name, state, _)| (name, state))
                .collect()
        };
        assert_eq!(states(), [("plugin", State::Good)]);
        write(
            ".claude/plugins/installed_plugins.json",
            r#"{"plugins":{"orchestra@orchestra":[{"scope":"user"}],"x@y":[{"scope":"local"}]}}"#,
        );
        assert_eq!(states(), [("plugin", State::Warning)]);
        write(".local/share/orchestra/versions/1.0/bin/orchestra", "");
        std::os::unix::fs::symlink("versions/1.0", home.join(".local/share/orchestra/current"))
            .unwrap();
        let program = home.join("bin").join(PROGRAM);
        let command = format!(
            "{} --beside 'x'",
            client_settings::shell_word(&program.to_string_lossy())
        );
        write(
            ".claude/settings.json",
            &client_settings::with_status_line("{}", &client_settings::ours(&command, None))
                .unwrap(),
        );
        let found = look(home);
        assert_eq!(found[0].2, "in Claude Code (user), build 1.0");
        assert_eq!((found[1].0, found[1].1), ("status line", State::Warning));
        write(&format!("bin/{PROGRAM}"), "");
        assert_eq!(
            states(),
            [("plugin", State::Good), ("status line", State::Good)]
        );
        write(".claude/settings.json", "{");
        assert_eq!(states(), [("plugin", State::Good)]);
    }
}
