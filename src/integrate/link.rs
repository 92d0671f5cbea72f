//! One task's result on top of what came before: a link of the chain that is delivered.
//!
//! What a link holds is decided by one merge, git's own, and is the same in every
//! [`DeliveryStyle`]; the style only decides which commits tell of it. A squashed or
//! rebased result is no ancestor of the chain, so its last commit names it in the trailer
//! `Orchestra-Result`. A later task that was built on that result is then merged on the
//! ground that the chain holds it, as it would be had it been merged.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use crate::core::id::{BranchName, Oid};
use crate::core::record::DeliveryStyle;
use crate::git::{
    Author, CommitInfo, ConflictFile, ConflictMessage, GitError, KeptAuthor, Merge, Repo,
    trailer_values, with_trailers,
};

use super::MergeTask;

#[cfg(test)]
mod tests;

/// Names the task in every commit that is made for it.
const TASK: &str = "Orchestra-Task";
/// Names the result that a commit brings in without having it as a parent.
const RESULT: &str = "Orchestra-Result";

/// What came of linking a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linked {
    /// It was there already: nothing to do.
    Contained,
    /// The new end of the chain.
    Commit(Oid),
    /// Somebody has to decide; as [`Merge::Conflict`], for the task as a whole.
    Conflict {
        /// The tree as far as it goes, with conflict markers in the files.
        tree: Oid,
        /// The files in conflict, ordered by path.
        files: Vec<ConflictFile>,
        /// What git says that concerns no single file in conflict.
        messages: Vec<ConflictMessage>,
    },
}

/// How the links of a chain are made. For one chain: who commits and when is asked once.
/// What was kept of that from an earlier chain is given with [`LinkHow::by`].
#[derive(Debug)]
pub struct LinkHow<'a> {
    /// The branch that the chain is for, named in messages.
    pub base_branch: &'a BranchName,
    /// What the history will look like.
    pub style: DeliveryStyle,
    /// Whether the person's `commit-msg` and `pre-merge-commit` hooks have a say; see
    /// [`Repo::ask_hooks`] for what they see.
    pub hooks: bool,
    /// Results that the chain holds though its history does not say so: those for which
    /// [`link`] answered [`Linked::Contained`]. Others need not be named.
    pub held: Vec<Oid>,
    kept: Option<&'a KeptAuthor>,
    author: OnceLock<Author>,
}

impl<'a> LinkHow<'a> {
    /// Links for a branch in a style, without hooks. Commits are the person's own, and
    /// signed when their `commit.gpgSign` asks for it.
    #[must_use]
    pub fn new(base_branch: &'a BranchName, style: DeliveryStyle) -> Self {
        Self {
            base_branch,
            style,
            hooks: false,
            held: Vec::new(),
            kept: None,
            author: OnceLock::new(),
        }
    }

    /// The same by an author that is kept between chains.
    #[must_use]
    pub fn by(mut self, kept: &'a KeptAuthor) -> Self {
        self.kept = Some(kept);
        self
    }

    fn author(&self, repo: &Repo) -> Result<&Author, GitError> {
        if let Some(author) = self.author.get() {
            return Ok(author);
        }
        let author = match self.kept {
            Some(kept) => kept.get(repo)?,
            None => repo.author(None)?,
        };
        Ok(self.author.get_or_init(|| author))
    }
}

/// Brings a task's result on top of `onto`, in memory. Nothing points at the commits yet.
///
/// Contained is what is an ancestor of `onto`; in the styles that leave no such trace also
/// what a commit of it names as its result, and what would change nothing.
///
/// In the style [`DeliveryStyle::Rebase`] a task becomes one commit, whose message says
/// why, when its own commits hold a merge, or when they do not lead to the merged tree one
/// by one.
///
/// # Errors
/// As [`Repo::merge`] and [`Repo::commit`]; [`GitError::CommitRefused`] when hooks have a
/// say and refuse.
pub fn link(
    repo: &Repo,
    onto: &Oid,
    task: &MergeTask,
    how: &LinkHow<'_>,
) -> Result<Linked, GitError> {
    if repo.is_ancestor(&task.head, onto)? {
        return Ok(Linked::Contained);
    }
    let ground = match how.style {
        DeliveryStyle::Merge => onto.clone(),
        DeliveryStyle::Squash | DeliveryStyle::Rebase => {
            match ground(repo, onto, &task.head, &how.held)? {
                Some(ground) => ground,
                None => return Ok(Linked::Contained),
            }
        }
    };
    let tree = match repo.merge(&ground, &task.head)? {
        Merge::Clean { tree } => tree,
        Merge::Conflict {
            tree,
            files,
            messages,
        } => {
            return Ok(Linked::Conflict {
                tree,
                files,
                messages,
            });
        }
    };
    let linked = Link {
        repo,
        onto,
        task,
        how,
        tree: &tree,
    };
    match how.style {
        DeliveryStyle::Merge => linked.merge(),
        _ if tree == repo.tree_of(onto)? => return Ok(Linked::Contained),
        DeliveryStyle::Squash => linked.squash(None),
        DeliveryStyle::Rebase => match linked.replay(&ground)? {
            Ok(picks) => linked.rebase(&picks),
            Err(why) => linked.squash(Some(why)),
        },
    }
    .map(Linked::Commit)
}

/// The link for a task whose conflicts were settled: `tree` is what the chain holds with
/// it. Commits that conflict are not replayed: in the style [`DeliveryStyle::Rebase`] it is
/// one commit that says so.
///
/// # Errors
/// As [`link`].
pub fn link_tree(
    repo: &Repo,
    onto: &Oid,
    task: &MergeTask,
    how: &LinkHow<'_>,
    tree: &Oid,
) -> Result<Oid, GitError> {
    let linked = Link {
        repo,
        onto,
        task,
        how,
        tree,
    };
    match how.style {
        DeliveryStyle::Merge => linked.merge(),
        DeliveryStyle::Squash => linked.squash(None),
        DeliveryStyle::Rebase => linked.squash(Some("conflicts were resolved for all of them")),
    }
}

/// Where a conflict between `onto` and `head` is resolved by hand: what [`link`] merged, so
/// that whoever merges `head` there meets the same conflicts. It is `onto`, or a commit with
/// the same files whose history also holds the results that `onto` holds without being their
/// descendant. Nothing points at it; asking again gives the same.
///
/// # Errors
/// As [`Repo::commit`].
pub fn meeting_ground(
    repo: &Repo,
    onto: &Oid,
    head: &Oid,
    how: &LinkHow<'_>,
) -> Result<Oid, GitError> {
    let ground = match how.style {
        DeliveryStyle::Merge => None,
        DeliveryStyle::Squash | DeliveryStyle::Rebase => ground(repo, onto, head, &how.held)?,
    };
    Ok(ground.unwrap_or_else(|| onto.clone()))
}

/// What to merge `head` with: `onto`, or a stand-in for it whose history also holds the
/// results that `onto` holds without being their descendant. None when `head` is among
/// those results, or contained in one of them.
fn ground(repo: &Repo, onto: &Oid, head: &Oid, held: &[Oid]) -> Result<Option<Oid>, GitError> {
    let news = repo.commits_between(head, onto)?;
    let by_id: HashMap<&Oid, &CommitInfo> = news.iter().map(|c| (&c.oid, c)).collect();
    let mut results: BTreeSet<Oid> = held.iter().cloned().collect();
    // Only the chain itself is believed: what a task wrote into its own messages is not on
    // this line, and rebased messages are cleared of it.
    let mut at = Some(onto);
    while let Some(commit) = at.and_then(|id| by_id.get(id)) {
        let named = trailer_values(&commit.message, RESULT);
        results.extend(named.iter().filter_map(|id| Oid::parse(id).ok()));
        at = commit.parents.first();
    }
    if results.is_empty() {
        return Ok(Some(onto.clone()));
    }
    let tree = repo.tree_of(onto)?;
    let stand_in = |results: &BTreeSet<Oid>| {
        let parents: Vec<Oid> = std::iter::once(onto).chain(results).cloned().collect();
        repo.stand_in(&tree, &parents)
    };
    let ground = match stand_in(&results) {
        Err(GitError::Missing { .. }) => {
            // A clone need not have the results that its history names.
            results.retain(|result| repo.tree_of(result).is_ok());
            stand_in(&results)?
        }
        other => other?,
    };
    Ok((!repo.is_ancestor(head, &ground)?).then_some(ground))
}

/// One of a task's commits, and the tree that it gives on top of the chain.
struct Pick {
    commit: CommitInfo,
    tree: Oid,
}

/// A link whose tree is known.
struct Link<'l> {
    repo: &'l Repo,
    onto: &'l Oid,
    task: &'l MergeTask,
    how: &'l LinkHow<'l>,
    tree: &'l Oid,
}

impl Link<'_> {
    fn merge(&self) -> Result<Oid, GitError> {
        let name = &self.task.name;
        let subject = match self.title() {
            Some(title) => format!("Merge task {name}: {title}"),
            None => format!("Merge task {name} into {}", self.how.base_branch),
        };
        let message = format!("{}\n\n{TASK}: {name}\n", self.described(subject));
        let parents = [self.onto.clone(), self.task.head.clone()];
        self.commit(self.how.author(self.repo)?, self.tree, &parents, message)
    }

    /// One commit for the whole task; `why` when it was to be several.
    fn squash(&self, why: Option<&str>) -> Result<Oid, GitError> {
        let name = &self.task.name;
        let subject = match self.title() {
            Some(title) => format!("Task {name}: {title}"),
            None => format!("Task {name}"),
        };
        let mut message = self.described(subject);
        if let Some(why) = why {
            message.push_str(&format!(
                "\n\nThe commits of this task are one here: {why}."
            ));
        }
        message.push_str(&format!(
            "\n\n{TASK}: {name}\n{RESULT}: {}\n",
            self.task.head
        ));
        let parents = [self.onto.clone()];
        self.commit(self.how.author(self.repo)?, self.tree, &parents, message)
    }

    /// The task's commits one by one on top of the chain, without those that change nothing
    /// there; the inner error says why that does not lead to the merged tree.
    fn replay(&self, ground: &Oid) -> Result<Result<Vec<Pick>, &'static str>, GitError> {
        let mut own = self.repo.commits_in_utf8(ground, &self.task.head)?;
        // A task that builds on several others starts from merges of what the chain holds.
        let mut dropped = 0;
        while let Some(first) = own.get(dropped)
            && first.parents.len() > 1
            && !first
                .parents
                .iter()
                .any(|p| own.iter().skip(dropped).any(|c| c.oid == *p))
        {
            dropped += 1;
        }
        own.drain(..dropped);
        if own.iter().any(|commit| commit.parents.len() != 1) {
            return Ok(Err("they hold a merge"));
        }
        let only = own.len() == 1 && dropped == 0;
        let mut at = self.repo.tree_of(self.onto)?;
        let mut picks = Vec::with_capacity(own.len());
        for commit in own {
            let Some(parent) = commit.parents.first() else {
                continue;
            };
            let tree = if only {
                // Its parent is where it left the chain: the merge was this very pick.
                self.tree.clone()
            } else {
                match self.repo.pick(&at, &commit.oid, parent)? {
                    Merge::Clean { tree } => tree,
                    Merge::Conflict { .. } => {
                        return Ok(Err("they conflict one by one, but not as a whole"));
                    }
                }
            };
            if tree != at {
                at = tree.clone();
                picks.push(Pick { commit, tree });
            }
        }
        if at != *self.tree {
            return Ok(Err("one by one they do not give what they give as a whole"));
        }
        Ok(Ok(picks))
    }

    fn rebase(&self, picks: &[Pick]) -> Result<Oid, GitError> {
        let author = self.how.author(self.repo)?;
        let mut tip = self.onto.clone();
        for (n, pick) in picks.iter().enumerate() {
            let own: Vec<&str> = pick
                .commit
                .message
                .lines()
                .filter(|line| !is_result_trailer(line))
                .collect();
            let mut message = own.join("\n");
            if message.trim().is_empty() {
                message = format!("Task {}", self.task.name);
            }
            let mut trailers = vec![(TASK, self.task.name.as_str())];
            if n + 1 == picks.len() {
                trailers.push((RESULT, self.task.head.as_str()));
            }
            let message = with_trailers(&message, &trailers);
            let author = author.for_work_of(&pick.commit);
            tip = self.commit(&author, &pick.tree, &[tip], message)?;
        }
        Ok(tip)
    }

    fn commit(
        &self,
        author: &Author,
        tree: &Oid,
        parents: &[Oid],
        mut message: String,
    ) -> Result<Oid, GitError> {
        if self.how.hooks {
            message = self.repo.ask_hooks(tree, parents.len() > 1, &message)?;
        }
        self.repo.commit_by(author, tree, parents, &message)
    }

    /// What the task is about in one line; none when that is no more than its name.
    fn title(&self) -> Option<String> {
        let first = self.task.title.lines().next().unwrap_or("");
        let title: String = first.chars().take(60).collect();
        (!title.is_empty() && title != self.task.name.as_str()).then_some(title)
    }

    /// The subject, and the summary below it. Trailers follow in a paragraph of their own:
    /// nothing that the summary says may pass for one.
    fn described(&self, subject: String) -> String {
        let summary: String = self.task.summary.chars().take(4000).collect();
        match summary.trim() {
            "" => subject,
            body => format!("{subject}\n\n{body}"),
        }
    }
}

fn is_result_trailer(line: &str) -> bool {
    line.split_once(':')
        .is_some_and(|(key, _)| key.trim().eq_ignore_ascii_case(RESULT))
}
