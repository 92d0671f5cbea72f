//! `integration-complete`: results were brought together, or could not be.

use std::fmt::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use super::Outcome;
use super::edge::World;
use super::instance::{KnownRun, known_run, text_of};
use crate::agent::process;
use crate::conduct;
use crate::format::claude_stream::one_line;
use crate::format::hook_json::{self, Input, IntegrationDocument};
use crate::format::settings_file::SettingsFile;
use crate::git::Repo;
use crate::store::{atomic, run_log};
use crate::view::clock;

/// Most files that a report names.
const MAX_FILES: usize = 500;

/// The whole hook.
#[must_use]
pub fn hook(world: &World) -> Outcome {
    match hook_json::parse::<IntegrationDocument>(&world.input) {
        Err(fault) => Outcome::Fault(fault.to_string()),
        // No event of Claude Code means that an integration ended.
        Ok(Input::Event(_)) => Outcome::Silent,
        Ok(Input::Script(document)) => match of_script(&document, world) {
            Ok(outcome) => outcome,
            Err(why) => Outcome::Fault(why),
        },
    }
}

fn of_script(document: &IntegrationDocument, world: &World) -> Result<Outcome, String> {
    let run = known_run(&document.orchestration_id, &world.cwd, world)?;
    let outcome = if document.success {
        "success"
    } else {
        "failure"
    };
    run_log::append(
        &run.dir,
        conduct::now(),
        &[format!(
            "integration complete: {outcome}: {}",
            one_line(&summary(&document.integration_result), 500)
        )],
    );
    // Before tidying up: afterwards the figures may be gone.
    let files = files_modified(document, &run);
    let cleaned = document.success.then(|| clean_up(&run, world));
    if let Some(said) = &cleaned {
        run_log::append(
            &run.dir,
            conduct::now(),
            &[format!("cleanup: {}", one_line(said, 500))],
        );
    }
    let path = if document.success {
        run.dir.success_report()
    } else {
        run.dir.failure_report()
    };
    // The conductor's own report of this run says more.
    let by_conductor = path.exists() && run.dir.results().exists();
    if !by_conductor {
        let text = if document.success {
            success_report(document, files.as_deref(), cleaned.as_deref())
        } else {
            failure_report(document, &run)
        };
        atomic::write(&path, text.as_bytes(), atomic::Durability::Durable)
            .map_err(|e| e.to_string())?;
    }
    Ok(Outcome::Answer(json!({
        "orchestration_id": document.orchestration_id,
        "status": outcome,
        "report": path,
    })))
}

/// Lets the program remove what is done; unmerged work is kept. Says what came of it.
fn clean_up(run: &KnownRun, world: &World) -> String {
    let output = process::command(&world.program("orchestra"), &world.env)
        .args([
            "cleanup",
            "success",
            "--orchestration",
            run.dir.id().as_str(),
        ])
        .arg("--repo")
        .arg(&run.main)
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) => {
            let text = if output.status.success() {
                output.stdout
            } else {
                output.stderr
            };
            let text = String::from_utf8_lossy(&text).trim().to_owned();
            if text.is_empty() {
                "nothing was left".to_owned()
            } else {
                text
            }
        }
        Err(error) => format!("it could not be started: {error}"),
    }
}

/// The text of a result: its summary where it has one.
fn summary(result: &Value) -> String {
    ["summary", "message", "result"]
        .iter()
        .find_map(|field| result.get(*field)?.as_str())
        .map_or_else(|| text_of(result), str::to_owned)
}

fn texts(result: &Value, fields: &[&str]) -> Option<Vec<String>> {
    let list = fields
        .iter()
        .find_map(|field| result.get(*field)?.as_array())?;
    Some(list.iter().map(text_of).collect())
}

/// The files that changed: as the result says, else as git knows.
fn files_modified(document: &IntegrationDocument, run: &KnownRun) -> Option<Vec<String>> {
    let named = ["files_modified", "filesModified", "files", "changed_files"];
    if let Some(files) = texts(&document.integration_result, &named) {
        return Some(files);
    }
    let settings: SettingsFile = atomic::peek_json(&run.dir.settings())?;
    let repo = Repo::discover(&run.main).ok()?;
    let tip = repo.branch_tip(&settings.base_branch).ok()??;
    repo.changed_paths(&settings.base_commit, &tip).ok()
}

/// A text of somebody else inside a report: no line of it can be taken for a heading.
fn quoted(text: &str) -> String {
    text.lines().map(|line| format!("> {line}\n")).collect()
}

fn head(document: &IntegrationDocument, title: &str) -> String {
    format!(
        "# {title}\n\n- Orchestration: `{}`\n- Time: {}\n- Result: {}\n\n## Summary\n\n{}\n",
        document.orchestration_id,
        clock::rfc3339(conduct::now()),
        if document.success {
            "success"
        } else {
            "failure"
        },
        quoted(&summary(&document.integration_result)),
    )
}

fn success_report(
    document: &IntegrationDocument,
    files: Option<&[String]>,
    cleaned: Option<&str>,
) -> String {
    let mut text = head(document, "Orchestration succeeded");
    text.push_str("## Files modified\n\n");
    match files {
        None => text.push_str("Not known.\n"),
        Some([]) => text.push_str("None.\n"),
        Some(files) => {
            for file in files.iter().take(MAX_FILES) {
                let _ = writeln!(text, "- `{}`", one_line(file, 300).replace('`', "'"));
            }
            if files.len() > MAX_FILES {
                let _ = writeln!(text, "- and {} more", files.len() - MAX_FILES);
            }
        }
    }
    if let Some(said) = cleaned {
        let _ = write!(text, "\n## Cleanup\n\n{}", quoted(said));
    }
    text.push_str("\n## Next steps\n\n");
    match texts(&document.integration_result, &["next_steps", "nextSteps"]) {
        Some(steps) if !steps.is_empty() => {
            for step in steps {
                let _ = writeln!(text, "- {}", one_line(&step, 500));
            }
        }
        _ => text.push_str(
            "- Look at the result: `git log --stat`\n- Run the project's tests once more where \
             they need more than the verify command\n- Push when you are content: nothing was \
             pushed\n",
        ),
    }
    text
}

fn failure_report(document: &IntegrationDocument, run: &KnownRun) -> String {
    let mut text = head(document, "Orchestration failed");
    text.push_str("## Issues\n\n");
    let named = ["issues", "errors", "conflicts", "failures"];
    match texts(&document.integration_result, &named) {
        Some(issues) if !issues.is_empty() => {
            for issue in issues {
                let _ = writeln!(text, "- {}", one_line(&issue, 500));
            }
        }
        _ => text.push_str("- The integration said no more than the summary above.\n"),
    }
    let id = &document.orchestration_id;
    let _ = write!(
        text,
        "\n## Debugging steps\n\nThe worktrees and branches are kept as they are.\n\n\
         1. What happened: `{log}`\n\
         2. Where each task stands: `orchestra status detailed --orchestration {id}`\n\
         3. What merges and what does not: `orchestra merge manual --orchestration {id}`\n\
         4. What an instance did: `orchestra logs TASK --orchestration {id}`\n\
         5. Try again: `orchestra control retry --orchestration {id}`, or integrate again: \
         `orchestra merge review --orchestration {id}`\n\
         6. Give up and keep the work in backup refs: `orchestra cleanup all --orchestration {id}`\n",
        log = run.dir.log().display(),
    );
    text
}
