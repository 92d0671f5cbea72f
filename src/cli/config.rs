//! `orchestra config`

use serde_json::{Value, json};

use super::settings_flags::{SettingsFlags, project_file, resolved, user_file};
use super::{Context, Exit, Failure};
use crate::format::SCHEMA_VERSION;
use crate::format::config::{Source, variable};
use crate::view::page::{Tone, cell, fit, one_line};

/// Show each setting with its value and where it comes from
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra config\n  \
    orchestra config --json | jq '.settings[] | select(.source != \"default\")'\n  \
    ORCHESTRA_MAX_WORKERS=2 orchestra config\n\n\
  The first that sets a value wins: a flag, an ORCHESTRA_... variable, your\n  \
  orchestra/config.toml, the project's .claude/orchestra.toml, the built-in value.\n  \
  docs/configuration.md describes each key; orchestra schema config is for editors.")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    // Outside of a repository there is still the person's own configuration.
    let repo = cx.repository().ok();
    let root = repo.as_ref().map(|r| r.root().to_owned());
    let resolved = resolved(&SettingsFlags::default(), root.as_deref(), cx)?;
    let project = root.as_deref().map(project_file);
    let user = user_file(cx);
    if args.json {
        let path = |p: &Option<std::path::PathBuf>| p.as_ref().map(|p| p.display().to_string());
        cx.print_json(&json!({
            "schemaVersion": SCHEMA_VERSION,
            "projectFile": path(&project),
            "userFile": path(&user),
            "settings": resolved.rows,
        }))?;
        return Ok(Exit::Success);
    }
    let page = cx.page;
    let mut text = String::new();
    for row in &resolved.rows {
        let value = match &row.value {
            Value::Null => "-".to_owned(),
            Value::String(text) => one_line(text),
            Value::Array(list) => {
                let words = list
                    .iter()
                    .map(|v| v.as_str().map_or(v.to_string(), str::to_owned));
                one_line(&words.collect::<Vec<_>>().join(", "))
            }
            other => other.to_string(),
        };
        let room = page.width.saturating_sub(25 + 13);
        let source = if row.source == Source::Environment {
            variable(row.key)
        } else {
            row.source.to_string()
        };
        let tone = if row.source == Source::Default {
            Tone::Faint
        } else {
            Tone::Good
        };
        text.push_str(&format!(
            "{} {}  {}\n",
            page.strong(&cell(row.key, 24)),
            cell(&fit(&value, room), room),
            page.paint(tone, &source)
        ));
    }
    let file = |path: Option<std::path::PathBuf>| match path {
        Some(path) if path.is_file() => path.display().to_string(),
        Some(path) => format!("{} (not there)", path.display()),
        None => "-".to_owned(),
    };
    text.push_str(&format!(
        "\n{}{}\n{}{}\n",
        page.faint("user     "),
        file(user),
        page.faint("project  "),
        file(project)
    ));
    cx.print(&text)?;
    Ok(Exit::Success)
}
