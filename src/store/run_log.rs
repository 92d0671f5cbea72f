//! `orchestration.log`: a run's log for people, from whoever has something to say.

use std::fs::OpenOptions;
use std::io::Write;

use super::layout::RunDir;
use crate::core::time::Timestamp;

/// Adds lines with the time `at`: RFC 3339 in UTC with seconds, a blank, the line.
///
/// All of them are one write to the end of the file, so that those of several threads and
/// processes never mix. What a line holds may come from anywhere: blanks, line breaks and
/// control characters in a row become one blank, and marks that reorder text are left out.
/// A log that cannot be written stops nothing: the journal and the status files are what
/// counts.
pub fn append<S: AsRef<str>>(run: &RunDir, at: Timestamp, lines: &[S]) {
    if lines.is_empty() {
        return;
    }
    let time = at.rfc3339();
    let text: String = lines
        .iter()
        .map(|line| format!("{time} {}\n", clean(line.as_ref())))
        .collect();
    let file = OpenOptions::new().create(true).append(true).open(run.log());
    if let Ok(mut file) = file {
        let _ = file.write_all(text.as_bytes());
    }
}

fn clean(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    for c in line.chars().filter(|c| !reorders(*c)) {
        if !c.is_whitespace() && !c.is_control() {
            clean.push(c);
        } else if !clean.is_empty() && !clean.ends_with(' ') {
            clean.push(' ');
        }
    }
    clean.truncate(clean.trim_end().len());
    clean
}

/// Direction marks, by which a line could read otherwise than it is.
fn reorders(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::id::OrchestrationId;
    use crate::store::layout::Layout;

    fn run(dir: &std::path::Path) -> RunDir {
        let run = Layout::new(dir).run(&OrchestrationId::parse("r").unwrap());
        std::fs::create_dir_all(run.dir()).unwrap();
        run
    }

    #[test]
    fn every_line_has_a_time_and_is_one_line_whatever_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let run = run(dir.path());
        let at = Timestamp(1_795_252_437_999);
        append(&run, at, &["begun"]);
        append::<&str>(&run, at, &[]);
        append(
            &run,
            Timestamp(at.0 + 1000),
            &[
                "two\r\n\tlines ".to_owned(),
                "\u{1b}[2J\u{9b}red \u{202e}txt\u{0}日本 👩\u{200d}💻".to_owned(),
                "\n".to_owned(),
            ],
        );
        assert_eq!(
            std::fs::read_to_string(run.log()).unwrap(),
            "2026-11-21T09:13:57Z begun\n\
             2026-11-21T09:13:58Z two lines\n\
             2026-11-21T09:13:58Z [2J red txt 日本 👩\u{200d}💻\n\
             2026-11-21T09:13:58Z \n"
        );
    }

    #[test]
    fn lines_of_several_threads_do_not_mix() {
        let dir = tempfile::tempdir().unwrap();
        let run = run(dir.path());
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let run = &run;
                scope.spawn(move || {
                    let line = name.repeat(3000);
                    for _ in 0..50 {
                        append(run, Timestamp(0), &[&line, &line]);
                    }
                });
            }
        });
        let text = std::fs::read_to_string(run.log()).unwrap();
        assert_eq!(text.lines().count(), 400);
        for pair in text.lines().collect::<Vec<_>>().chunks(2) {
            assert_eq!(pair[0], pair[1], "one write");
            let line = pair[0].strip_prefix("1970-01-01T00:00:00Z ").unwrap();
            assert_eq!(line, line[..1].repeat(3000));
        }
    }

    #[test]
    fn a_log_that_cannot_be_written_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let run = run(dir.path());
        std::fs::create_dir(run.log()).unwrap();
        append(&run, Timestamp(0), &["lost"]);
        assert!(run.log().is_dir());
    }
}
