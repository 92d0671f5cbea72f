//! `orchestra statusline`: puts our status line into Claude Code's settings, and takes it out.
//!
//! A plugin cannot set a status line, so this changes a file of the person's. It shows what it
//! will change, asks, writes in one step, and keeps what was there: the text of the file in a
//! record of its own, to put it back to the letter, and the former status line inside the new
//! one, which calls it.

use std::path::{Path, PathBuf};

use super::{Context, Exit, Failure};
use crate::format::SCHEMA_VERSION;
use crate::format::client_settings::{
    BESIDE, BESIDE_USER, PROGRAM, SettingsFault, StatusLine, StatusLineRecord, beside, ours,
    shell_word, status_line, with_status_line, without_status_line,
};
use crate::store::atomic::{self, Durability};
use crate::view::page::{Page, Tone};

/// Put the live status line into Claude Code's settings, or take it out again
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra statusline install --dry-run\n  \
    orchestra statusline install\n  \
    orchestra statusline install --scope local\n  \
    orchestra statusline remove\n\n\
  A status line that is there already is kept: it is called as before, and stands above ours.\n  \
  What ours shows is configured with statusline_symbols and statusline_show.")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Install(InstallArgs),
    Remove(RemoveArgs),
}

/// Put it in
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra statusline install\n  \
    orchestra statusline install --scope project --yes")]
struct InstallArgs {
    /// Whose settings: yours, the project's, or yours for this project
    #[arg(long, value_enum, default_value = "user")]
    scope: Scope,
    #[command(flatten)]
    how: How,
}

/// Take it out; what was there before comes back to the letter
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestra statusline remove\n  \
    orchestra statusline remove --scope local --dry-run")]
struct RemoveArgs {
    /// Whose settings [default: all in which it was put]
    #[arg(long, value_enum)]
    scope: Option<Scope>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Clone, clap::Args)]
struct How {
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Which of Claude Code's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Scope {
    /// Yours, everywhere: ~/.claude/settings.json
    User,
    /// The project's, for all who work on it: .claude/settings.json
    Project,
    /// Yours, in this project: .claude/settings.local.json
    Local,
}

pub(super) fn run(args: &Args, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    match &args.what {
        What::Install(args) => install(args, cx),
        What::Remove(args) => remove(args, cx),
    }
}

/// A settings file as it is.
struct Settings {
    path: PathBuf,
    /// None when there is no file.
    text: Option<String>,
    line: Option<StatusLine>,
}

impl Settings {
    fn read(path: PathBuf) -> Result<Self, Failure> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => {
                return Err(Failure::environment(format!(
                    "the settings cannot be read: {e}; nothing was changed"
                ))
                .in_path(&path));
            }
        };
        let line = status_line(text.as_deref().unwrap_or_default());
        let line = line.map_err(|why| fault(&why, &path))?;
        Ok(Self { path, text, line })
    }

    fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    /// The command of a status line that is not ours.
    fn others(&self) -> Option<&str> {
        self.line.as_ref().filter(|line| !line.is_ours())?.command()
    }
}

fn fault(why: &SettingsFault, path: &Path) -> Failure {
    Failure::environment(format!(
        "the settings were not understood; nothing was changed: {why}"
    ))
    .in_path(path)
    .next("mend the file, and try again")
}

fn install(args: &InstallArgs, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let settings = Settings::read(file(args.scope, cx)?)?;
    let (record_path, record) = record(&settings.path, cx)?;
    let former = settings.line.as_ref().filter(|line| !line.is_ours());
    let kept = match &settings.line {
        Some(line) if line.is_ours() => line.command().and_then(beside),
        _ => settings.others().map(str::to_owned),
    };
    // What these settings hide is no less the person's.
    let kept = match (kept, args.scope) {
        (None, Scope::Local) => Settings::read(file(Scope::Project, cx)?)?
            .others()
            .map(str::to_owned),
        (kept, _) => kept,
    };
    let command = command(args.scope, kept.as_deref(), cx)?;
    if former.is_some_and(|line| line.command().is_none()) {
        cx.remark("note: the present status line names no command; it is kept for `remove` only");
    }
    let raw = ours(&command, settings.line.as_ref());
    let after =
        with_status_line(settings.text(), &raw).map_err(|why| fault(&why, &settings.path))?;
    // The client lays its settings out anew whenever it changes one.
    let is_there = settings
        .line
        .as_ref()
        .is_some_and(|line| serde_json::from_str(&raw).ok().as_ref() == Some(&line.value));
    if is_there {
        cx.print(&format!(
            "{} has the status line already.\n",
            settings.path.display()
        ))?;
        return Ok(Exit::Success);
    }
    if !agreed(&settings, Some(&after), &args.how, cx)? {
        return Ok(Exit::Success);
    }
    let folder = settings.path.parent().unwrap_or(&settings.path);
    let made_folder = !folder.is_dir();
    if made_folder {
        std::fs::create_dir_all(folder).map_err(|e| unwritable(&settings.path, &e))?;
    }
    let again = settings.line.as_ref().is_some_and(StatusLine::is_ours);
    let record = match record {
        // Ours is replaced by ours: what was before both counts. Without a record nobody knows
        // that; then the command itself tells enough.
        record if again => record.map(|record| StatusLineRecord {
            after: after.clone(),
            ..record
        }),
        _ => Some(StatusLineRecord {
            schema_version: SCHEMA_VERSION,
            settings: settings.path.clone(),
            before: settings.text.clone(),
            after: after.clone(),
            value: former.map(|line| line.raw.clone()),
            made_folder,
        }),
    };
    if let Some(record) = record {
        let folder = record_path.parent().unwrap_or(&record_path);
        std::fs::create_dir_all(folder).map_err(|e| unwritable(&record_path, &e))?;
        atomic::write_json(&record_path, "record", &record, Durability::Durable)?;
    }
    atomic::rewrite(&settings.path, after.as_bytes())?;
    cx.print(&format!(
        "Changed {}. `orchestra statusline remove` puts back what was there.\n",
        settings.path.display()
    ))?;
    Ok(Exit::Success)
}

fn remove(args: &RemoveArgs, cx: &mut Context<'_>) -> Result<Exit, Failure> {
    let mut files = match args.scope {
        Some(scope) => vec![file(scope, cx)?],
        None => recorded(cx)?,
    };
    if args.scope.is_none() {
        let user = file(Scope::User, cx)?;
        if !files.contains(&user) {
            files.push(user);
        }
    }
    let mut found = false;
    for path in files {
        found |= take_out(path, args, cx)?;
    }
    if !found {
        cx.print("The status line is in none of the settings.\n")?;
    }
    Ok(Exit::Success)
}

/// Takes it out of one file; false when it is not in it.
fn take_out(path: PathBuf, args: &RemoveArgs, cx: &mut Context<'_>) -> Result<bool, Failure> {
    let settings = Settings::read(path)?;
    let (record_path, record) = record(&settings.path, cx)?;
    let Some(line) = settings.line.as_ref().filter(|line| line.is_ours()) else {
        if record.is_some() && !args.how.dry_run {
            forget(&record_path);
        }
        return Ok(false);
    };
    let untouched = record
        .as_ref()
        .filter(|record| record.after == settings.text());
    let before = match (untouched, &record) {
        (Some(record), _) => record.before.clone(),
        (None, record) => {
            let value = match record {
                Some(record) => record.value.clone(),
                // Without a record the command itself tells.
                None => former(line),
            };
            let text = match value {
                Some(raw) => with_status_line(settings.text(), &raw),
                None => without_status_line(settings.text()),
            };
            let text = text.map_err(|why| fault(&why, &settings.path))?;
            let made = record
                .as_ref()
                .is_some_and(|record| record.before.is_none());
            let empty = text.chars().all(|c| c.is_whitespace() || "{}".contains(c));
            Some(text).filter(|_| !(made && empty))
        }
    };
    if !agreed(&settings, before.as_deref(), &args.how, cx)? {
        return Ok(true);
    }
    match &before {
        Some(text) => atomic::rewrite(&settings.path, text.as_bytes())?,
        None => {
            std::fs::remove_file(&settings.path).map_err(|e| unwritable(&settings.path, &e))?;
            if record.is_some_and(|record| record.made_folder) {
                // Only when nothing else is in it.
                let _ = settings.path.parent().map(std::fs::remove_dir);
            }
        }
    }
    forget(&record_path);
    cx.print(&format!("Changed {}.\n", settings.path.display()))?;
    Ok(true)
}

/// The value before, out of a line of ours.
fn former(line: &StatusLine) -> Option<String> {
    let command = beside(line.command()?)?;
    let mut value = line.value.clone();
    value["command"] = command.into();
    serde_json::to_string(&value).ok()
}

/// Shows what changes and asks whether it is wanted; true when it is.
fn agreed(
    settings: &Settings,
    after: Option<&str>,
    how: &How,
    cx: &mut Context<'_>,
) -> Result<bool, Failure> {
    let page = cx.page;
    let diff = difference(settings.text(), after.unwrap_or_default(), &page);
    cx.print(&format!("{}\n{diff}", settings.path.display()))?;
    if after.is_none() {
        cx.print("The file goes.\n")?;
    }
    if how.dry_run {
        cx.print("Nothing was changed.\n")?;
        return Ok(false);
    }
    if !how.yes {
        cx.print("Change it? [y/N] ")?;
        let answer = line_of_input(cx)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes" | "Yes") {
            cx.print("Nothing was changed. Without a question: --yes\n")?;
            return Ok(false);
        }
    }
    let now = std::fs::read_to_string(&settings.path).ok();
    if now != settings.text {
        return Err(
            Failure::environment("the settings changed meanwhile; nothing was done")
                .in_path(&settings.path)
                .next("try again"),
        );
    }
    Ok(true)
}

fn line_of_input(cx: &mut Context<'_>) -> Result<String, Failure> {
    let mut line = Vec::new();
    let mut byte = [0; 1];
    while cx.stdin.read(&mut byte)? == 1 && byte != *b"\n" && line.len() < 100 {
        line.extend(byte);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// The lines that change, with one around them.
fn difference(before: &str, after: &str, page: &Page) -> String {
    let old: Vec<&str> = before.lines().collect();
    let new: Vec<&str> = after.lines().collect();
    let same = |pair: &(&&str, &&str)| pair.0 == pair.1;
    let head = old.iter().zip(&new).take_while(same).count();
    let tail = old.iter().rev().zip(new.iter().rev());
    let tail = tail
        .take(old.len().min(new.len()) - head)
        .take_while(same)
        .count();
    let mut text = String::new();
    let mut add = |tone: Tone, mark: &str, lines: &[&str]| {
        for line in lines {
            text.push_str(&page.paint(tone, &format!("  {mark} {line}")));
            text.push('\n');
        }
    };
    add(
        Tone::Plain,
        " ",
        old.get(head.saturating_sub(1)..head).unwrap_or_default(),
    );
    add(
        Tone::Bad,
        "-",
        old.get(head..old.len() - tail).unwrap_or_default(),
    );
    add(
        Tone::Good,
        "+",
        new.get(head..new.len() - tail).unwrap_or_default(),
    );
    let end = old.len() - tail;
    add(
        Tone::Plain,
        " ",
        old.get(end..old.len().min(end + 1)).unwrap_or_default(),
    );
    text
}

/// The settings file of a scope.
fn file(scope: Scope, cx: &Context<'_>) -> Result<PathBuf, Failure> {
    let project = || {
        let start = cx.start();
        let top = start.ancestors().find(|dir| dir.join(".git").exists());
        top.map_or(start.clone(), Path::to_owned).join(".claude")
    };
    Ok(match scope {
        Scope::User => match cx.env.get("CLAUDE_CONFIG_DIR") {
            Some(folder) => cx.cwd.join(folder),
            None => home(cx)?.join(".claude"),
        }
        .join("settings.json"),
        Scope::Project => project().join("settings.json"),
        Scope::Local => project().join("settings.local.json"),
    })
}

fn home(cx: &Context<'_>) -> Result<PathBuf, Failure> {
    cx.env
        .home()
        .ok_or_else(|| Failure::environment("HOME is not set, so your settings are not known"))
}

/// Where this program's own files are, the folder that install.sh uses.
pub(super) fn data(cx: &Context<'_>) -> Result<PathBuf, Failure> {
    let set = cx.env.get("XDG_DATA_HOME").map(PathBuf::from);
    let data = match set.filter(|path| path.is_absolute()) {
        Some(path) => path,
        None => home(cx)?.join(".local/share"),
    };
    Ok(data.join("orchestra"))
}

/// How the program is called, with the status line that it stands beside.
fn command(scope: Scope, kept: Option<&str>, cx: &Context<'_>) -> Result<String, Failure> {
    let exe = cx.own_exe()?;
    let exe = exe.canonicalize().unwrap_or(exe);
    let bin = exe.parent().map(Path::to_owned).unwrap_or_default();
    let installed = data(cx)?;
    let versions = installed.join("versions");
    let versions = versions.canonicalize().unwrap_or(versions);
    let arguments = match (kept, scope) {
        (Some(kept), _) => format!(" {BESIDE} {}", shell_word(kept)),
        (None, Scope::Project | Scope::Local) => format!(" {BESIDE_USER}"),
        (None, Scope::User) => String::new(),
    };
    let path = if bin.starts_with(versions) {
        // Versions come and go; `current` stays.
        if scope == Scope::Project {
            // For other people's home folders as well, and for those who do not have it.
            let instead = kept.map_or(":".to_owned(), |kept| format!("sh -c {}", shell_word(kept)));
            return Ok(format!(
                "p=\"${{XDG_DATA_HOME:-$HOME/.local/share}}/orchestra/current/bin/{PROGRAM}\"; \
                 if [ -x \"$p\" ]; then \"$p\"{arguments}; else {instead}; fi"
            ));
        }
        installed.join("current/bin").join(PROGRAM)
    } else {
        bin.join(PROGRAM)
    };
    Ok(format!(
        "{}{arguments}",
        shell_word(&path.to_string_lossy())
    ))
}

/// The record of a settings file, and where it is.
fn record(
    settings: &Path,
    cx: &Context<'_>,
) -> Result<(PathBuf, Option<StatusLineRecord>), Failure> {
    let name = uuid::Uuid::new_v5(
        &uuid::Uuid::NAMESPACE_URL,
        settings.as_os_str().as_encoded_bytes(),
    );
    let path = records(cx)?.join(format!("{name}.json"));
    let record = atomic::read_json(&path, "record")?;
    Ok((path, record))
}

fn records(cx: &Context<'_>) -> Result<PathBuf, Failure> {
    Ok(data(cx)?.join("statusline"))
}

/// The settings files that have a record.
fn recorded(cx: &Context<'_>) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(records(cx)?)
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "json") {
            let record: Option<StatusLineRecord> = atomic::read_json(&path, "record")?;
            files.extend(record.map(|record| record.settings));
        }
    }
    files.sort();
    Ok(files)
}

/// Removes a record, and the folders that hold nothing any more.
fn forget(record: &Path) {
    let _ = std::fs::remove_file(record);
    for folder in record.ancestors().skip(1).take(2) {
        let _ = std::fs::remove_dir(folder);
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::environment(format!("this cannot be written: {error}")).in_path(path)
}

#[cfg(test)]
mod tests;
