//! The line for one run.

use super::{AFTERGLOW, Style};
use crate::core::record::Verdict;
use crate::format::statusline::Part;
use crate::view::figures::{TimeLeft, overall, time_left, totals};
use crate::view::lines::short;
use crate::view::page::{Page, Tone, columns};
use crate::view::snapshot::{Snapshot, Standing, TaskView, Word};
use crate::view::{merging, outside, page};

/// What stands between two pieces.
const GAP: &str = "  ";

/// A piece of the line, and how it looks.
type Piece = (Tone, String);

/// The line for one run; none when there is nothing to say. Never wider than the style says:
/// names give way to their number first, then the last of the parts.
#[must_use]
pub fn line(snapshot: &Snapshot, style: &Style) -> Option<String> {
    let head = head(snapshot, style)?;
    let mut parts = if matches!(snapshot.standing, Standing::Finished { .. }) {
        Vec::new()
    } else {
        style.show.clone()
    };
    let with = |parts: &[Part]| -> Vec<Piece> {
        let figures = parts
            .iter()
            .filter_map(|part| figure(*part, snapshot, style));
        head.iter().cloned().chain(figures).collect()
    };
    let mut pieces = with(&parts);
    if width(&pieces) > style.width {
        for part in &mut parts {
            if *part == Part::Tasks {
                *part = Part::Instances;
            }
        }
        parts.dedup();
        pieces = with(&parts);
    }
    while width(&pieces) > style.width && parts.pop().is_some() {
        pieces = with(&parts);
    }
    Some(painted(&pieces, style))
}

fn width(pieces: &[Piece]) -> usize {
    let texts: usize = pieces.iter().map(|(_, text)| columns(text)).sum();
    texts + pieces.len().saturating_sub(1) * columns(GAP)
}

/// The pieces as one text, cut where the width ends.
fn painted(pieces: &[Piece], style: &Style) -> String {
    let page = Page {
        color: style.color,
        width: style.width,
    };
    let mut room = style.width;
    let mut line = String::new();
    for (at, (tone, text)) in pieces.iter().enumerate() {
        let gap = if at == 0 { "" } else { GAP };
        // At least a letter and the mark of the cut.
        let Some(left) = room.checked_sub(columns(gap)).filter(|left| *left >= 2) else {
            break;
        };
        let fitting = page::fit(text, left);
        let was_cut = fitting != *text;
        line.push_str(gap);
        line.push_str(&page.paint(*tone, &fitting));
        room = left - columns(&fitting);
        if was_cut {
            break;
        }
    }
    line
}

/// What the run does, and what needs a person: that is said whatever else is shown.
fn head(snapshot: &Snapshot, style: &Style) -> Option<Vec<Piece>> {
    let signs = &style.symbols;
    let mut pieces: Vec<Piece> = Vec::new();
    match snapshot.standing {
        Standing::Planned | Standing::Unknown => return None,
        Standing::Finished { verdict, closed } => {
            let ended = snapshot.ended_at?;
            if snapshot.taken_at.since(ended) > AFTERGLOW {
                return None;
            }
            if !closed {
                pieces.push((Tone::Busy, format!("{} tidying up", signs.cleanup)));
            }
            let (sign, tone) = match verdict {
                Verdict::Success | Verdict::Partial => (&signs.success, Tone::Good),
                _ => (&signs.error, Tone::Bad),
            };
            let mut text = format!(
                "{sign} {} of {} tasks done",
                snapshot.done(),
                snapshot.tasks.len()
            );
            match merging::set_aside(snapshot).count() {
                0 => {}
                n => text.push_str(&format!(", {n} set aside")),
            }
            pieces.push((tone, text));
            return Some(pieces);
        }
        Standing::Integrating(_) => {
            let doing = merging::activity(snapshot).unwrap_or_else(|| "integrating".to_owned());
            pieces.push((Tone::Busy, format!("{} {doing}", signs.integration)));
        }
        Standing::Running => {
            let what = match snapshot.hold() {
                _ if snapshot.paused => " paused".to_owned(),
                Some(hold) => {
                    let until = outside::moment(hold.until, snapshot.taken_at);
                    format!(" held until {until} ({})", hold.why)
                }
                None => String::new(),
            };
            let tone = if what.is_empty() {
                Tone::Busy
            } else {
                Tone::Warn
            };
            pieces.push((tone, format!("{}{what}", signs.conducting)));
            let doing = merging::activity(snapshot);
            pieces
                .extend(doing.map(|doing| (Tone::Busy, format!("{} {doing}", signs.integration))));
        }
    }
    let troubled = snapshot
        .tasks
        .iter()
        .filter(|t| matches!(t.word(), Word::Stuck | Word::Failed | Word::Lost))
        .map(|t| (t, t.word().text().to_lowercase()));
    let aside = merging::set_aside(snapshot).map(|(t, _)| (t, "set aside".to_owned()));
    for (task, how) in troubled.chain(aside) {
        let text = format!("{} {} {how}", signs.error, task.name);
        pieces.push((Tone::Bad, text));
    }
    Some(pieces)
}

fn at_work(snapshot: &Snapshot) -> impl Iterator<Item = &TaskView> {
    snapshot
        .tasks
        .iter()
        .filter(|t| matches!(t.word(), Word::Working | Word::Starting))
}

fn figure(part: Part, snapshot: &Snapshot, style: &Style) -> Option<Piece> {
    let signs = &style.symbols;
    Some(match part {
        Part::Count => {
            let (done, all) = (snapshot.done(), snapshot.tasks.len());
            (Tone::Good, format!("{} {done}/{all}", signs.complete))
        }
        Part::Instances => {
            let count = at_work(snapshot).count();
            let text = format!("{} {count}", signs.active);
            (count > 0).then_some((Tone::Plain, text))?
        }
        Part::Tasks => {
            let names: Vec<String> = at_work(snapshot)
                .map(|t| match t.percent() {
                    Some(percent) => format!("{} {percent}%", t.name),
                    None => t.name.to_string(),
                })
                .collect();
            let text = format!("{} {}", signs.active, names.join(", "));
            (!names.is_empty()).then_some((Tone::Plain, text))?
        }
        Part::Progress => (Tone::Plain, format!("{}%", overall(snapshot)?.percent)),
        Part::Cost => (Tone::Faint, page::money(totals(snapshot).cost_usd?)),
        Part::Time => match time_left(snapshot) {
            TimeLeft::About { left, .. } => (Tone::Faint, format!("~{} left", short(left))),
            TimeLeft::Over | TimeLeft::Unknown(_) => return None,
        },
        Part::Resources => (Tone::Faint, page::bytes(memory(snapshot)?)),
    })
}

/// Memory of all instances at work, where all of it is known.
fn memory(snapshot: &Snapshot) -> Option<u64> {
    let parts: Option<Vec<u64>> = snapshot
        .active()
        .map(|t| t.instance()?.resources.memory_bytes)
        .collect();
    parts?.into_iter().reduce(|a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::record::QueueWork;
    use crate::view::testkit::{Sample, oid};

    #[test]
    fn the_merge_queue_is_shown_while_it_works_and_what_it_set_aside() {
        let busy = Sample::flat(3)
            .working("t3", 5, None)
            .done("t1", 10)
            .done("t2", 10)
            .conflict("t2", &["a"], &["t1"])
            .merged(&[("t1", '1')])
            .work(QueueWork::Verify { commit: oid('1') });
        let shown = line(&busy.build(), &Style::default()).unwrap();
        assert!(shown.contains("⇄ verifying 1"), "{shown}");
        assert!(shown.contains("✗ t2 set aside"), "{shown}");
        let ended = Sample::flat(1)
            .done("t1", 10)
            .red("t1", &[])
            .finished(Verdict::Failed);
        let shown = line(&ended.build(), &Style::default()).unwrap();
        assert_eq!(shown, "✗ 1 of 1 tasks done, 1 set aside");
    }

    #[test]
    fn what_does_not_fit_goes_and_the_line_never_wraps() {
        let snapshot = Sample::flat(4)
            .done("t1", 10)
            .working("t2", 5, Some(50))
            .working("t3", 5, None)
            .failed("t4", 5, "x")
            .build();
        let at = |width: usize, color: bool| {
            let style = Style {
                width,
                color,
                ..Style::default()
            };
            line(&snapshot, &style).unwrap()
        };
        let wide = at(160, false);
        assert!(
            wide.starts_with("♪  ✗ t4 failed  ✓ 1/4  ▶ t2 50%, t3"),
            "{wide}"
        );
        let middle = at(columns(&wide) - 1, false);
        assert!(middle.contains("✓ 1/4  ▶ 2"), "{middle}");
        assert_eq!(at(24, false), "♪  ✗ t4 failed  ✓ 1/4");
        assert_eq!(at(10, false), "♪  ✗ t4 f…");
        for width in 10..170 {
            let plain = at(width, false);
            assert!(columns(&plain) <= width, "{width}: {plain}");
            let mut screen = vt100::Parser::default();
            screen.process(at(width, true).as_bytes());
            assert_eq!(
                screen.screen().contents().trim_end(),
                plain
                    .trim_end()
                    .chars()
                    .take(80)
                    .collect::<String>()
                    .trim_end(),
                "{width}"
            );
        }
    }
}
