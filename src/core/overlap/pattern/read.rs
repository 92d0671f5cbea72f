//! From the text of a glob to its readings.

use super::{MAX_LEN, MAX_SEGMENTS, PatternFault, Segment, Token};

/// More readings than this are replaced by one that covers them all.
const MAX_READINGS: usize = 64;

/// The one reading of a path that is there: every character stands for itself.
pub(super) fn plain(path: &str) -> Vec<Segment> {
    path.split('/')
        .filter(|name| !name.is_empty())
        .map(|name| Segment::Name(name.chars().map(fold).map(Token::Char).collect()))
        .collect()
}

/// Every way in which somebody may mean the glob.
pub(super) fn readings(text: &str) -> Result<Vec<Vec<Segment>>, PatternFault> {
    check(text)?;
    let chars: Vec<char> = text.chars().collect();
    let wild = text.contains(['*', '?', '[', '{']);
    let anywhere = wild && !text.contains('/');
    let mut readings = Vec::new();
    match expand_braces(&chars)? {
        Some(texts) => {
            for text in &texts {
                readings.extend(compile(text, true)?);
            }
        }
        None => readings.push(covering(&chars)),
    }
    if text.contains(['[', '{']) {
        readings.extend(compile(&chars, false)?);
    }
    if readings.len() > MAX_READINGS {
        readings = vec![covering(&chars)];
    }
    if readings.iter().any(|reading| reading.len() > MAX_SEGMENTS) {
        return Err(PatternFault::TooDeep);
    }
    for reading in &mut readings {
        if anywhere {
            reading.insert(0, Segment::Any);
        }
        if text.ends_with('/') || reading.last().is_none_or(may_be_folder) {
            reading.push(Segment::Any);
        }
        reading.dedup_by(|a, b| *a == Segment::Any && *b == Segment::Any);
    }
    Ok(readings)
}

fn check(text: &str) -> Result<(), PatternFault> {
    if text.trim().is_empty() {
        return Err(PatternFault::Empty);
    }
    if text.len() > MAX_LEN {
        return Err(PatternFault::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(PatternFault::Control);
    }
    if text.contains('\\') {
        return Err(PatternFault::Backslash);
    }
    let drive =
        text.len() > 1 && text.as_bytes()[1] == b':' && text.as_bytes()[0].is_ascii_alphabetic();
    if text.starts_with(['/', '~']) || drive {
        return Err(PatternFault::Absolute);
    }
    if text.split(['/', ',', '{', '}']).any(|part| part == "..") {
        return Err(PatternFault::Parent);
    }
    if text.starts_with('!') {
        return Err(PatternFault::Negation);
    }
    if text.split('/').count() > MAX_SEGMENTS {
        return Err(PatternFault::TooDeep);
    }
    Ok(())
}

/// The position of the `]` that closes the class opened at `open`.
fn class_end(chars: &[char], open: usize) -> Option<usize> {
    let mut at = open + 1;
    if matches!(chars.get(at), Some('!' | '^')) {
        at += 1;
    }
    // A ']' that comes first stands for itself.
    at += 1;
    (at..chars.len()).find(|at| chars[*at] == ']')
}

/// The texts that `{a,b}` stand for; `None` when they are too many to list.
fn expand_braces(chars: &[char]) -> Result<Option<Vec<Vec<char>>>, PatternFault> {
    let mut done = Vec::new();
    let mut todo = vec![chars.to_vec()];
    while let Some(text) = todo.pop() {
        let Some((open, close)) = innermost_braces(&text)? else {
            done.push(text);
            continue;
        };
        for choice in choices(&text[open + 1..close]) {
            todo.push([&text[..open], choice, &text[close + 1..]].concat());
        }
        if todo.len() + done.len() > MAX_READINGS {
            return Ok(None);
        }
    }
    Ok(Some(done))
}

fn innermost_braces(chars: &[char]) -> Result<Option<(usize, usize)>, PatternFault> {
    let mut open = None;
    let mut at = 0;
    while at < chars.len() {
        match chars[at] {
            '[' => at = class_end(chars, at).ok_or(PatternFault::Unbalanced('['))?,
            '{' => open = Some(at),
            '}' => {
                let open = open.ok_or(PatternFault::Unbalanced('}'))?;
                return Ok(Some((open, at)));
            }
            _ => {}
        }
        at += 1;
    }
    match open {
        Some(_) => Err(PatternFault::Unbalanced('{')),
        None => Ok(None),
    }
}

/// Splits at the commas outside classes.
fn choices(chars: &[char]) -> Vec<&[char]> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < chars.len() {
        match chars[at] {
            '[' => at = class_end(chars, at).unwrap_or(at),
            ',' => {
                parts.push(&chars[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    parts.push(&chars[start..]);
    parts
}

/// A reading that covers every file that the glob can match: the folder before its first
/// wildcard.
fn covering(chars: &[char]) -> Vec<Segment> {
    let wild = |c: &char| matches!(c, '*' | '?' | '[' | '{');
    let plain = chars.iter().position(wild).unwrap_or(chars.len());
    let folder = chars[..plain].iter().rposition(|c| *c == '/').unwrap_or(0);
    chars[..folder]
        .split(|c| *c == '/')
        .filter(|part| !part.is_empty() && *part != ['.'])
        .map(|part| Segment::Name(part.iter().map(|c| Token::Char(fold(*c))).collect()))
        .chain([Segment::Any])
        .collect()
}

/// The readings of a text without braces, or, without `classes`, of one in which brackets
/// and braces stand for themselves.
fn compile(chars: &[char], classes: bool) -> Result<Vec<Vec<Segment>>, PatternFault> {
    let mut readings: Vec<Vec<Segment>> = vec![Vec::new()];
    for part in split_segments(chars, classes) {
        if part.is_empty() || part == ['.'] {
            continue;
        }
        if part.len() > 1 && part.iter().all(|c| *c == '*') {
            readings
                .iter_mut()
                .for_each(|reading| reading.push(Segment::Any));
            continue;
        }
        let tokens = tokenise(part, classes)?;
        // Tools disagree on whether such a class reaches into the next folder.
        if tokens.iter().any(Token::holds_slash) {
            return Ok(vec![covering(chars)]);
        }
        if let Some((first, last)) = double_stars(part, classes) {
            let head = tokenise(&part[..=first], classes)?;
            let tail = tokenise(&part[last + 1..], classes)?;
            let crossing = [Segment::Wild(head), Segment::Any, Segment::Wild(tail)];
            let crossed: Vec<_> = readings
                .iter()
                .map(|reading| [reading.as_slice(), &crossing].concat())
                .collect();
            readings
                .iter_mut()
                .for_each(|reading| reading.push(Segment::Wild(tokens.clone())));
            readings.extend(crossed);
            if readings.len() > MAX_READINGS {
                return Ok(vec![covering(chars)]);
            }
            continue;
        }
        let plain = tokens.iter().all(|token| matches!(token, Token::Char(_)));
        let segment = if plain {
            Segment::Name(tokens)
        } else {
            Segment::Wild(tokens)
        };
        readings
            .iter_mut()
            .for_each(|reading| reading.push(segment.clone()));
    }
    Ok(readings)
}

fn split_segments(chars: &[char], classes: bool) -> Vec<&[char]> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < chars.len() {
        match chars[at] {
            '[' if classes => at = class_end(chars, at).unwrap_or(at),
            '/' => {
                parts.push(&chars[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    parts.push(&chars[start..]);
    parts
}

/// Where the first and the last `**` outside classes are.
fn double_stars(chars: &[char], classes: bool) -> Option<(usize, usize)> {
    let mut found = None;
    let mut at = 0;
    while at + 1 < chars.len() {
        match chars[at] {
            '[' if classes => at = class_end(chars, at).unwrap_or(at),
            '*' if chars[at + 1] == '*' => {
                let (first, _) = found.unwrap_or((at, at));
                found = Some((first, at));
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn tokenise(chars: &[char], classes: bool) -> Result<Vec<Token>, PatternFault> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        match chars[at] {
            '*' => {
                if tokens.last() != Some(&Token::Star) {
                    tokens.push(Token::Star);
                }
            }
            '?' => tokens.push(Token::One),
            '[' if classes => {
                let end = class_end(chars, at).ok_or(PatternFault::Unbalanced('['))?;
                tokens.push(class(&chars[at + 1..end])?);
                at = end;
            }
            c => tokens.push(Token::Char(fold(c))),
        }
        at += 1;
    }
    Ok(tokens)
}

fn class(inside: &[char]) -> Result<Token, PatternFault> {
    let negated = matches!(inside.first(), Some('!' | '^'));
    let inside = if negated { &inside[1..] } else { inside };
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < inside.len() {
        let from = inside[at];
        if at + 2 < inside.len() && inside[at + 1] == '-' {
            let to = inside[at + 2];
            if to < from {
                return Err(PatternFault::Range(from, to));
            }
            ranges.push((from, to));
            at += 3;
        } else {
            ranges.push((from, from));
            at += 1;
        }
    }
    Ok(Token::Class { negated, ranges })
}

/// The lower-case form where that is one character, so that `?` still means one.
fn fold(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// Whether a name looks like a folder's, or at least not like a file's.
fn may_be_folder(last: &Segment) -> bool {
    let (Segment::Name(tokens) | Segment::Wild(tokens)) = last else {
        return true;
    };
    if tokens
        .iter()
        .skip(1)
        .any(|token| *token == Token::Char('.'))
    {
        return false;
    }
    let text: String = tokens
        .iter()
        .filter_map(|token| match token {
            Token::Char(c) => Some(*c),
            _ => None,
        })
        .collect();
    const FILES: &[&str] = &[
        "license",
        "readme",
        "changelog",
        "codeowners",
        "notice",
        ".env",
    ];
    let ends = ["file", "ignore", "attributes", "rc"];
    let file = FILES.contains(&text.as_str())
        || ends.iter().any(|end| text.ends_with(end) && text != "src");
    matches!(last, Segment::Wild(_)) || !file
}
