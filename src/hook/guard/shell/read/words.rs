//! Words: quoting, expansions, patterns.

use std::rc::Rc;

use super::{Change, MAX_DEPTH, Piece, Read, Reader, ShellFault, Word, at_depth, brace};

impl Reader<'_> {
    /// A word; several when braces make it so.
    pub(super) fn word(&mut self) -> Read<Vec<Word>> {
        Ok(brace::expand(self.pieces()?))
    }

    pub(super) fn pieces(&mut self) -> Read<Vec<Piece>> {
        let mut pieces = Vec::new();
        while let Some(c) = self.peek() {
            if matches!(c, '<' | '>') && self.substitutes_process() {
                self.at += 2;
                let script = self.deeper(Self::closed_list)?;
                pieces.push(Piece::Process(script));
                continue;
            }
            if ends_word(c) {
                break;
            }
            self.at += 1;
            self.part(c, &mut pieces)?;
        }
        if pieces.is_empty() {
            return Err(ShellFault::Syntax("a word is missing"));
        }
        Ok(pieces)
    }

    /// One part of an unquoted word, whose first character was taken.
    pub(super) fn part(&mut self, c: char, pieces: &mut Vec<Piece>) -> Read<()> {
        match c {
            '\\' => match self.raw() {
                Some(c) => push(pieces, c, true),
                None => push(pieces, '\\', true),
            },
            '\'' => {
                let mut text = String::new();
                loop {
                    match self.raw().ok_or(ShellFault::Syntax("a quote is open"))? {
                        '\'' => break,
                        c => text.push(c),
                    }
                }
                pieces.push(Piece::Text { text, quoted: true });
            }
            '"' => self.double_quoted(pieces)?,
            '$' => self.dollar(false, pieces)?,
            '`' => self.backquoted(false, pieces)?,
            '*' | '?' | '[' | '@' | '+' | '!' if self.peek() == Some('(') => {
                // A pattern of its own kind: anything may match it.
                self.at += 1;
                self.deeper(Self::extended_pattern)?;
                pieces.push(Piece::Opaque(Vec::new()));
            }
            '*' | '?' => pieces.push(Piece::Glob(c.to_string())),
            '[' => pieces.push(Piece::Glob("[".to_owned())),
            '{' | ',' | '}' => pieces.push(Piece::Mark(c)),
            c => push(pieces, c, false),
        }
        Ok(())
    }

    pub(super) fn extended_pattern(&mut self) -> Read<()> {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.bump().ok_or(ShellFault::Syntax("a pattern is open"))? {
                '(' => depth += 1,
                ')' => depth -= 1,
                '\\' => {
                    self.raw();
                }
                '\'' => while self.raw().is_some_and(|c| c != '\'') {},
                '$' | '`' | '"' | '\n' | ';' | '&' => {
                    return Err(ShellFault::Syntax("a pattern is computed"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn double_quoted(&mut self, pieces: &mut Vec<Piece>) -> Read<()> {
        // An empty pair is a word as well.
        pieces.push(Piece::Text {
            text: String::new(),
            quoted: true,
        });
        loop {
            match self.bump().ok_or(ShellFault::Syntax("a quote is open"))? {
                '"' => return Ok(()),
                '\\' => match self.raw().ok_or(ShellFault::Syntax("a quote is open"))? {
                    c @ ('"' | '\\' | '$' | '`') => push(pieces, c, true),
                    c => {
                        push(pieces, '\\', true);
                        push(pieces, c, true);
                    }
                },
                '$' => self.dollar(true, pieces)?,
                '`' => self.backquoted(true, pieces)?,
                c => push(pieces, c, true),
            }
        }
    }

    /// After a `$`.
    pub(super) fn dollar(&mut self, quoted: bool, pieces: &mut Vec<Piece>) -> Read<()> {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                if self.chars.get(self.at) == Some(&'(') {
                    let start = self.at;
                    self.at += 1;
                    if let Some(words) = self.deeper(Self::arithmetic)? {
                        let mut scripts = Vec::new();
                        for word in &words {
                            crate::hook::guard::shell::scripts_in(&word.pieces, &mut scripts);
                        }
                        pieces.push(Piece::Atom);
                        if !scripts.is_empty() {
                            pieces.push(Piece::Opaque(scripts));
                        }
                        return Ok(());
                    }
                    self.at = start;
                }
                let script = self.deeper(Self::closed_list)?;
                pieces.push(Piece::Command { script, quoted });
            }
            Some('[') => {
                return Err(ShellFault::Syntax(
                    "`$[` is an old way to compute; write `$((`",
                ));
            }
            Some('{') => {
                self.at += 1;
                let piece = self.deeper(|reader| reader.parameter(quoted))?;
                pieces.push(piece);
            }
            Some('\'') if !quoted => {
                self.at += 1;
                let text = self.escaped()?;
                pieces.push(Piece::Text { text, quoted: true });
            }
            Some('"') if !quoted => {
                self.at += 1;
                self.double_quoted(pieces)?;
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let mut name = String::new();
                while let Some(c) = self
                    .peek()
                    .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
                {
                    name.push(c);
                    self.at += 1;
                }
                pieces.push(plain_variable(name, quoted));
            }
            Some(c) if c.is_ascii_digit() || "@*#?-$!".contains(c) => {
                self.at += 1;
                pieces.push(plain_variable(c.to_string(), quoted));
            }
            _ => push(pieces, '$', quoted),
        }
        Ok(())
    }

    /// After `${`.
    pub(super) fn parameter(&mut self, quoted: bool) -> Read<Piece> {
        const OPEN: ShellFault = ShellFault::Syntax("a `${` is not closed");
        let mut length = false;
        if self.peek() == Some('#') && self.chars.get(self.at + 1) != Some(&'}') {
            self.at += 1;
            length = true;
        }
        let indirect = self.eat('!');
        let mut name = String::new();
        match self.peek().ok_or(OPEN)? {
            c if c.is_ascii_alphanumeric() || c == '_' => {
                while let Some(c) = self
                    .peek()
                    .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
                {
                    name.push(c);
                    self.at += 1;
                }
            }
            c if "@*#?-$!".contains(c) => {
                self.at += 1;
                name.push(c);
            }
            // `${ command; }` of newer shells, and whatever else there may be.
            _ => return Err(ShellFault::Syntax("a `${` is of a kind that is not known")),
        }
        let start = self.at;
        if self.eat('}') {
            let change = match (length, indirect) {
                (true, _) => Change::Length,
                (_, true) => Change::Other(Vec::new()),
                _ => Change::None,
            };
            return Ok(Piece::Var {
                name,
                change,
                quoted,
            });
        }
        let first = self.bump().ok_or(OPEN)?;
        let second = self.peek();
        let mut kind = 'x';
        let mut keep = false;
        let mut longest = false;
        match (first, second) {
            (':', Some(c @ ('-' | '=' | '+' | '?'))) => {
                self.at += 1;
                kind = c;
            }
            ('-' | '=' | '+' | '?', _) => kind = first,
            ('%' | '#', _) => {
                kind = first;
                longest = self.eat(first);
            }
            _ => self.at = start,
        }
        if kind == '=' {
            keep = true;
        }
        let rest = self.until_brace(quoted)?;
        let change = if length || indirect {
            Change::Other(rest)
        } else {
            match kind {
                '-' | '=' => Change::Default { word: rest, keep },
                '+' => Change::Alternative(rest),
                '?' => Change::Default {
                    // Without a value nothing is run; the words of the complaint may run
                    // commands, though.
                    word: scripts_only(&rest),
                    keep: false,
                },
                '%' | '#' => Change::Trim {
                    end: kind == '%',
                    longest,
                    pattern: rest,
                },
                _ => Change::Other(rest),
            }
        };
        Ok(Piece::Var {
            name,
            change,
            quoted,
        })
    }

    /// The rest of a `${…}`, whose closing brace is taken.
    pub(super) fn until_brace(&mut self, quoted: bool) -> Read<Vec<Piece>> {
        let mut pieces = Vec::new();
        loop {
            let c = self
                .bump()
                .ok_or(ShellFault::Syntax("a `${` is not closed"))?;
            match c {
                '}' => return Ok(pieces),
                '{' => push(&mut pieces, '{', true),
                // Within quotes, a single quote is one only in some of these; which, shells
                // do not agree on.
                '\'' if quoted => {
                    return Err(ShellFault::Syntax(
                        "a single quote in a `${…}` that stands in double quotes",
                    ));
                }
                '"' if quoted => self.double_quoted(&mut pieces)?,
                '<' | '>' | ',' => push(&mut pieces, c, false),
                '\\' if quoted => match self.raw() {
                    Some(c @ ('"' | '\\' | '$' | '`' | '}')) => push(&mut pieces, c, true),
                    Some(c) => {
                        push(&mut pieces, '\\', true);
                        push(&mut pieces, c, true);
                    }
                    None => {}
                },
                '$' => self.dollar(quoted, &mut pieces)?,
                '`' => self.backquoted(quoted, &mut pieces)?,
                c if c.is_whitespace() || "()|&;".contains(c) => push(&mut pieces, c, quoted),
                c => {
                    let before = pieces.len();
                    self.part(c, &mut pieces)?;
                    for piece in &mut pieces[before..] {
                        *piece = unmarked(piece.clone());
                    }
                }
            }
        }
    }

    /// The text of `$'…'`.
    pub(super) fn escaped(&mut self) -> Read<String> {
        const OPEN: ShellFault = ShellFault::Syntax("a quote is open");
        let mut text = String::new();
        loop {
            match self.raw().ok_or(OPEN)? {
                '\'' => return Ok(text),
                '\\' => {
                    let c = self.raw().ok_or(OPEN)?;
                    let code = match c {
                        'n' => Some(10),
                        't' => Some(9),
                        'r' => Some(13),
                        'a' => Some(7),
                        'b' => Some(8),
                        'e' | 'E' => Some(27),
                        'f' => Some(12),
                        'v' => Some(11),
                        'x' => self.digits(2, 16),
                        'u' => self.digits(4, 16),
                        'U' => self.digits(8, 16),
                        '0'..='7' => {
                            self.at -= 1;
                            self.digits(3, 8).map(|code| code & 0xff)
                        }
                        'c' => {
                            let _ = self.raw();
                            return Err(ShellFault::Syntax("a control character"));
                        }
                        other => Some(other as u32),
                    };
                    // Bytes above this make characters only together.
                    let c = code.and_then(char::from_u32).filter(|c| *c != '\0');
                    text.push(c.ok_or(ShellFault::Syntax("an escape is not a character"))?);
                }
                c => text.push(c),
            }
        }
    }

    pub(super) fn digits(&mut self, most: usize, radix: u32) -> Option<u32> {
        let mut value = None;
        for _ in 0..most {
            let Some(digit) = self.chars.get(self.at).and_then(|c| c.to_digit(radix)) else {
                break;
            };
            self.at += 1;
            value = Some(value.unwrap_or(0) * radix + digit);
        }
        value
    }

    /// After a backquote.
    pub(super) fn backquoted(&mut self, quoted: bool, pieces: &mut Vec<Piece>) -> Read<()> {
        const OPEN: ShellFault = ShellFault::Syntax("a backquote is open");
        let mut inner = String::new();
        loop {
            match self.raw().ok_or(OPEN)? {
                '`' => break,
                '\\' => match self.raw().ok_or(OPEN)? {
                    c @ ('`' | '\\' | '$') => inner.push(c),
                    '"' if quoted => inner.push('"'),
                    c => inner.extend(['\\', c]),
                },
                c => inner.push(c),
            }
        }
        if self.depth >= MAX_DEPTH {
            return Err(ShellFault::TooDeep);
        }
        let script = Rc::new(at_depth(&inner, self.depth + 1)?);
        pieces.push(Piece::Command { script, quoted });
        Ok(())
    }
}

/// Whether a character ends an unquoted word.
pub(super) fn ends_word(c: char) -> bool {
    matches!(
        c,
        ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>'
    )
}

pub(super) fn push(pieces: &mut Vec<Piece>, c: char, quoted: bool) {
    if let Some(Piece::Text { text, quoted: kind }) = pieces.last_mut()
        && *kind == quoted
    {
        text.push(c);
        return;
    }
    pieces.push(Piece::Text {
        text: c.to_string(),
        quoted,
    });
}

pub(super) fn plain_variable(name: String, quoted: bool) -> Piece {
    Piece::Var {
        name,
        change: Change::None,
        quoted,
    }
}

pub(super) fn unmarked(piece: Piece) -> Piece {
    match piece {
        Piece::Mark(c) => Piece::Text {
            text: c.to_string(),
            quoted: false,
        },
        other => other,
    }
}

pub(super) fn scripts_only(pieces: &[Piece]) -> Vec<Piece> {
    let mut scripts = Vec::new();
    crate::hook::guard::shell::scripts_in(pieces, &mut scripts);
    vec![Piece::Opaque(scripts)]
}
