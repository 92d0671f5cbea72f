//! What each role is told: the bodies of the plugin's own agents.
//!
//! The same text serves the plugin's subagent of that name, the instances, and the analysis
//! of a request, so that there is one place to change it.

/// The agents that come with this program, by name, as their files are.
const AGENTS: &[(&str, &str)] = &[
    (
        "task-analyzer",
        include_str!("../../agents/task-analyzer.md"),
    ),
    (
        "worktree-manager",
        include_str!("../../agents/worktree-manager.md"),
    ),
    (
        "instance-spawner",
        include_str!("../../agents/instance-spawner.md"),
    ),
    (
        "result-integrator",
        include_str!("../../agents/result-integrator.md"),
    ),
    (
        "cleanup-manager",
        include_str!("../../agents/cleanup-manager.md"),
    ),
    (
        "feature-development",
        include_str!("../../agents/feature-development.md"),
    ),
    ("bugfix", include_str!("../../agents/bugfix.md")),
    (
        "documentation",
        include_str!("../../agents/documentation.md"),
    ),
    ("testing", include_str!("../../agents/testing.md")),
    ("refactoring", include_str!("../../agents/refactoring.md")),
    (
        "investigation",
        include_str!("../../agents/investigation.md"),
    ),
];

/// The text of a role, without the front matter of its file; none for a role that does not
/// come with this program (the person's own agent, for example).
#[must_use]
pub fn role_text(role: &str) -> Option<&'static str> {
    let (_, file) = AGENTS.iter().find(|(name, _)| *name == role)?;
    Some(body(file))
}

/// What comes after the front matter.
fn body(file: &str) -> &str {
    file.strip_prefix("---\n")
        .and_then(|rest| rest.split_once("\n---\n"))
        .map_or(file, |(_, body)| body)
        .trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::plan::TaskKind;

    #[test]
    fn every_kind_of_task_has_a_role_with_a_text() {
        for kind in TaskKind::KNOWN {
            let text = role_text(kind.default_role()).unwrap();
            assert!(text.len() > 300 && text.len() < 2_000, "{kind}");
            assert!(!text.contains("---"), "{kind}");
        }
        assert_eq!(role_text("somebody-else"), None);
    }

    #[test]
    fn every_file_is_known_and_names_itself() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/agents");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let (_, file) = AGENTS.iter().find(|(n, _)| *n == name).expect(&name);
            assert!(file.contains(&format!("\nname: {name}\n")), "{name}");
            assert!(file.contains("\ndescription: "), "{name}");
        }
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), AGENTS.len());
    }

    fn front_matter(file: &str, key: &str) -> String {
        let head = file.split("\n---\n").next().unwrap();
        let line = head
            .lines()
            .find_map(|l| l.strip_prefix(&format!("{key}: ")));
        line.unwrap_or_else(|| panic!("no {key}: {head}"))
            .trim_matches('"')
            .to_owned()
    }

    /// Each has the tools that it needs and no more. One that leaves `StructuredOutput` out
    /// silently gives no structured output.
    #[test]
    fn tools_are_what_each_needs() {
        let editing = "Bash, Read, Edit, Write, Grep, Glob";
        for (name, file) in AGENTS {
            let wanted = match *name {
                "task-analyzer" => "Read, Grep, Glob, StructuredOutput",
                // They look and act through the program alone.
                "worktree-manager" | "instance-spawner" | "cleanup-manager" => "Bash",
                // It writes its findings, and changes nothing else.
                "investigation" => "Bash, Read, Write, Grep, Glob",
                _ => editing,
            };
            assert_eq!(front_matter(file, "tools"), wanted, "{name}");
        }
    }

    /// Every session of the person holds every description, and no session should take one of
    /// them for a helper in ordinary work.
    #[test]
    fn descriptions_are_short_and_name_their_purpose() {
        for (name, file) in AGENTS {
            let text = front_matter(file, "description");
            assert!(text.len() <= 60, "{name}: {}", text.len());
            assert!(text.starts_with("Orchestra"), "{name}: {text}");
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/commands");
        for entry in std::fs::read_dir(folder).unwrap() {
            let file = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            // Only people start what acts: the model is not even told of it.
            assert_eq!(front_matter(&file, "disable-model-invocation"), "true");
            assert_eq!(front_matter(&file, "allowed-tools"), "Bash(orchestra *)");
            assert!(front_matter(&file, "description").len() <= 70);
            front_matter(&file, "argument-hint");
        }
    }

    /// No agent is dead text: each is the role of a kind of task, of the analysis, or of those
    /// who resolve conflicts, or a command tells when to start it.
    #[test]
    fn every_agent_is_used_by_something() {
        let kinds: Vec<&str> = TaskKind::KNOWN.iter().map(TaskKind::default_role).collect();
        let commands: String = ["parallel-dev", "merge-results", "cleanup-orchestra"]
            .iter()
            .map(|name| {
                let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/commands");
                std::fs::read_to_string(format!("{folder}/{name}.md")).unwrap()
            })
            .collect();
        for (name, _) in AGENTS {
            let used = kinds.contains(name)
                || *name == crate::agent::analyzer::ROLE
                || commands.contains(&format!("`orchestra:{name}`"));
            assert!(used, "{name} is used by nothing");
        }
    }
}
