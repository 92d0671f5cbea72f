//! From text to commands.

mod compounds;
mod redirects;
mod words;

use std::cell::OnceCell;
use std::rc::Rc;

use words::{ends_word, unmarked};

use super::{
    After, Assignment, Chain, Change, Command, Kind, Link, Piece, Redirect, Script, ShellFault,
    Simple, Word, brace,
};

/// Deepest nesting that is followed.
const MAX_DEPTH: usize = 60;

/// Longest line that is read, characters.
const MAX_LENGTH: usize = 2_000_000;

/// Words that end a list where a command could stand.
const CLOSING: &[&str] = &["then", "else", "elif", "fi", "do", "done", "esac", "}"];

type Read<T> = Result<T, ShellFault>;

/// Reads a line, or a whole script.
///
/// # Errors
/// When it is not understood.
pub fn read(text: &str) -> Read<Script> {
    at_depth(text, 0)
}

fn at_depth(text: &str, depth: usize) -> Read<Script> {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() > MAX_LENGTH {
        return Err(ShellFault::TooDeep);
    }
    let mut reader = Reader {
        chars: &chars,
        at: 0,
        depth,
        heredocs: Vec::new(),
    };
    let script = reader.list()?;
    if reader.peek().is_some() {
        return Err(ShellFault::Syntax(
            "a bracket or a word closes what was not opened",
        ));
    }
    reader.take_heredocs();
    if reader.heredocs.is_empty() {
        Ok(script)
    } else {
        Err(ShellFault::Syntax("a here-document has no text"))
    }
}

/// A here-document whose text has not come yet.
struct Pending {
    end: String,
    tabs: bool,
    quoted: bool,
    body: Rc<OnceCell<Word>>,
}

struct Reader<'a> {
    chars: &'a [char],
    at: usize,
    depth: usize,
    heredocs: Vec<Pending>,
}

impl Reader<'_> {
    /// The next character, past line continuations.
    fn peek(&mut self) -> Option<char> {
        while self.chars.get(self.at) == Some(&'\\') && self.chars.get(self.at + 1) == Some(&'\n') {
            self.at += 2;
        }
        self.chars.get(self.at).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    /// The next character as it is written.
    fn raw(&mut self) -> Option<char> {
        let c = self.chars.get(self.at).copied()?;
        self.at += 1;
        Some(c)
    }

    fn eat(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.at += 1;
        }
        there
    }

    /// Takes a text that stands next, line continuations allowed in it.
    fn eat_all(&mut self, wanted: &str) -> bool {
        let start = self.at;
        for c in wanted.chars() {
            if !self.eat(c) {
                self.at = start;
                return false;
            }
        }
        true
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ShellFault::TooDeep);
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(' ' | '\t') => self.at += 1,
                Some('#') => {
                    while self.chars.get(self.at).is_some_and(|c| *c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    /// Past blanks and ends of lines.
    fn lines(&mut self) {
        loop {
            self.blanks();
            if !self.end_of_line() {
                return;
            }
        }
    }

    fn end_of_line(&mut self) -> bool {
        let there = self.eat('\n');
        if there {
            self.take_heredocs();
        }
        there
    }

    /// The reserved word that stands here, if one does.
    fn reserved(&mut self, words: &[&'static str]) -> Option<&'static str> {
        let start = self.at;
        let found = words.iter().copied().find(|word| {
            self.at = start;
            self.eat_all(word) && self.peek().is_none_or(ends_word)
        });
        self.at = start;
        found
    }

    fn eat_reserved(&mut self, word: &'static str) -> bool {
        self.reserved(&[word]).is_some() && self.eat_all(word)
    }

    fn need(&mut self, word: &'static str) -> Read<()> {
        self.lines();
        if self.eat_reserved(word) {
            Ok(())
        } else {
            Err(ShellFault::Syntax("a compound command is not complete"))
        }
    }

    /// Commands up to what closes them, which is left.
    fn list(&mut self) -> Read<Script> {
        self.deeper(|reader| {
            let mut script = Script::default();
            loop {
                reader.lines();
                match reader.peek() {
                    None | Some(')') => return Ok(script),
                    Some(';') => {
                        // `;;` and its kind end a part of a `case`.
                        if reader
                            .chars
                            .get(reader.at + 1)
                            .is_some_and(|c| ";&".contains(*c))
                        {
                            return Ok(script);
                        }
                        return Err(ShellFault::Syntax("a `;` has no command in front of it"));
                    }
                    _ if reader.reserved(CLOSING).is_some() => return Ok(script),
                    _ => {}
                }
                let mut chain = reader.chain()?;
                reader.blanks();
                match reader.peek() {
                    Some('&') => {
                        reader.at += 1;
                        chain.background = true;
                    }
                    Some(';')
                        if !reader
                            .chars
                            .get(reader.at + 1)
                            .is_some_and(|c| ";&".contains(*c)) =>
                    {
                        reader.at += 1;
                    }
                    _ => {}
                }
                script.chains.push(chain);
            }
        })
    }

    fn chain(&mut self) -> Read<Chain> {
        let mut chain = Chain::default();
        let mut after = After::First;
        loop {
            let commands = self.pipeline()?;
            chain.links.push(Link { after, commands });
            self.blanks();
            after = if self.eat_all("&&") {
                After::Success
            } else if self.eat_all("||") {
                After::Failure
            } else {
                return Ok(chain);
            };
            self.lines();
        }
    }

    fn pipeline(&mut self) -> Read<Vec<Command>> {
        let mut commands = Vec::new();
        loop {
            self.blanks();
            if self.eat_reserved("!") {
                continue;
            }
            if self.eat_reserved("time") {
                self.blanks();
                let _ = self.eat_reserved("-p");
                self.blanks();
                if matches!(self.peek(), None | Some('\n' | ';')) {
                    return Ok(commands);
                }
                continue;
            }
            commands.push(self.command()?);
            self.blanks();
            let two = self.chars.get(self.at + 1) == Some(&'|');
            if self.peek() == Some('|') && !two {
                self.at += 1;
                let _ = self.eat('&');
                self.lines();
                continue;
            }
            return Ok(commands);
        }
    }

    fn command(&mut self) -> Read<Command> {
        self.deeper(|reader| {
            let kind = reader.compound()?;
            let Some(kind) = kind else {
                return reader.simple();
            };
            let mut redirects = Vec::new();
            if !matches!(kind, Kind::Function { .. }) {
                loop {
                    reader.blanks();
                    if !reader.redirect(&mut redirects)? {
                        break;
                    }
                }
            }
            Ok(Command { kind, redirects })
        })
    }

    fn simple(&mut self) -> Read<Command> {
        let mut simple = Simple::default();
        let mut redirects = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                None | Some('\n' | ';' | '|' | ')') => break,
                Some('(') => {
                    let name = match simple.words.as_slice() {
                        [one] if simple.assignments.is_empty() => one.fixed(),
                        _ => None,
                    };
                    let Some(name) = name else {
                        return Err(ShellFault::Syntax("a bracket is where none belongs"));
                    };
                    self.at += 1;
                    self.blanks();
                    if !self.eat(')') {
                        return Err(ShellFault::Syntax("a bracket is where none belongs"));
                    }
                    return Ok(Command {
                        kind: self.function(name)?,
                        redirects,
                    });
                }
                Some('&') if self.chars.get(self.at + 1) != Some(&'>') => break,
                _ => {}
            }
            if self.redirect(&mut redirects)? {
                continue;
            }
            if simple.words.is_empty()
                && let Some(assignment) = self.assignment()?
            {
                simple.assignments.push(assignment);
                continue;
            }
            simple.words.extend(self.word()?);
        }
        if simple == Simple::default() && redirects.is_empty() {
            return Err(ShellFault::Syntax("a command is missing"));
        }
        Ok(Command {
            kind: Kind::Simple(simple),
            redirects,
        })
    }

    /// `NAME=value`, when that is what stands here.
    fn assignment(&mut self) -> Read<Option<Assignment>> {
        let start = self.at;
        let mut name = String::new();
        while let Some(c) = self
            .peek()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
        {
            name.push(c);
            self.at += 1;
        }
        let named = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        let mut odd = false;
        if named && self.peek() == Some('[') {
            odd = true;
            while self.bump().is_some_and(|c| c != ']' && c != '\n') {}
        }
        odd |= self.eat('+');
        if !named || !self.eat('=') {
            self.at = start;
            return Ok(None);
        }
        if odd
            && self.chars[start..self.at]
                .iter()
                .any(|c| "$`\\'\"".contains(*c))
        {
            return Err(ShellFault::Syntax(
                "an element of an array has a computed place",
            ));
        }
        if self.peek() != Some('(') {
            let values = if self.peek().is_none_or(ends_word) && !self.substitutes_process() {
                vec![Word::literal("")]
            } else {
                // No braces are expanded in a value.
                let pieces = self.pieces()?;
                vec![Word {
                    pieces: pieces.into_iter().map(unmarked).collect(),
                }]
            };
            return Ok(Some(Assignment { name, values, odd }));
        }
        self.at += 1;
        let mut values = Vec::new();
        loop {
            self.lines();
            match self.peek() {
                Some(')') => {
                    self.at += 1;
                    return Ok(Some(Assignment {
                        name,
                        values,
                        odd: true,
                    }));
                }
                None | Some(';' | '&' | '|' | '(') => {
                    return Err(ShellFault::Syntax("an array is not closed"));
                }
                Some('<' | '>') if !self.substitutes_process() => {
                    return Err(ShellFault::Syntax("an array is not closed"));
                }
                _ => values.extend(self.word()?),
            }
        }
    }
}
