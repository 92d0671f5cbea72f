//! Looking at the worktree: what the gate and the status file need of git.

use std::path::Path;

use super::gate::{GitEvidence, MergeEvidence, Rules};
use super::merging::AutoMerged;
use crate::core::id::Oid;
use crate::format::launch_file::Merging;
use crate::git::{DiffStat, GitError, Head, Repo};

/// Changes since the base: files, lines added, lines removed.
pub(crate) type Changes = (u32, u64, u64);

/// Gathers what git says about the worktree.
pub(crate) fn look(repo: &Repo, worktree: &Path, rules: &Rules) -> Result<GitEvidence, GitError> {
    let head = repo.head_at(worktree)?;
    let (contains_base, commits) = match head.oid() {
        Some(oid) => {
            let contains = repo.is_ancestor(&rules.base, oid)?;
            let commits = if contains {
                repo.commits_between(&rules.base, oid)?.len()
            } else {
                0
            };
            (contains, commits)
        }
        None => (false, 0),
    };
    let status = repo.status(worktree)?;
    let mut uncommitted: Vec<String> = status.paths().map(str::to_owned).collect();
    uncommitted.sort();
    uncommitted.dedup();
    let branch = match &head {
        Head::Branch { name, .. } => Some(name.clone()),
        Head::Unborn { .. } | Head::Detached { .. } => None,
    };
    let merge = match (&rules.merging, head.oid()) {
        (Some(merging), Some(head)) => Some(look_at_merge(repo, rules, merging, head)?),
        _ => None,
    };
    Ok(GitEvidence {
        merge,
        branch,
        head: head.oid().cloned(),
        contains_base,
        commits,
        uncommitted,
        operation: status.operation.map(|operation| operation.to_string()),
    })
}

/// What became of the merge that was to be brought to its end.
fn look_at_merge(
    repo: &Repo,
    rules: &Rules,
    merging: &Merging,
    head: &Oid,
) -> Result<MergeEvidence, GitError> {
    let mut evidence = MergeEvidence {
        contains_theirs: repo.is_ancestor(&merging.theirs, head)?,
        ..MergeEvidence::default()
    };
    if !evidence.contains_theirs {
        return Ok(evidence);
    }
    // Trees are compared and read as commits are.
    let auto = repo.stand_in(&merging.tree, &[])?;
    for path in repo.changed_paths(&auto, head)? {
        if merging.files.contains(&path) || merging.generated.contains(&path) {
            continue;
        }
        let comes_or_goes = || -> Result<bool, GitError> {
            Ok(repo.read_file(&auto, &path)?.is_none() || repo.read_file(head, &path)?.is_none())
        };
        if !merging.moves || !comes_or_goes()? {
            evidence.elsewhere.push(path);
        }
    }
    let text = |commit: &Oid, path: &str| -> Result<Option<String>, GitError> {
        let content = repo.read_file(commit, path)?;
        Ok(content.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    for path in &merging.files {
        let auto = text(&auto, path)?.unwrap_or_default();
        let auto = AutoMerged::read(&auto, rules.base.as_str(), merging.theirs.as_str());
        let resolved = text(head, path)?;
        if let Some(resolved) = &resolved {
            let ours = text(&rules.base, path)?.unwrap_or_default();
            let theirs = text(&merging.theirs, path)?.unwrap_or_default();
            let left = auto.markers_left(resolved, [&ours, &theirs]);
            if !left.is_empty() {
                evidence.markers.push((path.clone(), left));
            }
        }
        // Where files are is decided by whoever resolves that; what a tool makes is its own.
        let bound = auto.has_places() && !merging.generated.contains(path);
        if bound
            && !(resolved.is_none() && merging.moves)
            && let Some(line) = auto.strayed(&resolved.unwrap_or_default())
        {
            evidence.strayed.push((path.clone(), line));
        }
    }
    Ok(evidence)
}

/// Measures the changes since the base, committed or not.
pub(crate) fn measure(repo: &Repo, worktree: &Path, rules: &Rules) -> Result<Changes, GitError> {
    Ok(totals(&repo.worktree_stat(worktree, &rules.base)?))
}

/// The same of a commit: without a process, so that it costs the end of a task nothing.
pub(crate) fn measure_commit(repo: &Repo, rules: &Rules, head: &Oid) -> Result<Changes, GitError> {
    Ok(totals(&repo.diff_stat(&rules.base, head)?))
}

fn totals(stat: &DiffStat) -> Changes {
    let files = u32::try_from(stat.files.len()).unwrap_or(u32::MAX);
    (files, stat.lines.added, stat.lines.removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testkit::{Fixture, branch, commit_in, git_in, write_in};
    use crate::git::{Merge, WorktreeSpec};
    use crate::supervise::gate::{Lack, lacks_in_git};
    use std::path::PathBuf;

    /// Two sides that conflict, and a worktree in which the merge of theirs is under way.
    struct Dispute {
        f: Fixture,
        repo: Repo,
        worktree: PathBuf,
        rules: Rules,
    }

    impl Dispute {
        /// `ours` and `theirs` change the checkout of `main`, which holds `before`.
        fn new(
            before: impl Fn(&Fixture),
            ours: impl Fn(&Fixture),
            theirs: impl Fn(&Fixture),
        ) -> Self {
            let f = Fixture::new();
            before(&f);
            f.commit("before");
            f.git(&["checkout", "-q", "-b", "theirs"]);
            theirs(&f);
            let theirs = f.commit("theirs");
            f.git(&["checkout", "-q", "main"]);
            ours(&f);
            let ours = f.commit("ours");
            let repo = f.repo();
            let Merge::Conflict {
                tree,
                files,
                messages,
            } = repo.merge(&ours, &theirs).unwrap()
            else {
                panic!("they merge");
            };
            let said = files.iter().flat_map(|f| &f.messages).chain(&messages);
            let mut paths: Vec<String> = files.iter().map(|f| f.path.clone()).collect();
            let moves = said.clone().any(|m| m.kind.contains("rename"));
            paths.extend(said.flat_map(|m| m.paths.iter().cloned()));
            paths.sort();
            paths.dedup();
            let worktree = f.beside("resolver");
            let name = branch("task/resolve");
            repo.worktree_add(&WorktreeSpec {
                path: worktree.clone(),
                branch: Some(name.clone()),
                at: ours.clone(),
            })
            .unwrap();
            repo.begin_merge_in(&worktree, &theirs, "Merge").unwrap();
            let rules = Rules {
                branch: name,
                base: ours,
                may_end_without_commits: false,
                verify: None,
                merging: Some(Merging {
                    theirs,
                    tree,
                    files: paths,
                    generated: vec!["Cargo.lock".into()],
                    moves,
                }),
            };
            Self {
                f,
                repo,
                worktree,
                rules,
            }
        }

        fn write(&self, path: &str, text: &str) {
            write_in(&self.worktree, path, text);
        }

        fn lacks(&self) -> Vec<Lack> {
            let evidence = look(&self.repo, &self.worktree, &self.rules).unwrap();
            lacks_in_git(&self.rules, &evidence)
        }

        fn end(&self) -> Vec<Lack> {
            git_in(&self.worktree, &["add", "-A"]);
            git_in(&self.worktree, &["commit", "-q", "--no-edit"]);
            self.lacks()
        }

        fn then(&self, path: &str, text: &str) -> Vec<Lack> {
            self.write(path, text);
            commit_in(&self.worktree, "more");
            self.lacks()
        }
    }

    const TEXT: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";

    #[test]
    fn the_contents_of_a_file() {
        let put = |text: &'static str| move |f: &Fixture| f.write("f", text);
        let d = Dispute::new(
            put(TEXT),
            put("1\n2\n3\n4\nours\n6\n7\n8\n9\n"),
            put("1\n2\n3\n4\ntheirs\n6\n7\n8\nnine\n"),
        );
        assert_eq!(d.lacks(), [Lack::MergeOpen]);
        let lacks = d.end();
        assert!(
            matches!(&lacks[..], [Lack::Markers { path, lines }] if path == "f" && lines.len() == 3),
            "{lacks:?}"
        );
        let lacks = d.then("f", "1\n2\n3\n4\nboth\n6\n7\n8\n9\n");
        assert!(
            matches!(&lacks[..], [Lack::Strayed { line, .. }] if line.text == "nine"),
            "what git merged by itself is kept: {lacks:?}"
        );
        assert_eq!(d.then("f", "1\n2\n3\n4\nboth\n6\n7\n8\nnine\n"), []);
        assert_eq!(d.then("Cargo.lock", "made\n"), []);
        assert_eq!(d.then("new", "x\n"), [Lack::Elsewhere(vec!["new".into()])]);
        drop(d.f);
    }

    #[test]
    fn a_file_that_one_side_moved_and_both_changed() {
        let d = Dispute::new(
            |f| f.write("old", TEXT),
            |f| {
                f.git(&["mv", "old", "new"]);
                f.write("new", &TEXT.replace('5', "ours"));
            },
            |f| f.write("old", &TEXT.replace('5', "theirs")),
        );
        let text = crate::git::testkit::read(&d.worktree, "new");
        assert!(text.contains("<<<<<<< HEAD:new"), "{text}");
        let lacks = d.end();
        assert!(matches!(&lacks[..], [Lack::Markers { .. }]), "{lacks:?}");
        assert_eq!(d.then("new", &TEXT.replace('5', "both")), []);
        let lacks = d.then("new", &TEXT.replace('5', "both").replace('1', "one"));
        assert!(matches!(&lacks[..], [Lack::Strayed { .. }]), "{lacks:?}");
    }

    #[test]
    fn a_file_that_one_side_deleted_may_stay_change_or_go() {
        let dispute = || {
            Dispute::new(
                |f| f.write("f", TEXT),
                |f| drop(f.git(&["rm", "-q", "f"])),
                |f| f.write("f", "theirs\n"),
            )
        };
        let d = dispute();
        assert_eq!(d.end(), []);
        assert_eq!(d.then("f", "other\n"), []);
        let d = dispute();
        std::fs::remove_file(d.worktree.join("f")).unwrap();
        assert_eq!(d.end(), []);
    }

    #[test]
    fn a_binary_file_and_one_that_both_added() {
        let d = Dispute::new(
            |f| f.write("b", "\0one"),
            |f| {
                f.write("b", "\0two");
                f.write("n", "ours\n");
            },
            |f| {
                f.write("b", "\0three");
                f.write("n", "theirs\n");
            },
        );
        d.write("b", "\0three");
        d.write("n", "both\n");
        assert_eq!(d.end(), []);
    }

    #[test]
    fn a_file_that_both_sides_moved_elsewhere() {
        let d = Dispute::new(
            |f| f.write("f", TEXT),
            |f| drop(f.git(&["mv", "f", "ours"])),
            |f| drop(f.git(&["mv", "f", "theirs"])),
        );
        std::fs::remove_file(d.worktree.join("theirs")).unwrap();
        assert_eq!(d.end(), []);
        assert_eq!(
            d.then("README", "changed\n"),
            [Lack::Elsewhere(vec!["README".into()])]
        );
    }

    #[test]
    fn markers_of_another_length_are_known() {
        let put = |text: &'static str| move |f: &Fixture| f.write("f", text);
        let d = Dispute::new(
            |f| {
                f.write(".gitattributes", "f conflict-marker-size=12\n");
                f.write("f", TEXT);
            },
            put("1\n2\n3\n4\nours\n6\n7\n8\n9\n"),
            put("1\n2\n3\n4\ntheirs\n6\n7\n8\n9\n"),
        );
        let lacks = d.end();
        assert!(matches!(&lacks[..], [Lack::Markers { .. }]), "{lacks:?}");
        assert_eq!(d.then("f", "1\n2\n3\n4\nboth\n6\n7\n8\n9\n"), []);
    }
}
