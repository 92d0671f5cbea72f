//! Lines of a run's log for people, from whoever has something to say.

use std::fs::OpenOptions;
use std::io::Write;

use crate::store::layout::RunDir;
use crate::view::log_line;

/// Adds a line with the present time. One write, so that lines of two processes never mix;
/// line breaks and control characters in it become blanks. A log that cannot be written
/// stops nothing.
pub fn note(run: &RunDir, line: &str) {
    let line: String = line
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let text = format!("{}\n", log_line::stamped(super::now(), &line));
    let file = OpenOptions::new().create(true).append(true).open(run.log());
    if let Ok(mut file) = file {
        let _ = file.write_all(text.as_bytes());
    }
}
