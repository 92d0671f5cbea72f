//! From text to commands.

use std::cell::OnceCell;
use std::rc::Rc;

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

    fn compound(&mut self) -> Read<Option<Kind>> {
        if self.peek() == Some('(') {
            self.at += 1;
            if self.chars.get(self.at) == Some(&'(') {
                let start = self.at;
                self.at += 1;
                if let Some(words) = self.arithmetic()? {
                    return Ok(Some(Kind::Test(words)));
                }
                self.at = start;
            }
            let script = self.closed_list()?;
            return Ok(Some(Kind::Subshell(script)));
        }
        let Some(word) = self.reserved(&[
            "{", "if", "while", "until", "for", "select", "case", "function", "[[", "coproc",
        ]) else {
            return Ok(None);
        };
        let _ = self.eat_all(word);
        let kind = match word {
            "{" => {
                let body = Rc::new(self.list()?);
                self.need("}")?;
                Kind::Group(body)
            }
            "if" => {
                let mut arms = Vec::new();
                let mut otherwise = None;
                loop {
                    let condition = Rc::new(self.list()?);
                    self.need("then")?;
                    arms.push((condition, Rc::new(self.list()?)));
                    self.lines();
                    if self.eat_reserved("elif") {
                        continue;
                    }
                    if self.eat_reserved("else") {
                        otherwise = Some(Rc::new(self.list()?));
                    }
                    self.need("fi")?;
                    break;
                }
                Kind::If { arms, otherwise }
            }
            "while" | "until" => {
                let condition = Rc::new(self.list()?);
                let body = self.do_done()?;
                Kind::Loop {
                    variable: None,
                    parts: vec![condition, body],
                }
            }
            "for" | "select" => self.for_loop()?,
            "case" => self.case()?,
            "function" => {
                self.blanks();
                let name = self.plain_name()?;
                self.blanks();
                if self.eat('(') {
                    self.blanks();
                    if !self.eat(')') {
                        return Err(ShellFault::Syntax("a function is not complete"));
                    }
                }
                self.function(name)?
            }
            "[[" => Kind::Test(self.test()?),
            // A process beside the shell; what follows is a command.
            _ => {
                self.blanks();
                let command = self.command()?;
                Kind::Subshell(Rc::new(Script {
                    chains: vec![Chain {
                        links: vec![Link {
                            after: After::First,
                            commands: vec![command],
                        }],
                        background: true,
                    }],
                }))
            }
        };
        Ok(Some(kind))
    }

    /// A list up to its `)`, which is taken.
    fn closed_list(&mut self) -> Read<Rc<Script>> {
        let waiting = self.heredocs.len();
        let script = self.list()?;
        if !self.eat(')') {
            return Err(ShellFault::Syntax("a `(` is not closed"));
        }
        // Shells differ in where such a text begins.
        if self.heredocs.len() > waiting {
            return Err(ShellFault::Syntax(
                "a here-document begins behind the bracket that it stands in",
            ));
        }
        Ok(Rc::new(script))
    }

    fn do_done(&mut self) -> Read<Rc<Script>> {
        self.lines();
        let _ = self.eat(';');
        self.need("do")?;
        let body = Rc::new(self.list()?);
        self.need("done")?;
        Ok(body)
    }

    fn plain_name(&mut self) -> Read<String> {
        let words = self.word()?;
        match words.as_slice() {
            [word] => word.fixed(),
            _ => None,
        }
        .filter(|name| !name.is_empty())
        .ok_or(ShellFault::Syntax("a name is missing"))
    }

    fn for_loop(&mut self) -> Read<Kind> {
        self.blanks();
        if self.eat_all("((") {
            let Some(words) = self.arithmetic()? else {
                return Err(ShellFault::Syntax("a `for ((` is not closed"));
            };
            self.blanks();
            let _ = self.eat(';');
            let body = self.do_done()?;
            let head = Command {
                kind: Kind::Test(words),
                redirects: Vec::new(),
            };
            let head = Script {
                chains: vec![Chain {
                    links: vec![Link {
                        after: After::First,
                        commands: vec![head],
                    }],
                    background: false,
                }],
            };
            return Ok(Kind::Loop {
                variable: None,
                parts: vec![Rc::new(head), body],
            });
        }
        let name = self.plain_name()?;
        self.lines();
        let mut words = None;
        if self.eat_reserved("in") {
            let mut list = Vec::new();
            loop {
                self.blanks();
                match self.peek() {
                    None | Some('\n' | ';') => break,
                    Some('&' | '|' | '(' | ')' | '<' | '>') if !self.substitutes_process() => {
                        return Err(ShellFault::Syntax("a `for` is not complete"));
                    }
                    _ => list.extend(self.word()?),
                }
            }
            words = Some(list);
        }
        self.blanks();
        let _ = self.eat(';');
        let body = self.do_done()?;
        Ok(Kind::Loop {
            variable: Some((name, words)),
            parts: vec![body],
        })
    }

    fn case(&mut self) -> Read<Kind> {
        self.blanks();
        let mut subject = self.word()?;
        let mut arms = Vec::new();
        self.need("in")?;
        loop {
            self.lines();
            if self.eat_reserved("esac") {
                return Ok(Kind::Case { subject, arms });
            }
            let _ = self.eat('(');
            loop {
                self.blanks();
                match self.peek() {
                    Some(')') => {
                        self.at += 1;
                        break;
                    }
                    Some('|') => self.at += 1,
                    None | Some('\n' | ';' | '&' | '(' | '<' | '>') => {
                        return Err(ShellFault::Syntax("a `case` is not complete"));
                    }
                    _ => subject.extend(self.word()?),
                }
            }
            arms.push(Rc::new(self.list()?));
            self.lines();
            if self.eat_all(";;") {
                let _ = self.eat('&');
            } else if !self.eat_all(";&") && self.reserved(&["esac"]).is_none() {
                return Err(ShellFault::Syntax("a `case` is not complete"));
            }
        }
    }

    fn function(&mut self, name: String) -> Read<Kind> {
        self.lines();
        let body = Rc::new(self.command()?);
        Ok(Kind::Function { name, body })
    }

    /// The words of `[[ … ]]`.
    fn test(&mut self) -> Read<Vec<Word>> {
        let mut words = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                None => return Err(ShellFault::Syntax("a `[[` is not closed")),
                Some('<' | '>') if self.substitutes_process() => words.extend(self.word()?),
                // After `=~` brackets and bars are parts of the pattern.
                Some('\n' | '&' | '|' | '(' | ')' | '<' | '>') => {
                    let _ = self.end_of_line() || self.bump().is_some();
                }
                Some(';') => return Err(ShellFault::Syntax("a `[[` is not closed")),
                _ => {
                    let word = self.word()?;
                    if matches!(word.as_slice(), [w] if w.pieces == [Piece::Text { text: "]]".to_owned(), quoted: false }])
                    {
                        return Ok(words);
                    }
                    words.extend(word);
                }
            }
        }
    }

    /// After `((` up to `))`: the words in it that run something. Nothing, when it turns out
    /// to be two subshells.
    fn arithmetic(&mut self) -> Read<Option<Vec<Word>>> {
        let mut depth = 0_usize;
        let mut pieces = Vec::new();
        loop {
            match self.bump() {
                None => return Ok(None),
                Some('(') => depth += 1,
                Some(')') if depth > 0 => depth -= 1,
                Some(')') => {
                    return Ok(self.eat(')').then(|| vec![Word { pieces }]));
                }
                Some('$') => self.dollar(true, &mut pieces)?,
                Some('`') => self.backquoted(true, &mut pieces)?,
                Some('"') => self.double_quoted(&mut pieces)?,
                Some('\'') => while self.raw().is_some_and(|c| c != '\'') {},
                Some('\\') => {
                    self.raw();
                }
                Some(_) => {}
            }
        }
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

    fn substitutes_process(&mut self) -> bool {
        matches!(self.peek(), Some('<' | '>')) && self.chars.get(self.at + 1) == Some(&'(')
    }

    /// Takes a redirection, if one stands here.
    fn redirect(&mut self, found: &mut Vec<Redirect>) -> Read<bool> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        if self.substitutes_process() && self.at == start {
            return Ok(false);
        }
        let write = match self.peek() {
            Some('&') if self.at == start && self.chars.get(self.at + 1) == Some(&'>') => {
                self.at += 2;
                let _ = self.eat('>');
                true
            }
            Some('>') => {
                self.at += 1;
                if self.eat('&') {
                    return self.copied(found, true);
                }
                let _ = self.eat('>') || self.eat('|');
                if self.peek() == Some('!') {
                    return Err(ShellFault::Syntax("shells read `>!` in different ways"));
                }
                // Other shells know `>>|` and `>!` as well.
                let _ = self.eat('|');
                true
            }
            Some('<') => {
                self.at += 1;
                if self.eat('<') {
                    self.here(found)?;
                    return Ok(true);
                }
                if self.eat('&') {
                    return self.copied(found, false);
                }
                self.eat('>')
            }
            _ => {
                self.at = start;
                return Ok(false);
            }
        };
        let words = self.target()?;
        for word in words {
            found.push(if write {
                Redirect::Write(word)
            } else {
                Redirect::Read(word)
            });
        }
        Ok(true)
    }

    fn target(&mut self) -> Read<Vec<Word>> {
        self.blanks();
        if self.peek().is_none_or(ends_word) && !self.substitutes_process() {
            return Err(ShellFault::Syntax("a redirection leads nowhere"));
        }
        self.word()
    }

    /// After `>&` or `<&`: a descriptor, or a file.
    fn copied(&mut self, found: &mut Vec<Redirect>, write: bool) -> Read<bool> {
        for word in self.target()? {
            let descriptor = word.fixed().is_some_and(|text| {
                let digits = text.strip_suffix('-').unwrap_or(&text);
                digits.bytes().all(|b| b.is_ascii_digit())
            });
            found.push(if descriptor {
                Redirect::Copy
            } else if write {
                Redirect::Write(word)
            } else {
                Redirect::Read(word)
            });
        }
        Ok(true)
    }

    /// After `<<`.
    fn here(&mut self, found: &mut Vec<Redirect>) -> Read<()> {
        let body = Rc::new(OnceCell::new());
        if self.eat('<') {
            let mut words = self.target()?;
            let _ = body.set(words.pop().unwrap_or_default());
        } else {
            let tabs = self.eat('-');
            self.blanks();
            let start = self.at;
            let pieces = self.pieces()?;
            let written = &self.chars[start..self.at];
            let quoted = written.iter().any(|c| "'\"\\".contains(*c));
            let word = Word {
                pieces: pieces.into_iter().map(unmarked).collect(),
            };
            let end = word
                .fixed()
                .filter(|_| !written.iter().any(|c| "$`".contains(*c)))
                .filter(|end| !end.contains('\n') && !written.contains(&'\n'))
                .ok_or(ShellFault::Syntax("a here-document has no plain end"))?;
            self.heredocs.push(Pending {
                end,
                tabs,
                quoted,
                body: body.clone(),
            });
        }
        found.push(Redirect::Text(body));
        Ok(())
    }

    /// At the beginning of a line: the texts of the here-documents that wait.
    fn take_heredocs(&mut self) {
        for pending in std::mem::take(&mut self.heredocs) {
            let mut text = String::new();
            let mut closed = false;
            while self.at < self.chars.len() {
                let mut line = self.raw_line();
                // An unquoted one is joined with the next where its line is continued, which
                // can hide its end.
                while !pending.quoted && continues(&line) && self.at < self.chars.len() {
                    line.pop();
                    line.push_str(&self.raw_line());
                }
                let line = if pending.tabs {
                    line.trim_start_matches('\t')
                } else {
                    &line
                };
                if line == pending.end {
                    closed = true;
                    break;
                }
                text.push_str(line);
                text.push('\n');
            }
            let word = if pending.quoted {
                Ok(Word::literal(&text))
            } else {
                self.here_text(&text)
            };
            match word {
                // An empty one at the end of everything is none.
                Ok(word) if closed || !text.is_empty() => {
                    let _ = pending.body.set(word);
                }
                _ => self.heredocs.push(pending),
            }
        }
    }

    fn raw_line(&mut self) -> String {
        let line: String = self.chars[self.at..]
            .iter()
            .take_while(|c| **c != '\n')
            .collect();
        self.at = (self.at + line.chars().count() + 1).min(self.chars.len());
        line
    }

    /// The text of an unquoted here-document: the shell looks for `$` and backquotes in it.
    fn here_text(&self, text: &str) -> Read<Word> {
        let chars: Vec<char> = text.chars().collect();
        let mut reader = Reader {
            chars: &chars,
            at: 0,
            depth: self.depth + 1,
            heredocs: Vec::new(),
        };
        let mut pieces = Vec::new();
        while let Some(c) = reader.bump() {
            match c {
                '\\' => match reader.raw() {
                    Some(c @ ('$' | '`' | '\\')) => push(&mut pieces, c, true),
                    Some(c) => {
                        push(&mut pieces, '\\', true);
                        push(&mut pieces, c, true);
                    }
                    None => push(&mut pieces, '\\', true),
                },
                '$' => reader.dollar(true, &mut pieces)?,
                '`' => reader.backquoted(true, &mut pieces)?,
                c => push(&mut pieces, c, true),
            }
        }
        Ok(Word { pieces })
    }

    /// A word; several when braces make it so.
    fn word(&mut self) -> Read<Vec<Word>> {
        Ok(brace::expand(self.pieces()?))
    }

    fn pieces(&mut self) -> Read<Vec<Piece>> {
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
    fn part(&mut self, c: char, pieces: &mut Vec<Piece>) -> Read<()> {
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

    fn extended_pattern(&mut self) -> Read<()> {
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

    fn double_quoted(&mut self, pieces: &mut Vec<Piece>) -> Read<()> {
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
    fn dollar(&mut self, quoted: bool, pieces: &mut Vec<Piece>) -> Read<()> {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                if self.chars.get(self.at) == Some(&'(') {
                    let start = self.at;
                    self.at += 1;
                    if let Some(words) = self.deeper(Self::arithmetic)? {
                        let mut scripts = Vec::new();
                        for word in &words {
                            super::scripts_in(&word.pieces, &mut scripts);
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
    fn parameter(&mut self, quoted: bool) -> Read<Piece> {
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
    fn until_brace(&mut self, quoted: bool) -> Read<Vec<Piece>> {
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
    fn escaped(&mut self) -> Read<String> {
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

    fn digits(&mut self, most: usize, radix: u32) -> Option<u32> {
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
    fn backquoted(&mut self, quoted: bool, pieces: &mut Vec<Piece>) -> Read<()> {
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
fn ends_word(c: char) -> bool {
    matches!(
        c,
        ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>'
    )
}

/// Whether a line ends with a backslash that is not itself behind one.
fn continues(line: &str) -> bool {
    line.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1
}

fn push(pieces: &mut Vec<Piece>, c: char, quoted: bool) {
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

fn plain_variable(name: String, quoted: bool) -> Piece {
    Piece::Var {
        name,
        change: Change::None,
        quoted,
    }
}

fn unmarked(piece: Piece) -> Piece {
    match piece {
        Piece::Mark(c) => Piece::Text {
            text: c.to_string(),
            quoted: false,
        },
        other => other,
    }
}

fn scripts_only(pieces: &[Piece]) -> Vec<Piece> {
    let mut scripts = Vec::new();
    super::scripts_in(pieces, &mut scripts);
    vec![Piece::Opaque(scripts)]
}
