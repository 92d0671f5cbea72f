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

    /// An agent whose tools leave it out silently gives no structured output.
    #[test]
    fn the_analyzer_can_give_structured_output() {
        let (_, file) = AGENTS[0];
        let tools = file.lines().find(|l| l.starts_with("tools:")).unwrap();
        assert!(tools.contains("StructuredOutput"), "{tools}");
    }
}
