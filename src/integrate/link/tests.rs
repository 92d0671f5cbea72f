//! Links of every style: the same content, different histories.

mod histories;
mod signing;

use super::*;
use crate::git::KeptAuthor;
use crate::git::testkit::{Content, Fixture, Import, Node, branch, oid};
use crate::integrate::mechanical::Conflict;

/// A result of a task called `name`.
fn task(name: &str, head: &Oid) -> MergeTask {
    MergeTask {
        name: crate::core::id::TaskName::parse(name).unwrap(),
        start: head.clone(),
        head: head.clone(),
        needs: Vec::new(),
        title: format!("What {name} is about\nand more"),
        summary: format!("Did {name}.\n\nOrchestra-Result: {}\n", "34".repeat(20)),
    }
}

fn commit_of(linked: Linked) -> Oid {
    match linked {
        Linked::Commit(commit) => commit,
        other => panic!("{other:?}"),
    }
}

fn log(f: &Fixture, format: &str, range: &str) -> Vec<String> {
    let format = format!("--format={format}");
    let text = f.git(&["log", "--reverse", "--first-parent", &format, range]);
    text.lines().map(str::to_owned).collect()
}

fn lines(changed: &[(usize, &str)]) -> String {
    let word = |n| {
        changed
            .iter()
            .find(|(at, _)| *at == n)
            .map_or("same", |c| c.1)
    };
    (0..12).map(|n| format!("{n} {}\n", word(n))).collect()
}

fn content(files: &[(&str, &str)]) -> Content {
    files
        .iter()
        .map(|(path, text)| (path.as_bytes().to_vec(), Node::text(text)))
        .collect()
}

/// A base, what the person did since, and a task of two commits: `[base, main, task]`.
fn plain(f: &Fixture) -> [Oid; 3] {
    let mut import = Import::default();
    let base = import.commit(&[], "base", &content(&[("f", &lines(&[]))]));
    let main = content(&[("f", &lines(&[])), ("g", "of the person\n")]);
    let main = import.commit(&[base], "main", &main);
    let one = content(&[("f", &lines(&[(1, "one")]))]);
    let one = import.commit(&[base], "First é\n\nBody.\n\nSigned-off-by: A <a@x>", &one);
    let two = content(&[("f", &lines(&[(1, "two"), (8, "two")]))]);
    let forged = format!("Second\n\nOrchestra-Result: {}", "56".repeat(20));
    let two = import.commit(&[one], &forged, &two);
    let ids = import.run(f);
    [ids[base].clone(), ids[main].clone(), ids[two].clone()]
}

#[test]
fn a_style_is_a_word_in_files() {
    for (style, word) in [
        (DeliveryStyle::Merge, "\"merge\""),
        (DeliveryStyle::Squash, "\"squash\""),
        (DeliveryStyle::Rebase, "\"rebase\""),
    ] {
        assert_eq!(serde_json::to_string(&style).unwrap(), word);
    }
    assert_eq!(DeliveryStyle::default(), DeliveryStyle::Merge);
}

#[test]
fn a_merge_on_the_meeting_ground_finds_what_the_link_found() {
    let f = Fixture::new();
    let repo = f.repo();
    let put = |on: &Oid, f_is: &str, list: &str| f.commit_on(on, &[("f", f_is), ("list", list)]);
    let base = repo.head().unwrap().oid().unwrap().clone();
    let main = put(&base, "plain\n", "1\n2\n3\n");
    // The first adds two lines; the second takes one back and changes the other.
    let first = put(&main, "plain\n", "1\nadded\n2\nold\n3\n");
    let second = put(&first, "loud\n", "1\n2\nnew\n3\n");
    let third = put(&first, "polite\n", "1\nadded\n2\nold\n3\n");
    let base_branch = branch("main");
    for style in [
        DeliveryStyle::Merge,
        DeliveryStyle::Squash,
        DeliveryStyle::Rebase,
    ] {
        let how = LinkHow::new(&base_branch, style);
        let add = |onto: &Oid, name: &str, head: &Oid| {
            link(&repo, onto, &task(name, head), &how).unwrap()
        };
        let onto = commit_of(add(&main, "first", &first));
        let onto = commit_of(add(&onto, "second", &second));
        let Linked::Conflict { files, .. } = add(&onto, "third", &third) else {
            panic!("{style:?}: it links");
        };
        let ground = meeting_ground(&repo, &onto, &third, &how).unwrap();
        assert_eq!(
            meeting_ground(&repo, &onto, &third, &how).unwrap(),
            ground,
            "{style:?}: asked again"
        );
        assert_eq!(ground == onto, style == DeliveryStyle::Merge);
        assert_eq!(
            repo.tree_of(&ground).unwrap(),
            repo.tree_of(&onto).unwrap(),
            "{style:?}"
        );
        let worktree = f.beside(&format!("resolver-{style:?}"));
        let at = ground.as_str();
        f.git(&[
            "worktree",
            "add",
            "-q",
            "--detach",
            worktree.to_str().unwrap(),
            at,
        ]);
        repo.begin_merge_in(&worktree, &third, "Merge").unwrap();
        let conflicted = repo.status(&worktree).unwrap().conflicted;
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["f"], "{style:?}");
        assert_eq!(conflicted, paths, "{style:?}");
        let list = std::fs::read_to_string(worktree.join("list")).unwrap();
        assert_eq!(list, "1\n2\nnew\n3\n", "{style:?}");
    }
}

#[test]
fn each_style_leaves_its_history() {
    let f = Fixture::new();
    let repo = f.repo();
    let [_, main, head] = plain(&f);
    let base_branch = branch("main");
    let of = |style| {
        let how = LinkHow::new(&base_branch, style);
        let commit = commit_of(link(&repo, &main, &task("api", &head), &how).unwrap());
        let again = link(&repo, &commit, &task("api", &head), &how).unwrap();
        assert_eq!(again, Linked::Contained, "{style:?}");
        commit
    };
    let [merge, squash, rebase] = [
        DeliveryStyle::Merge,
        DeliveryStyle::Squash,
        DeliveryStyle::Rebase,
    ]
    .map(of);
    let tree = repo.tree_of(&merge).unwrap();
    assert_eq!(repo.tree_of(&squash).unwrap(), tree);
    assert_eq!(repo.tree_of(&rebase).unwrap(), tree);

    let message = |commit: &Oid| f.git(&["log", "-1", "--format=%P%n%B", commit.as_str()]);
    let (result, fake) = (format!("Orchestra-Result: {head}"), "34".repeat(20));
    assert_eq!(
        message(&merge),
        format!(
            "{main} {head}\nMerge task api: What api is about\n\nDid api.\n\n\
             Orchestra-Result: {fake}\n\nOrchestra-Task: api"
        )
    );
    assert_eq!(
        message(&squash),
        format!(
            "{main}\nTask api: What api is about\n\nDid api.\n\n\
             Orchestra-Result: {fake}\n\nOrchestra-Task: api\n{result}"
        )
    );
    let range = format!("{main}..{rebase}");
    assert_eq!(
        log(&f, "%s|%an <%ae> %ad|%cn", &range),
        [
            "First é|Wrote 2 <w2@example.org> Tue Nov 14 23:43:22 2023 +0130|Ada",
            "Second|Wrote 3 <w3@example.org> Tue Nov 14 23:43:23 2023 +0130|Ada",
        ]
    );
    assert_eq!(
        log(&f, "%B", &range).join("\n"),
        format!(
            "First é\n\nBody.\n\nSigned-off-by: A <a@x>\nOrchestra-Task: api\n\n\
             Second\n\nOrchestra-Task: api\n{result}\n"
        )
        .trim_end()
    );
}

/// Repositories that libgit2 cannot open are served by the `git` command alone.
#[test]
fn every_style_works_where_only_git_can_read() {
    let f = Fixture::with_init("sha256", &["--object-format=sha256"]);
    let repo = f.repo();
    let [_, main, head] = plain(&f);
    let base_branch = branch("main");
    let mut trees = BTreeSet::new();
    for (style, commits) in [
        (DeliveryStyle::Merge, 3),
        (DeliveryStyle::Squash, 1),
        (DeliveryStyle::Rebase, 2),
    ] {
        let how = LinkHow::new(&base_branch, style);
        let task = task("api", &head);
        let tip = commit_of(link(&repo, &main, &task, &how).unwrap());
        trees.insert(repo.tree_of(&tip).unwrap().to_string());
        assert_eq!(repo.commits_between(&main, &tip).unwrap().len(), commits);
        assert_eq!(link(&repo, &tip, &task, &how).unwrap(), Linked::Contained);
    }
    assert_eq!(trees.len(), 1);
}

/// Otherwise the lines that a task changed after another would be changed by both sides.
#[test]
fn what_was_built_on_a_squashed_result_is_merged_on_that_ground() {
    let f = Fixture::new();
    let repo = f.repo();
    let mut import = Import::default();
    let of = |a: &str, b: &str| content(&[("f", &lines(&[(3, a), (9, b)])), ("g", "g\n")]);
    let base = import.commit(&[], "base", &of("same", "same"));
    let a = import.commit(&[base], "a", &of("a", "same"));
    let b = import.commit(&[base], "b", &of("same", "b"));
    let ids = import.run(&f);
    let (a, b) = (task("a", &ids[a]), task("b", &ids[b]));
    let name = crate::core::id::TaskName::parse("c").unwrap();
    let settle = |_: &Oid, _: &MergeTask, _: Conflict<'_>| panic!("a conflict");
    let both = super::super::base_for(
        &repo,
        &KeptAuthor::default(),
        &ids[base],
        &[a.clone(), b.clone()],
        &name,
        settle,
    )
    .unwrap()
    .unwrap();
    let c = f.commit_on(&both, &[("f", &lines(&[(3, "a and c"), (9, "b and c")]))]);
    let c = f.commit_on(&c, &[("g", "c\n")]);
    let c = task("c", &c);
    let base_branch = branch("main");
    for style in [DeliveryStyle::Squash, DeliveryStyle::Rebase] {
        let how = LinkHow::new(&base_branch, style);
        let mut tip = ids[base].clone();
        for task in [&a, &b, &c] {
            tip = commit_of(link(&repo, &tip, task, &how).unwrap());
        }
        let tree = repo.tree_of(&tip).unwrap();
        assert_eq!(tree, repo.tree_of(&c.head).unwrap(), "{style:?}");
        let subjects = log(&f, "%s", &format!("{}..{tip}", ids[base]));
        let expected: &[&str] = match style {
            DeliveryStyle::Rebase => &["a", "b", "more", "more"],
            _ => &[
                "Task a: What a is about",
                "Task b: What b is about",
                "Task c: What c is about",
            ],
        };
        assert_eq!(
            subjects, expected,
            "the merge that c starts from is left out"
        );
        for task in [&a, &b, &c] {
            assert_eq!(link(&repo, &tip, task, &how).unwrap(), Linked::Contained);
        }
    }
}

#[test]
fn what_the_base_branch_got_otherwise_can_be_said() {
    let f = Fixture::new();
    let repo = f.repo();
    let mut import = Import::default();
    let of = |word: &str| content(&[("f", &lines(&[(3, word)]))]);
    let base = import.commit(&[], "base", &of("same"));
    let main = import.commit(&[base], "the person did the same", &of("a"));
    let a = import.commit(&[base], "a", &of("a"));
    let b = import.commit(&[a], "b", &of("a and b"));
    let ids = import.run(&f);
    let base_branch = branch("main");
    for style in [DeliveryStyle::Squash, DeliveryStyle::Rebase] {
        let mut how = LinkHow::new(&base_branch, style);
        let main = &ids[main];
        let linked = link(&repo, main, &task("a", &ids[a]), &how).unwrap();
        assert_eq!(linked, Linked::Contained, "it would change nothing");
        let b = task("b", &ids[b]);
        let alone = link(&repo, main, &b, &how).unwrap();
        assert!(matches!(alone, Linked::Conflict { .. }), "{alone:?}");
        how.held.push(ids[a].clone());
        commit_of(link(&repo, main, &b, &how).unwrap());
    }
}

/// Results that a clone does not have are no obstacle.
#[test]
fn a_result_that_is_not_here_is_passed_over() {
    let f = Fixture::new();
    let repo = f.repo();
    let [base, _, head] = plain(&f);
    let tree = repo.tree_of(&base).unwrap();
    let message = format!("x\n\nOrchestra-Result: {}\n", "12".repeat(20));
    let main = repo.commit(&tree, &[base], &message, None).unwrap();
    let base_branch = branch("main");
    let how = LinkHow::new(&base_branch, DeliveryStyle::Squash);
    commit_of(link(&repo, &main, &task("api", &head), &how).unwrap());
}

#[test]
fn commits_that_cannot_be_made_again_become_one_that_says_so() {
    let f = Fixture::new();
    let repo = f.repo();
    let mut import = Import::default();
    let of = |word: &str, g: &str| content(&[("f", &lines(&[(3, word)])), ("g", g)]);
    let base = import.commit(&[], "base", &of("same", "g\n"));
    let main = import.commit(&[base], "main", &of("main", "g\n"));
    let first = import.commit(&[base], "there", &of("task", "g\n"));
    let back = import.commit(&[first], "and back", &of("same", "task\n"));
    let merged = import.commit(&[first, main], "merged", &of("main and task", "g\n"));
    let merged = import.commit(&[merged], "after", &of("main and task", "after\n"));
    // Did what the person did as well, and took it back.
    let same = import.commit(&[base], "the same", &of("main", "g\n"));
    let undone = import.commit(&[same], "undone", &of("same", "task\n"));
    let ids = import.run(&f);
    let base_branch = branch("main");
    let how = LinkHow::new(&base_branch, DeliveryStyle::Rebase);
    for (head, why) in [
        (
            undone,
            "one by one they do not give what they give as a whole",
        ),
        (back, "they conflict one by one, but not as a whole"),
        (merged, "they hold a merge"),
    ] {
        let task = task("api", &ids[head]);
        let tip = commit_of(link(&repo, &ids[main], &task, &how).unwrap());
        let text = f.git(&["log", "--format=%B", &format!("{}..{tip}", ids[main])]);
        let why = format!("The commits of this task are one here: {why}.");
        assert!(text.contains(&why), "{text}");
        assert_eq!(link(&repo, &tip, &task, &how).unwrap(), Linked::Contained);
    }
}

#[test]
fn a_conflict_is_that_of_the_whole_task_and_its_resolution_is_linked() {
    let f = Fixture::new();
    let repo = f.repo();
    let [base, _, head] = plain(&f);
    let main = f.commit_on(&base, &[("f", &lines(&[(1, "person")]))]);
    let solved = f.commit_on(&main, &[("f", &lines(&[(1, "both"), (8, "two")]))]);
    let solved = repo.tree_of(&solved).unwrap();
    let base_branch = branch("main");
    let task = task("api", &head);
    for (style, parents) in [
        (DeliveryStyle::Merge, format!("{main} {head}")),
        (DeliveryStyle::Squash, main.to_string()),
        (DeliveryStyle::Rebase, main.to_string()),
    ] {
        let how = LinkHow::new(&base_branch, style);
        let Linked::Conflict { files, .. } = link(&repo, &main, &task, &how).unwrap() else {
            panic!("must conflict");
        };
        let paths: Vec<&str> = files.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(paths, ["f"], "{style:?}");
        let tip = link_tree(&repo, &main, &task, &how, &solved).unwrap();
        assert_eq!(repo.tree_of(&tip).unwrap(), solved);
        let found = f.git(&["log", "-1", "--format=%P", tip.as_str()]);
        assert_eq!(found, parents, "{style:?}");
        assert_eq!(link(&repo, &tip, &task, &how).unwrap(), Linked::Contained);
    }
}

#[test]
fn what_is_not_there_or_unrelated_is_an_error() {
    let f = Fixture::new();
    let repo = f.repo();
    let [_, main, _] = plain(&f);
    let other = oid(&f.git(&["rev-parse", "HEAD"]));
    let base_branch = branch("main");
    for style in [
        DeliveryStyle::Merge,
        DeliveryStyle::Squash,
        DeliveryStyle::Rebase,
    ] {
        let how = LinkHow::new(&base_branch, style);
        let error = link(&repo, &main, &task("api", &other), &how).unwrap_err();
        assert!(matches!(error, GitError::Unrelated { .. }), "{error}");
        let absent = oid(&"12".repeat(20));
        let error = link(&repo, &main, &task("api", &absent), &how).unwrap_err();
        assert!(matches!(error, GitError::Missing { .. }), "{error}");
    }
}

#[test]
fn hooks_have_a_say_when_they_are_asked() {
    let f = Fixture::new();
    let repo = f.repo();
    let [_, main, head] = plain(&f);
    f.hook(
        "commit-msg",
        "echo 'Reviewed-by: hook' >> \"$1\"; git ls-files > seen",
    );
    f.hook("pre-merge-commit", "git ls-files > seen-merging");
    let base_branch = branch("main");
    let task = task("api", &head);
    let message = |tip: &Oid| f.git(&["log", "-1", "--format=%B", tip.as_str()]);
    let mut how = LinkHow::new(&base_branch, DeliveryStyle::Merge);
    let tip = commit_of(link(&repo, &main, &task, &how).unwrap());
    assert!(!message(&tip).contains("Reviewed-by") && !f.root.join("seen").exists());

    how.hooks = true;
    let tip = commit_of(link(&repo, &main, &task, &how).unwrap());
    assert!(message(&tip).ends_with("Orchestra-Task: api\nReviewed-by: hook"));
    for seen in ["seen", "seen-merging"] {
        let seen = std::fs::read_to_string(f.root.join(seen)).unwrap();
        assert_eq!(seen, "f\ng\n", "the index holds the commit");
    }
    assert_eq!(f.git(&["ls-files"]), "README", "the person's is untouched");

    f.hook("pre-merge-commit", "echo not on a Friday >&2; exit 1");
    let error = link(&repo, &main, &task, &how).unwrap_err().to_string();
    assert!(
        error.contains("pre-merge-commit") && error.contains("not on a Friday"),
        "{error}"
    );
    how.style = DeliveryStyle::Rebase;
    let tip = commit_of(link(&repo, &main, &task, &how).unwrap());
    let texts = f.git(&["log", "--format=%B", &format!("{main}..{tip}")]);
    assert_eq!(texts.matches("Reviewed-by: hook").count(), 2, "{texts}");
    assert_eq!(link(&repo, &tip, &task, &how).unwrap(), Linked::Contained);

    f.hook("commit-msg", ": > \"$1\"");
    let error = link(&repo, &main, &task, &how).unwrap_err().to_string();
    assert!(error.contains("it left no message"), "{error}");
}
