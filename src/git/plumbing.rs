//! The backend that answers with the `git` command, for repositories that libgit2
//! cannot serve. Only machine formats (`-z`, porcelain) are read.

use super::command::Output;
use super::error::GitError;
use super::library::missing_commit;
use super::objects::{ChangeKind, CommitInfo, DiffStat, FileStat, Identity, Lines, Moment, Stamp};
use super::repo::{Repo, parse_oid};
use crate::core::id::Oid;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The parts of an answer that ends every part with NUL.
pub(crate) fn parts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .strip_suffix(b"\0")
        .unwrap_or(bytes)
        .split(|b| *b == 0)
        .filter(move |_| !bytes.is_empty())
}

pub(crate) fn ref_target(repo: &Repo, name: &str) -> Result<Option<Oid>, GitError> {
    if !name.starts_with("refs/") {
        return Ok(None);
    }
    let output = repo
        .git()
        .args(["rev-parse", "-q", "--verify", "--end-of-options", name])
        .output()?;
    match output.code {
        Some(0) => parse_oid(&output, &output.text()).map(Some),
        Some(1) => Ok(None),
        _ => Err(output.failed()),
    }
}

pub(crate) fn resolve(repo: &Repo, rev: &str) -> Result<Option<Oid>, GitError> {
    if rev.is_empty() || rev.contains('\0') {
        return Ok(None);
    }
    let output = repo
        .git()
        .args(["rev-parse", "-q", "--verify", "--end-of-options"])
        .arg(format!("{rev}^{{commit}}"))
        .output()?;
    match output.code {
        Some(0) => parse_oid(&output, &output.text()).map(Some),
        // 128 is what git says to ranges, ambiguous prefixes and broken grammar.
        Some(1 | 128) => Ok(None),
        _ => Err(output.failed()),
    }
}

/// The failure of a command over given commits: which of them is missing, or what
/// else was wrong.
fn explain(repo: &Repo, output: &Output, commits: &[&Oid]) -> GitError {
    for id in commits {
        if matches!(resolve(repo, id.as_str()), Ok(None)) {
            return missing_commit(id);
        }
    }
    output.failed()
}

/// The id in a form that git takes for nothing but a commit.
fn only_commit(id: &Oid) -> String {
    format!("{id}^{{commit}}")
}

pub(crate) fn is_ancestor(repo: &Repo, a: &Oid, b: &Oid) -> Result<bool, GitError> {
    let output = repo
        .git()
        .args(["merge-base", "--is-ancestor"])
        .args([only_commit(a), only_commit(b)])
        .output()?;
    match output.code {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(explain(repo, &output, &[a, b])),
    }
}

pub(crate) fn commits_between(
    repo: &Repo,
    base: &Oid,
    tip: &Oid,
) -> Result<Vec<CommitInfo>, GitError> {
    let output = repo
        .git()
        .args([
            "log",
            "-z",
            "--topo-order",
            "--reverse",
            "--no-show-signature",
            "--no-color",
            "--no-decorate",
            "--no-notes",
            "--no-mailmap",
            "--encoding=UTF-8",
            "--date=raw",
            "--format=tformat:%H%x00%P%x00%an%x00%ae%x00%ad%x00%B",
        ])
        .arg(format!("{}..{}", only_commit(base), only_commit(tip)))
        .arg("--")
        .output()?;
    if !output.success() {
        return Err(explain(repo, &output, &[base, tip]));
    }
    let fields: Vec<&[u8]> = parts(&output.stdout).collect();
    let mut commits = Vec::with_capacity(fields.len() / 6);
    for record in fields.chunks(6) {
        let [id, parents, name, email, time, message] = record else {
            return Err(output.unreadable("six fields per commit were expected"));
        };
        let message = text(message);
        let (time, offset) = raw_date(&text(time)).unwrap_or_default();
        commits.push(CommitInfo {
            oid: parse_oid(&output, &text(id))?,
            parents: text(parents)
                .split_whitespace()
                .map(|p| parse_oid(&output, p))
                .collect::<Result<_, _>>()?,
            summary: super::library::summary(&message),
            message: message.trim_end().to_owned(),
            author: Identity {
                name: text(name),
                email: text(email),
            },
            time,
            offset,
        });
    }
    Ok(commits)
}

/// Git's raw date, `1700000000 +0130`: seconds since 1970, and minutes east of UTC.
fn raw_date(date: &str) -> Option<(i64, i32)> {
    let (seconds, zone) = date.trim().split_once(' ')?;
    let zone: i32 = zone.parse().ok()?;
    Some((seconds.parse().ok()?, zone / 100 * 60 + zone % 100))
}

/// The same the other way round, in the form that git takes for nothing else.
fn given_date(moment: Moment) -> String {
    let minutes = moment.offset.abs();
    let sign = if moment.offset < 0 { '-' } else { '+' };
    format!(
        "@{} {sign}{:02}{:02}",
        moment.time,
        minutes / 60,
        minutes % 60
    )
}

pub(crate) fn changed_paths(repo: &Repo, from: &Oid, to: &Oid) -> Result<Vec<String>, GitError> {
    let output = repo
        .git()
        .args(["diff-tree", "-r", "-z", "--name-only", "--no-renames"])
        .args([only_commit(from), only_commit(to)])
        .arg("--")
        .output()?;
    if !output.success() {
        return Err(explain(repo, &output, &[from, to]));
    }
    let mut paths: Vec<String> = parts(&output.stdout).map(text).collect();
    paths.sort();
    Ok(paths)
}

pub(crate) fn diff_stat(repo: &Repo, from: &Oid, to: &Oid) -> Result<DiffStat, GitError> {
    let output = repo
        .git()
        .args(["diff-tree", "-r"])
        .args(STAT_FORMAT)
        .args([only_commit(from), only_commit(to)])
        .arg("--")
        .output()?;
    if !output.success() {
        return Err(explain(repo, &output, &[from, to]));
    }
    parse_stat(&output).map(DiffStat::new)
}

/// The options under which [`parse_stat`] reads a diff, whatever the configuration.
pub(crate) const STAT_FORMAT: &[&str] = &[
    "-z",
    "--raw",
    "--numstat",
    "--find-renames",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--no-relative",
    "--ignore-submodules=none",
];

/// Reads `--raw --numstat -z`: first one raw entry per file, then one count per file.
pub(crate) fn parse_stat(output: &Output) -> Result<Vec<FileStat>, GitError> {
    let mut fields = parts(&output.stdout).peekable();
    let mut files: Vec<FileStat> = Vec::new();
    let cut_off = || output.unreadable("a diff ended in the middle of an entry");
    while let Some(field) = fields.next_if(|f| f.first() == Some(&b':')) {
        let letter = field
            .rsplit(|b| *b == b' ')
            .next()
            .and_then(<[u8]>::first)
            .copied();
        let first = text(fields.next().ok_or_else(cut_off)?);
        let (kind, old_path, path) = match letter {
            Some(b'R') => (
                ChangeKind::Renamed,
                Some(first),
                text(fields.next().ok_or_else(cut_off)?),
            ),
            Some(b'A') => (ChangeKind::Added, None, first),
            Some(b'D') => (ChangeKind::Deleted, None, first),
            Some(b'T') => (ChangeKind::TypeChanged, None, first),
            Some(b'U') => (ChangeKind::Conflicted, None, first),
            _ => (ChangeKind::Modified, None, first),
        };
        // An unmerged file is listed once more when its content differs as well.
        match files.iter_mut().find(|f| f.path == path) {
            Some(known) if known.kind == ChangeKind::Conflicted => {}
            _ => files.push(FileStat {
                path,
                old_path,
                kind,
                lines: None,
            }),
        }
    }
    let mut next = 0;
    while let Some(field) = fields.next() {
        let mut columns = field.splitn(3, |b| *b == b'\t');
        let (Some(added), Some(removed), Some(path)) =
            (columns.next(), columns.next(), columns.next())
        else {
            return Err(cut_off());
        };
        let path = if path.is_empty() {
            fields.next().ok_or_else(cut_off)?;
            fields.next().ok_or_else(cut_off)?
        } else {
            path
        };
        let path = text(path);
        let count = |bytes| text(bytes).parse::<u64>().ok();
        // Both lists have the same order, but for entries that only one of them has.
        let place = (next..files.len())
            .chain(0..next)
            .find(|at| files.get(*at).is_some_and(|f| f.path == path));
        if let Some(at) = place {
            next = at + 1;
            if let (Some(file), Some(added), Some(removed)) =
                (files.get_mut(at), count(added), count(removed))
            {
                file.lines = Some(Lines { added, removed });
            }
        }
    }
    Ok(files)
}

pub(crate) fn tree_of(repo: &Repo, commit: &Oid) -> Result<Oid, GitError> {
    let output = repo
        .git()
        .args(["rev-parse", "-q", "--verify", "--end-of-options"])
        .arg(format!("{commit}^{{commit}}^{{tree}}"))
        .output()?;
    match output.code {
        Some(0) => parse_oid(&output, &output.text()),
        Some(1) => Err(missing_commit(commit)),
        _ => Err(explain(repo, &output, &[commit])),
    }
}

pub(crate) fn read_file(
    repo: &Repo,
    commit: &Oid,
    path: &str,
) -> Result<Option<Vec<u8>>, GitError> {
    let output = repo
        .git()
        .env("GIT_LITERAL_PATHSPECS", "1")
        .args(["ls-tree", "-z", "--full-tree", &only_commit(commit)])
        .args(["--", path])
        .output()?;
    if !output.success() {
        return Err(explain(repo, &output, &[commit]));
    }
    for entry in parts(&output.stdout) {
        let entry = text(entry);
        let Some((meta, name)) = entry.split_once('\t') else {
            continue;
        };
        let mut meta = meta.split(' ');
        if let (Some(_mode), Some("blob"), Some(id)) = (meta.next(), meta.next(), meta.next())
            && name == path
        {
            let blob = repo.git().args(["cat-file", "blob", id]).run()?;
            return Ok(Some(blob.stdout));
        }
    }
    Ok(None)
}

pub(crate) fn refs(repo: &Repo, folder: &str) -> Result<Vec<(String, Oid)>, GitError> {
    let below = format!("{folder}/");
    let output = repo
        .git()
        .args(["for-each-ref", "--format=%(objectname) %(refname)"])
        .arg(&below)
        .run()?;
    let mut found = Vec::new();
    for line in output.text().lines() {
        let Some((id, name)) = line.split_once(' ') else {
            return Err(output.unreadable(line.to_owned()));
        };
        if name.starts_with(&below) {
            found.push((name.to_owned(), parse_oid(&output, id)?));
        }
    }
    Ok(found)
}

/// Who git says would make a commit now, with the time and the offset in minutes; none
/// when only a guess from the machine's name would do.
pub(crate) fn ident(repo: &Repo, variable: &str) -> Result<Option<(Identity, i64, i32)>, GitError> {
    let output = repo
        .git()
        .args(["-c", "user.useConfigOnly=true", "var", variable])
        .output()?;
    if !output.success() {
        return Ok(None);
    }
    let line = output.text();
    let parsed = || -> Option<(Identity, i64, i32)> {
        let (name, rest) = line.split_once(" <")?;
        let (email, when) = rest.rsplit_once("> ")?;
        let (time, offset) = raw_date(when)?;
        Some((
            Identity {
                name: name.to_owned(),
                email: email.to_owned(),
            },
            time,
            offset,
        ))
    };
    // A name without an address (or the other way round) is no identity either.
    Ok(parsed().filter(|(who, _, _)| !who.name.is_empty() && !who.email.is_empty()))
}

pub(crate) fn commit(
    repo: &Repo,
    tree: &Oid,
    parents: &[Oid],
    message: &str,
    stamp: &Stamp,
    sign: bool,
) -> Result<Oid, GitError> {
    let mut git = repo
        .git()
        .args(["-c", "i18n.commitEncoding=UTF-8", "commit-tree"])
        .arg(if sign { "-S" } else { "--no-gpg-sign" })
        .env("GIT_AUTHOR_NAME", &stamp.author.name)
        .env("GIT_AUTHOR_EMAIL", &stamp.author.email)
        .env("GIT_AUTHOR_DATE", given_date(stamp.written))
        .env("GIT_COMMITTER_NAME", &stamp.committer.name)
        .env("GIT_COMMITTER_EMAIL", &stamp.committer.email)
        .env("GIT_COMMITTER_DATE", given_date(stamp.committed))
        .input(message.as_bytes());
    for parent in parents {
        git = git.args(["-p", parent.as_str()]);
    }
    let output = git.arg(tree.as_str()).output()?;
    if output.success() {
        return parse_oid(&output, &output.text());
    }
    let parents: Vec<&Oid> = parents.iter().collect();
    match explain(repo, &output, &parents) {
        missing @ GitError::Missing { .. } => Err(missing),
        _ if tree_is_missing(repo, tree) => Err(GitError::Missing {
            what: format!("the tree {tree}"),
        }),
        _ if sign => Err(GitError::Signing {
            detail: output.stderr,
        }),
        other => Err(other),
    }
}

fn tree_is_missing(repo: &Repo, tree: &Oid) -> bool {
    repo.git()
        .args(["rev-parse", "-q", "--verify", "--end-of-options"])
        .arg(format!("{tree}^{{tree}}"))
        .output()
        .is_ok_and(|o| !o.success())
}
