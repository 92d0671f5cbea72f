//! Goes through a shell line as the shell would, with the folders it may be in and what its
//! variables may hold, and stops at the first thing that an instance may not do.

mod expand;
mod places;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::flow::{self, Flow};
use super::paths::Bounds;
use super::shell::{self, After, Command, Kind, Piece, Redirect, Script, ShellFault, Simple, Word};
use super::value::{self, Field, Seg, Variables};
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
