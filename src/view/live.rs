//! What `run` shows while it goes on: a block at the start, then lines that are repainted on
//! a terminal, or one line per record elsewhere.
//!
//! What is shown is a pure function of the look; [`Region`] only moves the cursor.

use std::io::{self, Write};

use super::clock;
use super::figures;
use super::lines::{self, short};
use super::merging;
use super::page::{Page, bar, cell, columns, fit, one_line, plural};
use super::snapshot::{Snapshot, Standing, TaskView, Word};
use super::summary;
use crate::core::history::Price;

/// The block that opens a run: the tasks with their roles, where they are worked on, how
/// long it probably takes.
#[must_use]
pub fn start_block(snapshot: &Snapshot, page: &Page) -> String {
    let mut text = summary::header(snapshot, page);
    text.push_str(&format!(
        "\n{}\n",
        page.strong(&format!(
            "{} identified",
            plural(snapshot.tasks.len(), "task")
        ))
    ));
    let name_width = name_width(snapshot, page);
    for task in &snapshot.tasks {
        let mut rest = format!("{:<20}", task.role);
        if let Some(title) = task.title() {
            rest.push_str(&format!("  {}", one_line(title)));
        }
        let rest = fit(rest.trim_end(), page.width.saturating_sub(name_width + 4));
        text.push_str(&format!(
            "  {}  {rest}\n",
            cell(task.name.as_str(), name_width)
        ));
    }
    if snapshot.phases.len() > 1 {
        let all = &snapshot.phases;
        text.push_str(&format!("\n{}\n", page.strong(&plural(all.len(), "phase"))));
        for line in lines::milestones(snapshot, page) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text.push('\n');
    if let Some(settings) = &snapshot.settings {
        let place = settings.worktree_dir.display();
        text.push_str(&format!(
            "worktrees   in {place}, one per task and instance\n"
        ));
    }
    if let Some(workers) = snapshot.workers {
        text.push_str(&format!("instances   at most {workers} at once\n"));
    }
    text.push_str(&format!("completion  {}\n", completion(snapshot)));
    let learned = snapshot.settings.as_ref().map(|s| &s.learned);
    if let Some(Price { usd, tasks }) = learned.and_then(|learned| learned.price) {
        let line = format!("cost        about ${usd:.2} per task (from {tasks} tasks here)\n");
        text.push_str(&line);
    }
    text
}

fn completion(snapshot: &Snapshot) -> String {
    match figures::time_left(snapshot) {
        figures::TimeLeft::About { left, basis } => {
            let at = clock::time_of_day(snapshot.taken_at.plus(left));
            format!("about {at} UTC, in {} ({basis})", short(left))
        }
        figures::TimeLeft::Unknown(why) => format!("unknown ({why})"),
        figures::TimeLeft::Over => "-".to_owned(),
    }
}

fn name_width(snapshot: &Snapshot, page: &Page) -> usize {
    let longest = snapshot.rows().map(|t| columns(t.name.as_str())).max();
    longest.unwrap_or(0).clamp(4, (page.width / 3).max(4))
}

/// The lines of the live region, at most `rows` of them, none wider than the page: a header,
/// a line per task, a footer with the time left. When there is no room for all tasks, those
/// at work come first and the others are counted.
#[must_use]
pub fn region(snapshot: &Snapshot, page: &Page, rows: usize) -> Vec<String> {
    let (state, tone) = summary::standing(snapshot);
    let mut head = String::new();
    if snapshot.emergency.is_some() {
        head.push_str("!! EMERGENCY  ");
    }
    if let Some(elapsed) = snapshot.elapsed() {
        head.push_str(&format!("{}  ", short(elapsed)));
    }
    if let Some(all) = figures::overall(snapshot) {
        head.push_str(&format!(
            "[{}] {}%  {}/{}",
            bar(all.percent, 20),
            all.percent,
            all.done,
            all.total
        ));
    }
    if let Some((at, of)) = figures::phase(snapshot) {
        head.push_str(&format!("  phase {at} of {of}"));
    }
    let room = page.width.saturating_sub(columns(&state) + 2);
    let mut out = vec![format!(
        "{}  {}",
        page.paint(tone, &state),
        fit(&head, room)
    )];

    let mut order: Vec<&TaskView> = snapshot.rows().collect();
    let places = rows.saturating_sub(3).max(1);
    if order.len() > places {
        order.sort_by_key(|t| urgency(t.word()));
    }
    let hidden = order.len().saturating_sub(places);
    let width = name_width(snapshot, page);
    out.extend(
        order
            .iter()
            .take(places)
            .map(|t| task_row(snapshot, t, width, page)),
    );
    if hidden > 0 {
        out.push(page.faint(&fit(
            &format!("    and {} more", plural(hidden, "task")),
            page.width,
        )));
    }
    let left = format!("time left {}", summary::time_left(snapshot));
    let footer = match merging::progress(snapshot) {
        Some(text) if matches!(snapshot.standing, Standing::Integrating(_)) => text,
        Some(text) => format!("{left}; {text}"),
        None => left,
    };
    out.push(page.faint(&fit(&footer, page.width)));
    out
}

/// What a person wants to see first when there is no room for all.
fn urgency(word: Word) -> u8 {
    match word {
        Word::Stuck => 0,
        Word::Lost | Word::Retry => 1,
        Word::Working | Word::Starting => 2,
        Word::Failed => 3,
        Word::Paused | Word::Ready => 4,
        Word::Waiting => 5,
        Word::Done | Word::PrReady | Word::Skipped | Word::Cancelled => 6,
    }
}

fn task_row(snapshot: &Snapshot, task: &TaskView, name_width: usize, page: &Page) -> String {
    let word = task.word();
    let percent = match task.percent().filter(|_| task.is_active()) {
        Some(percent) => format!("{percent:>3}%"),
        None => "    ".to_owned(),
    };
    let time = if task.is_active() {
        task.since().map(|at| short(snapshot.taken_at.since(at)))
    } else {
        (task.attempts > 0).then(|| short(task.worked))
    };
    let doing = match word {
        Word::Working | Word::Starting => lines::activity(task),
        Word::Stuck => task.instance().and_then(|s| s.stuck_reason.clone()),
        Word::PrReady => task.pull_request().map(str::to_owned),
        _ => lines::below(snapshot, task, &Page::new(page.width, false))
            .first()
            .map(|l| l.trim().to_owned())
            .or_else(|| snapshot.merging.word(task).map(str::to_owned)),
    };
    let start = format!(" {} ", cell(task.name.as_str(), name_width));
    let middle = format!(" {percent} {:>6}  ", time.unwrap_or_default());
    let used = 3 + columns(&start) + 9 + columns(&middle);
    let doing = fit(
        &one_line(&doing.unwrap_or_default()),
        page.width.saturating_sub(used),
    );
    let (symbol, tone) = lines::mark(snapshot, task);
    let row = format!(
        "{}{start}{}{middle}{}",
        page.paint(tone, symbol),
        page.paint(tone, &cell(word.text(), 9)),
        page.faint(&doing)
    );
    row.trim_end().to_owned()
}

/// Lines at the foot of a terminal that are painted again and again.
///
/// The lines must be no wider than the terminal and no more than its rows less one. Nothing
/// else may write to the terminal meanwhile; permanent lines go through [`Region::above`].
#[derive(Debug)]
pub struct Region<W: Write> {
    out: W,
    painted: Vec<String>,
}

impl<W: Write> Region<W> {
    /// A region below what is on the terminal now. Nothing is painted yet.
    pub fn new(out: W) -> Self {
        Self {
            out,
            painted: Vec::new(),
        }
    }

    /// A region that goes on where another one ended.
    pub fn resume(out: W, painted: Vec<String>) -> Self {
        Self { out, painted }
    }

    /// What is painted now, for [`Region::resume`].
    #[must_use]
    pub fn into_painted(self) -> Vec<String> {
        self.painted
    }

    /// Paints these lines in place of those before. Lines that did not change are passed
    /// over, so that nothing flickers.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn repaint(&mut self, lines: Vec<String>) -> io::Result<()> {
        if lines == self.painted {
            return Ok(());
        }
        let mut frame = self.to_top();
        for (n, line) in lines.iter().enumerate() {
            if self.painted.get(n) == Some(line) {
                frame.push_str("\r\n");
            } else {
                frame.push_str(&format!("\r{line}\x1b[K\r\n"));
            }
        }
        if lines.len() < self.painted.len() {
            frame.push_str("\x1b[J");
        }
        self.painted = lines;
        self.write(&frame)
    }

    /// Writes lines that stay, above the region. `text` ends with a line end.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn above(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let mut frame = self.to_top();
        frame.push_str("\r\x1b[J");
        frame.push_str(text);
        for line in &self.painted {
            frame.push_str(line);
            frame.push_str("\r\n");
        }
        self.write(&frame)
    }

    /// Takes the region away.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn clear(&mut self) -> io::Result<()> {
        let frame = self.to_top() + "\r\x1b[J";
        self.painted.clear();
        self.write(&frame)
    }

    fn to_top(&self) -> String {
        match self.painted.len() {
            0 => String::new(),
            n => format!("\x1b[{n}A"),
        }
    }

    fn write(&mut self, frame: &str) -> io::Result<()> {
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }
}

/// Columns and rows of the terminal behind standard output, when it is one.
#[must_use]
pub fn terminal_size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0)
        .then_some((usize::from(size.ws_col), usize::from(size.ws_row)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::testkit::Sample;

    fn sample() -> Snapshot {
        Sample::of(&[
            ("database-schema", vec![]),
            ("api-endpoints", vec![0]),
            ("search", vec![]),
            ("documentation", vec![1, 2]),
        ])
        .done("database-schema", 300)
        .stuck("search", 60, "Which index may be rebuilt?")
        .working("api-endpoints", 95, Some(50))
        .build()
    }

    #[test]
    fn the_start_block_at_80_columns() {
        let snapshot = Sample::chain(3)
            .with("t2", |t| t.role = "testing".into())
            .build();
        insta::assert_snapshot!(start_block(&snapshot, &Page::new(80, false)), @r#"
        run-1  RUNNING  for 0s
        "Create frontend, build backend, setup database"

        3 tasks identified
          t1    feature-development   Make t1 work as it should
          t2    testing               Make t2 work as it should
          t3    feature-development   Make t3 work as it should

        3 phases
        [*] phase 1  0/1  t1
        [ ] phase 2  0/1  t2
        [ ] phase 3  0/1  t3

        instances   at most 5 at once
        completion  unknown (no past tasks to go by, none finished yet)
        "#);
    }

    #[test]
    fn the_region_at_80_columns() {
        insta::assert_snapshot!(region(&sample(), &Page::new(80, false), 40).join("\n"), @r"
        RUNNING  7m  [#######-------------] 37%  1/4  phase 1 of 3
        [+] database-schema DONE               5m
        [*] api-endpoints   WORKING    50%     1m  Edit: src/lib.rs
        [!] search          STUCK              1m  Which index may be rebuilt?
        [ ] documentation   WAITING                Waits for: api-endpoints, search
        time left unknown (an instance waits for an answer)
        ");
    }

    #[test]
    fn the_region_at_160_columns() {
        insta::assert_snapshot!(region(&sample(), &Page::new(160, false), 40).join("\n"), @r"
        RUNNING  7m  [#######-------------] 37%  1/4  phase 1 of 3
        [+] database-schema DONE               5m
        [*] api-endpoints   WORKING    50%     1m  Edit: src/lib.rs
        [!] search          STUCK              1m  Which index may be rebuilt?
        [ ] documentation   WAITING                Waits for: api-endpoints, search
        time left unknown (an instance waits for an answer)
        ");
    }

    #[test]
    fn a_low_terminal_shows_what_matters_most() {
        let lines = region(&sample(), &Page::new(80, false), 5);
        assert_eq!(lines.len(), 5);
        assert!(lines[1].starts_with("[!] search"), "{lines:?}");
        assert!(lines[2].starts_with("[*] api-endpoints"), "{lines:?}");
        assert!(lines[3].contains("and 2 tasks more"), "{lines:?}");
    }

    #[test]
    fn no_line_of_the_region_wraps() {
        for width in [40, 60, 80, 160] {
            for line in region(&sample(), &Page::new(width, false), 20) {
                assert!(columns(&line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn a_repaint_touches_only_what_changed() {
        let mut region = Region::new(Vec::new());
        region.repaint(vec!["a".into(), "b".into()]).unwrap();
        region.out.clear();
        region.repaint(vec!["a".into(), "b".into()]).unwrap();
        assert!(region.out.is_empty());
        region.repaint(vec!["a".into(), "c".into()]).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&region.out),
            "\x1b[2A\r\n\rc\x1b[K\r\n"
        );
        region.out.clear();
        region.repaint(vec!["a".into()]).unwrap();
        assert_eq!(String::from_utf8_lossy(&region.out), "\x1b[2A\r\n\x1b[J");
        region.out.clear();
        region.above("said\n").unwrap();
        assert_eq!(
            String::from_utf8_lossy(&region.out),
            "\x1b[1A\r\x1b[Jsaid\na\r\n"
        );
    }
}
