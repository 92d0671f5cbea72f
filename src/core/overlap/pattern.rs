//! Globs of files, and whether some file may match two of them.
//!
//! The answer errs on one side only: two globs that can meet are never called apart. To
//! stay on that side, an ambiguous glob is read in every way that somebody may mean:
//!
//! - a glob covers what it matches and everything beneath, unless its last name looks like
//!   a file's (`src/api` may be a folder, `src/api.rs` hardly); a path is also beneath a
//!   file's when it says so itself (`conf.d`, `conf.d/x`);
//! - one without `/` and with a wildcard is looked for at any depth, as git and most search
//!   tools do (`*.md`); a plain name is a path from the root (`Cargo.toml`);
//! - upper and lower case are the same, as on some file systems;
//! - `[id]` and `{id}` are also taken as they stand, as web frameworks name files like that;
//! - `**` inside a name (`src/**.ts`) crosses folders or not.

mod read;

/// Why a text is not a glob of files of the repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum PatternFault {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {MAX_LEN} bytes")]
    TooLong,
    #[error("it is more than {MAX_SEGMENTS} folders deep")]
    TooDeep,
    #[error("it holds a control character")]
    Control,
    #[error("it holds a backslash")]
    Backslash,
    #[error("it is an absolute path")]
    Absolute,
    #[error("it holds '..' and so may leave the repository")]
    Parent,
    #[error("it starts with '!', and negations are not supported")]
    Negation,
    #[error("'{0}' has no counterpart")]
    Unbalanced(char),
    #[error("the range {0}-{1} runs backwards")]
    Range(char, char),
}

impl PatternFault {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Empty => "Remove it, or write a glob such as \"src/api/**\"",
            Self::TooLong | Self::TooDeep => "Name a folder further up",
            Self::Control => "Write printable characters only",
            Self::Backslash => {
                "Write '/' between folders, and [*] for a star that is meant as such"
            }
            Self::Absolute => {
                "Write it relative to the root of the repository, as in \"src/api/**\""
            }
            Self::Parent => "Name only files inside the repository, without '..'",
            Self::Negation => "List what the task touches instead of what it does not",
            Self::Unbalanced(_) => "Close it, or write [[] or [{] for the character itself",
            Self::Range(..) => "Write the smaller character first",
        }
    }
}

const MAX_LEN: usize = 500;
const MAX_SEGMENTS: usize = 40;
/// A glob of files of the repository, relative to its root.
#[derive(Debug, Clone)]
pub struct FilePattern {
    text: String,
    readings: Vec<Vec<Segment>>,
}

impl PartialEq for FilePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for FilePattern {}

/// A path that is there, as git tells it: nothing in it is a wildcard.
#[derive(Debug, Clone)]
pub(super) struct PlainPath {
    pub(super) text: String,
    segments: Vec<Segment>,
}

impl PlainPath {
    pub(super) fn of(path: &str) -> Self {
        Self {
            text: path.to_owned(),
            segments: read::plain(path),
        }
    }
}

/// One part between slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// `**`: any number of parts.
    Any,
    /// A name without wildcards, case folded.
    Name(Vec<Token>),
    /// A name with wildcards.
    Wild(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Star,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Token {
    fn holds_slash(&self) -> bool {
        matches!(self, Self::Class { negated: false, ranges }
            if ranges.iter().any(|(from, to)| (*from..=*to).contains(&'/')))
    }

    /// Whether it stands for one character out of several.
    fn is_set(&self) -> bool {
        matches!(self, Self::One | Self::Class { .. })
    }
}

impl FilePattern {
    /// Reads a glob: `*` and `?` within a name, `**` across folders, `[a-z]`, `[!a]`,
    /// `{a,b}`. There is no escape character; `[*]` is a star.
    ///
    /// # Errors
    /// When it is not a glob of files inside the repository.
    pub fn parse(text: &str) -> Result<Self, PatternFault> {
        let readings = read::readings(text)?;
        Ok(Self {
            text: text.to_owned(),
            readings,
        })
    }

    /// The glob as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it covers the whole repository.
    #[must_use]
    pub fn covers_everything(&self) -> bool {
        let all = |segment: &Segment| match segment {
            Segment::Any => true,
            Segment::Wild(tokens) => tokens.iter().all(|token| *token == Token::Star),
            Segment::Name(_) => false,
        };
        self.readings.iter().any(|reading| reading.iter().all(all))
    }

    /// Whether some file may match both globs. May say so when unsure; when it says no,
    /// there is none.
    #[must_use]
    pub fn may_overlap(&self, other: &Self) -> bool {
        let mut left = usize::MAX;
        self.may_overlap_within(other, &mut left)
    }

    /// The same, taking the work that it took (in steps of some ten nanoseconds) out of
    /// `left`. With nothing left the answer is that it may.
    pub(super) fn may_overlap_within(&self, other: &Self, left: &mut usize) -> bool {
        if *left == 0 {
            return true;
        }
        self.readings.iter().any(|mine| {
            other
                .readings
                .iter()
                .any(|theirs| segments_meet(mine, theirs, left))
        })
    }

    /// Whether it may cover a path that is there; of the work as in
    /// [`Self::may_overlap_within`].
    pub(super) fn may_cover(&self, path: &PlainPath, left: &mut usize) -> bool {
        *left == 0
            || self
                .readings
                .iter()
                .any(|reading| segments_meet(reading, &path.segments, left))
    }

    /// For each reading its leading folders without wildcards, as `a/b/`. Two globs can
    /// only meet where one of these is the beginning of the other.
    pub(super) fn roots(&self) -> impl Iterator<Item = Vec<String>> + '_ {
        self.readings.iter().map(|reading| {
            let mut roots = vec![String::new()];
            let mut at = String::new();
            for segment in reading {
                let Segment::Name(tokens) = segment else {
                    break;
                };
                at.extend(tokens.iter().filter_map(|token| match token {
                    Token::Char(c) => Some(*c),
                    _ => None,
                }));
                at.push('/');
                roots.push(at.clone());
            }
            roots
        })
    }
}

/// Whether some path matches both.
fn segments_meet(a: &[Segment], b: &[Segment], left: &mut usize) -> bool {
    *left = left.saturating_sub(1);
    let names = a
        .iter()
        .zip(b)
        .take_while(|(a, b)| matches!((a, b), (Segment::Name(_), Segment::Name(_))));
    let mut same = 0;
    for (a, b) in names {
        if a != b {
            return false;
        }
        same += 1;
    }
    // The one is a plain path, and the other says that it is a folder.
    if same == a.len() || same == b.len() {
        return true;
    }
    let (mut a, mut b) = (&a[same..], &b[same..]);
    // The ends decide most cases.
    while let (Some((last, before)), Some((other, before_other))) = (a.split_last(), b.split_last())
        && *last != Segment::Any
        && *other != Segment::Any
    {
        if !names_meet(last, other, left) {
            return false;
        }
        (a, b) = (before, before_other);
    }
    *left = left.saturating_sub((a.len() + 1) * (b.len() + 1));
    // meets[j]: whether a[i..] and b[j..] have a path in common; filled from the end.
    let mut below = vec![false; b.len() + 1];
    let mut meets = below.clone();
    for i in (0..=a.len()).rev() {
        for j in (0..=b.len()).rev() {
            meets[j] = match (a.get(i), b.get(j)) {
                (None, None) => true,
                (Some(Segment::Any), Some(_)) => below[j] || meets[j + 1],
                (Some(Segment::Any), None) => below[j],
                (_, Some(Segment::Any)) => meets[j + 1] || (i < a.len() && below[j]),
                (Some(x), Some(y)) => below[j + 1] && names_meet(x, y, left),
                (None, Some(_)) | (Some(_), None) => false,
            };
        }
        std::mem::swap(&mut below, &mut meets);
    }
    below[0]
}

/// Whether some name matches both.
fn names_meet(a: &Segment, b: &Segment, left: &mut usize) -> bool {
    match (a, b) {
        (Segment::Any, _) | (_, Segment::Any) => true,
        (Segment::Name(a), Segment::Name(b)) => a == b,
        // A class always holds something, so that a glob meets itself.
        (Segment::Wild(a), Segment::Wild(b)) if a == b => true,
        (Segment::Name(a) | Segment::Wild(a), Segment::Name(b) | Segment::Wild(b)) => {
            *left = left.saturating_sub((a.len() + 1) * (b.len() + 1));
            tokens_meet(a, b)
        }
    }
}

/// Whether some name matches both; the same scheme as [`segments_meet`].
fn tokens_meet(a: &[Token], b: &[Token]) -> bool {
    // Some tools match bytes, so that one '?' is less than one character beyond ASCII.
    let beyond = |token: &Token| matches!(token, Token::Char(c) if !c.is_ascii());
    if a.iter().chain(b).any(beyond) && a.iter().chain(b).any(|token| token.is_set()) {
        let widen = |tokens: &[Token]| -> Vec<Token> {
            let widened = tokens.iter().map(|token| {
                if token.is_set() {
                    Token::Star
                } else {
                    token.clone()
                }
            });
            widened.collect()
        };
        return tokens_meet(&widen(a), &widen(b));
    }
    let ends_apart = |x: Option<&Token>, y: Option<&Token>| matches!((x, y), (Some(Token::Char(x)), Some(Token::Char(y))) if x != y);
    if ends_apart(a.first(), b.first()) || ends_apart(a.last(), b.last()) {
        return false;
    }
    let mut below = vec![false; b.len() + 1];
    let mut meets = below.clone();
    for i in (0..=a.len()).rev() {
        for j in (0..=b.len()).rev() {
            meets[j] = match (a.get(i), b.get(j)) {
                (None, None) => true,
                (Some(Token::Star), Some(_)) => below[j] || meets[j + 1],
                (Some(Token::Star), None) => below[j],
                (_, Some(Token::Star)) => meets[j + 1] || (i < a.len() && below[j]),
                (Some(x), Some(y)) => below[j + 1] && one_meets(x, y),
                (None, Some(_)) | (Some(_), None) => false,
            };
        }
        std::mem::swap(&mut below, &mut meets);
    }
    below[0]
}

/// Whether some character matches both; neither is a star.
fn one_meets(a: &Token, b: &Token) -> bool {
    match (a, b) {
        (Token::Char(a), Token::Char(b)) => a == b,
        (Token::Class { negated, ranges }, Token::Char(c))
        | (Token::Char(c), Token::Class { negated, ranges }) => {
            class_may_hold(*negated, ranges, *c)
        }
        (
            Token::Class {
                negated: false,
                ranges,
            },
            Token::Class {
                negated,
                ranges: others,
            },
        )
        | (
            Token::Class {
                negated,
                ranges: others,
            },
            Token::Class {
                negated: false,
                ranges,
            },
        ) => ranges.iter().any(|(from, to)| {
            !to.is_ascii() || (*from..=*to).any(|c| class_may_hold(*negated, others, c))
        }),
        _ => true,
    }
}

/// Whether the class may hold `c` in either case. Beyond ASCII always: there case is
/// more than this module wants to know.
fn class_may_hold(negated: bool, ranges: &[(char, char)], c: char) -> bool {
    let holds = |c: char| ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != negated;
    !c.is_ascii()
        || holds(c.to_ascii_lowercase())
        || holds(c.to_ascii_uppercase())
        || ranges.iter().any(|(_, to)| !to.is_ascii())
}
