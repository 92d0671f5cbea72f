//! Redirections and here-documents.

use std::cell::OnceCell;
use std::rc::Rc;

use super::words::{ends_word, push, unmarked};
use super::{Pending, Read, Reader, Redirect, ShellFault, Word};

impl Reader<'_> {
    pub(super) fn substitutes_process(&mut self) -> bool {
        matches!(self.peek(), Some('<' | '>')) && self.chars.get(self.at + 1) == Some(&'(')
    }

    /// Takes a redirection, if one stands here.
    pub(super) fn redirect(&mut self, found: &mut Vec<Redirect>) -> Read<bool> {
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

    pub(super) fn target(&mut self) -> Read<Vec<Word>> {
        self.blanks();
        if self.peek().is_none_or(ends_word) && !self.substitutes_process() {
            return Err(ShellFault::Syntax("a redirection leads nowhere"));
        }
        self.word()
    }

    /// After `>&` or `<&`: a descriptor, or a file.
    pub(super) fn copied(&mut self, found: &mut Vec<Redirect>, write: bool) -> Read<bool> {
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
    pub(super) fn here(&mut self, found: &mut Vec<Redirect>) -> Read<()> {
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
    pub(super) fn take_heredocs(&mut self) {
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

    pub(super) fn raw_line(&mut self) -> String {
        let line: String = self.chars[self.at..]
            .iter()
            .take_while(|c| **c != '\n')
            .collect();
        self.at = (self.at + line.chars().count() + 1).min(self.chars.len());
        line
    }

    /// The text of an unquoted here-document: the shell looks for `$` and backquotes in it.
    pub(super) fn here_text(&self, text: &str) -> Read<Word> {
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
}

/// Whether a line ends with a backslash that is not itself behind one.
pub(super) fn continues(line: &str) -> bool {
    line.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1
}
