//! The page that text is laid out on: its width, and whether it has colours.
//!
//! Text of instances and requests comes from outside. [`one_line`] is the gate through which
//! it goes: no control character, and so no escape sequence, ever reaches a terminal.

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How to show something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Whether to use colours and bold letters.
    pub color: bool,
    /// The width in columns; at least 40 is assumed.
    pub width: usize,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            color: false,
            width: 80,
        }
    }
}

/// What a piece of text means, and so how it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// A heading, a name.
    Strong,
    /// Beside the point.
    Faint,
    /// Went well.
    Good,
    /// Goes on.
    Busy,
    /// Wants attention.
    Warn,
    /// Went wrong.
    Bad,
}

impl Tone {
    fn style(self) -> Style {
        let color = |c: AnsiColor| Style::new().fg_color(Some(c.into()));
        match self {
            Self::Plain => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Faint => Style::new().dimmed(),
            Self::Good => color(AnsiColor::Green),
            Self::Busy => color(AnsiColor::Cyan),
            Self::Warn => color(AnsiColor::Yellow).bold(),
            Self::Bad => color(AnsiColor::Red).bold(),
        }
    }
}

impl Page {
    /// A page of that width, at least 40 columns.
    #[must_use]
    pub fn new(width: usize, color: bool) -> Self {
        Self {
            color,
            width: width.max(40),
        }
    }

    /// Text in a tone; as it is on a page without colours.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.color || tone == Tone::Plain || text.is_empty() {
            return text.to_owned();
        }
        let style = tone.style();
        format!("{style}{text}{style:#}")
    }

    /// A heading.
    #[must_use]
    pub fn strong(&self, text: &str) -> String {
        self.paint(Tone::Strong, text)
    }

    /// Text beside the point.
    #[must_use]
    pub fn faint(&self, text: &str) -> String {
        self.paint(Tone::Faint, text)
    }
}

/// The columns that text without colours takes up.
#[must_use]
pub fn columns(text: &str) -> usize {
    text.width()
}

/// Text from outside as one line: control characters and line ends become single blanks.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(512));
    for c in text.chars() {
        let hidden = c.is_control()
            // Characters that reorder or hide text: direction marks and the like.
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if !(hidden || c.is_whitespace()) {
            line.push(c);
        } else if (c.is_whitespace() || c.is_control()) && !line.ends_with(' ') && !line.is_empty()
        {
            line.push(' ');
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// Cuts text to at most `width` columns; what was cut is told by an ellipsis.
#[must_use]
pub fn fit(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if used + w + 1 > width {
            break;
        }
        used += w;
        kept.push(c);
    }
    kept.truncate(kept.trim_end().len());
    if width > 0 {
        kept.push('…');
    }
    kept
}

/// Text cut or filled with blanks to exactly `width` columns.
#[must_use]
pub fn cell(text: &str, width: usize) -> String {
    let mut text = fit(text, width);
    let used = columns(&text);
    text.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
    text
}

/// As [`cell`], but filled from the left.
#[must_use]
pub fn cell_right(text: &str, width: usize) -> String {
    let text = fit(text, width);
    let fill = width.saturating_sub(columns(&text));
    format!("{}{text}", " ".repeat(fill))
}

/// Text from outside in lines of at most `width` columns, broken at blanks where possible.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(10);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in one_line(text).split(' ') {
        let mut word = word.to_owned();
        if !line.is_empty() && columns(&line) + 1 + columns(&word) > width {
            lines.push(std::mem::take(&mut line));
        }
        while columns(&word) > width {
            let mut used = 0;
            let at = word
                .char_indices()
                .find(|(_, c)| {
                    used += c.width().unwrap_or(0);
                    used > width
                })
                .map_or(word.len(), |(at, _)| at);
            let rest = word.split_off(at);
            lines.push(std::mem::replace(&mut word, rest));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// A bar of `width` columns, `percent` of it filled.
#[must_use]
pub fn bar(percent: u8, width: usize) -> String {
    let filled = (width * usize::from(percent.min(100))) / 100;
    format!("{}{}", "#".repeat(filled), "-".repeat(width - filled))
}

/// Bytes for people: `512 B`, `1.5 GB` (powers of 1000).
#[must_use]
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let mut unit = "B";
    let mut tenths = u128::from(n) * 10;
    for next in UNITS {
        if tenths < 10_000 {
            break;
        }
        tenths /= 1000;
        unit = next;
    }
    if tenths < 100 {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    } else {
        format!("{} {unit}", tenths / 10)
    }
}

/// A count for people: `950`, `12.3k`, `4.1M`.
#[must_use]
pub fn count(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{}.{}k", n / 1000, n % 1000 / 100),
        _ => format!("{}.{}M", n / 1_000_000, n % 1_000_000 / 100_000),
    }
}

/// Money: `$0.42`.
#[must_use]
pub fn money(usd: f64) -> String {
    format!("${usd:.2}")
}

/// `1 task`, `2 tasks`.
#[must_use]
pub fn plural(n: usize, word: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {word}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_reaches_a_terminal_as_a_command() {
        assert_eq!(one_line("a\x1b[31mb\r\n\tc  d\u{202e}e"), "a [31mb c de");
        assert_eq!(one_line("\n\n"), "");
    }

    #[test]
    fn cells_have_the_asked_width_whatever_is_in_them() {
        for text in [
            "",
            "abc",
            "a long text that is cut",
            "日本語のテキスト",
            "🎉🎉🎉🎉🎉🎉",
        ] {
            for width in [1, 5, 8] {
                assert_eq!(columns(&cell(text, width)), width, "{text} {width}");
                assert_eq!(columns(&cell_right(text, width)), width, "{text} {width}");
            }
        }
        assert_eq!(fit("abcdef", 4), "abc…");
    }

    #[test]
    fn wrapped_lines_are_never_too_wide() {
        let text = "some words and averyveryverylongwordthatfitsnowhere, 日本語のテキストです";
        let lines = wrap(text, 12);
        assert!(lines.iter().all(|l| columns(l) <= 12), "{lines:?}");
        assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
    }

    #[test]
    fn figures_read_well() {
        for (n, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1500, "1.5 kB"),
            (25_300_000, "25 MB"),
            (1_500_000_000, "1.5 GB"),
        ] {
            assert_eq!(bytes(n), text);
        }
        assert_eq!(count(12_345), "12.3k");
        assert_eq!(count(4_100_000), "4.1M");
        assert_eq!(bar(50, 10), "#####-----");
        assert_eq!(money(0.415), "$0.41");
    }
}
