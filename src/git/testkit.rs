//! Repositories for tests, made with the `git` command in temporary folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::command::Git;
use super::repo::Repo;
use crate::core::id::{BranchName, Oid};

/// A repository in a temporary folder, removed with this value.
pub(crate) struct Fixture {
    folder: TempDir,
    /// The main checkout.
    pub(crate) root: PathBuf,
}

impl Fixture {
    /// A repository on `main` with one commit that holds `README`.
    pub(crate) fn new() -> Self {
        Self::with_init("repo", &[])
    }

    /// The same in a folder of another name, or with options for `git init`.
    pub(crate) fn with_init(name: &str, options: &[&str]) -> Self {
        let fixture = Self::empty(name, options);
        fixture.write("README", "hello\n");
        fixture.commit("first");
        fixture
    }

    /// A repository without a commit.
    pub(crate) fn empty(name: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base = std::fs::canonicalize(folder.path()).unwrap();
        let root = base.join(name);
        std::fs::create_dir_all(&root).unwrap();
        let fixture = Self { folder, root };
        fixture.git(&[&["init", "-q", "-b", "main"], options].concat());
        fixture.git(&["config", "user.name", "Ada"]);
        fixture.git(&["config", "user.email", "ada@example.org"]);
        fixture
    }

    /// A path beside the main checkout.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        std::fs::canonicalize(self.folder.path())
            .unwrap()
            .join(name)
    }

    pub(crate) fn repo(&self) -> Repo {
        Repo::discover(&self.root).unwrap()
    }

    /// Runs git in the main checkout; its output without the final line break.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        git_in(&self.root, args)
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        write_in(&self.root, path, content);
    }

    /// Commits everything in the main checkout.
    pub(crate) fn commit(&self, message: &str) -> Oid {
        commit_in(&self.root, message)
    }

    /// A commit on top of another that holds the given files beside its own, made
    /// without touching the checkout.
    pub(crate) fn commit_on(&self, parent: &Oid, files: &[(&str, &str)]) -> Oid {
        let index = self.beside("commit-on.index");
        let run = |args: &[&str], input: &str| {
            Git::at(&self.root)
                .env("GIT_INDEX_FILE", &index)
                .args(args)
                .input(input)
                .run()
                .unwrap()
                .text()
        };
        run(&["read-tree", parent.as_str()], "");
        for (path, content) in files {
            let blob = run(&["hash-object", "-w", "--stdin"], content);
            run(
                &[
                    "update-index",
                    "--add",
                    "--cacheinfo",
                    &format!("100644,{blob},{path}"),
                ],
                "",
            );
        }
        let tree = run(&["write-tree"], "");
        let _ = std::fs::remove_file(&index);
        oid(&run(
            &["commit-tree", "-m", "more", "-p", parent.as_str(), &tree],
            "",
        ))
    }

    /// The same with something on its standard input.
    pub(crate) fn git_with_input(&self, args: &[&str], input: &str) -> String {
        let git = Git::at(&self.root).args(args).input(input.as_bytes());
        git.run().unwrap().text()
    }

    /// A commit of exactly this content on top of another, made without touching the
    /// checkout.
    pub(crate) fn import_on(&self, parent: &Oid, message: &str, content: &Content) -> Oid {
        let mut import = Import::default();
        import.commit_on(parent, message, content);
        import.run(self).remove(0)
    }

    pub(crate) fn hook(&self, name: &str, script: &str) {
        let path = self.root.join(".git/hooks").join(name);
        write_executable(&path, script);
    }
}

pub(crate) fn write_executable(path: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub(crate) fn git_in(dir: &Path, args: &[&str]) -> String {
    Git::at(dir).args(args).run().unwrap().text()
}

pub(crate) fn write_in(dir: &Path, path: &str, content: &str) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

pub(crate) fn commit_in(dir: &Path, message: &str) -> Oid {
    git_in(dir, &["add", "-A"]);
    git_in(dir, &["commit", "-q", "-m", message]);
    oid(&git_in(dir, &["rev-parse", "HEAD"]))
}

pub(crate) fn oid(text: &str) -> Oid {
    Oid::parse(text).unwrap()
}

pub(crate) fn branch(text: &str) -> BranchName {
    BranchName::parse(text).unwrap()
}

/// The content of a file below a folder.
pub(crate) fn read(dir: &Path, path: &str) -> String {
    std::fs::read_to_string(dir.join(path)).unwrap()
}

/// What a path of a made-up commit holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    File(Vec<u8>),
    Program(Vec<u8>),
    Link(String),
    /// A submodule at a commit.
    Module(Oid),
}

impl Node {
    pub(crate) fn text(content: &str) -> Self {
        Self::File(content.as_bytes().to_vec())
    }
}

/// The whole content of a made-up commit by path.
pub(crate) type Content = BTreeMap<Vec<u8>, Node>;

/// Makes many commits at once, without a checkout.
#[derive(Debug, Default)]
pub(crate) struct Import {
    script: Vec<u8>,
    commits: usize,
}

impl Import {
    /// Adds a commit; its number, by which later ones name it as a parent.
    pub(crate) fn commit(&mut self, parents: &[usize], message: &str, content: &Content) -> usize {
        let marks: Vec<String> = parents.iter().map(|n| format!(":{}", n + 1)).collect();
        self.commit_after(&marks, message, content)
    }

    /// Adds a commit on top of one that is there.
    pub(crate) fn commit_on(&mut self, parent: &Oid, message: &str, content: &Content) -> usize {
        self.commit_after(&[parent.to_string()], message, content)
    }

    fn commit_after(&mut self, parents: &[String], message: &str, content: &Content) -> usize {
        let n = self.commits;
        self.commits += 1;
        let time = 1_700_000_000 + n;
        self.say(&format!("commit refs/import/{n}\nmark :{}\n", n + 1));
        self.say(&format!(
            "author Wrote {n} <w{n}@example.org> {time} +0130\n"
        ));
        self.say(&format!("committer Ada <ada@example.org> {time} +0000\n"));
        self.say(&format!("data {}\n{message}\n", message.len()));
        for (at, parent) in parents.iter().enumerate() {
            let word = if at == 0 { "from" } else { "merge" };
            self.say(&format!("{word} {parent}\n"));
        }
        self.say("deleteall\n");
        for (path, node) in content {
            let name: String = path.iter().map(|b| format!("\\{b:03o}")).collect();
            let (mode, data) = match node {
                Node::File(data) => ("100644", data.as_slice()),
                Node::Program(data) => ("100755", data.as_slice()),
                Node::Link(target) => ("120000", target.as_bytes()),
                Node::Module(commit) => {
                    self.say(&format!("M 160000 {commit} \"{name}\"\n"));
                    continue;
                }
            };
            self.say(&format!(
                "M {mode} inline \"{name}\"\ndata {}\n",
                data.len()
            ));
            self.script.extend_from_slice(data);
            self.say("\n");
        }
        n
    }

    fn say(&mut self, text: &str) {
        self.script.extend_from_slice(text.as_bytes());
    }

    /// Makes them; their ids by number.
    pub(crate) fn run(self, f: &Fixture) -> Vec<Oid> {
        let marks = f.beside("import.marks");
        Git::at(&f.root)
            .args(["fast-import", "--quiet", "--force"])
            .arg(format!("--export-marks={}", marks.display()))
            .input(self.script)
            .run()
            .unwrap();
        let text = std::fs::read_to_string(&marks).unwrap();
        let mut ids = vec![None; self.commits];
        for line in text.lines() {
            let (mark, id) = line.split_once(' ').unwrap();
            let n: usize = mark.trim_start_matches(':').parse().unwrap();
            ids[n - 1] = Some(oid(id));
        }
        ids.into_iter().map(Option::unwrap).collect()
    }
}
