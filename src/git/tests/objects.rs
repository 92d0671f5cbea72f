//! Every object operation, by both backends, with the same answers.

use std::os::unix::fs::{PermissionsExt, symlink};

use crate::core::id::Oid;
use crate::git::testkit::{Fixture, oid, write_executable};
use crate::git::{Backend, ChangeKind, GitError, Identity, KeptAuthor, Lines, Repo};

/// Both backends of a repository that both can serve.
fn both(f: &Fixture) -> [Repo; 2] {
    let repo = f.repo();
    [
        repo.with_backend(Backend::Library),
        repo.with_backend(Backend::Command),
    ]
}

/// The answer of both backends, which must be equal.
fn agreed<T: PartialEq + std::fmt::Debug>(f: &Fixture, ask: impl Fn(&Repo) -> T) -> T {
    let [library, command] = both(f).map(|repo| ask(&repo));
    assert_eq!(library, command, "libgit2 (left) and git (right) differ");
    library
}

fn absent() -> Oid {
    oid(&"12".repeat(20))
}

#[test]
fn commits_and_ancestry() {
    let f = Fixture::new();
    let first = oid(&f.git(&["rev-parse", "HEAD"]));
    f.write("a", "1\n");
    f.git(&["add", "a"]);
    f.git(&[
        "commit",
        "-q",
        "-m",
        "A title\nthat goes on\n\nBody.\n\n- é\n\n",
        "--author=Ünï Çode <u@x>",
    ]);
    let second = oid(&f.git(&["rev-parse", "HEAD"]));
    f.git(&["switch", "-q", "-c", "side", first.as_str()]);
    f.write("b", "1\n");
    let side = f.commit("side");
    f.git(&["switch", "-q", "main"]);
    f.git(&["merge", "-q", "--no-ff", "-m", "merged", "side"]);
    let merged = oid(&f.git(&["rev-parse", "HEAD"]));

    let commits = agreed(&f, |r| r.commits_between(&first, &second).unwrap());
    assert_eq!(commits.len(), 1);
    assert_eq!(commits[0].summary, "A title that goes on");
    assert_eq!(commits[0].message, "A title\nthat goes on\n\nBody.\n\n- é");
    assert_eq!(commits[0].author.name, "Ünï Çode");
    assert_eq!(commits[0].parents, vec![first.clone()]);
    assert!(commits[0].time > 1_600_000_000);

    for repo in both(&f) {
        let found = repo.commits_between(&first, &merged).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(found[2].oid, merged, "parents come first");
        assert_eq!(found[2].parents, vec![second.clone(), side.clone()]);
    }
    assert!(agreed(&f, |r| r.commits_between(&merged, &first).unwrap()).is_empty());

    for (a, b, expected) in [
        (&first, &merged, true),
        (&side, &merged, true),
        (&merged, &merged, true),
        (&merged, &first, false),
        (&side, &second, false),
    ] {
        assert_eq!(agreed(&f, |r| r.is_ancestor(a, b).unwrap()), expected);
    }
}

#[test]
fn missing_commits_are_named() {
    let f = Fixture::new();
    let head = oid(&f.git(&["rev-parse", "HEAD"]));
    let blob = oid(&f.git(&["rev-parse", "HEAD:README"]));
    for bad in [absent(), blob, oid(&"ab".repeat(32))] {
        let missing = GitError::Missing {
            what: format!("the commit {bad}"),
        };
        agreed(&f, |r| {
            assert_eq!(r.is_ancestor(&bad, &head), Err(missing.clone()));
            assert_eq!(r.commits_between(&head, &bad), Err(missing.clone()));
            assert_eq!(r.diff_stat(&bad, &head), Err(missing.clone()));
            assert_eq!(r.changed_paths(&head, &bad), Err(missing.clone()));
            assert_eq!(r.tree_of(&bad), Err(missing.clone()));
            assert_eq!(r.read_file(&bad, "README"), Err(missing.clone()));
            let tree = r.tree_of(&head).unwrap();
            assert_eq!(
                r.commit(&tree, std::slice::from_ref(&bad), "x", None),
                Err(missing.clone())
            );
            assert!(matches!(
                r.commit(&absent(), &[], "x", None),
                Err(GitError::Missing { .. })
            ));
        });
    }
}

#[test]
fn diffs_of_every_kind() {
    let f = Fixture::new();
    let text: String = (0..40).map(|n| format!("line {n}\n")).collect();
    f.write("moved", &text);
    f.write("gone", "a\nb\n");
    f.write("edited", "a\nb\nc");
    f.write("mode", "x\n");
    f.write("becomes-link", "x\n");
    f.write("ünï/sp ace", "1\n");
    std::fs::write(f.root.join("binary"), b"\0\x01\x02").unwrap();
    let from = f.commit("from");
    std::fs::rename(f.root.join("moved"), f.root.join("to")).unwrap();
    std::fs::remove_file(f.root.join("gone")).unwrap();
    f.write("edited", "a\nB\nc\nd\n");
    std::fs::set_permissions(f.root.join("mode"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::remove_file(f.root.join("becomes-link")).unwrap();
    symlink("mode", f.root.join("becomes-link")).unwrap();
    f.write("ünï/sp ace", "1\n2\n");
    f.write("tab\tand \"quote\"", "1\n");
    std::fs::write(f.root.join("binary"), b"\0\x01\x03").unwrap();
    let to = f.commit("to");

    let stat = agreed(&f, |r| r.diff_stat(&from, &to).unwrap());
    let lines = |added, removed| Some(Lines { added, removed });
    let found: Vec<_> = stat
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.kind, file.lines))
        .collect();
    assert_eq!(
        found,
        vec![
            ("becomes-link", ChangeKind::TypeChanged, lines(1, 1)),
            ("binary", ChangeKind::Modified, None),
            ("edited", ChangeKind::Modified, lines(3, 2)),
            ("gone", ChangeKind::Deleted, lines(0, 2)),
            ("mode", ChangeKind::Modified, lines(0, 0)),
            ("tab\tand \"quote\"", ChangeKind::Added, lines(1, 0)),
            ("to", ChangeKind::Renamed, lines(0, 0)),
            ("ünï/sp ace", ChangeKind::Modified, lines(1, 0)),
        ]
    );
    assert_eq!(
        stat.lines,
        Lines {
            added: 6,
            removed: 5
        }
    );
    assert_eq!(stat.files[6].old_path.as_deref(), Some("moved"));

    let paths = agreed(&f, |r| r.changed_paths(&from, &to).unwrap());
    assert_eq!(paths.len(), 9, "both names of the moved file: {paths:?}");
    assert!(
        agreed(&f, |r| r.diff_stat(&to, &to).unwrap())
            .files
            .is_empty()
    );
}

#[test]
fn files_of_commits() {
    let f = Fixture::new();
    f.write("dir/sp ace", "content\n");
    f.write("[x]*", "glob\n");
    symlink("dir/sp ace", f.root.join("link")).unwrap();
    let head = f.commit("files");
    for (path, expected) in [
        ("README", Some("hello\n")),
        ("dir/sp ace", Some("content\n")),
        ("[x]*", Some("glob\n")),
        ("link", Some("dir/sp ace")),
        ("dir", None),
        ("dir/", None),
        ("missing", None),
        ("../README", None),
        ("/README", None),
        ("", None),
        ("READM*", None),
    ] {
        let found = agreed(&f, |r| r.read_file(&head, path).unwrap());
        assert_eq!(
            found.as_deref(),
            expected.map(str::as_bytes),
            "for {path:?}"
        );
    }
    let tree = f.git(&["rev-parse", "HEAD^{tree}"]);
    assert_eq!(agreed(&f, |r| r.tree_of(&head).unwrap()).as_str(), tree);
}

#[test]
fn both_backends_write_the_same_commit() {
    let f = Fixture::new();
    let head = oid(&f.git(&["rev-parse", "HEAD"]));
    let tree = f.repo().tree_of(&head).unwrap();
    let mut stamp = f.repo().stamp(None).unwrap();
    for offset in [0, 90, -210] {
        stamp.written.offset = offset;
        stamp.committed.offset = -offset;
        stamp.committed.time += 1;
        for message in ["title", "title\n\nbody é\n", "# not a comment\n\n\n"] {
            let parents = [head.clone()];
            agreed(&f, |r| {
                r.commit_with(&tree, &parents, message, &stamp, false)
                    .unwrap()
            });
        }
    }
}

#[test]
fn commits_are_the_persons_or_clearly_orchestras() {
    let f = Fixture::new();
    let repo = f.repo();
    let head = repo.resolve("HEAD").unwrap().unwrap();
    let tree = repo.tree_of(&head).unwrap();
    let who = |commit: &Oid| f.git(&["log", "-1", "--format=%an <%ae> %cn", commit.as_str()]);

    let own = repo
        .commit(&tree, std::slice::from_ref(&head), "x", None)
        .unwrap();
    assert_eq!(who(&own), "Ada <ada@example.org> Ada");
    let given = Identity {
        name: "Grace".to_owned(),
        email: "g@h".to_owned(),
    };
    let other = repo.commit(&tree, &[], "x", Some(&given)).unwrap();
    assert_eq!(who(&other), "Grace <g@h> Grace");

    f.git(&["config", "--unset", "user.email"]);
    assert_eq!(repo.person().unwrap(), None);
    let fallback = repo.commit(&tree, &[head], "x", None).unwrap();
    assert_eq!(who(&fallback), "Orchestra <orchestra@localhost> Orchestra");
}

#[test]
fn commits_are_signed_when_the_person_signs() {
    let f = Fixture::new();
    let signer = f.beside("signer");
    write_executable(
        &signer,
        "cat >/dev/null; echo '[GNUPG:] SIG_CREATED ' >&2; echo SIGNATURE",
    );
    f.git(&["config", "commit.gpgsign", "true"]);
    f.git(&["config", "gpg.program", signer.to_str().unwrap()]);
    for repo in both(&f) {
        let head = repo.resolve("HEAD").unwrap().unwrap();
        let tree = repo.tree_of(&head).unwrap();
        let signed = repo.commit(&tree, &[head], "x", None).unwrap();
        let raw = f.git(&["cat-file", "commit", signed.as_str()]);
        assert!(raw.contains("gpgsig SIGNATURE"), "{raw}");
    }
    write_executable(&signer, "echo no key >&2; exit 2");
    let repo = f.repo();
    let head = repo.resolve("HEAD").unwrap().unwrap();
    let tree = repo.tree_of(&head).unwrap();
    let error = repo.commit(&tree, &[head], "x", None).unwrap_err();
    assert!(
        matches!(&error, GitError::Signing { detail } if detail.contains("no key")),
        "{error}"
    );
}

#[test]
fn exotic_repositories_serve_everything() {
    for f in super::exotic() {
        let repo = f.repo();
        let first = repo.resolve("HEAD").unwrap().unwrap();
        f.write("a", "1\n2\n");
        let second = f.commit("second");
        assert!(repo.is_ancestor(&first, &second).unwrap());
        assert_eq!(repo.commits_between(&first, &second).unwrap().len(), 1);
        assert_eq!(repo.diff_stat(&first, &second).unwrap().lines.added, 2);
        assert_eq!(
            repo.read_file(&second, "a").unwrap().as_deref(),
            Some(b"1\n2\n".as_slice())
        );
        let tree = repo.tree_of(&second).unwrap();
        let commit = repo.commit(&tree, &[first], "x", None).unwrap();
        assert_eq!(repo.tree_of(&commit).unwrap(), tree);
    }
}

#[test]
fn an_author_is_kept_and_the_time_is_not() {
    let f = Fixture::new();
    let repo = f.repo();
    let kept = KeptAuthor::default();
    let first = kept.get(&repo).unwrap();
    f.git(&["config", "user.name", "Somebody else"]);
    let tree = repo.tree_of(&oid(&f.git(&["rev-parse", "HEAD"]))).unwrap();
    let made = |author| repo.commit_by(&author, &tree, &[], "x").unwrap();
    let shown = |commit: &Oid| f.git(&["show", "-s", "--format=%an %ae %cn %ce", commit.as_str()]);
    let (first, second) = (made(first), made(kept.get(&repo).unwrap()));
    assert_eq!(shown(&first), shown(&second));
    let asked = made(repo.author(None).unwrap());
    assert!(shown(&asked).contains("Somebody else"));
    let seconds = |commit: &Oid| -> i64 {
        let text = f.git(&["show", "-s", "--format=%ct", commit.as_str()]);
        text.parse().unwrap()
    };
    assert!(seconds(&second) >= seconds(&first));
    assert!(seconds(&asked) - seconds(&second) < 60);
}
