//! `orchestra-statusline`: one line of live status at the foot of Claude Code.
//!
//! It only reads, and prints nothing where no orchestration runs. Configured by its own flags
//! in the `statusLine` setting:
//!
//! - `--symbols unicode|ascii` or `--symbols conducting=♪,active=▶,…`
//! - `--show count,tasks,progress,cost,time,resources` (these, in this order)

use serde_json::Value;

use super::edge::World;
use super::{Outcome, place};
use crate::conduct;
use crate::core::record::Verdict;
use crate::core::time::{Millis, Timestamp};
use crate::store::modified;
use crate::view::figures::{TimeLeft, overall, time_left, totals};
use crate::view::lines::short;
use crate::view::merging;
use crate::view::snapshot::{Snapshot, Standing, Word};
use crate::view::{outside, page};

/// How long the end of a run is shown.
const AFTERGLOW: Millis = Millis(5 * 60 * 1000);

/// The signs of the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbols {
    /// A run is conducted.
    pub conducting: String,
    /// An instance works.
    pub active: String,
    /// An instance is done.
    pub complete: String,
    /// Results are being merged.
    pub integration: String,
    /// The workspace is being tidied.
    pub cleanup: String,
    /// A good end.
    pub success: String,
    /// A bad end, or something that needs a person.
    pub error: String,
}

impl Symbols {
    /// For terminals that can.
    #[must_use]
    pub fn unicode() -> Self {
        Self::of(["♪", "▶", "✓", "⇄", "⌫", "✔", "✗"])
    }

    /// For all others.
    #[must_use]
    pub fn ascii() -> Self {
        Self::of(["~", ">", "+", "=", "-", "+", "!"])
    }

    fn of(signs: [&str; 7]) -> Self {
        let [
            conducting,
            active,
            complete,
            integration,
            cleanup,
            success,
            error,
        ] = signs.map(str::to_owned);
        Self {
            conducting,
            active,
            complete,
            integration,
            cleanup,
            success,
            error,
        }
    }

    /// `unicode`, `ascii`, or `NAME=SIGN,…` over the first.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "unicode" => return Some(Self::unicode()),
            "ascii" => return Some(Self::ascii()),
            _ => {}
        }
        let mut symbols = Self::unicode();
        for pair in text.split(',') {
            let (name, sign) = pair.split_once('=')?;
            let place = match name {
                "conducting" => &mut symbols.conducting,
                "active" => &mut symbols.active,
                "complete" => &mut symbols.complete,
                "integration" => &mut symbols.integration,
                "cleanup" => &mut symbols.cleanup,
                "success" => &mut symbols.success,
                "error" => &mut symbols.error,
                _ => return None,
            };
            *place = page::one_line(sign);
        }
        Some(symbols)
    }
}

/// A part of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Tasks done of all.
    Count,
    /// Names of the tasks in work.
    Tasks,
    /// Percent.
    Progress,
    /// Money.
    Cost,
    /// Time left.
    Time,
    /// Memory of the instances.
    Resources,
}

/// What the line is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Style {
    /// The signs.
    pub symbols: Symbols,
    /// The parts, in order.
    pub show: Vec<Part>,
    /// Columns at most.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            symbols: Symbols::unicode(),
            show: vec![
                Part::Count,
                Part::Tasks,
                Part::Progress,
                Part::Time,
                Part::Cost,
            ],
            width: 80,
        }
    }
}

impl Style {
    /// From the flags.
    ///
    /// # Errors
    /// What is not understood.
    pub fn parse(args: &[String], width: Option<usize>) -> Result<Self, String> {
        let mut style = Self::default();
        if let Some(width) = width {
            style.width = width.max(10);
        }
        let mut args = args.iter();
        while let Some(flag) = args.next() {
            let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--symbols" => {
                    style.symbols = Symbols::parse(value).ok_or_else(|| {
                        format!(
                            "--symbols {value}: unicode, ascii, or NAME=SIGN,… with the names \
                             conducting, active, complete, integration, cleanup, success, error"
                        )
                    })?;
                }
                "--show" => {
                    style.show = value
                        .split(',')
                        .map(|word| {
                            Ok(match word {
                                "count" => Part::Count,
                                "tasks" => Part::Tasks,
                                "progress" => Part::Progress,
                                "cost" => Part::Cost,
                                "time" => Part::Time,
                                "resources" => Part::Resources,
                                _ => {
                                    return Err(format!(
                                        "--show {word}: count, tasks, progress, cost, time and \
                                         resources are known"
                                    ));
                                }
                            })
                        })
                        .collect::<Result<_, _>>()?;
                }
                _ => return Err(format!("{flag} is not known; --symbols and --show are")),
            }
        }
        Ok(style)
    }
}

/// The whole program.
#[must_use]
pub fn hook(world: &World) -> Outcome {
    let width = world.var("COLUMNS").and_then(|text| text.parse().ok());
    let style = match Style::parse(&world.args, width) {
        Ok(style) => style,
        Err(why) => return Outcome::Fault(why),
    };
    // Without a usable event the line is about where the program was started.
    let event: Value = serde_json::from_slice(&world.input).unwrap_or_default();
    let folder = ["/workspace/current_dir", "/workspace/project_dir", "/cwd"]
        .iter()
        .find_map(|path| event.pointer(path)?.as_str())
        .unwrap_or_default();
    let Some((_, layout)) = place::layout(&world.folder(folder)) else {
        return Outcome::Silent;
    };
    let now = conduct::now();
    // Newest first; of older ones only those that still run matter.
    let shown = layout.runs().into_iter().rev().find_map(|run| {
        if !run.settings().exists() || is_old_news(&run, now) {
            return None;
        }
        let snapshot = Snapshot::load(&run, now).ok()?;
        line(&snapshot, &style)
    });
    shown.map_or(Outcome::Silent, Outcome::Line)
}

/// Ended so long ago that it is not shown; told without reading its journal.
fn is_old_news(run: &crate::store::layout::RunDir, now: Timestamp) -> bool {
    modified(&run.results()).is_some_and(|at| now.since(at) > AFTERGLOW)
}

/// The line for one run; none when there is nothing to say.
#[must_use]
pub fn line(snapshot: &Snapshot, style: &Style) -> Option<String> {
    let signs = &style.symbols;
    let mut parts: Vec<String> = Vec::new();
    match snapshot.standing {
        Standing::Planned | Standing::Unknown => return None,
        Standing::Finished { verdict, closed } => {
            let ended = snapshot.ended_at?;
            if snapshot.taken_at.since(ended) > AFTERGLOW {
                return None;
            }
            if !closed {
                parts.push(format!("{} tidying up", signs.cleanup));
            }
            let good = matches!(verdict, Verdict::Success | Verdict::Partial);
            let sign = if good { &signs.success } else { &signs.error };
            let mut text = format!(
                "{sign} {} of {} tasks done",
                snapshot.done(),
                snapshot.tasks.len()
            );
            match merging::set_aside(snapshot).count() {
                0 => {}
                n => text.push_str(&format!(", {n} set aside")),
            }
            parts.push(text);
        }
        Standing::Integrating(_) => {
            let doing = merging::activity(snapshot).unwrap_or_else(|| "integrating".to_owned());
            parts.push(format!("{} {doing}", signs.integration));
            parts.extend(figures(snapshot, style));
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
            parts.push(format!("{}{what}", signs.conducting));
            let doing = merging::activity(snapshot);
            parts.extend(doing.map(|doing| format!("{} {doing}", signs.integration)));
            parts.extend(figures(snapshot, style));
        }
    }
    Some(page::fit(&parts.join("  "), style.width))
}

fn figures(snapshot: &Snapshot, style: &Style) -> Vec<String> {
    let signs = &style.symbols;
    let mut parts = Vec::new();
    // What needs a person comes first, whatever else is shown.
    let troubled: Vec<String> = snapshot
        .tasks
        .iter()
        .filter(|t| matches!(t.word(), Word::Stuck | Word::Failed | Word::Lost))
        .map(|t| {
            format!(
                "{} {} {}",
                signs.error,
                t.name,
                t.word().text().to_lowercase()
            )
        })
        .collect();
    parts.extend(troubled);
    let aside = merging::set_aside(snapshot);
    parts.extend(aside.map(|(t, _)| format!("{} {} set aside", signs.error, t.name)));
    for part in &style.show {
        let text = match part {
            Part::Count => Some(format!(
                "{} {}/{}",
                signs.complete,
                snapshot.done(),
                snapshot.tasks.len()
            )),
            Part::Tasks => {
                let names: Vec<String> = snapshot
                    .tasks
                    .iter()
                    .filter(|t| matches!(t.word(), Word::Working | Word::Starting))
                    .map(|t| match t.percent() {
                        Some(percent) => format!("{} {percent}%", t.name),
                        None => t.name.to_string(),
                    })
                    .collect();
                (!names.is_empty()).then(|| format!("{} {}", signs.active, names.join(", ")))
            }
            Part::Progress => overall(snapshot).map(|o| format!("{}%", o.percent)),
            Part::Cost => totals(snapshot).cost_usd.map(page::money),
            Part::Time => match time_left(snapshot) {
                TimeLeft::About { left, .. } => Some(format!("~{} left", short(left))),
                TimeLeft::Over | TimeLeft::Unknown(_) => None,
            },
            Part::Resources => memory(snapshot).map(page::bytes),
        };
        parts.extend(text);
    }
    parts
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

    fn style(args: &[&str]) -> Result<Style, String> {
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        Style::parse(&args, Some(60))
    }

    #[test]
    fn flags_choose_signs_and_parts() {
        let chosen = style(&["--symbols", "ascii", "--show", "progress,cost"]).unwrap();
        assert_eq!(chosen.symbols, Symbols::ascii());
        assert_eq!(chosen.show, [Part::Progress, Part::Cost]);
        assert_eq!(chosen.width, 60);
        let own = style(&["--symbols", "active=*,error=X"]).unwrap();
        assert_eq!(
            (own.symbols.active.as_str(), own.symbols.error.as_str()),
            ("*", "X")
        );
        for bad in [
            &["--show", "all"][..],
            &["--symbols", "pretty"],
            &["--symbols", "nothing=x"],
            &["--show"],
            &["--more", "x"],
        ] {
            assert!(style(bad).is_err(), "{bad:?}");
        }
    }

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
    fn where_nothing_runs_nothing_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let world = World {
            cwd: dir.path().to_owned(),
            ..World::default()
        };
        assert_eq!(hook(&world), Outcome::Silent);
        std::fs::create_dir_all(dir.path().join(".git")).unwrap();
        std::fs::create_dir_all(dir.path().join(".claude/orchestration/run-1")).unwrap();
        assert_eq!(hook(&world), Outcome::Silent);
    }
}
