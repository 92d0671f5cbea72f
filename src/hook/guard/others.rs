//! Orchestra's own commands in an instance: it may look and say something of itself. What
//! steers, merges or tidies up is the person's, and an instance does not conduct in its turn.

use super::value::{self, Field};

/// Commands that only look, and those by which an instance speaks.
const OPEN: &[&str] = &[
    "status", "list", "logs", "report", "schema", "help", "config",
];

/// With these `orchestra doctor` only looks.
const DOCTOR_LOOKS: &[&str] = &["--json", "-v", "--verbose", "-h", "--help"];

/// Why a command of this program may not run, if so. Only the plain name is looked at: whoever
/// works on Orchestra itself runs the one of their worktree by its path.
#[must_use]
pub fn denial(rest: &[Field]) -> Option<String> {
    // What is not known is shown as it is, and is none of the words that are let pass.
    let rest: Vec<String> = rest
        .iter()
        .map(|field| value::known(field).unwrap_or_else(|| value::shown(field)))
        .collect();
    let mut words = rest.iter().map(String::as_str);
    let command = loop {
        match words.next() {
            // The bare program shows the status.
            None => return None,
            Some("--repo" | "--color") => drop(words.next()),
            Some(flag) if flag.starts_with('-') => {}
            Some(command) => break command,
        }
    };
    if command == "doctor" {
        // It only looks as long as it is not told to mend, which ends processes and removes
        // worktrees. What the shell makes of a word is not known here.
        let looks = |word: &str| DOCTOR_LOOKS.contains(&word);
        return words.find(|word| !looks(word)).map(|word| {
            format!(
                "`orchestra doctor {word}` is for the person who conducts, not for an instance. \
                 `orchestra doctor` and `orchestra doctor --json` only look."
            )
        });
    }
    (!OPEN.contains(&command)).then(|| {
        format!(
            "`orchestra {command}` is for the person who conducts, not for an instance. From here \
             there are `orchestra report stuck`, `orchestra report progress` and `orchestra report \
             note`."
        )
    })
}
