//! Goes through a shell line as the shell would, with the folders it may be in and what its
//! variables may hold, and stops at the first thing that an instance may not do.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::flow::{self, Flow};
use super::paths::{Bounds, Place};
use super::shell::{
    self, After, Change, Command, Kind, Piece, Redirect, Script, ShellFault, Simple, Word,
};
use super::value::{self, Field, MAX_FIELDS, Seg, Variables, Where};
use super::{code, git, others, programs};

/// Why something may not be done.
pub type Denial = String;

/// What a step comes to.
pub type Step<T = ()> = Result<T, Denial>;

/// Most steps of one line, loops and functions included.
const MAX_STEPS: usize = 6_000;

/// Deepest calling of functions and of scripts in scripts.
const MAX_CALLS: usize = 12;

/// Most folders that a line may be in at once.
const MAX_FOLDERS: usize = 16;

/// What changes while a line runs.
#[derive(Debug, Clone)]
pub struct State {
    /// The folders that it may be in; nothing stands for one that is not known.
    pub folders: Vec<Option<PathBuf>>,
    /// The variables.
    pub variables: Variables,
    /// Folders that `cd -` and `popd` may lead back to.
    pub before: Vec<Option<PathBuf>>,
    /// Whether words are split as usual.
    pub splits: bool,
}

/// The walk through one line.
pub struct Walk<'a> {
    /// The places.
    pub bounds: &'a Bounds,
    /// Where it stands.
    pub state: State,
    /// Whether what is not understood is denied. In a script file that was there before, only
    /// what is certain is.
    pub strict: bool,
    functions: HashMap<String, Rc<Command>>,
    /// What the line itself wrote to files.
    written: HashMap<PathBuf, String>,
    steps: usize,
    calls: usize,
}

impl<'a> Walk<'a> {
    /// At the beginning of a line.
    #[must_use]
    pub fn new(cwd: &Path, bounds: &'a Bounds) -> Self {
        Self {
            bounds,
            state: State {
                folders: vec![Some(cwd.to_owned())],
                variables: Variables::default(),
                before: vec![None],
                splits: true,
            },
            strict: true,
            functions: HashMap::new(),
            written: HashMap::new(),
            steps: 0,
            calls: 0,
        }
    }

    /// Goes through a text as a script.
    ///
    /// # Errors
    /// Why it may not run.
    pub fn text(&mut self, text: &str) -> Step {
        if text.contains('\0') {
            return Err("the command holds a character that no command can hold.".to_owned());
        }
        match shell::read(text) {
            Ok(script) => self.nested(|walk| walk.script(&script).map(drop)),
            Err(_) if !self.strict => Ok(()),
            Err(ShellFault::Syntax(why)) => Err(format!(
                "the command cannot be understood, and so not be checked: {why}. Write it more \
                 plainly, or in several calls."
            )),
            Err(ShellFault::TooDeep) => Err(
                "the command is too long or nested too deeply to be checked; split it.".to_owned(),
            ),
        }
    }

    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Step<T>) -> Step<T> {
        self.calls += 1;
        if self.calls > MAX_CALLS {
            return Err(
                "functions or scripts call each other too deeply to be checked; split the command."
                    .to_owned(),
            );
        }
        let result = inner(self);
        self.calls -= 1;
        result
    }

    /// A script file, when it is one that can be read: only what is certain counts in it.
    ///
    /// # Errors
    /// Why it may not run.
    pub fn file(&mut self, field: &[Seg], arguments: &[Field]) -> Step {
        const MOST: u64 = 256 * 1024;
        for path in self.paths(field) {
            if let Some(text) = self.written.get(&path).cloned() {
                let state = self.state.clone();
                self.positional(arguments);
                let result = self.text(&text);
                self.state = state;
                result?;
                continue;
            }
            let Ok(about) = path.metadata() else { continue };
            if !about.is_file() || about.len() > MOST {
                continue;
            }
            let Ok(text) = std::fs::read_to_string(&path) else {
                continue;
            };
            let strict = std::mem::replace(&mut self.strict, false);
            let state = self.state.clone();
            self.positional(arguments);
            let result = self.text(&text);
            self.state = state;
            self.strict = strict;
            result.map_err(|why| format!("{} would do this: {why}", path.display()))?;
        }
        Ok(())
    }

    /// What the line itself wrote to a file, if it did.
    #[must_use]
    pub fn wrote(&self, field: &[Seg]) -> Option<String> {
        let paths = self.paths(field);
        paths
            .iter()
            .find_map(|path| self.written.get(path).cloned())
    }

    /// Keeps what a command prints into files.
    fn keep_written(&mut self, redirects: &[Redirect], flow: &Flow) -> Step {
        let Flow::Text(text) = flow else {
            return Ok(());
        };
        for redirect in redirects {
            let Redirect::Write(word) = redirect else {
                continue;
            };
            for field in self.expand(word)? {
                for path in self.paths(&field) {
                    let all = self.written.entry(path).or_default();
                    // Whether it is put behind what was there or in its place: both are seen.
                    if all.len() < 200_000 {
                        all.push_str(text);
                    }
                }
            }
        }
        Ok(())
    }

    /// The places that a field may lead to, as far as they are known.
    #[must_use]
    pub fn paths(&self, field: &[Seg]) -> Vec<PathBuf> {
        self.state
            .folders
            .iter()
            .filter_map(
                |folder| match value::resolve(field, folder.as_deref(), self.bounds) {
                    Where::At(paths) => Some(paths),
                    _ => None,
                },
            )
            .flatten()
            .collect()
    }

    /// A list of commands. What its last one prints, as far as that is known.
    pub fn script(&mut self, script: &Script) -> Step<Flow> {
        let mut flow = Flow::Text(String::new());
        for (at, chain) in script.chains.iter().enumerate() {
            let before = self.state.clone();
            let mut result = Flow::Unknown;
            let mut certain = true;
            for link in &chain.links {
                match link.after {
                    After::First => {
                        let may_fail = chain.links.len() > 1;
                        result = self.pipeline(&link.commands)?;
                        certain = !may_fail;
                    }
                    After::Success => result = self.pipeline(&link.commands)?,
                    After::Failure => {
                        // What came before may have been done in part, or not at all.
                        let done = self.state.clone();
                        self.also(&before);
                        result = self.pipeline(&link.commands)?;
                        self.also(&done);
                        certain = false;
                    }
                }
            }
            if chain.background {
                self.state = before;
            } else if !certain || self.moved_uncertainly(&before) {
                self.also(&before);
            }
            flow = if at == 0 {
                result
            } else {
                flow::after(flow, result)
            };
        }
        Ok(flow)
    }

    /// Whether a `cd` that was taken to succeed may have failed.
    fn moved_uncertainly(&self, before: &State) -> bool {
        self.state.folders != before.folders
            && !self
                .state
                .folders
                .iter()
                .flatten()
                .all(|folder| folder.is_dir())
    }

    /// What was true in another state may be true as well.
    fn also(&mut self, other: &State) {
        for folder in &other.folders {
            if !self.state.folders.contains(folder) {
                self.state.folders.push(folder.clone());
            }
        }
        if self.state.folders.len() > MAX_FOLDERS {
            self.state.folders = vec![None];
        }
        for folder in &other.before {
            if !self.state.before.contains(folder) {
                self.state.before.push(folder.clone());
            }
        }
        self.state.variables.join(&other.variables);
        self.state.splits &= other.splits;
    }

    fn pipeline(&mut self, commands: &[Command]) -> Step<Flow> {
        if let [one] = commands {
            return self.command(one, &Flow::None);
        }
        // Each runs in a shell of its own.
        let mut flow = Flow::None;
        for command in commands {
            let before = self.state.clone();
            flow = self.command(command, &flow)?;
            self.state = before;
        }
        Ok(flow)
    }

    /// One command, with what is piped into it.
    fn command(&mut self, command: &Command, input: &Flow) -> Step<Flow> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err("the command is too long to be checked; split it.".to_owned());
        }
        let mut given = input.clone();
        let mut kept = true;
        for redirect in &command.redirects {
            match redirect {
                Redirect::Read(word) => {
                    for field in self.expand(word)? {
                        if value::beginning(&field).starts_with("/dev/tcp/")
                            || value::beginning(&field).starts_with("/dev/udp/")
                        {
                            return Err(self.refuse("`/dev/tcp`", &field, "opens a connection"));
                        }
                    }
                    given = Flow::Unknown;
                }
                Redirect::Write(word) => {
                    kept = false;
                    for field in self.expand(word)? {
                        self.write("writing to", &field)?;
                    }
                }
                Redirect::Text(body) => {
                    let word = body.get().cloned().unwrap_or_default();
                    let fields = self.expand_unsplit(&word)?;
                    given = match fields.as_slice() {
                        [one] => value::known(one).map_or(Flow::Unknown, Flow::Text),
                        _ => Flow::Unknown,
                    };
                }
                Redirect::Copy => {}
            }
        }
        let flow = match &command.kind {
            Kind::Simple(simple) => self.simple(simple, &given)?,
            Kind::Group(script) => self.with_input(&given, |walk| walk.script(script))?,
            Kind::Subshell(script) => {
                let before = self.state.clone();
                let flow = self.with_input(&given, |walk| walk.script(script))?;
                self.state = before;
                flow
            }
            Kind::If { arms, otherwise } => {
                let mut ends: Vec<State> = Vec::new();
                for (condition, body) in arms {
                    let before = self.state.clone();
                    self.with_input(&given, |walk| walk.script(condition))?;
                    let decided = self.state.clone();
                    self.with_input(&given, |walk| walk.script(body))?;
                    ends.push(std::mem::replace(&mut self.state, decided));
                    // It was not so.
                    self.also(&before);
                }
                if let Some(body) = otherwise {
                    self.with_input(&given, |walk| walk.script(body))?;
                }
                for end in &ends {
                    self.also(end);
                }
                Flow::Unknown
            }
            Kind::Case { subject, arms } => {
                for word in subject {
                    self.run_within(&word.pieces)?;
                }
                let before = self.state.clone();
                let mut ends: Vec<State> = Vec::new();
                for arm in arms {
                    // One may fall through to the next.
                    self.also(&before);
                    self.with_input(&given, |walk| walk.script(arm))?;
                    ends.push(self.state.clone());
                }
                self.also(&before);
                for end in &ends {
                    self.also(end);
                }
                Flow::Unknown
            }
            Kind::Loop { variable, parts } => {
                self.repeat(variable.as_ref(), parts, &given)?;
                Flow::Unknown
            }
            Kind::Function { name, body } => {
                // Some are called by the shell itself, by their name; what a function does for
                // certain is looked at here, the rest where it is called.
                let before = self.state.clone();
                let strict = std::mem::replace(&mut self.strict, false);
                self.unknown_positional();
                let certain = self.nested(|walk| walk.command(body, &Flow::Unknown));
                self.strict = strict;
                self.state = before;
                certain?;
                self.functions.insert(name.clone(), body.clone());
                Flow::None
            }
            Kind::Test(words) => {
                for word in words {
                    self.run_within(&word.pieces)?;
                }
                Flow::None
            }
        };
        if kept {
            return Ok(flow);
        }
        self.keep_written(&command.redirects, &flow)?;
        Ok(Flow::Text(String::new()))
    }

    /// Commands of a group read what is piped into the group.
    fn with_input(
        &mut self,
        given: &Flow,
        inner: impl FnOnce(&mut Self) -> Step<Flow>,
    ) -> Step<Flow> {
        let name = INPUT.to_owned();
        let before = self.state.variables.get(&name).cloned();
        if *given != Flow::None {
            self.state.variables.set(&name, vec![given.field()]);
        }
        let result = inner(self);
        if *given != Flow::None {
            self.state
                .variables
                .set(&name, before.unwrap_or_else(|| vec![vec![Seg::Unknown]]));
        }
        result
    }

    fn repeat(
        &mut self,
        variable: Option<&(String, Option<Vec<Word>>)>,
        parts: &[Rc<Script>],
        given: &Flow,
    ) -> Step {
        if let Some((name, words)) = variable {
            let values = match words {
                None => vec![vec![Seg::Unknown]],
                Some(words) => {
                    let mut values = Vec::new();
                    for word in words {
                        values.extend(self.expand(word)?);
                    }
                    values
                }
            };
            // A loop over nothing leaves the variable as it was; the body is read all the same.
            let values = if values.is_empty() {
                vec![vec![Seg::Atom]]
            } else {
                values
            };
            self.state.variables.set(name, values);
        }
        // The second time round begins where the first one ended.
        for _ in 0..2 {
            let before = self.state.clone();
            for part in parts {
                self.with_input(given, |walk| walk.script(part))?;
            }
            self.also(&before);
        }
        Ok(())
    }

    fn simple(&mut self, simple: &Simple, input: &Flow) -> Step<Flow> {
        let mut assigned = Vec::new();
        for assignment in &simple.assignments {
            let mut values = Vec::new();
            for word in &assignment.values {
                values.extend(self.expand_unsplit(word)?);
            }
            if assignment.odd {
                values = vec![vec![Seg::Unknown]];
            }
            assigned.push((assignment.name.clone(), values));
        }
        let mut words = Vec::new();
        for word in &simple.words {
            words.extend(self.expand(word)?);
        }
        if words.is_empty() {
            // What only assigns stays; what expands to nothing does nothing.
            for (name, values) in assigned {
                self.assign(&name, values)?;
            }
            // `$(<file)` is what is in the file.
            return Ok(match input {
                Flow::None => Flow::Text(String::new()),
                other => other.clone(),
            });
        }
        // A variable's value is split into words where it is used bare; a first word that is
        // empty for that reason is none.
        self.call(&words, &assigned, input)
    }

    /// Sets a variable for the rest of the line.
    ///
    /// # Errors
    /// When it points git, or what programs load, somewhere else.
    pub fn assign(&mut self, name: &str, values: Vec<Field>) -> Step {
        git::variable(self, name, &values)?;
        programs::variable(self, name, &values)?;
        if name == "IFS" {
            self.state.splits = false;
        }
        self.state.variables.set(name, values);
        Ok(())
    }

    /// A program, a builtin or a function with its arguments.
    ///
    /// # Errors
    /// Why it may not run.
    pub fn call(
        &mut self,
        words: &[Field],
        assigned: &[(String, Vec<Field>)],
        input: &Flow,
    ) -> Step<Flow> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err("the command is too long to be checked; split it.".to_owned());
        }
        for (name, values) in assigned {
            git::variable(self, name, values)?;
            programs::variable(self, name, values)?;
        }
        let Some((first, rest)) = words.split_first() else {
            return Ok(Flow::None);
        };
        let Some(program) = value::known(first) else {
            return self.unknown_program(first, rest);
        };
        if let Some(body) = self.functions.get(&program).cloned() {
            let before = self.state.clone();
            self.positional(rest);
            let flow = self.nested(|walk| walk.command(&body, input))?;
            // It may have moved, and set variables; its arguments were its own.
            let moved = std::mem::replace(&mut self.state, before);
            self.state.folders.clone_from(&moved.folders);
            self.also(&moved);
            return Ok(flow);
        }
        let input = if *input == Flow::None {
            self.state
                .variables
                .get(INPUT)
                .and_then(|fields| fields.first())
                .map_or(Flow::None, |field| Flow::of_field(field))
        } else {
            input.clone()
        };
        // One shell looks up what follows a `=` in its path.
        let program = program.strip_prefix('=').unwrap_or(&program).to_owned();
        let name = program.rsplit('/').next().unwrap_or_default().to_owned();
        if program.contains('/') {
            self.program_file(first, rest)?;
        }
        if name == "git" {
            return git::check(self, rest);
        }
        if program == "orchestra" {
            return others::denial(rest).map_or(Ok(Flow::Unknown), Err);
        }
        programs::check(self, &name, rest, assigned, &input)
    }

    /// A program that is named by its path: what it does is its own, unless it is a script, or
    /// lies in a place from which nothing may be run.
    fn program_file(&mut self, first: &[Seg], rest: &[Field]) -> Step {
        for path in self.paths(first) {
            if let Some(text) = self.written.get(&path) {
                self.code(&text.clone())?;
                if !text.starts_with("#!") || text.lines().next().is_some_and(|l| l.contains("sh"))
                {
                    self.file(first, rest)?;
                }
                continue;
            }
            let script = std::fs::File::open(&path).is_ok_and(|file| {
                let mut start = [0_u8; 64];
                let read = std::io::Read::read(&mut std::io::Read::take(file, 64), &mut start);
                let start = &start[..read.unwrap_or(0)];
                start.starts_with(b"#!")
                    && start.split(|b| *b == b'\n').next().is_some_and(|line| {
                        line.ends_with(b"sh") || line.windows(3).any(|w| w == b"sh ")
                    })
            });
            if script && self.bounds.is_own(&path) {
                self.file(first, rest)?;
            }
        }
        Ok(())
    }

    fn unknown_program(&mut self, first: &[Seg], rest: &[Field]) -> Step<Flow> {
        // `"$tool" args`: what it is nobody knows; what it is told can be looked at.
        if !self.strict {
            return Ok(Flow::Unknown);
        }
        let below = matches!(first, [Seg::Below] | [Seg::Glob(_)])
            || matches!(first, [Seg::Text(t), ..] if t.contains('/') && !t.contains(".."));
        if below && !first.contains(&Seg::Unknown) {
            programs::other(self, "a program", rest)?;
            return Ok(Flow::Unknown);
        }
        Err(format!(
            "which program `{}` is can only be known when it runs, so it cannot be checked. \
             Write the program's name out.",
            value::shown(first)
        ))
    }

    /// Sets `$1`, `$2` and so on.
    pub fn positional(&mut self, arguments: &[Field]) {
        for at in 1..=9_usize {
            let value = arguments.get(at - 1).cloned();
            self.state.variables.set(
                &at.to_string(),
                vec![value.unwrap_or_else(|| value::text(""))],
            );
        }
        let all = if arguments.is_empty() {
            vec![value::text("")]
        } else {
            arguments.to_vec()
        };
        self.state.variables.set("@", all.clone());
        self.state.variables.set("*", all);
    }

    /// `$1`, `$2` and so on may be anything.
    pub fn unknown_positional(&mut self) {
        for name in ["1", "2", "3", "4", "5", "6", "7", "8", "9", "@", "*"] {
            self.state.variables.set(name, vec![vec![Seg::Unknown]]);
        }
    }

    /// The commands that are run to make a word, and nothing else of it.
    fn run_within(&mut self, pieces: &[Piece]) -> Step {
        let mut scripts = Vec::new();
        shell::scripts_in(pieces, &mut scripts);
        for script in scripts {
            let before = self.state.clone();
            self.nested(|walk| walk.script(&script))?;
            self.state = before;
        }
        Ok(())
    }

    /// What a word comes to.
    ///
    /// # Errors
    /// When commands in it may not run.
    pub fn expand(&mut self, word: &Word) -> Step<Vec<Field>> {
        let fields = self.fields(&word.pieces, true)?;
        let mut split = Vec::new();
        for (field, splits) in fields {
            if splits {
                split.extend(self.split(field));
            } else {
                split.push(field);
            }
        }
        if split.len() > MAX_FIELDS {
            return Ok(vec![vec![Seg::Unknown]]);
        }
        Ok(split)
    }

    /// The same where the shell does not split words.
    ///
    /// # Errors
    /// When commands in it may not run.
    pub fn expand_unsplit(&mut self, word: &Word) -> Step<Vec<Field>> {
        let fields = self.fields(&word.pieces, false)?;
        Ok(fields.into_iter().map(|(field, _)| field).collect())
    }

    /// Splits at blanks that came out of a variable. They are marked by [`BLANK`].
    fn split(&self, field: Field) -> Vec<Field> {
        if !self.state.splits {
            return vec![vec![Seg::Unknown]];
        }
        let mut fields = vec![Vec::new()];
        let mut any = false;
        for seg in field {
            let Seg::Text(text) = seg else {
                if let Some(last) = fields.last_mut() {
                    last.push(seg);
                }
                any = true;
                continue;
            };
            for (at, part) in text.split(BLANK).enumerate() {
                if at > 0 {
                    fields.push(Vec::new());
                }
                if !part.is_empty() {
                    any = true;
                    if let Some(last) = fields.last_mut() {
                        last.push(Seg::Text(part.to_owned()));
                    }
                }
            }
        }
        fields.retain(|field| !field.is_empty());
        if any { fields } else { Vec::new() }
    }

    /// The fields of a word, and whether any of it is to be split.
    fn fields(&mut self, pieces: &[Piece], split: bool) -> Step<Vec<(Field, bool)>> {
        let mut fields: Vec<(Field, bool)> = vec![(Vec::new(), false)];
        for (at, piece) in pieces.iter().enumerate() {
            let (values, splits) = match piece {
                Piece::Text { text, quoted } => {
                    (vec![self.tilde(text, *quoted, at, pieces)], false)
                }
                Piece::Glob(pattern) if split => (vec![vec![Seg::Glob(pattern.clone())]], false),
                Piece::Glob(pattern) => (vec![value::text(pattern)], false),
                Piece::Mark(c) => (vec![value::text(&c.to_string())], false),
                Piece::Atom => (vec![vec![Seg::Atom]], false),
                Piece::Opaque(_) => {
                    self.run_within(std::slice::from_ref(piece))?;
                    (vec![vec![Seg::Unknown]], false)
                }
                Piece::Process(script) => {
                    let before = self.state.clone();
                    self.nested(|walk| walk.script(script))?;
                    self.state = before;
                    (vec![value::text("/dev/fd/63")], false)
                }
                Piece::Command { script, quoted } => {
                    let before = self.state.clone();
                    let flow = self.nested(|walk| walk.script(script))?;
                    self.state = before;
                    let bare = split && !*quoted;
                    (vec![marked(flow.field(), bare)], bare)
                }
                Piece::Var {
                    name,
                    change,
                    quoted,
                } => {
                    let bare = split && !*quoted;
                    let values = self.variable(name, change)?;
                    let values = values.into_iter().map(|v| marked(v, bare)).collect();
                    (values, bare)
                }
            };
            let mut next = Vec::new();
            for (before, was) in &fields {
                for value in &values {
                    let mut field = before.clone();
                    field.extend(value.iter().cloned());
                    next.push((field, *was || splits));
                }
            }
            if next.len() > MAX_FIELDS {
                next = vec![(vec![Seg::Unknown], false)];
            }
            fields = next;
        }
        Ok(fields)
    }

    /// A word's text with `~` at its beginning followed.
    fn tilde(&self, text: &str, quoted: bool, at: usize, pieces: &[Piece]) -> Field {
        let alone = at > 0 || quoted || !text.starts_with('~');
        if alone {
            // In an assignment, and in arguments like `--x=~/y` for some shells, it counts
            // behind `=` and `:` too.
            if !quoted && (text.contains("=~") || text.contains(":~")) {
                if let Some(home) = self.bounds.var("HOME") {
                    let text = text.replace("=~", &format!("={home}"));
                    return value::text(&text.replace(":~", &format!(":{home}")));
                }
                return vec![Seg::Unknown];
            }
            return value::text(text);
        }
        let (user, rest) = match text.find('/') {
            Some(end) => (&text[1..end], &text[end..]),
            None => (&text[1..], ""),
        };
        if rest.is_empty() && pieces.len() > 1 && user.is_empty() && pieces.get(1).is_some() {
            return value::text(text);
        }
        let home = match user {
            "" => self.variable_text("HOME"),
            "+" => self.folder_text(),
            _ => None,
        };
        match home {
            Some(home) => value::text(&format!("{home}{rest}")),
            None => vec![Seg::Unknown],
        }
    }

    fn variable_text(&self, name: &str) -> Option<String> {
        match self.state.variables.get(name).map(Vec::as_slice) {
            Some([one]) => value::known(one),
            Some(_) => None,
            None => self.bounds.var(name).map(str::to_owned),
        }
    }

    fn folder_text(&self) -> Option<String> {
        match self.state.folders.as_slice() {
            [Some(folder)] => folder.to_str().map(str::to_owned),
            _ => None,
        }
    }

    /// What a variable may hold.
    fn variable(&mut self, name: &str, change: &Change) -> Step<Vec<Field>> {
        let value = self.plain(name);
        Ok(match change {
            Change::None => value.unwrap_or_else(|| vec![vec![Seg::Unknown]]),
            Change::Length => vec![vec![Seg::Atom]],
            Change::Default { word, keep } => {
                let other: Vec<Field> = self
                    .fields(word, false)?
                    .into_iter()
                    .map(|(field, _)| field)
                    .collect();
                let values = match value {
                    // Known not to be empty: the other word does not come into it.
                    Some(values)
                        if values.iter().all(|v| {
                            v.iter().any(|s| !matches!(s, Seg::Text(t) if t.is_empty()))
                        }) && !values.iter().any(|v| v.contains(&Seg::Unknown)) =>
                    {
                        values
                    }
                    Some(values) => [values, other].concat(),
                    // Whatever it is, it was not set by anything that is seen here.
                    None => [vec![vec![Seg::Unknown]], other].concat(),
                };
                if *keep {
                    self.assign(name, values.clone())?;
                }
                values
            }
            Change::Alternative(word) => {
                let mut values: Vec<Field> = self
                    .fields(word, false)?
                    .into_iter()
                    .map(|(field, _)| field)
                    .collect();
                values.push(value::text(""));
                values
            }
            Change::Trim {
                end,
                longest,
                pattern,
            } => {
                self.run_within(pattern)?;
                let pattern = plain_pattern(pattern);
                value
                    .unwrap_or_else(|| vec![vec![Seg::Unknown]])
                    .into_iter()
                    .map(|field| trim(&field, *end, *longest, pattern.as_deref()))
                    .collect()
            }
            Change::Other(word) => {
                self.run_within(word)?;
                vec![vec![Seg::Unknown]]
            }
        })
    }

    fn plain(&self, name: &str) -> Option<Vec<Field>> {
        if let Some(values) = self.state.variables.get(name) {
            return Some(values.clone());
        }
        match name {
            "?" | "$" | "!" | "#" | "-" | "RANDOM" | "SECONDS" | "UID" | "EUID" | "PPID"
            | "LINENO" | "BASHPID" | "EPOCHSECONDS" | "HOSTNAME" | "OSTYPE" | "HOSTTYPE"
            | "SHLVL" | "USER" | "LOGNAME" | "0" => Some(vec![vec![Seg::Atom]]),
            "@" | "*" => Some(vec![value::text("")]),
            "PWD" => self.folder_text().map(|text| vec![value::text(&text)]),
            "OLDPWD" | "_" | "IFS" => None,
            // Not of the shell: the client gives it to hooks only.
            _ if name.starts_with("CLAUDE_PROJECT") || name.starts_with("CLAUDE_PLUGIN") => None,
            _ => self.bounds.var(name).map(|text| vec![value::text(text)]),
        }
    }

    /// Whether a field may be written to.
    ///
    /// # Errors
    /// Why not.
    pub fn write(&self, what: &str, field: &[Seg]) -> Step {
        self.touch(what, field, false)
    }

    /// Whether what a field names may be taken away.
    ///
    /// # Errors
    /// Why not.
    pub fn remove(&self, what: &str, field: &[Seg]) -> Step {
        self.touch(what, field, true)
    }

    fn touch(&self, what: &str, field: &[Seg], removes: bool) -> Step {
        for folder in &self.state.folders {
            match value::resolve(field, folder.as_deref(), self.bounds) {
                Where::Inside => {}
                Where::Unknown if !self.strict => {}
                Where::Unknown => {
                    return Err(format!(
                        "{what} `{}`: where that leads can only be known when it runs. Write the \
                         path out, relative to your worktree; temporary files go to $TMPDIR ({}).",
                        value::shown(field),
                        self.bounds.scratch().display()
                    ));
                }
                Where::At(paths) => {
                    for real in paths {
                        self.touch_path(what, field, &real, removes)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn touch_path(&self, what: &str, field: &[Seg], real: &Path, removes: bool) -> Step {
        let place = self.bounds.place(real);
        if self.bounds.is_own(real) {
            let bound = if removes {
                self.bounds.holds_own_settings(real)
            } else {
                self.bounds.is_own_settings(real)
            };
            if bound {
                return Err(format!(
                    "{what} `{}` would change what binds your worktree to git or to its settings; \
                     that stays as it is.",
                    value::shown(field)
                ));
            }
            return Ok(());
        }
        if !self.strict && place == Place::Outside {
            return Ok(());
        }
        Err(self.outside(what, field, real))
    }

    /// Says that a path is not the instance's.
    #[must_use]
    pub fn outside(&self, what: &str, field: &[Seg], real: &Path) -> Denial {
        let mut text = format!("{what} `{}` would reach ", value::shown(field));
        text.push_str(match self.bounds.place(real) {
            Place::Main => "into the person's main checkout. ",
            Place::Sibling => "into another task's worktree. ",
            _ => "outside your worktree. ",
        });
        match self.bounds.same_in_worktree(real) {
            Some(mine) => text.push_str(&format!("Your copy of it is {}.", mine.display())),
            None => text.push_str(&format!(
                "Work only inside {}; temporary files go to $TMPDIR ({}).",
                self.bounds.worktree().display(),
                self.bounds.scratch().display()
            )),
        }
        text
    }

    /// Says that something is not for an instance.
    #[must_use]
    pub fn refuse(&self, what: &str, field: &[Seg], why: &str) -> Denial {
        format!(
            "{what} `{}` {why}; work only inside {}.",
            value::shown(field),
            self.bounds.worktree().display()
        )
    }

    /// Goes to another folder.
    ///
    /// # Errors
    /// When it is the person's checkout or another task's worktree.
    pub fn go(&mut self, field: &[Seg]) -> Step {
        let folders = std::mem::take(&mut self.state.folders);
        let mut next: Vec<Option<PathBuf>> = Vec::new();
        for folder in &folders {
            // With CDPATH a name may lead anywhere.
            let named = !value::beginning(field).starts_with(['/', '.']);
            let searched = named
                && (self.state.variables.get("CDPATH").is_some()
                    || self.bounds.var("CDPATH").is_some());
            let to = if searched {
                Where::Unknown
            } else {
                value::resolve(field, folder.as_deref(), self.bounds)
            };
            match to {
                Where::At(paths) => next.extend(paths.into_iter().map(Some)),
                Where::Inside | Where::Unknown => next.push(None),
            }
        }
        next.sort();
        next.dedup();
        let foreign = next
            .iter()
            .flatten()
            .find(|real| self.bounds.is_foreign(real))
            .cloned();
        self.state.before.extend(folders.iter().cloned());
        self.state.folders = if next.len() > MAX_FOLDERS {
            vec![None]
        } else {
            next
        };
        match foreign {
            Some(real) => {
                self.state.folders = folders;
                Err(self.outside("going to", field, &real))
            }
            None => Ok(()),
        }
    }

    /// Whether every folder that the line may be in is one of the instance's own.
    #[must_use]
    pub fn is_at_home(&self) -> bool {
        self.state
            .folders
            .iter()
            .all(|folder| folder.as_ref().is_some_and(|f| self.bounds.is_own(f)))
    }

    /// Looks at the text of a program in another language.
    ///
    /// # Errors
    /// When it plainly writes outside.
    pub fn code(&self, text: &str) -> Step {
        code::check(self, text)
    }
}

/// Where the walk keeps what is piped into a group: no variable has such a name.
const INPUT: &str = "<input>";

/// Stands for a blank at which the shell splits.
const BLANK: char = '\u{e000}';

/// A value with its blanks marked where it is split.
fn marked(field: Field, splits: bool) -> Field {
    if !splits {
        return field;
    }
    field
        .into_iter()
        .flat_map(|seg| match seg {
            // What is used bare is a pattern as well.
            Seg::Text(text) => {
                let mut segs = Vec::new();
                let mut plain = String::new();
                for c in text.chars() {
                    match c {
                        ' ' | '\t' | '\n' => plain.push(BLANK),
                        '*' | '?' | '[' => {
                            segs.push(Seg::Text(std::mem::take(&mut plain)));
                            segs.push(Seg::Glob(c.to_string()));
                        }
                        c => plain.push(c),
                    }
                }
                segs.push(Seg::Text(plain));
                segs
            }
            other => vec![other],
        })
        .collect()
}

/// A pattern of text and `*` only.
fn plain_pattern(pieces: &[Piece]) -> Option<String> {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text { text, .. } if !text.contains(['*', '?', '[']) => Some(text.as_str()),
            Piece::Glob(text) if text != "[" => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

fn trim(field: &[Seg], end: bool, longest: bool, pattern: Option<&str>) -> Field {
    let Some(pattern) = pattern else {
        return vec![Seg::Unknown];
    };
    if let Some(text) = value::known(field) {
        let cuts: Vec<usize> = text
            .char_indices()
            .map(|(at, _)| at)
            .chain([text.len()])
            .collect();
        let part = |at: usize| if end { &text[at..] } else { &text[..at] };
        let mut fitting: Vec<usize> = cuts
            .into_iter()
            .filter(|at| value::wild(pattern, part(*at)))
            .collect();
        // The longest end begins first.
        if longest == end {
            fitting.truncate(1);
        }
        return match fitting.last() {
            Some(at) if end => value::text(&text[..*at]),
            Some(at) => value::text(&text[*at..]),
            None => value::text(&text),
        };
    }
    match field {
        // The name without its folders.
        [Seg::Below] if !end && longest && pattern == "*/" => vec![Seg::Atom],
        // The name without its ending.
        [Seg::Below] if end && pattern.starts_with('.') && !pattern.contains('/') && !longest => {
            vec![Seg::Below]
        }
        [Seg::Atom] => vec![Seg::Atom],
        _ => vec![Seg::Unknown],
    }
}
