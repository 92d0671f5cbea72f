//! Pictures of worktrees in which somebody works, and merging many pairs of them: what the
//! conflict radar needs of git.
//!
//! Nothing of it is written into the person's repository. Objects go into a folder of its
//! own, which borrows the repository's, and each worktree has a second index there. So no
//! lock of git is ever held in a worktree, no garbage is left for `git gc`, and dropping the
//! folder takes everything back. The second index keeps the file times that it has seen, so
//! that a picture of a worktree in which nothing changed costs one `lstat` per file and no
//! reading.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::checkout::{Operation, copy_index};
use super::command::{Git, GitVersion, Output, git_version};
use super::error::GitError;
use super::plumbing::parts;
use super::repo::{Repo, parse_oid};
use super::worktree::git_dir_of;
use crate::core::id::{Oid, TaskName};

/// Longest time for one command. A worktree that takes longer is too big for this.
const PATIENCE: Duration = Duration::from_secs(60);

/// Most bytes of loose objects that the folder may hold before it is begun anew.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Most files that it may hold.
const MAX_FILES: u64 = 50_000;

/// After so many pairs about which git said nothing the rest is left alone.
const MAX_REFUSED: usize = 20;

/// The first version with `merge-tree --stdin`.
const STDIN: GitVersion = GitVersion {
    major: 2,
    minor: 39,
    patch: 0,
};

/// What a worktree held at one moment: committed, uncommitted and untracked, but not ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// A commit of all of it on top of `HEAD`; `HEAD` itself when there is nothing beyond it.
    /// The same content on the same `HEAD` always gives the same id.
    pub commit: Oid,
}

/// What came of looking at a worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// The picture, and whether it is another one than before.
    Taken {
        /// The picture.
        picture: Picture,
        /// Whether it differs from the one that was taken before.
        is_new: bool,
    },
    /// No picture: a rebase, merge or the like is under way, of which half would be seen.
    Busy(Operation),
    /// No picture: the branch has no commit yet.
    Unborn,
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RadarChange {
    /// The path from the top folder. A renamed file is one removed and one added.
    pub path: String,
    /// `A` added, `D` removed, `M` modified, `T` of another type.
    pub kind: char,
}

/// Two commits to be merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergePair {
    /// The one.
    pub ours: Oid,
    /// The other.
    pub theirs: Oid,
    /// The commit whose `.gitattributes` apply (git before 2.41 takes the checked-out ones).
    pub attributes: Oid,
}

/// What is known of one worktree.
#[derive(Debug, Clone, Default)]
struct Known {
    /// The worktree's own index as it was copied.
    own: Option<Identity>,
    /// The second index as it was when `tree` was written from it.
    second: Option<Identity>,
    tree: Option<Oid>,
    head: Option<Oid>,
    picture: Option<Picture>,
}

/// Tells two states of a file apart: inode, size, modification and change time.
type Identity = (u64, u64, i64, i64, i64, i64);

/// Takes pictures of worktrees of one repository, and merges them.
#[derive(Debug)]
pub struct Scanner {
    repo: Repo,
    folder: PathBuf,
    stop: Arc<AtomicBool>,
    known: HashMap<TaskName, Known>,
    has_stdin: bool,
}

impl Scanner {
    /// Begins with an empty `folder`, which is this scanner's own: what is in it goes. Once
    /// `stop` is set, whatever is going on ends with an error.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(repo: Repo, folder: &Path, stop: Arc<AtomicBool>) -> Result<Self, GitError> {
        let scanner = Self {
            repo,
            folder: folder.to_owned(),
            stop,
            known: HashMap::new(),
            has_stdin: git_version()? >= STDIN,
        };
        scanner.begin()?;
        Ok(scanner)
    }

    fn begin(&self) -> Result<(), GitError> {
        let failed = |e: std::io::Error| GitError::io("preparing", &self.folder, &e);
        match fs::remove_dir_all(&self.folder) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        let info = self.objects().join("info");
        fs::create_dir_all(&info).map_err(failed)?;
        let mut borrowed = self
            .repo
            .common_dir()
            .join("objects")
            .as_os_str()
            .as_bytes()
            .to_owned();
        borrowed.push(b'\n');
        fs::write(info.join("alternates"), borrowed).map_err(failed)
    }

    fn objects(&self) -> PathBuf {
        self.folder.join("objects")
    }

    fn index(&self, task: &TaskName) -> PathBuf {
        self.folder.join(format!("{task}.index"))
    }

    /// A call of git that writes no object into the repository, runs no hook, fetches nothing
    /// and ends when it is to.
    fn git(&self, dir: &Path) -> Git {
        Git::at(dir)
            .once()
            .timeout(PATIENCE)
            .until(&self.stop)
            .env("GIT_OBJECT_DIRECTORY", self.objects())
            .env("GIT_NO_LAZY_FETCH", "1")
            .args(["-c", "core.hooksPath=/dev/null", "-c", "core.fsync=none"])
            .args([
                "-c",
                "core.looseCompression=0",
                "-c",
                "core.fsmonitor=false",
            ])
    }

    /// Takes a picture of the worktree of a task.
    ///
    /// Files that cannot be read are left out. Of a nested repository only the id of its
    /// commit is seen.
    ///
    /// # Errors
    /// When the worktree is gone or git cannot read it.
    pub fn look(&mut self, task: &TaskName, worktree: &Path) -> Result<Look, GitError> {
        let git_dir = git_dir_of(worktree)?;
        if let Some(operation) = self.repo.operation_in(worktree, &git_dir)? {
            return Ok(Look::Busy(operation));
        }
        let head = self.repo.head_at(worktree)?;
        let Some(head) = head.oid().cloned() else {
            return Ok(Look::Unborn);
        };
        let mut known = self.known.remove(task).unwrap_or_default();
        let index = self.index(task);
        let own = identity(&git_dir.join("index"));
        if own.is_none() || known.own != own {
            // What the instance's own git did (staged, forced, forgotten) counts as well.
            let _ = fs::remove_file(&index);
            copy_index(&git_dir.join("index"), &index)?;
            known.own = own;
            known.second = None;
        }
        // Left by a call that was cut off: nobody else has business here.
        let _ = fs::remove_file(index.with_extension("index.lock"));
        let added = self
            .git(worktree)
            .env("GIT_INDEX_FILE", &index)
            .args(["-c", "core.splitIndex=false", "-c", "core.safecrlf=false"])
            .args(["-c", "advice.addEmbeddedRepo=false"])
            .args(["add", "--all", "--ignore-errors", "--", ":/"])
            .output()?;
        // 1: some files could not be read.
        if !matches!(added.code, Some(0 | 1)) {
            return Err(added.failed());
        }
        // An index in which nothing changed is not written.
        let second = identity(&index);
        let tree = match &known.tree {
            Some(tree) if second.is_some() && second == known.second => tree.clone(),
            _ => {
                let output = self
                    .git(worktree)
                    .env("GIT_INDEX_FILE", &index)
                    .arg("write-tree")
                    .run()?;
                known.second = identity(&index);
                parse_oid(&output, &output.text())?
            }
        };
        let before = known.picture.take();
        let same = known.head.as_ref() == Some(&head) && known.tree.as_ref() == Some(&tree);
        let picture = match before.clone().filter(|_| same) {
            Some(picture) => picture,
            None => Picture {
                commit: self.commit(&head, &tree)?,
            },
        };
        let is_new = before.as_ref() != Some(&picture);
        known.tree = Some(tree);
        known.head = Some(head);
        known.picture = Some(picture.clone());
        self.known.insert(task.clone(), known);
        Ok(Look::Taken { picture, is_new })
    }

    /// The commit of a tree on top of another commit. Who and when are always the same, and
    /// so is its id.
    fn commit(&self, head: &Oid, tree: &Oid) -> Result<Oid, GitError> {
        if self.repo.tree_of(head)? == *tree {
            return Ok(head.clone());
        }
        let mut git = self.git(self.repo.root());
        for who in ["AUTHOR", "COMMITTER"] {
            git = git
                .env(format!("GIT_{who}_NAME"), "orchestra")
                .env(format!("GIT_{who}_EMAIL"), "radar@orchestra.invalid")
                .env(format!("GIT_{who}_DATE"), "@0 +0000");
        }
        let output = git
            .args(["commit-tree", "--no-gpg-sign", "-m", "radar"])
            .args(["-p", head.as_str(), tree.as_str()])
            .run()?;
        parse_oid(&output, &output.text())
    }

    /// What changed from one commit to another, for each of the pairs; in one process.
    ///
    /// # Errors
    /// What git says, for example of a commit that is gone.
    pub fn changes(&self, pairs: &[(Oid, Oid)]) -> Result<Vec<Vec<RadarChange>>, GitError> {
        if pairs.is_empty() {
            return Ok(Vec::new());
        }
        let mut input = String::new();
        for (from, to) in pairs {
            // `diff-tree` reads a line of two commits as a commit with its parents: trees.
            input.push_str(&format!("{} {}\n", self.tree(from)?, self.tree(to)?));
        }
        let output = self
            .git(self.repo.root())
            .args(["diff-tree", "--stdin", "-r", "-z", "--raw", "--no-renames"])
            .args(["--ignore-submodules=none", "--no-relative"])
            .input(input)
            .run()?;
        let found = parse_changes(&output)?;
        if found.len() == pairs.len() {
            Ok(found)
        } else {
            Err(output.unreadable("not every pair was compared"))
        }
    }

    fn tree(&self, commit: &Oid) -> Result<Oid, GitError> {
        let of_picture = self.known.values().find_map(|known| {
            let picture = known.picture.as_ref()?;
            (picture.commit == *commit).then(|| known.tree.clone())?
        });
        match of_picture {
            Some(tree) => Ok(tree),
            None => self.repo.tree_of(commit),
        }
    }

    /// Merges each pair in memory; the paths in conflict, none when it merges. One process
    /// for all pairs that share their attributes. A pair about which git says nothing (no
    /// common history, a driver that fails) is `None`.
    ///
    /// # Errors
    /// When git cannot be run, or is stopped.
    pub fn merge_all(&self, pairs: &[MergePair]) -> Result<Vec<Option<Vec<String>>>, GitError> {
        let mut found = vec![None; pairs.len()];
        let mut groups: HashMap<&Oid, Vec<usize>> = HashMap::new();
        for (at, pair) in pairs.iter().enumerate() {
            groups.entry(&pair.attributes).or_default().push(at);
        }
        let mut refused = 0;
        for (attributes, group) in groups {
            let mut left = group.as_slice();
            while !left.is_empty() && refused < MAX_REFUSED {
                let take = if self.has_stdin { left.len() } else { 1 };
                let (now, _) = left.split_at(take);
                let answers = self.merge_group(attributes, now, pairs)?;
                let answered = answers.len();
                for (at, answer) in now.iter().zip(answers) {
                    if let Some(place) = found.get_mut(*at) {
                        *place = Some(answer);
                    }
                }
                // Git ends at a pair that it cannot merge: that one is passed over.
                let failed = usize::from(answered < now.len());
                refused += failed;
                left = left.get(answered + failed..).unwrap_or_default();
            }
        }
        Ok(found)
    }

    fn merge_group(
        &self,
        attributes: &Oid,
        group: &[usize],
        pairs: &[MergePair],
    ) -> Result<Vec<Vec<String>>, GitError> {
        let mut git = self
            .git(self.repo.root())
            .env("GIT_ATTR_SOURCE", attributes.as_str())
            .args(["merge-tree", "--write-tree", "-z", "--name-only"])
            .arg("--no-messages");
        let chosen = group.iter().filter_map(|at| pairs.get(*at));
        if self.has_stdin {
            let mut input = String::new();
            for pair in chosen {
                input.push_str(&format!("{} {}\n", pair.ours, pair.theirs));
            }
            return Ok(parse_merges(&git.arg("--stdin").input(input).output()?));
        }
        for pair in chosen {
            git = git.args([pair.ours.as_str(), pair.theirs.as_str()]);
        }
        let output = git.output()?;
        Ok(match output.code {
            Some(0) => vec![Vec::new()],
            Some(1) if !output.stdout.is_empty() => vec![
                parts(&output.stdout)
                    .skip(1)
                    .filter(|p| !p.is_empty())
                    .map(text)
                    .collect(),
            ],
            _ => Vec::new(),
        })
    }

    /// Forgets a task.
    pub fn forget(&mut self, task: &TaskName) {
        self.known.remove(task);
        let _ = fs::remove_file(self.index(task));
    }

    /// Bytes that the folder takes up.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        size(&self.folder).0
    }

    /// Begins anew when too much has come together; returns whether it did. All pictures
    /// must be taken again then; unchanged worktrees give the same ids.
    ///
    /// # Errors
    /// When the folder cannot be made again.
    pub fn trim(&mut self) -> Result<bool, GitError> {
        let (bytes, files) = size(&self.folder);
        if bytes <= MAX_BYTES && files <= MAX_FILES {
            return Ok(false);
        }
        self.known.clear();
        self.begin()?;
        Ok(true)
    }
}

impl Drop for Scanner {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn identity(file: &Path) -> Option<Identity> {
    let meta = fs::metadata(file).ok()?;
    Some((
        meta.ino(),
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
    ))
}

/// Bytes and files of a folder.
fn size(folder: &Path) -> (u64, u64) {
    let mut total = (0, 0);
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => open.push(entry.path()),
                Ok(meta) => {
                    total.0 += meta.len();
                    total.1 += 1;
                }
                Err(_) => {}
            }
        }
    }
    total
}

/// Reads `diff-tree --stdin -z --raw`: for each pair a line with its ids, then its entries.
fn parse_changes(output: &Output) -> Result<Vec<Vec<RadarChange>>, GitError> {
    let cut_off = || output.unreadable("a diff ended in the middle of an entry");
    let mut found: Vec<Vec<RadarChange>> = Vec::new();
    let mut rest = output.stdout.as_slice();
    let until = |rest: &mut &[u8], end: u8| -> Option<Vec<u8>> {
        let at = rest.iter().position(|b| *b == end)?;
        let taken = rest.get(..at)?.to_vec();
        *rest = rest.get(at + 1..)?;
        Some(taken)
    };
    while let Some(first) = rest.first() {
        if *first != b':' {
            until(&mut rest, b'\n').ok_or_else(cut_off)?;
            found.push(Vec::new());
            continue;
        }
        let meta = until(&mut rest, 0).ok_or_else(cut_off)?;
        let path = until(&mut rest, 0).ok_or_else(cut_off)?;
        let kind = meta.rsplit(|b| *b == b' ').next().and_then(<[u8]>::first);
        found.last_mut().ok_or_else(cut_off)?.push(RadarChange {
            path: text(&path),
            kind: kind.copied().map_or('M', char::from),
        });
    }
    Ok(found)
}

/// Reads `merge-tree --stdin -z --name-only --no-messages`: `1` (clean) or `0`, the tree, the
/// paths, an empty field. What was not written to its end is left out.
fn parse_merges(output: &Output) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut fields = output.stdout.split(|b| *b == 0);
    while let (Some(clean), Some(_tree)) = (fields.next(), fields.next()) {
        let mut paths = Vec::new();
        let mut ended = false;
        for field in fields.by_ref() {
            if field.is_empty() {
                ended = true;
                break;
            }
            paths.push(text(field));
        }
        if !ended || !matches!(clean, b"0" | b"1") {
            break;
        }
        if clean == b"0" && paths.is_empty() {
            // A conflict of no file in particular.
            paths.push(".".to_owned());
        }
        found.push(paths);
    }
    found
}
