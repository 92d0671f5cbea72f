//! Was a conflict resolved, and nothing but the conflict? Pure decisions over texts.
//!
//! Git's own merge of the two sides leaves markers round the places that it cannot decide.
//! What lies outside of them is decided: a resolution may replace each place by whatever is
//! right, and must keep the rest, line for line and in order.

/// Length of a marker, unless a file's attributes say otherwise.
const USUAL_SIZE: usize = 7;

/// Most places of one kind that are named for one file.
const NAMED_PLACES: usize = 5;

/// A line of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineAt {
    /// Its number, from 1.
    pub(crate) number: usize,
    /// What it holds.
    pub(crate) text: String,
}

/// A text that git merged as far as it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AutoMerged<'a> {
    /// The decided lines round the places in conflict: one list more than there are places.
    /// Each line with its number.
    decided: Vec<Vec<(usize, &'a str)>>,
    /// Length of the markers.
    size: usize,
}

impl<'a> AutoMerged<'a> {
    /// Takes a merged text apart. `ours` and `theirs` are the labels that git was given: by
    /// them its markers are told from those that a file holds for other reasons.
    pub(crate) fn read(text: &'a str, ours: &str, theirs: &str) -> Self {
        let mut decided = vec![Vec::new()];
        let mut size = None;
        let mut inside = false;
        for (number, line) in (1..).zip(text.lines()) {
            if !inside && let Some(length) = begins(line, ours) {
                inside = true;
                size.get_or_insert(length);
            } else if inside && labelled(line, '>', theirs).is_some() {
                inside = false;
                decided.push(Vec::new());
            } else if !inside && let Some(last) = decided.last_mut() {
                last.push((number, line));
            }
        }
        Self {
            decided,
            size: size.unwrap_or(USUAL_SIZE),
        }
    }

    /// Whether there are places that git marked.
    pub(crate) fn has_places(&self) -> bool {
        self.decided.len() > 1
    }

    /// The first decided line that a resolution does not hold where it belongs; none when all
    /// is kept.
    pub(crate) fn strayed(&self, resolved: &str) -> Option<LineAt> {
        let lines: Vec<&str> = resolved.lines().collect();
        let (first, last) = (self.decided.first()?, self.decided.last()?);
        let line = |(number, text): &(usize, &str)| LineAt {
            number: *number,
            text: (*text).to_owned(),
        };
        if !self.has_places() {
            let wrong = (0..first.len().max(lines.len()))
                .find(|n| first.get(*n).map(|(_, text)| text) != lines.get(*n))?;
            return Some(first.get(wrong).map_or_else(
                || LineAt {
                    number: wrong + 1,
                    text: lines.get(wrong).copied().unwrap_or_default().to_owned(),
                },
                line,
            ));
        }
        for (n, expected) in first.iter().enumerate() {
            if lines.get(n) != Some(&expected.1) {
                return Some(line(expected));
            }
        }
        let mut end = lines.len();
        for expected in last.iter().rev() {
            let at = end.checked_sub(1).filter(|at| *at >= first.len());
            match at {
                Some(at) if lines.get(at) == Some(&expected.1) => end = at,
                _ => return Some(line(expected)),
            }
        }
        let mut at = first.len();
        for segment in self.decided.get(1..self.decided.len() - 1)? {
            let room = lines.get(at..end).unwrap_or_default();
            match place_of(segment, room) {
                Ok(found) => at += found + segment.len(),
                Err(held) => return segment.get(held).map(line),
            }
        }
        None
    }

    /// The lines of a resolution that are markers, but for those that one of the two sides
    /// holds as they stand.
    pub(crate) fn markers_left(&self, resolved: &str, sides: [&str; 2]) -> Vec<LineAt> {
        let is_old = |line: &str| sides.iter().any(|side| side.lines().any(|l| l == line));
        (1..)
            .zip(resolved.lines())
            .filter(|(_, line)| self.is_marker(line) && !is_old(line))
            .take(NAMED_PLACES)
            .map(|(number, text)| LineAt {
                number,
                text: text.to_owned(),
            })
            .collect()
    }

    fn is_marker(&self, line: &str) -> bool {
        let run = |sign: char| line.chars().take_while(|c| *c == sign).count() == self.size;
        let rest = line.get(self.size..).unwrap_or_default();
        if run('=') {
            return rest.trim_end().is_empty();
        }
        (run('<') || run('>') || run('|')) && (rest.is_empty() || rest.starts_with(' '))
    }
}

/// Where a segment stands for the first time, else how much of it does at most.
fn place_of(segment: &[(usize, &str)], lines: &[&str]) -> Result<usize, usize> {
    if segment.is_empty() {
        return Ok(0);
    }
    let mut most = 0;
    for start in 0..lines.len() {
        let there = lines.get(start..).unwrap_or_default();
        let held = segment
            .iter()
            .zip(there)
            .take_while(|((_, expected), line)| expected == *line)
            .count();
        if held == segment.len() {
            return Ok(start);
        }
        most = most.max(held);
    }
    Err(most)
}

/// The length of the marker that begins a place: its label is `ours`, or a commit that stood
/// in for it.
fn begins(line: &str, ours: &str) -> Option<usize> {
    let label = line.trim_start_matches('<').strip_prefix(' ')?;
    let id = label.split(':').next().unwrap_or(label);
    let stands_in = id.len() == ours.len() && id.bytes().all(|b| b.is_ascii_hexdigit());
    labelled(line, '<', if stands_in { id } else { ours })
}

/// The length of a marker with this label, perhaps followed by a path.
fn labelled(line: &str, sign: char, label: &str) -> Option<usize> {
    let rest = line.trim_start_matches(sign);
    let length = line.len() - rest.len();
    let after = rest.strip_prefix(' ')?.strip_prefix(label)?;
    (length > 0 && (after.is_empty() || after.starts_with(':'))).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AUTO: &str = "a\n<<<<<<< O\nx\n=======\ny\n>>>>>>> T\nb\nc\n<<<<<<< O:f\n=======\nz\n\
                        >>>>>>> T:g\nd\n";

    fn stray(resolved: &str) -> Option<(usize, String)> {
        let found = AutoMerged::read(AUTO, "O", "T").strayed(resolved);
        found.map(|line| (line.number, line.text))
    }

    #[test]
    fn each_place_may_become_anything_and_the_rest_stays() {
        for good in [
            "a\nx\nb\nc\nz\nd\n",
            "a\nb\nc\nd\n",
            "a\nx\ny\nb\nc\nd",
            "a\nb\nb\nc\nb\nd\nd\n",
            "a\r\nx\r\nb\r\nc\r\nd\r\n",
        ] {
            assert_eq!(stray(good), None, "{good:?}");
        }
        for (bad, number, text) in [
            ("A\nx\nb\nc\nd\n", 1, "a"),
            ("", 1, "a"),
            ("a\nx\nb\nc\nz\n", 13, "d"),
            ("a\nx\nb\nmore\nc\nd\n", 8, "c"),
            ("a\nx\nc\nb\nd\n", 8, "c"),
            ("a\nx\nd\n", 7, "b"),
            ("new\na\nx\nb\nc\nd\n", 1, "a"),
        ] {
            assert_eq!(stray(bad), Some((number, text.to_owned())), "{bad:?}");
        }
    }

    #[test]
    fn a_commit_that_stood_in_for_ours_is_a_label_too() {
        let (ours, other) = ("a".repeat(40), "b".repeat(40));
        for (label, places) in [(&ours[..], true), (&other[..], true), ("HEAD", false)] {
            let text = format!("1\n<<<<<<< {label}:f\nx\n=======\ny\n>>>>>>> T\n2\n");
            let auto = AutoMerged::read(&text, &ours, "T");
            assert_eq!(auto.has_places(), places, "{label}");
        }
    }

    #[test]
    fn a_text_without_places_stays_as_it_is() {
        let auto = AutoMerged::read("a\n<<<<<<< other\nb\n", "O", "T");
        assert!(!auto.has_places());
        assert_eq!(auto.strayed("a\n<<<<<<< other\nb\n"), None);
        assert_eq!(auto.strayed("a\nb\n").unwrap().number, 2);
        assert_eq!(auto.strayed("a\n<<<<<<< other\nb\nc\n").unwrap().text, "c");
    }

    #[test]
    fn markers_that_are_left_are_found_and_those_of_the_file_itself_are_not() {
        let auto = AutoMerged::read(AUTO, "O", "T");
        let left = |text: &str, ours: &str, theirs: &str| -> Vec<usize> {
            let found = auto.markers_left(text, [ours, theirs]);
            found.into_iter().map(|line| line.number).collect()
        };
        let whole = "a\n<<<<<<< HEAD\nx\n||||||| base\n=======\ny\n>>>>>>> b1\n";
        assert_eq!(left(whole, "x\n", "y\n"), [2, 4, 5, 7]);
        assert_eq!(left("a\n=======\ny\n", "", ""), [2]);
        assert_eq!(left("Title\n=======\n", "Title\n=======\n", ""), [0; 0]);
        assert_eq!(left("<<<<<<< HEAD\n", "", "<<<<<<< HEAD\n"), [0; 0]);
        for none in [
            "======\n",
            "========\n",
            "<<<<<<<x\n",
            "a <<<<<<< b\n",
            ">>>>>>\n",
        ] {
            assert_eq!(left(none, "", ""), [0; 0], "{none}");
        }
    }

    #[test]
    fn a_file_with_markers_of_another_length_has_them_known() {
        let text = "a\n<<<<<<<<<< O\nx\n==========\ny\n>>>>>>>>>> T\nb\n";
        let auto = AutoMerged::read(text, "O", "T");
        assert_eq!(auto.strayed("a\nxy\nb\n"), None);
        let left = auto.markers_left("a\n=======\n==========\nb\n", ["", ""]);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].number, 3);
    }

    /// Whether lines are the segments in order with anything between, by trying everything.
    fn matches(segments: &[Vec<String>], lines: &[String], first: bool) -> bool {
        let Some((head, rest)) = segments.split_first() else {
            return lines.is_empty();
        };
        let fits = |at: usize| {
            lines[at..].starts_with(head) && {
                let after = &lines[at + head.len()..];
                if rest.is_empty() {
                    after.is_empty()
                } else {
                    matches(rest, after, false)
                }
            }
        };
        if first {
            fits(0)
        } else {
            (0..=lines.len()).any(fits)
        }
    }

    fn texts(most: usize) -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[ab]", 0..most)
    }

    proptest! {
        #[test]
        fn what_strays_is_just_what_does_not_fit(
            segments in prop::collection::vec(texts(4), 2..5),
            lines in texts(12),
            places in prop::collection::vec(texts(3), 4),
        ) {
            let place = "<<<<<<< O\nx\n=======\ny\n>>>>>>> T\n";
            let joined = |lines: &[String]| -> String {
                lines.iter().map(|line| format!("{line}\n")).collect()
            };
            let parts: Vec<String> = segments.iter().map(|s| joined(s)).collect();
            let auto = parts.join(place);
            let auto = AutoMerged::read(&auto, "O", "T");
            let fits = matches(&segments, &lines, true);
            prop_assert_eq!(auto.strayed(&joined(&lines)).is_none(), fits);
            let mut resolved = String::new();
            for (n, part) in parts.iter().enumerate() {
                if n > 0 {
                    resolved.push_str(&joined(&places[n - 1]));
                }
                resolved.push_str(part);
            }
            prop_assert_eq!(auto.strayed(&resolved), None);
        }
    }
}
