use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> FilePattern {
    FilePattern::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

#[test]
fn globs_that_meet_and_globs_that_do_not() {
    for (one, other, meet) in [
        ("src/a.rs", "src/a.rs", true),
        ("src/a.rs", "./src//a.rs", true),
        ("src/a.rs", "src/b.rs", false),
        ("src/**", "src/a/b.rs", true),
        ("src/**", "lib/**", false),
        ("src/", "src/a/b.rs", true),
        ("src", "src/a/b.rs", true),
        ("src", "srcs/a", false),
        ("**", "x", true),
        (".", "x/y", true),
        ("src/*.rs", "src/*.ts", false),
        ("src/*.rs", "src/m*", true),
        ("src/*.rs", "src/a/b.rs", false),
        ("src/**/*.rs", "src/a/b.rs", true),
        ("src/**/*.rs", "src/a/b.ts", false),
        ("src/**/test/*.rs", "src/api/**", true),
        ("a/**/b/**/c", "a/x/b", true),
        ("a/*/c", "a/b/d", false),
        ("a/?.rs", "a/bb.rs", false),
        ("a/[a-c].rs", "a/[c-d].rs", true),
        ("a/[a-b].rs", "a/[c-d].rs", false),
        ("a/[!aA].rs", "a/a.rs", false),
        ("a/[!a].rs", "a/[a-b].rs", true),
        ("{src,lib}/**", "lib/x", true),
        ("{src,lib}/**", "bin/x", false),
        ("src/{a,b/{c,d}}.rs", "src/b/d.rs", true),
        ("src/{a,b/{c,d}}.rs", "src/b/a.rs", false),
        // What looks like a file is no folder, unless the other one says so.
        ("src/**/*.rs", "src/a/b.ts", false),
        ("**/*.test.ts", "src/a.ts", false),
        ("**/*.test.ts", "Dockerfile", false),
        ("**/*.test.ts", "src", true),
        ("**/*.rs", "src/api", true),
        ("conf.d", "conf.d/x", true),
        ("src/v1.2", "src/v1.2/*.rs", true),
        // Looked for at any depth, but a plain name is a path from the root.
        ("*.md", "docs/guide.md", true),
        ("*.md", "docs/guide.rs", false),
        ("README.md", "docs/README.md", false),
        ("docs/**", "*.md", true),
        // Some file systems ignore case.
        ("README.md", "readme.md", true),
        ("src/[A-C].rs", "src/b.rs", true),
        // Names of web frameworks.
        ("app/[id]/page.tsx", "app/[id]/page.tsx", true),
        ("app/[id]/page.tsx", "app/**", true),
        ("app/[id]/*", "app/?id?/page.tsx", true),
        ("app/[...slug]/a", "app/b/a", false),
        ("api/{id}.ts", "api/?id?.ts", true),
        // Stars inside a name may cross folders.
        ("src/**.ts", "src/a/b.ts", true),
        ("src/**.ts", "src/b.ts", true),
        ("src/**.ts", "src/b.rs", false),
        ("src/a**b/c", "src/ab/c", true),
        ("src/a**b/c", "src/a1/2/3b/c", true),
        ("src/a[**]b", "src/a*b", true),
    ] {
        assert_eq!(
            pattern(one).may_overlap(&pattern(other)),
            meet,
            "{one} {other}"
        );
        assert_eq!(
            pattern(other).may_overlap(&pattern(one)),
            meet,
            "{other} {one}"
        );
    }
}

#[test]
fn what_is_no_glob_is_refused() {
    let long = "a".repeat(501);
    let deep = "a/".repeat(60);
    for (text, fault) in [
        ("", PatternFault::Empty),
        ("  ", PatternFault::Empty),
        (long.as_str(), PatternFault::TooLong),
        (deep.as_str(), PatternFault::TooDeep),
        ("a\nb", PatternFault::Control),
        ("src\\a.rs", PatternFault::Backslash),
        ("/etc/passwd", PatternFault::Absolute),
        ("~/x", PatternFault::Absolute),
        ("C:/x", PatternFault::Absolute),
        ("../x", PatternFault::Parent),
        ("a/../../x", PatternFault::Parent),
        ("{a,..}/x", PatternFault::Parent),
        ("!src", PatternFault::Negation),
        ("src/[a", PatternFault::Unbalanced('[')),
        ("src/{a", PatternFault::Unbalanced('{')),
        ("src/a}", PatternFault::Unbalanced('}')),
        ("src/[z-a]", PatternFault::Range('z', 'a')),
    ] {
        assert_eq!(FilePattern::parse(text), Err(fault), "{text}");
    }
}

#[test]
fn absurd_globs_are_cut_down_not_worked_out() {
    let braces = format!("src/{}", "{a,b}".repeat(60));
    assert!(pattern(&braces).may_overlap(&pattern("src/x")));
    assert!(!pattern(&braces).may_overlap(&pattern("lib/x")));
    let stars = format!("src/{}", "a**".repeat(100));
    assert!(pattern(&stars).may_overlap(&pattern("src/ab/cd/a")));
    assert!(pattern("**").covers_everything() && pattern("*").covers_everything());
    assert!(!pattern("src/**").covers_everything());
}

fn glob_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ab]{1,2}",
        1 => Just("*".to_owned()),
        1 => Just("?".to_owned()),
        1 => Just("**".to_owned()),
        1 => "\\[[!^]?[a-c]-?[b-c]?\\]",
        1 => "\\{[ab]{0,2},[ab*?/]{1,3}\\}",
        1 => Just("A".to_owned()),
        1 => Just("é".to_owned()),
        1 => Just("[".to_owned()),
    ];
    let segment = prop_oneof![
        4 => prop::collection::vec(piece, 1..3).prop_map(|pieces| pieces.concat()),
        1 => Just("**".to_owned()),
    ];
    prop::collection::vec(segment, 1..4).prop_map(|segments| segments.join("/"))
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[abcAé]{1,3}", 1..5).prop_map(|segments| segments.join("/"))
}

fn globset(text: &str) -> Option<globset::GlobMatcher> {
    let glob = globset::GlobBuilder::new(text)
        .literal_separator(true)
        .build();
    glob.ok().map(|glob| glob.compile_matcher())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two globs that another implementation sees match one path are never called apart.
    #[test]
    fn no_meeting_is_missed(one in glob_text(), other in glob_text(), paths in prop::collection::vec(path(), 20)) {
        let (Ok(a), Ok(b)) = (FilePattern::parse(&one), FilePattern::parse(&other)) else {
            return Ok(());
        };
        prop_assert!(a.may_overlap(&a), "{one} meets itself");
        prop_assert_eq!(a.may_overlap(&b), b.may_overlap(&a));
        let (Some(x), Some(y)) = (globset(&one), globset(&other)) else {
            return Ok(());
        };
        // Its negated classes match '/' too, which those of git and of shells do not.
        let strays = |glob: &str| glob.contains("[!") || glob.contains("[^");
        if strays(&one) || strays(&other) {
            return Ok(());
        }
        for path in &paths {
            if x.is_match(path) && y.is_match(path) {
                prop_assert!(a.may_overlap(&b), "{one} and {other} both match {path}");
            }
            if x.is_match(path) {
                prop_assert!(a.may_overlap(&pattern(path)), "{one} matches {path}");
            }
        }
    }

    /// What is not a glob is refused or read, but never a crash.
    #[test]
    fn any_text_is_survived(text in "\\PC{0,40}|[\\[\\]{},*!^/a-]{0,30}") {
        if let Ok(glob) = FilePattern::parse(&text) {
            prop_assert!(glob.may_overlap(&glob));
            let _ = glob.may_overlap(&pattern("src/**/*.rs"));
        }
    }

    /// Added edges close no circle, are all needed, and leave no overlapping pair that may
    /// run at the same time.
    #[test]
    fn sequences_are_enough_and_not_too_much(
        edges in prop::collection::vec((0..12_u32, 0..12_u32), 0..15),
        globs in prop::collection::vec(prop::collection::vec(
            prop::sample::select(vec!["a/**", "a/b", "b/*", "b/c/**", "*.md", "c", "d/x.md"]), 0..3), 12),
        urgency in prop::collection::vec(0..3_u8, 12),
    ) {
        let edges = edges.into_iter().filter(|(a, b)| a < b).map(|(a, b)| (TaskIx::new(a), TaskIx::new(b)));
        let graph = Graph::new(12, edges);
        let files: Vec<Vec<FilePattern>> =
            globs.iter().map(|list| list.iter().map(|text| pattern(text)).collect()).collect();
        let files: Vec<&[FilePattern]> = files.iter().map(Vec::as_slice).collect();
        let added = sequence(&graph, |ix| urgency[ix.index()], &files);
        let with = |skip: Option<usize>| {
            let edges = added.iter().enumerate().filter(|(n, _)| Some(*n) != skip);
            Graph::new(12, graph.edges().chain(edges.map(|(_, edge)| (edge.before, edge.after))))
        };
        let all = with(None);
        prop_assert_eq!(all.order().len(), 12);
        let meet = |a: TaskIx, b: TaskIx| {
            files[a.index()].iter().any(|x| files[b.index()].iter().any(|y| x.may_overlap(y)))
        };
        let free_pair = |graph: &Graph| graph.tasks().any(|a| graph.tasks().any(|b| {
            a < b && meet(a, b) && !graph.waits_for(a, b) && !graph.waits_for(b, a)
        }));
        prop_assert!(!free_pair(&all));
        prop_assert!(concurrent_overlaps(&all, |ix| urgency[ix.index()], &files).is_empty());
        prop_assert_eq!(concurrent_overlaps(&graph, |_| 0, &files).is_empty(), added.is_empty());
        for (skip, edge) in added.iter().enumerate() {
            prop_assert!(free_pair(&with(Some(skip))), "an edge too many: {edge:?}");
        }
    }
}

#[test]
fn the_more_urgent_goes_first_and_a_way_is_enough() {
    let all = pattern("src/**");
    let files = [&all, &all, &all].map(std::slice::from_ref);
    let graph = Graph::new(3, []);
    let added = sequence(&graph, |ix| u8::from(ix.index() == 2), &files);
    let edges: Vec<_> = added
        .iter()
        .map(|edge| (edge.before.index(), edge.after.index()))
        .collect();
    assert_eq!(edges, [(2, 0), (0, 1)]);
    assert_eq!(
        added[0].because,
        [("src/**".to_owned(), "src/**".to_owned())]
    );
    let chain = Graph::new(
        3,
        [
            (TaskIx::new(0), TaskIx::new(1)),
            (TaskIx::new(1), TaskIx::new(2)),
        ],
    );
    assert_eq!(sequence(&chain, |_| 0, &files), []);
}

#[test]
fn a_thousand_tasks_are_no_matter() {
    for shape in ["src/m{}/**", "**/m{}/*.rs", "src/**"] {
        let patterns: Vec<Vec<FilePattern>> = (0..1000)
            .map(|n| {
                (0..5)
                    .map(|k| pattern(&shape.replace("{}", &format!("{n}x{k}"))))
                    .collect()
            })
            .collect();
        let files: Vec<&[FilePattern]> = patterns.iter().map(Vec::as_slice).collect();
        let added = sequence(&Graph::new(1000, []), |_| 0, &files);
        let expected = if shape == "src/**" { 999 } else { 0 };
        assert_eq!(added.len(), expected, "{shape}");
    }
}

#[test]
fn a_path_that_is_there_is_covered_or_not() {
    for (glob, path, covered) in [
        ("src/**", "src/a/b.rs", true),
        ("src", "src/a/b.rs", true),
        ("src/*.rs", "src/a.rs", true),
        ("src/*.rs", "src/a/b.rs", false),
        ("*.md", "docs/guide.md", true),
        ("**/*.rs", "src/api", false),
        ("README.md", "readme.md", true),
        ("README.md", "docs/README.md", false),
        ("app/[id]/page.tsx", "app/[id]/page.tsx", true),
        ("app/{a,b}.ts", "app/b.ts", true),
        // Nothing in a path is a wildcard, and it may hold what no glob may.
        ("src/a.rs", "src/*", false),
        ("src/**", "src/a\\b\n*[", true),
        ("lib/**", "src/a\\b", false),
        ("src/v1/a", "src/v1", true),
    ] {
        let found = Touched::of(&[path.to_owned()]).covered_by(&[pattern(glob)]);
        assert_eq!(!found.is_empty(), covered, "{glob} {path}");
    }
    let paths: Vec<String> = (0..9).map(|n| format!("src/{n}")).collect();
    let mut touched = Touched::of(&paths);
    assert_eq!(touched.covered_by(&[pattern("src/**")]), paths[..REASONS]);
    assert_eq!(touched.covered_by(&[]), [""; 0]);
}

#[test]
fn an_absurd_number_of_paths_does_not_hold_a_run_up() {
    let paths: Vec<String> = (0..100_000)
        .map(|n| format!("src/part-{n}/some/where/file-{n}.rs"))
        .collect();
    let globs: Vec<FilePattern> = (0..200)
        .map(|n| pattern(&format!("**/w*{n}*ere/**/f*{n}*x")))
        .collect();
    let mut touched = Touched::of(&paths);
    assert_eq!(touched.covered_by(&globs).len(), REASONS);
    assert_eq!(touched.left, 0);
}
