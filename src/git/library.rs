//! The backend that answers inside this process, by libgit2.

use std::path::Path;

use git2::{Delta, DiffFindOptions, DiffOptions, ErrorCode, ObjectType, Repository, Sort};

use super::error::GitError;
use super::objects::{ChangeKind, CommitInfo, DiffStat, FileStat, Identity, Lines, Moment, Stamp};
use crate::core::id::Oid;

fn failed(doing: &'static str) -> impl Fn(git2::Error) -> GitError {
    move |e| GitError::Library {
        doing,
        detail: e.message().to_owned(),
    }
}

fn oid(id: git2::Oid) -> Result<Oid, GitError> {
    Oid::parse(&id.to_string()).map_err(|e| GitError::Library {
        doing: "reading an object id",
        detail: e.to_string(),
    })
}

fn git2_oid(id: &Oid) -> Result<git2::Oid, GitError> {
    // Ids of another hash function do not exist in a repository of this one.
    git2::Oid::from_str(id.as_str()).map_err(|_| GitError::Missing {
        what: format!("the object {id}"),
    })
}

fn commit_at<'r>(repo: &'r Repository, id: &Oid) -> Result<git2::Commit<'r>, GitError> {
    let Ok(wanted) = git2_oid(id) else {
        return Err(missing_commit(id));
    };
    repo.find_object(wanted, None)
        .and_then(|object| object.peel_to_commit())
        .map_err(|e| {
            if matches!(
                e.code(),
                ErrorCode::NotFound | ErrorCode::Peel | ErrorCode::InvalidSpec
            ) {
                missing_commit(id)
            } else {
                failed("reading a commit")(e)
            }
        })
}

pub(crate) fn missing_commit(id: &Oid) -> GitError {
    GitError::Missing {
        what: format!("the commit {id}"),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn ref_target(repo: &Repository, name: &str) -> Result<Option<Oid>, GitError> {
    match repo
        .find_reference(name)
        .and_then(|r| r.resolve())
        .map(|r| r.target())
    {
        Ok(Some(id)) => oid(id).map(Some),
        Ok(None) => Ok(None),
        Err(e) if matches!(e.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec) => Ok(None),
        Err(e) => Err(failed("reading a ref")(e)),
    }
}

pub(crate) fn is_ancestor(repo: &Repository, a: &Oid, b: &Oid) -> Result<bool, GitError> {
    let (a, b) = (commit_at(repo, a)?.id(), commit_at(repo, b)?.id());
    Ok(a == b
        || repo
            .graph_descendant_of(b, a)
            .map_err(failed("comparing two commits"))?)
}

pub(crate) fn commits_between(
    repo: &Repository,
    base: &Oid,
    tip: &Oid,
) -> Result<Vec<CommitInfo>, GitError> {
    let (base, tip) = (commit_at(repo, base)?.id(), commit_at(repo, tip)?.id());
    let doing = failed("listing commits");
    let mut walk = repo.revwalk().map_err(&doing)?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME | Sort::REVERSE)
        .map_err(&doing)?;
    walk.push(tip).map_err(&doing)?;
    walk.hide(base).map_err(&doing)?;
    let mut commits = Vec::new();
    for id in walk {
        let commit = repo
            .find_commit(id.map_err(&doing)?)
            .map_err(failed("reading a commit"))?;
        let message = text(commit.message_bytes());
        commits.push(CommitInfo {
            oid: oid(commit.id())?,
            parents: commit.parent_ids().map(oid).collect::<Result<_, _>>()?,
            summary: summary(&message),
            message: message.trim_end().to_owned(),
            author: Identity {
                name: text(commit.author().name_bytes()),
                email: text(commit.author().email_bytes()),
            },
            time: commit.author().when().seconds(),
            offset: commit.author().when().offset_minutes(),
        });
    }
    Ok(commits)
}

/// The first paragraph on one line, as git's `%s` has it.
pub(crate) fn summary(message: &str) -> String {
    message
        .lines()
        .skip_while(|line| line.trim().is_empty())
        .take_while(|line| !line.trim().is_empty())
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join(" ")
}

fn tree_diff<'r>(repo: &'r Repository, from: &Oid, to: &Oid) -> Result<git2::Diff<'r>, GitError> {
    let tree = |id| {
        commit_at(repo, id)?
            .tree()
            .map_err(failed("reading a tree"))
    };
    let mut options = DiffOptions::new();
    options
        .include_typechange(true)
        .context_lines(0)
        .interhunk_lines(0);
    repo.diff_tree_to_tree(Some(&tree(from)?), Some(&tree(to)?), Some(&mut options))
        .map_err(failed("comparing two trees"))
}

fn delta_path(file: &git2::DiffFile<'_>) -> String {
    file.path_bytes().map(text).unwrap_or_default()
}

pub(crate) fn changed_paths(
    repo: &Repository,
    from: &Oid,
    to: &Oid,
) -> Result<Vec<String>, GitError> {
    let diff = tree_diff(repo, from, to)?;
    let mut paths: Vec<String> = diff.deltas().map(|d| delta_path(&d.new_file())).collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

pub(crate) fn has_gitlinks(repo: &Repository, commit: &Oid) -> Result<bool, GitError> {
    let doing = failed("reading a tree");
    let mut todo = vec![commit_at(repo, commit)?.tree().map_err(&doing)?];
    while let Some(tree) = todo.pop() {
        for entry in &tree {
            match entry.kind() {
                Some(ObjectType::Commit) => return Ok(true),
                Some(ObjectType::Tree) => todo.push(repo.find_tree(entry.id()).map_err(&doing)?),
                _ => {}
            }
        }
    }
    Ok(false)
}

pub(crate) fn adds_gitlinks(repo: &Repository, from: &Oid, to: &Oid) -> Result<bool, GitError> {
    let diff = tree_diff(repo, from, to)?;
    let mut deltas = diff.deltas();
    Ok(deltas.any(|delta| delta.new_file().mode() == git2::FileMode::Commit))
}

pub(crate) fn diff_stat(repo: &Repository, from: &Oid, to: &Oid) -> Result<DiffStat, GitError> {
    let doing = failed("comparing two trees");
    let mut diff = tree_diff(repo, from, to)?;
    diff.find_similar(Some(DiffFindOptions::new().renames(true)))
        .map_err(&doing)?;
    let mut files = Vec::new();
    for index in 0..diff.deltas().len() {
        let patch = git2::Patch::from_diff(&diff, index).map_err(&doing)?;
        let Some(delta) = diff.get_delta(index) else {
            continue;
        };
        let kind = match delta.status() {
            Delta::Added => ChangeKind::Added,
            Delta::Deleted => ChangeKind::Deleted,
            Delta::Renamed => ChangeKind::Renamed,
            Delta::Typechange => ChangeKind::TypeChanged,
            Delta::Unmodified => continue,
            _ => ChangeKind::Modified,
        };
        let lines = match &patch {
            // Git counts one file deleted and another added.
            _ if kind == ChangeKind::TypeChanged => {
                let old = blob_lines(repo, &delta.old_file());
                let new = blob_lines(repo, &delta.new_file());
                old.zip(new)
                    .map(|(removed, added)| Lines { added, removed })
            }
            Some(patch) if !patch.delta().flags().is_binary() => {
                let (_, added, removed) = patch.line_stats().map_err(&doing)?;
                Some(Lines {
                    added: added as u64,
                    removed: removed as u64,
                })
            }
            _ => None,
        };
        files.push(FileStat {
            path: delta_path(&delta.new_file()),
            old_path: (kind == ChangeKind::Renamed).then(|| delta_path(&delta.old_file())),
            kind,
            lines,
        });
    }
    Ok(DiffStat::new(files))
}

/// The lines of one side of a difference; none when it is binary. A submodule is one.
fn blob_lines(repo: &Repository, file: &git2::DiffFile<'_>) -> Option<u64> {
    if file.mode() == git2::FileMode::Commit {
        return Some(1);
    }
    count_lines(repo.find_blob(file.id()).ok()?.content())
}

/// The lines of a text; none when git would call it binary.
pub(crate) fn count_lines(content: &[u8]) -> Option<u64> {
    if content.iter().take(8000).any(|b| *b == 0) {
        return None;
    }
    let breaks = content.iter().filter(|b| **b == b'\n').count() as u64;
    let open_end = content.last().is_some_and(|b| *b != b'\n');
    Some(breaks + u64::from(open_end))
}

pub(crate) fn tree_of(repo: &Repository, commit: &Oid) -> Result<Oid, GitError> {
    oid(commit_at(repo, commit)?.tree_id())
}

pub(crate) fn read_file(
    repo: &Repository,
    commit: &Oid,
    path: &str,
) -> Result<Option<Vec<u8>>, GitError> {
    let tree = commit_at(repo, commit)?
        .tree()
        .map_err(failed("reading a tree"))?;
    let entry = match tree.get_path(Path::new(path)) {
        Ok(entry) if entry.kind() == Some(ObjectType::Blob) => entry,
        Ok(_) => return Ok(None),
        Err(e) if matches!(e.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec) => {
            return Ok(None);
        }
        Err(e) => return Err(failed("reading a tree")(e)),
    };
    let blob = repo
        .find_blob(entry.id())
        .map_err(failed("reading a file"))?;
    Ok(Some(blob.content().to_vec()))
}

pub(crate) fn refs(repo: &Repository, folder: &str) -> Result<Vec<(String, Oid)>, GitError> {
    let doing = failed("listing refs");
    let mut found = Vec::new();
    let below = format!("{folder}/");
    for reference in repo.references_glob(&format!("{below}*")).map_err(&doing)? {
        let reference = reference.map_err(&doing)?;
        let (Ok(name), Ok(resolved)) = (
            std::str::from_utf8(reference.name_bytes()),
            reference.resolve(),
        ) else {
            continue;
        };
        if let Some(id) = resolved.target().filter(|_| name.starts_with(&below)) {
            found.push((name.to_owned(), oid(id)?));
        }
    }
    Ok(found)
}

pub(crate) fn commit(
    repo: &Repository,
    tree: &Oid,
    parents: &[Oid],
    message: &str,
    stamp: &Stamp,
) -> Result<Oid, GitError> {
    let doing = failed("writing a commit");
    let signature = |who: &Identity, when: Moment| {
        let time = git2::Time::new(when.time, when.offset);
        git2::Signature::new(&who.name, &who.email, &time).map_err(&doing)
    };
    let author = signature(&stamp.author, stamp.written)?;
    let committer = signature(&stamp.committer, stamp.committed)?;
    let tree = repo
        .find_tree(git2_oid(tree)?)
        .map_err(|_| GitError::Missing {
            what: format!("the tree {tree}"),
        })?;
    let parents = parents
        .iter()
        .map(|p| commit_at(repo, p))
        .collect::<Result<Vec<_>, _>>()?;
    let parents: Vec<&git2::Commit<'_>> = parents.iter().collect();
    oid(repo
        .commit(None, &author, &committer, message, &tree, &parents)
        .map_err(&doing)?)
}

/// Sets a ref when it is as expected. `Ok(false)`: it was not.
///
/// "Must not exist" is said by the id of zeroes: that is compared under the lock of the
/// ref. Creating without force is not: libgit2 looks first and locks then, and of two
/// that create the same ref at once both succeed.
pub(crate) fn swap_ref(
    repo: &Repository,
    name: &str,
    new: &Oid,
    expected: Option<&Oid>,
    reason: &str,
) -> Result<bool, GitError> {
    let new = git2_oid(new)?;
    let old = expected.map_or(Ok(git2::Oid::ZERO_SHA1), git2_oid)?;
    match repo.reference_matching(name, new, true, old, reason) {
        Ok(_) => Ok(true),
        Err(e)
            if matches!(
                e.code(),
                ErrorCode::Exists | ErrorCode::Modified | ErrorCode::NotFound
            ) =>
        {
            Ok(false)
        }
        Err(e) => Err(failed("changing a ref")(e)),
    }
}
