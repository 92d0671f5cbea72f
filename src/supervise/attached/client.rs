//! Opening the session in the terminal.

use std::ffi::OsString;

use serde_json::json;

use super::{Attached, Msg};
use crate::agent::claude::Claude;
use crate::agent::process;
use crate::agent::tree::{ProcessKey, seal_children};
use crate::core::attempt::FailureClass;
use crate::format::launch_file::AgentChoice;

impl Attached<'_> {
    pub(super) fn start(&mut self) {
        let AgentChoice::Claude { program } = &self.launch.agent else {
            let detail = "the scripted agent has no session that could be opened".to_owned();
            return self.fail(FailureClass::Other, detail);
        };
        let claude = Claude {
            program: program.clone(),
        };
        let settings = self.settings();
        let spec = claude.in_terminal(&self.launch, &self.workshop.env, settings);
        let sealing = seal_children(&self.workshop.marker);
        let spawned = process::spawn_in_terminal(&spec);
        drop(sealing);
        let child = match spawned {
            Ok(child) => child,
            Err(error) => return self.fail(FailureClass::Crash, error.to_string()),
        };
        self.key = ProcessKey::of(child.id());
        let tell = self.tell.clone();
        let told = move |what| {
            let _ = tell.send(Msg::Client(what));
        };
        let followed = process::follow_in_terminal(child.id(), told);
        self.client = Some(child);
        if let Err(error) = followed {
            self.fail(
                FailureClass::Crash,
                format!("cannot start a thread: {error}"),
            );
            self.end_tree();
        }
        self.sample();
    }

    /// The settings to hand over: those of the order, with the status line that says whose
    /// session this is and what it cost.
    pub(super) fn settings(&self) -> Option<OsString> {
        let kept = self.launch.settings.clone();
        let Some(heartbeat) = &self.visit.heartbeat else {
            return kept.map(Into::into);
        };
        let known: Option<serde_json::Value> = match &kept {
            None => Some(json!({})),
            Some(path) => std::fs::read(path)
                .ok()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok()),
        };
        let Some(mut settings) = known.filter(serde_json::Value::is_object) else {
            return kept.map(Into::into);
        };
        // The client hands this line to a shell. Every word of it is quoted.
        let words = [
            heartbeat.display().to_string(),
            "--main".into(),
            self.launch.main_checkout.display().to_string(),
            "--run".into(),
            self.launch.orchestration_id.to_string(),
            "--task".into(),
            self.launch.task.to_string(),
        ];
        let line = words.map(|word| format!("'{}'", word.replace('\'', "'\\''")));
        settings["statusLine"] = json!({ "type": "command", "command": line.join(" ") });
        Some(settings.to_string().into())
    }
}
