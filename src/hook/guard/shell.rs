//! Reading a shell line far enough to see its simple commands.
//!
//! Every simple command of the line is found wherever it stands: in lists, pipes, subshells,
//! command substitutions, loops. Nothing is expanded; a word that the shell would change says
//! so ([`Word::exact`]).

/// A word, without its quotes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Word {
    /// Its text; where it is not exact, as it was written.
    pub text: String,
    /// Whether the shell will use exactly this text.
    pub exact: bool,
}

/// One simple command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Simple {
    /// `NAME=value` in front of it.
    pub assignments: Vec<(String, Word)>,
    /// The command and its arguments.
    pub words: Vec<Word>,
    /// Files that its output is written to.
    pub writes: Vec<Word>,
}

/// Why a line cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShellFault {
    /// A quote or a parenthesis is open at its end.
    Unfinished,
    /// It is nested more deeply than anybody would write.
    TooDeep,
}

/// Deepest nesting that is followed.
const MAX_DEPTH: usize = 40;

/// Words that open or continue a compound command; what follows is a command.
const RESERVED: &[&str] = &[
    "!", "{", "}", "if", "then", "elif", "else", "fi", "while", "until", "do", "done", "for",
    "case", "esac", "time", "coproc",
];

/// The simple commands of a line, in the order in which they stand.
///
/// # Errors
/// When the line cannot be read.
pub fn read(line: &str) -> Result<Vec<Simple>, ShellFault> {
    let chars: Vec<char> = line.chars().collect();
    let mut found = Vec::new();
    Reader {
        chars: &chars,
        at: 0,
        depth: 0,
        found: &mut found,
        heredocs: Vec::new(),
    }
    .list(None)?;
    Ok(found)
}

struct Reader<'a> {
    chars: &'a [char],
    at: usize,
    depth: usize,
    found: &'a mut Vec<Simple>,
    /// Ends of here-documents whose bodies begin at the next line.
    heredocs: Vec<(String, bool)>,
}

/// What a word is for.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    Argument,
    WriteTarget,
    ReadSource,
    HereEnd { tabs: bool },
}

/// A command in the making.
struct Open {
    simple: Simple,
    word: Option<Word>,
    next: Next,
}

impl Open {
    fn new() -> Self {
        Self {
            simple: Simple::default(),
            word: None,
            next: Next::Argument,
        }
    }

    fn word(&mut self) -> &mut Word {
        self.word.get_or_insert_with(|| Word {
            text: String::new(),
            exact: true,
        })
    }
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    /// Reads commands up to the closing character, which is consumed, or to the end.
    fn list(&mut self, close: Option<char>) -> Result<(), ShellFault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ShellFault::TooDeep);
        }
        let mut open = Open::new();
        loop {
            let Some(c) = self.bump() else {
                self.end_command(&mut open);
                self.depth -= 1;
                return if close.is_none() {
                    Ok(())
                } else {
                    Err(ShellFault::Unfinished)
                };
            };
            match c {
                _ if Some(c) == close => {
                    self.end_command(&mut open);
                    self.depth -= 1;
                    return Ok(());
                }
                ' ' | '\t' | '\r' => self.end_word(&mut open),
                '\n' => {
                    self.end_command(&mut open);
                    self.skip_heredocs();
                }
                '&' if self.peek() == Some('>') => {
                    self.end_word(&mut open);
                    self.redirect(&mut open, '>');
                }
                ';' | '&' | '|' => self.end_command(&mut open),
                '(' => {
                    self.end_command(&mut open);
                    self.list(Some(')'))?;
                }
                // The end of a pattern of `case`.
                ')' => self.end_command(&mut open),
                '#' if open.word.is_none() => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                '<' | '>' => {
                    if self.peek() == Some('(') {
                        self.at += 1;
                        open.word().exact = false;
                        self.nested(Some(')'))?;
                        continue;
                    }
                    // `2>`: the number belongs to the redirection.
                    let number = open.word.as_ref().is_some_and(|w| {
                        !w.text.is_empty() && w.text.bytes().all(|b| b.is_ascii_digit())
                    });
                    if number {
                        open.word = None;
                    }
                    self.end_word(&mut open);
                    self.at -= 1;
                    self.redirect(&mut open, c);
                }
                _ => self.part(c, &mut open)?,
            }
        }
    }

    /// Reads a nested list on its own, without disturbing the command around it.
    fn nested(&mut self, close: Option<char>) -> Result<(), ShellFault> {
        self.list(close)
    }

    /// At the first character of a redirection.
    fn redirect(&mut self, open: &mut Open, c: char) {
        self.at += 1;
        if c == '<' {
            if self.peek() == Some('<') {
                self.at += 1;
                if self.peek() == Some('<') {
                    self.at += 1;
                    open.next = Next::ReadSource;
                    return;
                }
                let tabs = self.peek() == Some('-');
                if tabs {
                    self.at += 1;
                }
                open.next = Next::HereEnd { tabs };
                return;
            }
            if self.peek() == Some('>') {
                self.at += 1;
                open.next = Next::WriteTarget;
                return;
            }
            if self.peek() == Some('&') {
                self.at += 1;
            }
            open.next = Next::ReadSource;
            return;
        }
        match self.peek() {
            Some('>' | '|') => self.at += 1,
            Some('&') => {
                self.at += 1;
                // `>&2` copies a descriptor, `>&file` writes.
                let descriptor = self.peek().is_some_and(|c| c.is_ascii_digit() || c == '-');
                if descriptor {
                    open.next = Next::ReadSource;
                    return;
                }
            }
            _ => {}
        }
        open.next = Next::WriteTarget;
    }

    /// One part of a word.
    fn part(&mut self, c: char, open: &mut Open) -> Result<(), ShellFault> {
        match c {
            '\\' => match self.bump() {
                Some('\n') => {}
                Some(c) => open.word().text.push(c),
                None => open.word().text.push('\\'),
            },
            '\'' => loop {
                match self.bump() {
                    Some('\'') => {
                        open.word();
                        return Ok(());
                    }
                    Some(c) => open.word().text.push(c),
                    None => return Err(ShellFault::Unfinished),
                }
            },
            '"' => self.double_quoted(open)?,
            '$' => self.dollar(open)?,
            '`' => self.backquoted(open)?,
            '*' | '?' | '[' | '{' => {
                let alone = c == '{' && open.word.is_none();
                let word = open.word();
                word.text.push(c);
                word.exact &= alone;
            }
            _ => open.word().text.push(c),
        }
        Ok(())
    }

    fn double_quoted(&mut self, open: &mut Open) -> Result<(), ShellFault> {
        open.word();
        loop {
            match self.bump().ok_or(ShellFault::Unfinished)? {
                '"' => return Ok(()),
                '\\' => match self.bump().ok_or(ShellFault::Unfinished)? {
                    '\n' => {}
                    c @ ('"' | '\\' | '$' | '`') => open.word().text.push(c),
                    c => open.word().text.extend(['\\', c]),
                },
                '$' => self.dollar(open)?,
                '`' => self.backquoted(open)?,
                c => open.word().text.push(c),
            }
        }
    }

    /// After a `$`.
    fn dollar(&mut self, open: &mut Open) -> Result<(), ShellFault> {
        let word = open.word();
        word.text.push('$');
        match self.peek() {
            Some('(') => {
                word.exact = false;
                self.at += 1;
                // Arithmetic is read as commands too: it holds nothing that is taken for one
                // of those that matter.
                self.nested(Some(')'))?;
            }
            Some('{') => {
                word.exact = false;
                self.at += 1;
                let mut depth = 1;
                while depth > 0 {
                    match self.bump().ok_or(ShellFault::Unfinished)? {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        '\\' => {
                            self.bump();
                        }
                        '$' if self.peek() == Some('(') => {
                            self.at += 1;
                            self.nested(Some(')'))?;
                        }
                        c => open.word().text.push(c),
                    }
                }
            }
            Some('\'') => {
                word.exact = false;
                self.at += 1;
                loop {
                    match self.bump().ok_or(ShellFault::Unfinished)? {
                        '\'' => break,
                        '\\' => {
                            self.bump();
                        }
                        c => open.word().text.push(c),
                    }
                }
            }
            Some(c) if c.is_alphanumeric() || "_@*#?-$!".contains(c) => word.exact = false,
            _ => {}
        }
        Ok(())
    }

    /// After a backquote.
    fn backquoted(&mut self, open: &mut Open) -> Result<(), ShellFault> {
        open.word().exact = false;
        let mut inner = Vec::new();
        loop {
            match self.bump().ok_or(ShellFault::Unfinished)? {
                '`' => break,
                '\\' => {
                    let c = self.bump().ok_or(ShellFault::Unfinished)?;
                    if !matches!(c, '`' | '\\' | '$') {
                        inner.push('\\');
                    }
                    inner.push(c);
                }
                c => inner.push(c),
            }
        }
        Reader {
            chars: &inner,
            at: 0,
            depth: self.depth,
            found: self.found,
            heredocs: Vec::new(),
        }
        .list(None)
    }

    fn end_word(&mut self, open: &mut Open) {
        let Some(word) = open.word.take() else { return };
        match std::mem::replace(&mut open.next, Next::Argument) {
            Next::WriteTarget => open.simple.writes.push(word),
            Next::ReadSource => {}
            Next::HereEnd { tabs } => self.heredocs.push((word.text, tabs)),
            Next::Argument => {
                if open.simple.words.is_empty() {
                    if RESERVED.contains(&word.text.as_str()) {
                        return;
                    }
                    if let Some((name, value)) = assignment(&word) {
                        open.simple.assignments.push((name, value));
                        return;
                    }
                }
                open.simple.words.push(word);
            }
        }
    }

    fn end_command(&mut self, open: &mut Open) {
        self.end_word(open);
        let done = std::mem::replace(open, Open::new()).simple;
        if done != Simple::default() {
            self.found.push(done);
        }
    }

    fn skip_heredocs(&mut self) {
        for (end, tabs) in std::mem::take(&mut self.heredocs) {
            while self.at < self.chars.len() {
                let line: String = self.chars[self.at..]
                    .iter()
                    .take_while(|c| **c != '\n')
                    .collect();
                self.at = (self.at + line.chars().count() + 1).min(self.chars.len());
                let line = if tabs {
                    line.trim_start_matches('\t')
                } else {
                    &line
                };
                if line == end {
                    break;
                }
            }
        }
    }
}

/// `NAME=value`, when the word is an assignment.
fn assignment(word: &Word) -> Option<(String, Word)> {
    let (name, value) = word.text.split_once('=')?;
    let name = name.strip_suffix('+').unwrap_or(name);
    let starts_well = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    (starts_well && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')).then(|| {
        let value = Word {
            text: value.to_owned(),
            exact: word.exact,
        };
        (name.to_owned(), value)
    })
}

impl Simple {
    /// The command that is really run, past `env`, `sudo`, `nohup` and the like, and the
    /// assignments that count for it. Wrappers with flags of their own are passed over with
    /// everything up to the first word that does not look like theirs.
    #[must_use]
    pub fn unwrapped(&self) -> Self {
        let mut simple = self.clone();
        while let Some(first) = simple.words.first() {
            let name = first.text.rsplit('/').next().unwrap_or_default().to_owned();
            let takes_number = match name.as_str() {
                "env" | "command" | "builtin" | "exec" | "nohup" | "sudo" | "doas" | "setsid"
                | "ionice" | "stdbuf" | "xargs" => false,
                "timeout" | "nice" => true,
                _ => break,
            };
            simple.words.remove(0);
            while let Some(word) = simple.words.first() {
                let text = &word.text;
                let number = text.bytes().next().is_some_and(|b| b.is_ascii_digit());
                if let Some(pair) = assignment(word) {
                    simple.assignments.push(pair);
                } else if !(text.starts_with('-') || (takes_number && number)) {
                    break;
                }
                simple.words.remove(0);
            }
        }
        simple
    }

    /// The script of `sh -c SCRIPT` and of `eval SCRIPT`.
    #[must_use]
    pub fn inner_script(&self) -> Option<String> {
        let name = self.words.first()?.text.rsplit('/').next()?;
        match name {
            "sh" | "bash" | "dash" | "zsh" | "ksh" => {
                let flag = self.words.iter().position(|w| {
                    w.text.starts_with('-') && !w.text.starts_with("--") && w.text.contains('c')
                })?;
                Some(self.words.get(flag + 1)?.text.clone())
            }
            "eval" => Some(
                self.words
                    .iter()
                    .skip(1)
                    .map(|w| w.text.as_str())
                    .collect::<Vec<_>>()
                    .join(" "),
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(line: &str) -> String {
        read(line)
            .unwrap()
            .iter()
            .map(|simple| {
                let mut text: Vec<String> = simple
                    .assignments
                    .iter()
                    .map(|(n, v)| format!("{n}:={}", v.text))
                    .collect();
                text.extend(simple.words.iter().map(|w| {
                    if w.exact {
                        w.text.clone()
                    } else {
                        format!("{}~", w.text)
                    }
                }));
                text.extend(simple.writes.iter().map(|w| format!(">{}", w.text)));
                text.join("|")
            })
            .collect::<Vec<_>>()
            .join(" ;; ")
    }

    #[test]
    fn simple_commands_are_found_wherever_they_stand() {
        for (line, seen) in [
            ("git push", "git|push"),
            ("  git   'pu'\"sh\" ", "git|push"),
            (
                "a && b || c; d & e | f\ng",
                "a ;; b ;; c ;; d ;; e ;; f ;; g",
            ),
            ("(a; b) && { c; }", "a ;; b ;; c"),
            ("echo $(git push) x", "git|push ;; echo|$~|x"),
            ("echo \"a $(b `c`) d\"", "c ;; b|~ ;; echo|a $ d~"),
            ("echo `a \\`b\\``", "b ;; a|~ ;; echo|~"),
            ("if a; then b; else c; fi", "a ;; b ;; c"),
            ("for f in x; do git push; done", "f|in|x ;; git|push"),
            ("A=1 B='x y' git push", "A:=1|B:=x y|git|push"),
            ("a > out 2>&1 >> more 2>err", "a|>out|>more|>err"),
            (
                "a &> all; b >| forced; c <> both",
                "a|>all ;; b|>forced ;; c|>both",
            ),
            ("a <in >&2", "a"),
            ("a >&file", "a|>file"),
            ("cat <<'X' > out\ngit push\nX\nb", "cat|>out ;; b"),
            ("cat <<-X\n\tgit push\n\tX\nb", "cat ;; b"),
            ("a <<< 'git push'", "a"),
            ("a # git push\nb", "a ;; b"),
            ("a\\\n b", "a|b"),
            ("a x#y", "a|x#y"),
            ("diff <(git push) b", "git|push ;; diff|~|b"),
            ("a $X ${Y:-z} *.rs", "a|$X~|$Y:-z~|*.rs~"),
            ("case x in y) git push;; esac", "x|in|y ;; git|push"),
            ("echo 'it'\\''s'", "echo|it's"),
            ("", ""),
        ] {
            assert_eq!(show(line), seen, "{line}");
        }
    }

    #[test]
    fn what_is_open_or_too_deep_is_said() {
        for line in ["'a", "\"a", "a $(b", "(a", "`a", "${a"] {
            assert_eq!(read(line), Err(ShellFault::Unfinished), "{line}");
        }
        assert_eq!(read(&"(".repeat(500)), Err(ShellFault::TooDeep));
    }

    #[test]
    fn wrappers_are_taken_off() {
        for (line, name) in [
            ("env A=1 git push", "git"),
            ("sudo -n git push", "git"),
            ("timeout 10s git push", "git"),
            ("nice -n 5 git push", "git"),
            ("command git push", "git"),
            ("/usr/bin/env git push", "git"),
        ] {
            let simple = read(line).unwrap()[0].unwrapped();
            assert_eq!(simple.words[0].text, name, "{line}");
        }
        let inner = |line: &str| read(line).unwrap()[0].inner_script();
        assert_eq!(inner("bash -lc 'git push'"), Some("git push".into()));
        assert_eq!(inner("eval git push"), Some("git push".into()));
        assert_eq!(inner("bash script.sh"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(line in "[a-z $'\"`()<>&|;{}\\\\\n#=*~-]{0,80}") {
            let _ = read(&line);
        }
    }
}
