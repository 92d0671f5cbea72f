//! Cases that need a name: what files, attributes, configurations and histories can be.

use super::{agreed, edit, file, lines, rename, start};
use crate::git::testkit::{Content, Fixture, Import, Node, oid};

struct Case {
    name: &'static str,
    /// In `.git/config`.
    config: &'static [(&'static str, &'static str)],
    /// Whether git merges it by itself, so that a case is what its name says; none when
    /// versions of git differ.
    clean: Option<bool>,
    base: fn(&mut Content),
    ours: fn(&mut Content),
    theirs: fn(&mut Content),
}

const NONE: fn(&mut Content) = |_| {};

/// A case without a configuration.
const fn case(
    name: &'static str,
    clean: bool,
    base: fn(&mut Content),
    ours: fn(&mut Content),
    theirs: fn(&mut Content),
) -> Case {
    Case {
        name,
        config: &[],
        clean: Some(clean),
        base,
        ours,
        theirs,
    }
}

impl Case {
    const fn with(mut self, config: &'static [(&'static str, &'static str)]) -> Self {
        self.config = config;
        self
    }

    const fn either(mut self) -> Self {
        self.clean = None;
        self
    }
}

fn top(c: &mut Content) {
    edit(c, "top", "line 1 ", "changed at the top 1 ");
}

fn other_top(c: &mut Content) {
    edit(c, "top", "line 1 ", "changed otherwise 1 ");
}

fn bottom(c: &mut Content) {
    edit(c, "top", "line 10 ", "changed at the bottom 10 ");
}

fn crlf(c: &mut Content) {
    edit(c, "top", "\n", "\r\n");
}

fn union(c: &mut Content) {
    file(c, ".gitattributes", "top merge=union\n");
}

fn driver(c: &mut Content) {
    file(c, ".gitattributes", "top merge=both\n");
}

fn bytes(c: &mut Content, path: &[u8], node: Node) {
    c.insert(path.to_vec(), node);
}

fn module(c: &mut Content, commit: &str) {
    bytes(c, b"sub", Node::Module(oid(&commit.repeat(20))));
}

fn big(c: &mut Content) {
    file(c, "big", &lines(0..200_000));
}

fn awkward(c: &mut Content, word: &str) {
    let names: [&[u8]; 10] = [
        "grüße/日本".as_bytes(),
        b"a b  c",
        b"new\nline",
        b"-rf",
        b"\"quoted\"",
        b"back\\slash",
        b"a\ttab",
        b"*.[ch]?",
        b":(top)x",
        b"not-utf8-\xff",
    ];
    for name in names {
        bytes(c, name, Node::text(&format!("{word}\n{}", lines(0..9))));
    }
}

fn many_renames(c: &mut Content) {
    for n in 0..6 {
        rename(c, &format!("many/{n}"), &format!("moved/{n}"));
        edit(c, &format!("moved/{n}"), "line 1", "LINE 1");
    }
}

fn many(c: &mut Content) {
    for n in 0..6_u32 {
        file(c, &format!("many/{n}"), &lines(n * 1000..n * 1000 + 20));
    }
}

const CASES: &[Case] = &[
    // Content.
    case("different hunks", true, NONE, top, bottom),
    case("the same hunk", false, NONE, top, other_top),
    case("the same edit", true, NONE, top, top),
    case(
        "neighbouring lines",
        false,
        NONE,
        |c| edit(c, "top", "line 5 ", "a 5 "),
        |c| edit(c, "top", "line 6 ", "b 6 "),
    ),
    case(
        "no line break at the end",
        false,
        NONE,
        |c| file(c, "top", lines(0..12).trim_end()),
        |c| file(c, "top", &lines(0..13)),
    ),
    case(
        "white space beside a change",
        false,
        NONE,
        |c| edit(c, "top", "line", "\tline"),
        top,
    ),
    case(
        "both delete",
        true,
        NONE,
        |c| _ = c.remove(b"top".as_slice()),
        |c| {
            c.remove(b"top".as_slice());
        },
    ),
    case(
        "both make an empty file",
        true,
        NONE,
        |c| file(c, "e", ""),
        |c| {
            file(c, "e", "");
        },
    ),
    case(
        "an empty and a full file",
        true,
        NONE,
        |c| file(c, "e", ""),
        |c| file(c, "e", "x\n"),
    ),
    case(
        "an empty file is moved and another filled",
        true,
        |c| {
            file(c, "e1", "");
            file(c, "e2", "");
        },
        |c| rename(c, "e1", "e3"),
        |c| file(c, "e2", "x\n"),
    ),
    case(
        "some megabytes",
        true,
        big,
        |c| edit(c, "big", "line 10 ", "ten 10 "),
        |c| edit(c, "big", "line 199990 ", "late "),
    ),
    case(
        "some megabytes that count as binary",
        false,
        big,
        |c| edit(c, "big", "line 10 ", "ten 10 "),
        |c| edit(c, "big", "line 199990 ", "late "),
    )
    .with(&[("core.bigFileThreshold", "1m")])
    .either(),
    case(
        "binary on both sides",
        false,
        |c| bytes(c, b"bin", Node::File(vec![0; 99])),
        |c| bytes(c, b"bin", Node::File(vec![0, 1, 2])),
        |c| bytes(c, b"bin", Node::File(vec![0, 3, 4])),
    ),
    case(
        "binary on one side",
        true,
        |c| bytes(c, b"bin", Node::File(vec![0; 99])),
        |c| bytes(c, b"bin", Node::File(vec![0, 1, 2])),
        top,
    ),
    case(
        "functions that move past each other",
        true,
        |c| file(c, "m", &(lines(0..8) + "}\n\n" + &lines(20..28) + "}\n\n")),
        |c| file(c, "m", &(lines(20..28) + "}\n\n" + &lines(0..8) + "}\n\n")),
        |c| {
            file(
                c,
                "m",
                &(lines(0..8) + "}\n\n" + &lines(20..28) + "}\n\nend\n"),
            );
        },
    )
    .with(&[("diff.algorithm", "minimal")])
    .either(),
    // Kinds and modes.
    case(
        "added with different modes",
        false,
        NONE,
        |c| bytes(c, b"p", Node::Program(b"x\n".to_vec())),
        |c| file(c, "p", "x\n"),
    ),
    case(
        "a link that both point elsewhere",
        false,
        |c| bytes(c, b"l", Node::Link("top".into())),
        |c| bytes(c, b"l", Node::Link("dir/a".into())),
        |c| bytes(c, b"l", Node::Link("dir/b".into())),
    ),
    case(
        "a link and a file of one name",
        false,
        NONE,
        |c| bytes(c, b"l", Node::Link("top".into())),
        |c| file(c, "l", "a file\n"),
    ),
    case(
        "a link that one side moves",
        true,
        |c| bytes(c, b"l", Node::Link("top".into())),
        |c| rename(c, "l", "l2"),
        |c| bytes(c, b"l", Node::Link("dir/a".into())),
    ),
    case(
        "a file and a folder of one name",
        false,
        NONE,
        |c| file(c, "n", "x\n"),
        |c| {
            file(c, "n/inner", "y\n");
        },
    ),
    case(
        "a submodule that one side moves on",
        true,
        |c| module(c, "11"),
        |c| {
            module(c, "22");
        },
        top,
    ),
    case(
        "a submodule that both move on",
        false,
        |c| module(c, "11"),
        |c| module(c, "22"),
        |c| module(c, "33"),
    ),
    case(
        "a submodule that both move to the same",
        true,
        |c| module(c, "11"),
        |c| module(c, "22"),
        |c| {
            module(c, "22");
            top(c);
        },
    ),
    case(
        "a submodule that goes while it moves on",
        false,
        |c| module(c, "11"),
        |c| _ = c.remove(b"sub".as_slice()),
        |c| module(c, "33"),
    ),
    // Names.
    case(
        "awkward names",
        true,
        |c| awkward(c, "x"),
        |c| awkward(c, "y"),
        top,
    ),
    case(
        "awkward names in conflict",
        false,
        |c| awkward(c, "x"),
        |c| awkward(c, "y"),
        |c| awkward(c, "z"),
    ),
    case(
        "one side changes the case, the other the file",
        true,
        NONE,
        |c| rename(c, "top", "Top"),
        top,
    ),
    case(
        "both change the case otherwise",
        false,
        NONE,
        |c| rename(c, "top", "Top"),
        |c| {
            rename(c, "top", "TOP");
        },
    ),
    case(
        "moved, and another in its place",
        false,
        NONE,
        |c| {
            rename(c, "top", "moved");
            file(c, "top", "something else\n");
        },
        top,
    ),
    // Renames.
    case(
        "moved to different places",
        false,
        NONE,
        |c| rename(c, "top", "x"),
        |c| {
            rename(c, "top", "y");
        },
    ),
    case(
        "different files moved to one place",
        false,
        NONE,
        |c| rename(c, "dir/a", "x"),
        |c| rename(c, "dir/b", "x"),
    ),
    case(
        "a file added to a folder that moved",
        false,
        NONE,
        rename_dir,
        add_to_dir,
    ),
    case(
        "the same, and it may follow",
        true,
        NONE,
        rename_dir,
        add_to_dir,
    )
    .with(&[("merge.directoryRenames", "true")]),
    case(
        "the same, and it may not",
        true,
        NONE,
        rename_dir,
        add_to_dir,
    )
    .with(&[("merge.directoryRenames", "false")]),
    case(
        "moved and edited, found by git",
        true,
        many,
        many_renames,
        |c| {
            edit(c, "many/3", "line 3015", "LINE 3015");
        },
    ),
    case(
        "moved and edited, not looked for",
        false,
        many,
        many_renames,
        |c| {
            edit(c, "many/3", "line 3015", "LINE 3015");
        },
    )
    .with(&[("merge.renames", "false")])
    .either(),
    case(
        "moved and edited, not looked for in diffs",
        false,
        many,
        many_renames,
        |c| {
            edit(c, "many/3", "line 3015", "LINE 3015");
        },
    )
    .with(&[("diff.renames", "false")])
    .either(),
    case(
        "moved and edited, too many to look for",
        false,
        many,
        many_renames,
        |c| {
            for n in 0..6 {
                edit(c, &format!("many/{n}"), "15 of it", "15 OF IT");
            }
        },
    )
    .with(&[("merge.renameLimit", "2")]),
    // Attributes.
    case("a file of which both keep all", true, union, top, other_top),
    case("a default driver", true, NONE, top, other_top).with(&[("merge.default", "union")]),
    case("a driver of one's own", true, driver, top, other_top)
        .with(&[("merge.both.driver", "cat %B >> %A")]),
    case(
        "a driver of one's own where nothing meets",
        true,
        driver,
        top,
        bottom,
    )
    .with(&[("merge.both.driver", "echo driven > %A")]),
    case("a driver that gives up", false, driver, top, other_top)
        .with(&[("merge.both.driver", "exit 1")]),
    case(
        "a driver that is not configured",
        false,
        driver,
        top,
        other_top,
    ),
    case(
        "never merged as text",
        false,
        |c| file(c, ".gitattributes", "top -merge\n"),
        top,
        bottom,
    ),
    case(
        "an attribute further down",
        true,
        |c| {
            file(c, ".gitattributes", "a -merge\n");
            file(c, "dir/.gitattributes", "a merge=union\n");
        },
        |c| edit(c, "dir/a", "line 101 ", "x 101 "),
        |c| edit(c, "dir/a", "line 101 ", "y 101 "),
    ),
    case(
        "ours brings the attribute",
        true,
        NONE,
        |c| {
            union(c);
            top(c);
        },
        other_top,
    ),
    case("theirs brings the attribute", false, NONE, top, |c| {
        union(c);
        other_top(c);
    }),
    case(
        "ours takes the attribute away",
        false,
        union,
        |c| {
            c.remove(b".gitattributes".as_slice());
            top(c);
        },
        other_top,
    ),
    // Line ends.
    case("other line ends beside a change", false, NONE, crlf, top),
    case(
        "other line ends on both sides",
        false,
        NONE,
        |c| {
            crlf(c);
            top(c);
        },
        |c| {
            crlf(c);
            bottom(c);
        },
    ),
    case(
        "line ends that git keeps, normalised",
        true,
        |c| file(c, ".gitattributes", "* text=auto\n"),
        top,
        |c| {
            crlf(c);
            bottom(c);
        },
    )
    .with(&[("merge.renormalize", "true")]),
    case(
        "line ends that git keeps, not normalised",
        false,
        |c| file(c, ".gitattributes", "* text=auto\n"),
        top,
        |c| {
            crlf(c);
            bottom(c);
        },
    ),
    case(
        "checked out with other line ends",
        true,
        |c| file(c, ".gitattributes", "* text eol=crlf\n"),
        top,
        bottom,
    ),
    case("converted by configuration", true, NONE, top, bottom).with(&[("core.autocrlf", "true")]),
    case(
        "a filter that normalises",
        true,
        |c| {
            file(c, ".gitattributes", "top filter=upper\n");
            file(c, "top", &lines(0..12).to_uppercase());
        },
        |c| edit(c, "top", "LINE 1 ", "CHANGED 1 "),
        |c| {
            file(c, "top", &lines(0..12));
            bottom(c);
        },
    )
    .with(&[
        ("merge.renormalize", "true"),
        ("filter.upper.clean", "tr a-z A-Z"),
    ]),
    case("conflicts shown otherwise", false, NONE, top, other_top)
        .with(&[("merge.conflictStyle", "zdiff3")]),
];

fn rename_dir(c: &mut Content) {
    for name in ["a", "b", "c"] {
        rename(c, &format!("dir/{name}"), &format!("new/{name}"));
    }
}

fn add_to_dir(c: &mut Content) {
    file(c, "dir/added", "x\n");
}

/// What is wrong with a case.
fn check(f: &Fixture, case: &Case) -> Option<String> {
    for (key, value) in case.config {
        f.git(&["config", key, value]);
    }
    let mut import = Import::default();
    let mut content = start();
    (case.base)(&mut content);
    let base = import.commit(&[], "base", &content);
    let mut side = |change: fn(&mut Content), other: &str| {
        let mut content = content.clone();
        file(&mut content, other, "x\n");
        change(&mut content);
        import.commit(&[base], other, &content)
    };
    let (ours, theirs) = (side(case.ours, "of ours"), side(case.theirs, "of theirs"));
    let ids = import.run(f);
    let outcome = agreed(f, &f.repo(), &ids[ours], &ids[theirs]);
    for (key, _) in case.config {
        f.git(&["config", "--unset-all", key]);
    }
    match outcome {
        Ok(outcome) if case.clean.is_none_or(|clean| clean == outcome.is_clean()) => None,
        Ok(outcome) => Some(format!("{}: unexpectedly {outcome:#?}", case.name)),
        Err(both) => Some(format!("{}: {both}", case.name)),
    }
}

#[test]
fn every_named_case_merges_as_git_does_it() {
    let f = Fixture::new();
    let wrong: Vec<String> = CASES.iter().filter_map(|case| check(&f, case)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn and_so_in_repositories_of_other_kinds() {
    for f in super::super::exotic() {
        // Made-up submodule commits have ids of the other length.
        let cases = CASES.iter().filter(|case| !case.name.contains("submodule"));
        let wrong: Vec<String> = cases
            .step_by(5)
            .filter_map(|case| check(&f, case))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// A commit of what the other commits of a history hold, and the last two are merged.
#[test]
fn histories_of_many_shapes_merge_as_git_does_it() {
    type Shape = fn(&mut Import, &Content) -> (usize, usize);
    let shapes: &[(&str, bool, Shape)] = &[
        ("two merge bases", true, |i, base| {
            criss_cross(i, base, false)
        }),
        (
            "two merge bases that conflict themselves",
            false,
            |i, base| criss_cross(i, base, true),
        ),
        ("three at once", true, |i, base| {
            let with = |change: fn(&mut Content), other: &str| {
                let mut content = base.clone();
                change(&mut content);
                file(&mut content, other, "x\n");
                content
            };
            let root = i.commit(&[], "root", base);
            let a = i.commit(&[root], "a", &with(top, "a"));
            let b = i.commit(&[root], "b", &with(bottom, "b"));
            let c = i.commit(&[root], "c", &with(NONE, "c"));
            let mut all = with(top, "a");
            bottom(&mut all);
            for name in ["b", "c"] {
                file(&mut all, name, "x\n");
            }
            let octopus = i.commit(&[a, b, c], "octopus", &all);
            edit(&mut all, "dir/a", "line 101 ", "x 101 ");
            let ours = i.commit(&[octopus], "ours", &all);
            let mut more = with(bottom, "b");
            edit(&mut more, "dir/b", "line 201 ", "y 201 ");
            (ours, i.commit(&[b], "theirs", &more))
        }),
        ("one side has the other's beginning", true, |i, base| {
            let root = i.commit(&[], "root", base);
            let mut content = base.clone();
            top(&mut content);
            let first = i.commit(&[root], "first", &content);
            let mut ours = base.clone();
            bottom(&mut ours);
            let other = i.commit(&[root], "other", &ours);
            top(&mut ours);
            let merged = i.commit(&[other, first], "merged", &ours);
            edit(&mut content, "top", "changed at the top 1 ", "once more 1 ");
            (merged, i.commit(&[first], "theirs", &content))
        }),
    ];
    let f = Fixture::new();
    for (name, clean, shape) in shapes {
        let mut import = Import::default();
        let (ours, theirs) = shape(&mut import, &start());
        let ids = import.run(&f);
        let outcome = agreed(&f, &f.repo(), &ids[ours], &ids[theirs])
            .unwrap_or_else(|both| panic!("{name}: {both}"));
        assert_eq!(outcome.is_clean(), *clean, "{name}: {outcome:#?}");
    }
}

/// Both sides merged each other's first commit, and went on.
fn criss_cross(i: &mut Import, base: &Content, meet: bool) -> (usize, usize) {
    let root = i.commit(&[], "root", base);
    let (mut one, mut two) = (base.clone(), base.clone());
    top(&mut one);
    if meet {
        other_top(&mut two);
    } else {
        bottom(&mut two);
    }
    let (a, b) = (i.commit(&[root], "a", &one), i.commit(&[root], "b", &two));
    let mut both = one;
    bottom(&mut both);
    let (left, right) = (
        i.commit(&[a, b], "left", &both),
        i.commit(&[b, a], "right", &both),
    );
    let mut ours = both.clone();
    edit(&mut ours, "top", "changed at the top", "ours at the top");
    let mut theirs = both;
    if meet {
        edit(
            &mut theirs,
            "top",
            "changed at the top",
            "theirs at the top",
        );
    }
    edit(&mut theirs, "dir/a", "line 105 ", "x 105 ");
    (
        i.commit(&[left], "ours", &ours),
        i.commit(&[right], "theirs", &theirs),
    )
}

/// Attributes that are in no commit count as they do for git itself, on top of those of
/// ours.
#[test]
fn attributes_of_the_repository_and_of_the_person_count() {
    let f = Fixture::new();
    let sides = |base: fn(&mut Content)| {
        let mut import = Import::default();
        let mut content = start();
        base(&mut content);
        let root = import.commit(&[], "root", &content);
        let (mut ours, mut theirs) = (content.clone(), content);
        top(&mut ours);
        other_top(&mut theirs);
        let (a, b) = (
            import.commit(&[root], "ours", &ours),
            import.commit(&[root], "theirs", &theirs),
        );
        let ids = import.run(&f);
        (ids[a].clone(), ids[b].clone())
    };
    let clean = |(ours, theirs): &(_, _)| agreed(&f, &f.repo(), ours, theirs).unwrap().is_clean();
    let plain = sides(NONE);
    let never = sides(|c| file(c, ".gitattributes", "top -merge\n"));
    let kept = sides(union);
    assert!(!clean(&plain) && !clean(&never) && clean(&kept));

    let person = f.beside("attributes");
    std::fs::write(&person, "top merge=union\n").unwrap();
    f.git(&["config", "core.attributesFile", person.to_str().unwrap()]);
    assert!(clean(&plain), "the person's own count");
    assert!(!clean(&never), "those of the commit count more");
    f.git(&["config", "--unset", "core.attributesFile"]);

    let info = f.root.join(".git/info/attributes");
    std::fs::create_dir_all(info.parent().unwrap()).unwrap();
    std::fs::write(&info, "top merge=union\n").unwrap();
    assert!(
        clean(&plain) && clean(&never),
        "the repository's own count most"
    );
    std::fs::write(&info, "top -merge\n").unwrap();
    assert!(!clean(&kept), "the repository's own count most");
}

/// Which of two commits of a submodule is newer can be seen where the submodule is filled.
#[test]
fn submodules_that_are_filled_move_forward() {
    let f = Fixture::new();
    let sub = f.root.join("sub");
    std::fs::create_dir(&sub).unwrap();
    let git = |args: &[&str]| crate::git::testkit::git_in(&sub, args);
    git(&["init", "-q", "-b", "main"]);
    git(&["config", "user.name", "Ada"]);
    git(&["config", "user.email", "ada@example.org"]);
    let commits = ["one", "two", "three"].map(|message| {
        git(&["commit", "-q", "--allow-empty", "-m", message]);
        oid(&git(&["rev-parse", "HEAD"]))
    });
    git(&["checkout", "-q", "--detach", commits[0].as_str()]);
    git(&["commit", "-q", "--allow-empty", "-m", "aside"]);
    let aside = oid(&git(&["rev-parse", "HEAD"]));
    let mut import = Import::default();
    let mut at = |parents: &[usize], commit: &crate::core::id::Oid, other: &str| {
        let mut content = start();
        file(
            &mut content,
            ".gitmodules",
            "[submodule \"sub\"]\n\tpath = sub\n\turl = ./sub\n",
        );
        file(&mut content, other, other);
        bytes(&mut content, b"sub", Node::Module(commit.clone()));
        import.commit(parents, other, &content)
    };
    let base = at(&[], &commits[0], "base");
    let ours = at(&[base], &commits[1], "ours");
    let forward = at(&[base], &commits[2], "forward");
    let apart = at(&[base], &aside, "apart");
    let ids = import.run(&f);
    let agreed = |theirs: usize| agreed(&f, &f.repo(), &ids[ours], &ids[theirs]).unwrap();
    assert!(agreed(forward).is_clean());
    assert!(!agreed(apart).is_clean());
}

/// What a person configured for typing `git merge` on a branch is about that command: it
/// may even say to drop the other side. It is not taken over.
#[test]
fn options_for_the_merge_command_on_a_branch_do_not_count() {
    let f = Fixture::new();
    let mut import = Import::default();
    let base = import.commit(&[], "base", &start());
    let (mut ours, mut theirs) = (start(), start());
    top(&mut ours);
    other_top(&mut theirs);
    let a = import.commit(&[base], "ours", &ours);
    let b = import.commit(&[base], "theirs", &theirs);
    let ids = import.run(&f);
    f.git(&["config", "branch.main.mergeOptions", "-X ours"]);
    f.git(&["reset", "-q", "--hard", ids[a].as_str()]);
    assert!(!super::in_memory(&f.repo(), &ids[a], &ids[b]).is_clean());
    f.git(&["merge", "-q", "--no-ff", "-m", "m", ids[b].as_str()]);
}
