//! `Repo::merge` beside the real `git merge` in a checkout: the same tree, or the same
//! paths in conflict with the same stages.

mod named;

use std::collections::BTreeSet;

use crate::core::id::Oid;
use crate::git::command::Git;
use crate::git::testkit::{Content, Fixture, Import, Node, oid};
use crate::git::{Merge, Repo};

/// What merging came to, in a form that both ways can be brought into.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Clean(String),
    /// `MODE OID STAGE PATH` of every version that meets.
    Conflict(BTreeSet<String>),
}

impl Outcome {
    fn is_clean(&self) -> bool {
        matches!(self, Self::Clean(_))
    }
}

fn in_memory(repo: &Repo, ours: &Oid, theirs: &Oid) -> Outcome {
    match repo.merge(ours, theirs).unwrap() {
        Merge::Clean { tree } => Outcome::Clean(tree.to_string()),
        Merge::Conflict { files, .. } => Outcome::Conflict(
            files
                .iter()
                .flat_map(|file| {
                    file.stages
                        .iter()
                        .map(|s| format!("{} {} {} {}", s.mode, s.oid, s.stage, file.path))
                })
                .collect(),
        ),
    }
}

/// What git itself does in the checkout. The next call throws it away.
fn in_checkout(f: &Fixture, ours: &Oid, theirs: &Oid) -> Result<Outcome, String> {
    let git = |args: &[&str]| Git::at(&f.root).args(args).output().unwrap();
    let out = git(&["checkout", "-q", "-f", "--detach", ours.as_str()]);
    assert!(out.success(), "{}", out.stderr);
    let merge = git(&["merge", "-q", "--no-commit", "--no-ff", theirs.as_str()]);
    let list = git(&["ls-files", "-u", "-z"]);
    let unmerged: BTreeSet<String> = String::from_utf8_lossy(&list.stdout)
        .split_terminator('\0')
        // What is put aside is called after the side as it was named.
        .map(|entry| {
            entry
                .replacen('\t', " ", 1)
                .replace("~HEAD", &format!("~{ours}"))
        })
        .collect();
    let (code, clean) = (merge.code, unmerged.is_empty());
    if code != Some(if clean { 0 } else { 1 }) {
        return Err(format!("exit code {code:?}: {}", merge.stderr));
    }
    if clean {
        return Ok(Outcome::Clean(f.git(&["write-tree"])));
    }
    f.git(&["reset", "-q", "--hard"]);
    f.git(&["clean", "-ffdxq"]);
    Ok(Outcome::Conflict(unmerged))
}

/// Compares both ways and gives what they agree on, or else both.
fn agreed(f: &Fixture, repo: &Repo, ours: &Oid, theirs: &Oid) -> Result<Outcome, String> {
    // First, while something else is checked out: that must not matter, but for versions
    // of git that know no other attributes than those that are checked out.
    let version = crate::git::git_version().unwrap();
    if (version.major, version.minor) < (2, 41) {
        f.git(&["checkout", "-q", "-f", "--detach", ours.as_str()]);
    }
    let own = in_memory(repo, ours, theirs);
    let git = in_checkout(f, ours, theirs);
    if git.as_ref() == Ok(&own) {
        return Ok(own);
    }
    Err(format!("in memory {own:#?}, git itself {git:#?}"))
}

fn lines(range: std::ops::Range<u32>) -> String {
    range.map(|n| format!("line {n} of it\n")).collect()
}

fn file(content: &mut Content, path: &str, text: &str) {
    content.insert(path.as_bytes().to_vec(), Node::text(text));
}

fn rename(content: &mut Content, from: &str, to: &str) {
    if let Some(node) = content.remove(from.as_bytes()) {
        content.insert(to.as_bytes().to_vec(), node);
    }
}

fn edit(content: &mut Content, path: &str, from: &str, to: &str) {
    if let Some(Node::File(data)) = content.get_mut(path.as_bytes()) {
        let text = String::from_utf8(data.clone()).unwrap().replace(from, to);
        *data = text.into_bytes();
    }
}

fn start() -> Content {
    let mut content = Content::new();
    file(&mut content, "top", &lines(0..12));
    file(&mut content, "dir/a", &lines(100..112));
    file(&mut content, "dir/b", &lines(200..212));
    file(&mut content, "dir/c", &lines(300..312));
    content
}

type Change = (&'static str, fn(&mut Content));

/// What one side may do; each meets each.
const CHANGES: &[Change] = &[
    ("nothing here", |_| {}),
    ("edit at the top", |c| {
        edit(c, "dir/a", "line 101 ", "top 101 ");
    }),
    ("other edit at the top", |c| {
        edit(c, "dir/a", "line 101 ", "TOP 101 ");
    }),
    ("edit at the bottom", |c| {
        edit(c, "dir/a", "line 110 ", "bottom 110 ");
    }),
    ("delete", |c| {
        c.remove(b"dir/a".as_slice());
    }),
    ("delete the folder", |c| {
        c.retain(|path, _| !path.starts_with(b"dir/"));
    }),
    ("rename", |c| rename(c, "dir/a", "dir/z")),
    ("rename elsewhere", |c| rename(c, "dir/a", "moved/a")),
    ("rename with an edit", |c| {
        edit(c, "dir/a", "line 101 ", "top 101 ");
        rename(c, "dir/a", "dir/z");
    }),
    ("rename another to the same", |c| {
        rename(c, "dir/b", "dir/z");
    }),
    ("rename the folder", |c| {
        for name in ["a", "b", "c"] {
            rename(c, &format!("dir/{name}"), &format!("new/{name}"));
        }
    }),
    ("add", |c| file(c, "dir/new", "one\n")),
    ("add another of the name", |c| file(c, "dir/new", "two\n")),
    ("add where others rename to", |c| file(c, "dir/z", "new\n")),
    ("make it a program", |c| {
        if let Some(Node::File(data)) = c.get(b"dir/a".as_slice()).cloned() {
            c.insert(b"dir/a".to_vec(), Node::Program(data));
        }
    }),
    ("make it a link", |c| {
        c.insert(b"dir/a".to_vec(), Node::Link("b".to_owned()));
    }),
    ("make it a folder", |c| rename(c, "dir/a", "dir/a/inner")),
    ("make the folder a file", |c| {
        c.retain(|path, _| !path.starts_with(b"dir/"));
        file(c, "dir", "a file now\n");
    }),
    ("change the case of its name", |c| {
        rename(c, "dir/a", "dir/A");
    }),
    ("empty it", |c| file(c, "dir/a", "")),
    ("make it binary", |c| {
        c.insert(b"dir/a".to_vec(), Node::File(b"\0\x01\x02".to_vec()));
    }),
    ("make it a submodule", |c| {
        let commit = oid(&"12".repeat(20));
        c.insert(b"dir/a".to_vec(), Node::Module(commit));
    }),
];

/// Every change meets every other, now as ours, now as theirs.
#[test]
fn every_pair_of_changes_merges_as_git_does_it() {
    let f = Fixture::new();
    let repo = f.repo();
    let mut import = Import::default();
    let base = import.commit(&[], "base", &start());
    let mut side = |change: &Change, other: &str| {
        let mut content = start();
        // Both sides differ from the base and from each other in any case.
        file(&mut content, other, "x\n");
        change.1(&mut content);
        import.commit(&[base], change.0, &content)
    };
    let ours: Vec<usize> = CHANGES.iter().map(|c| side(c, "of ours")).collect();
    let theirs: Vec<usize> = CHANGES.iter().map(|c| side(c, "of theirs")).collect();
    let ids = import.run(&f);
    let (mut clean, mut conflicts) = (0, 0);
    for a in 0..CHANGES.len() {
        for b in a..CHANGES.len() {
            let (a, b) = if (a + b) % 2 == 0 { (a, b) } else { (b, a) };
            let name = format!("{} / {}", CHANGES[a].0, CHANGES[b].0);
            match agreed(&f, &repo, &ids[ours[a]], &ids[theirs[b]]) {
                Ok(Outcome::Clean(_)) => clean += 1,
                Ok(Outcome::Conflict(_)) => conflicts += 1,
                Err(both) => panic!("{name}: {both}"),
            }
        }
    }
    assert!(
        clean > 80 && conflicts > 80,
        "{clean} clean, {conflicts} not"
    );
}
