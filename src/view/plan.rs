//! A plan, and what is wrong with one, as text for a terminal or a log.

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::core::doubt::Doubt;
use crate::core::estimate::{PlanEstimate, estimate};
use crate::core::history::{Learned, NotEnough};
use crate::core::id::listed;
use crate::core::plan::{Emergency, Faults, Note, Priority, TaskIx, ValidPlan};

/// How to show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether to use colours and bold letters.
    pub color: bool,
    /// The width of the page in columns; less than 40 counts as 40.
    pub width: usize,
    /// How many tasks may run at once, for the estimate.
    pub workers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            color: false,
            width: 100,
            workers: 5,
        }
    }
}

/// Requests and descriptions longer than this are cut, in characters.
const SHOWN_TEXT: usize = 300;

/// A plan as text: phases, tasks with their subagents, who waits for whom and why, and an
/// estimate where the plan gives one. Ends with a newline.
#[must_use]
pub fn render(plan: &ValidPlan, notes: &[Note], options: &Options) -> String {
    render_with(plan, notes, &Learned::default(), options)
}

/// The same with what earlier runs of the repository teach about it.
#[must_use]
pub fn render_with(
    plan: &ValidPlan,
    notes: &[Note],
    learned: &Learned,
    options: &Options,
) -> String {
    render_doubts(plan, notes, &[], learned, options)
}

/// The same with what is doubtful about it.
#[must_use]
pub fn render_doubts(
    plan: &ValidPlan,
    notes: &[Note],
    doubts: &[Doubt],
    learned: &Learned,
    options: &Options,
) -> String {
    let mut page = Page::new(options);
    if let Some(emergency) = plan.emergency() {
        page.emergency(plan, emergency);
    }
    if let Some(request) = plan.request() {
        page.paragraph(0, "Request: ", &shown(request), Style::new());
    }
    page.size(plan, options.workers.max(1));
    for (number, phase) in plan.phases().iter().enumerate() {
        page.phase(plan, learned, number + 1, phase);
    }
    page.sequence(plan);
    page.estimate(plan, learned, options.workers.max(1));
    page.learned(plan, learned);
    page.doubts(doubts);
    // What is asked about needs no note beside it.
    let notes: Vec<&Note> = notes
        .iter()
        .filter(|note| !doubts.iter().any(|doubt| doubt.text == note.message))
        .collect();
    if !notes.is_empty() {
        page.heading("Notes");
        for note in notes {
            page.paragraph(
                2,
                "",
                &format!("{}: {}", note.place, shown(&note.message)),
                Style::new(),
            );
        }
    }
    page.text
}

/// Faults as text, each with its place and remedy. Ends with a newline.
#[must_use]
pub fn render_faults(faults: &Faults, options: &Options) -> String {
    let mut page = Page::new(options);
    let count = faults.count();
    page.line(&page.paint(
        page.bad(),
        &format!("The plan has {}:", counted(count, "fault")),
    ));
    for fault in faults.list() {
        page.text.push('\n');
        page.line(&format!(
            "  {}",
            page.paint(Style::new().bold(), &shown(&fault.place))
        ));
        page.paragraph(4, "", &format!("{}.", fault.problem), Style::new());
        page.paragraph(4, "→ ", &format!("{}.", fault.remedy), page.good());
    }
    if faults.unlisted() > 0 {
        page.line(&format!("\n  and {} more", faults.unlisted()));
    }
    page.text
}

struct Page {
    text: String,
    color: bool,
    width: usize,
}

impl Page {
    fn new(options: &Options) -> Self {
        Self {
            text: String::new(),
            color: options.color,
            width: options.width.max(40),
        }
    }

    fn bad(&self) -> Style {
        AnsiColor::Red.on_default().bold()
    }

    fn good(&self) -> Style {
        AnsiColor::Green.on_default()
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.color {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn heading(&mut self, text: &str) {
        self.text.push('\n');
        self.line(&self.paint(Style::new().bold(), text));
    }

    /// Wraps `text` after `label`, further lines below the text. Widths are those of the
    /// terminal; styles are put on afterwards, line by line.
    fn paragraph(&mut self, indent: usize, label: &str, text: &str, style: Style) {
        let room = self.width.saturating_sub(indent + label.width()).max(20);
        for (number, line) in wrap(text, room).iter().enumerate() {
            let label = if number == 0 {
                label.to_owned()
            } else {
                " ".repeat(label.width())
            };
            self.line(&format!(
                "{}{label}{}",
                " ".repeat(indent),
                self.paint(style, line)
            ));
        }
    }

    fn emergency(&mut self, plan: &ValidPlan, emergency: &Emergency) {
        let mut reasons = Vec::new();
        if !emergency.critical.is_empty() {
            reasons.push(format!("critical: {}", names(plan, &emergency.critical)));
        }
        if !emergency.words.is_empty() {
            let words: Vec<String> = emergency
                .words
                .iter()
                .map(|word| format!("\"{word}\""))
                .collect();
            reasons.push(format!("the request says {}", words.join(", ")));
        }
        self.paragraph(
            0,
            "EMERGENCY RUN ",
            &format!("({})", reasons.join("; ")),
            self.bad(),
        );
    }

    fn size(&mut self, plan: &ValidPlan, workers: usize) {
        let widest = plan.phases().iter().map(Vec::len).max().unwrap_or(0);
        let at_once = match widest.min(workers) {
            1 => "one at a time".to_owned(),
            most => format!("up to {most} at once"),
        };
        let line = format!(
            "{} in {}, {at_once}",
            counted(plan.len(), "task"),
            counted(plan.phases().len(), "phase")
        );
        self.line(&line);
    }

    fn phase(&mut self, plan: &ValidPlan, learned: &Learned, number: usize, phase: &[TaskIx]) {
        let together = if phase.len() > 1 {
            " (in parallel)"
        } else {
            ""
        };
        self.heading(&format!("Phase {number}{together}"));
        let longest = phase.iter().map(|ix| plan.name(*ix).as_str().len()).max();
        let column = longest.unwrap_or(0).min(32);
        for ix in phase {
            let task = plan.task(*ix);
            let mut facts = vec![task.role().to_owned()];
            if task.priority != Priority::default() {
                facts.push(format!("priority {}", task.priority));
            }
            if let Some(minutes) = task.estimated_minutes {
                facts.push(format!("about {minutes} min"));
            } else if let Some(guess) = learned.durations.get(&task.name) {
                facts.push(format!("about {} min, {}", guess.minutes, guess.basis()));
            }
            if let Some(number) = task.issue_number {
                facts.push(format!("issue #{number}"));
            }
            let name = format!("{:column$}", task.name.as_str());
            let style = if task.priority == Priority::Critical {
                self.bad()
            } else {
                Style::new().bold()
            };
            self.line(&format!(
                "  {}  {}",
                self.paint(style, &name),
                facts.join(", ")
            ));
            if let Some(description) = &task.description {
                self.paragraph(6, "", &shown(description), Style::new().dimmed());
            }
            if let Some(NotEnough { failed, tries }) = learned.stronger.get(&task.name) {
                let why = format!(
                    "the stronger model: {failed} of {tries} tries at {} tasks here failed their \
                     gate without it",
                    task.kind
                );
                self.paragraph(6, "begins with ", &why, Style::new());
            }
            let declared = plan.declared_deps(*ix);
            if !declared.is_empty() {
                self.paragraph(6, "needs ", &names(plan, declared), Style::new());
            }
            let put_before: Vec<TaskIx> = plan
                .sequenced()
                .iter()
                .filter(|edge| edge.after == *ix)
                .map(|edge| edge.before)
                .collect();
            if !put_before.is_empty() {
                self.paragraph(
                    6,
                    "waits for ",
                    &format!("{} (same files)", names(plan, &put_before)),
                    Style::new(),
                );
            }
        }
    }

    fn sequence(&mut self, plan: &ValidPlan) {
        if !plan.sequenced().is_empty() {
            self.heading("Put in sequence, because they expect to touch the same files");
        }
        for edge in plan.sequenced() {
            let globs: Vec<String> = edge
                .because
                .iter()
                .map(|(one, other)| {
                    if one == other {
                        shown(one)
                    } else {
                        format!("{} meets {}", shown(other), shown(one))
                    }
                })
                .collect();
            let why = if globs.is_empty() {
                String::new()
            } else {
                format!(": {}", globs.join(", "))
            };
            let line = format!(
                "{} waits for {}{why}",
                plan.name(edge.after),
                plan.name(edge.before)
            );
            self.paragraph(2, "", &line, Style::new());
        }
        let silent = plan
            .tasks()
            .iter()
            .filter(|task| task.files.is_empty())
            .count();
        if silent > 0 && plan.len() > 1 {
            let line = if silent == plan.len() {
                "cannot be foreseen, as no task names its files".to_owned()
            } else {
                let which = counted(silent, "task");
                format!(
                    "cannot be foreseen for {which} of {} without files",
                    plan.len()
                )
            };
            self.text.push('\n');
            self.paragraph(0, "Overlaps: ", &line, Style::new());
        }
    }

    fn learned(&mut self, plan: &ValidPlan, learned: &Learned) {
        let line = match learned.price {
            Some(price) => format!(
                "about ${:.2} (${:.2} per task, from {} tasks here)",
                price.all(plan.len()),
                price.usd,
                price.tasks
            ),
            None => "unknown (too few past tasks here)".to_owned(),
        };
        self.paragraph(0, "Cost: ", &line, Style::new());
    }

    fn doubts(&mut self, doubts: &[Doubt]) {
        let (asking, said): (Vec<&Doubt>, Vec<&Doubt>) = doubts.iter().partition(|d| d.asks);
        for (heading, doubts) in [("Doubtful", asking), ("Worth knowing", said)] {
            if doubts.is_empty() {
                continue;
            }
            self.heading(heading);
            for doubt in doubts {
                self.paragraph(2, "", &format!("{}.", shown(&doubt.text)), Style::new());
                self.paragraph(4, "→ ", &format!("{}.", shown(&doubt.remedy)), self.good());
            }
        }
    }

    fn estimate(&mut self, plan: &ValidPlan, learned: &Learned, workers: usize) {
        let line = match estimate(plan, learned, workers) {
            PlanEstimate::Known {
                in_sequence,
                at_best,
                with_workers,
                learned,
            } => {
                let basis = match learned {
                    0 => "sums of the plan's own estimates",
                    n if n == plan.len() => "from how long past tasks here took",
                    _ => "from the plan's own estimates and how long past tasks here took",
                };
                let best = if at_best < with_workers {
                    format!(", {at_best} min with enough workers")
                } else {
                    String::new()
                };
                format!(
                    "{with_workers} min with {workers} at once{best}, {in_sequence} min one after the \
                     other ({basis}; merging and verifying not included)"
                )
            }
            PlanEstimate::Unknown { given: 0 } => {
                "unknown (the plan gives none, and there are too few past tasks here)".to_owned()
            }
            PlanEstimate::Unknown { given } => {
                let all = plan.len();
                format!("unknown (something is known of {given} of {all} tasks only)")
            }
        };
        self.text.push('\n');
        self.paragraph(0, "Estimate: ", &line, Style::new());
    }
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn names(plan: &ValidPlan, list: &[TaskIx]) -> String {
    listed(list.iter().map(|ix| plan.name(*ix)))
}

/// A text of the plan made fit to be shown: on one line, without anything that a terminal
/// obeys or that turns the direction of writing, cut when long.
fn shown(text: &str) -> String {
    let mut line = String::new();
    let mut count = 0;
    for word in text.split_whitespace() {
        if count > 0 {
            line.push(' ');
            count += 1;
        }
        for c in word.chars() {
            if count >= SHOWN_TEXT {
                line.push('…');
                return line;
            }
            let obeyed = c.is_control()
                || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            line.push(if obeyed { '\u{fffd}' } else { c });
            count += 1;
        }
    }
    line
}

/// Breaks at blanks so that no line is wider than `room`, and inside words that are wider.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if used > 0 && used + 1 + word.width() > room {
            lines.push(String::new());
            used = 0;
        }
        let Some(mut line) = lines.pop() else {
            break;
        };
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        for c in word.chars() {
            let width = c.width().unwrap_or(0);
            if used > 0 && used + width > room {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(c);
            used += width;
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests;
