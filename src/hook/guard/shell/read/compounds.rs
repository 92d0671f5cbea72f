//! Commands that hold others: loops, conditions, functions, tests.

use std::rc::Rc;

use super::{After, Chain, Command, Kind, Link, Piece, Read, Reader, Script, ShellFault, Word};

impl Reader<'_> {
    pub(super) fn compound(&mut self) -> Read<Option<Kind>> {
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
    pub(super) fn closed_list(&mut self) -> Read<Rc<Script>> {
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

    pub(super) fn do_done(&mut self) -> Read<Rc<Script>> {
        self.lines();
        let _ = self.eat(';');
        self.need("do")?;
        let body = Rc::new(self.list()?);
        self.need("done")?;
        Ok(body)
    }

    pub(super) fn plain_name(&mut self) -> Read<String> {
        let words = self.word()?;
        match words.as_slice() {
            [word] => word.fixed(),
            _ => None,
        }
        .filter(|name| !name.is_empty())
        .ok_or(ShellFault::Syntax("a name is missing"))
    }

    pub(super) fn for_loop(&mut self) -> Read<Kind> {
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

    pub(super) fn case(&mut self) -> Read<Kind> {
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

    pub(super) fn function(&mut self, name: String) -> Read<Kind> {
        self.lines();
        let body = Rc::new(self.command()?);
        Ok(Kind::Function { name, body })
    }

    /// The words of `[[ … ]]`.
    pub(super) fn test(&mut self) -> Read<Vec<Word>> {
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
    pub(super) fn arithmetic(&mut self) -> Read<Option<Vec<Word>>> {
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
}
