//! The text of an issue as a list of tasks: numbered and checkbox lists, and what they say of
//! each other.
//!
//! It is somebody's Markdown and is read tolerantly. Items of code blocks, quotes and comments
//! are none; lists below headings that tell of something else (steps to reproduce, acceptance
//! criteria, …) are left to the text, which every instance gets whole.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::core::plan::suggest_name;

/// What begins a word of headings whose lists are no tasks, wherever it stands.
const OTHER_LISTS: &[&str] = &[
    "reproduc",
    "acceptance",
    "expected",
    "actual",
    "checklist",
    "criteria",
];

/// What begins the last word of such headings: "Additional context", and not "Context menu".
const OTHER_ENDS: &[&str] = &[
    "environment",
    "version",
    "background",
    "context",
    "example",
    "reference",
    "link",
    "done",
];

/// What begins a word of headings whose lists are tasks, whatever else they say.
const TASK_LISTS: &[&str] = &["task", "subtask", "todo", "implement", "plan"];

/// Most references of one item that are followed, and most letters of each list of them.
const MAX_REFERENCES: usize = 50;
const MAX_CLAUSE: usize = 400;

/// An item of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Item {
    /// What it says, on one line, without number and box.
    pub text: String,
    /// What is written below it, further in.
    pub details: String,
    /// The number in front of it.
    pub number: Option<u64>,
    /// Whether its box is ticked.
    pub done: bool,
    /// The issue that it begins with or is: `#12`, or its address.
    pub issue: Option<u64>,
}

/// A dependency that is none: it names nothing of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dangling {
    /// The task that says so.
    pub task: String,
    /// What it names.
    pub names: String,
}

/// The items of all lists of tasks, in order.
#[must_use]
pub fn items(body: &str) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut fence: Option<&str> = None;
    let mut comment = false;
    // The level of the heading that tells of something else.
    let mut skipping: Option<usize> = None;
    // How far in the list's items begin, once one has.
    let mut base: Option<usize> = None;
    for line in body.lines() {
        let indent = indent(line);
        let text = line.trim();
        if let Some(mark) = fence {
            // As long as the opening one, or longer.
            let sign = mark.get(..1).unwrap_or_default();
            if text.starts_with(mark) && text.trim_start_matches(sign).is_empty() {
                fence = None;
            }
            continue;
        }
        if comment || text.starts_with("<!--") {
            comment = !text.contains("-->");
            continue;
        }
        if let Some(mark) = opening(text) {
            fence = Some(mark);
            continue;
        }
        let deeper = base.is_some_and(|base| indent >= base + 2);
        if let Some((level, heading)) = heading(text).filter(|_| indent < 4 && !deeper) {
            // What stands below a heading belongs to it, smaller headings included.
            if skipping.is_none_or(|above| level <= above) {
                skipping = None;
            }
            match tells_of(heading) {
                Some(Lists::Tasks) => skipping = None,
                Some(Lists::Others) if skipping.is_none() => skipping = Some(level),
                _ => {}
            }
            base = None;
            continue;
        }
        if skipping.is_some() || text.starts_with('>') {
            continue;
        }
        match item(text) {
            Some(item) if !deeper => {
                base = Some(indent);
                items.push(item);
            }
            _ if deeper || (text.is_empty() && base.is_some()) => {
                if let Some(last) = items.last_mut() {
                    last.details.push_str(text);
                    last.details.push('\n');
                }
            }
            _ => base = None,
        }
    }
    for item in &mut items {
        item.details = item.details.trim().to_owned();
    }
    items
}

/// The columns before a line's text; a tab goes to the next multiple of four.
fn indent(line: &str) -> usize {
    line.chars()
        .take_while(|c| c.is_whitespace())
        .fold(0, |at, c| if c == '\t' { at / 4 * 4 + 4 } else { at + 1 })
}

/// The mark that begins a block of code on this line: three or more of a kind. One that is
/// followed by another backtick is code inside of a text.
fn opening(text: &str) -> Option<&str> {
    ['`', '~'].into_iter().find_map(|sign| {
        let rest = text.trim_start_matches(sign);
        let mark = text.get(..text.len() - rest.len())?;
        (mark.len() >= 3 && !(sign == '`' && rest.contains('`'))).then_some(mark)
    })
}

/// A heading with its level. People write some as a line in bold, those are below all others.
fn heading(text: &str) -> Option<(usize, &str)> {
    const BOLD: usize = 7;
    let rest = text.trim_start_matches('#');
    let level = text.len() - rest.len();
    if (1..BOLD).contains(&level) && (rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return Some((level, rest));
    }
    let inner = text
        .trim_end_matches(':')
        .strip_prefix("**")?
        .strip_suffix("**")?;
    (!inner.contains("**")).then_some((BOLD, inner))
}

/// What the lists below a heading are.
#[derive(Debug, PartialEq, Eq)]
enum Lists {
    Tasks,
    Others,
}

/// What a heading says of its lists, if anything.
fn tells_of(heading: &str) -> Option<Lists> {
    let lower = heading.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let begins = |word: &str, with: &[&str]| with.iter().any(|start| word.starts_with(start));
    let any = |with: &[&str]| words.iter().any(|word| begins(word, with));
    if any(TASK_LISTS) {
        Some(Lists::Tasks)
    } else if any(OTHER_LISTS) || words.last().is_some_and(|word| begins(word, OTHER_ENDS)) {
        Some(Lists::Others)
    } else {
        None
    }
}

/// A text without the remarks in it that are not shown.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<!--") {
        let Some((_, after)) = after.split_once("-->") else {
            break;
        };
        shown.push_str(before);
        rest = after;
    }
    shown + rest
}

/// An item that begins on this line.
fn item(text: &str) -> Option<Item> {
    let mut found = Item::default();
    let mut rest = text;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let mut counts = false;
    if (1..=4).contains(&digits) {
        let (number, after) = rest.split_at(digits);
        rest = after.strip_prefix(['.', ')'])?.strip_prefix(' ')?;
        found.number = number.parse().ok();
        counts = true;
    } else {
        rest = rest.strip_prefix(['-', '*', '+'])?.strip_prefix(' ')?;
    }
    rest = rest.trim_start();
    for (mark, done) in [("[ ]", false), ("[x]", true), ("[X]", true)] {
        if let Some(after) = rest.strip_prefix(mark) {
            rest = after.trim_start();
            found.done = done;
            counts = true;
            break;
        }
    }
    let rest = shown(rest);
    let rest = rest.trim();
    if !counts || rest.is_empty() {
        return None;
    }
    found.issue = issue_at_start(rest);
    found.text = rest.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(found)
}

/// The number of the issue with which a text begins.
fn issue_at_start(text: &str) -> Option<u64> {
    let first = text.split_whitespace().next()?;
    let digits = first.strip_prefix('#').or_else(|| {
        first
            .starts_with("https://")
            .then(|| first.split("/issues/").nth(1))
            .flatten()
    })?;
    number_in(digits)
}

/// The digits at the start of a text, followed by nothing that would make them something else.
fn number_in(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at_checked(digits)?;
    let ends = !rest.starts_with(|c: char| c.is_alphanumeric());
    number.parse().ok().filter(|n| *n > 0 && ends)
}

/// A plan out of at least two open items; nothing when there are fewer.
///
/// - `titles`: what is known of issues that items stand for: number, title, text, whether open.
///
/// The plan is in the shape of a task file; `number` is the issue that holds the list.
#[must_use]
pub fn plan(
    number: u64,
    request: &str,
    items: &[Item],
    titles: &[(u64, String, String, bool)],
) -> Option<(Value, Vec<Dangling>)> {
    let known = |item: &Item| {
        let issue = item.issue?;
        titles.iter().find(|(known, ..)| *known == issue)
    };
    let open: Vec<&Item> = items
        .iter()
        .filter(|item| !item.done && known(item).is_none_or(|(.., open)| *open))
        .collect();
    if open.len() < 2 {
        return None;
    }
    let mut taken = HashSet::new();
    let names: Vec<String> = open
        .iter()
        .enumerate()
        .map(|(at, item)| {
            let title = known(item).map(|(_, title, ..)| title.as_str());
            let wanted = suggest_name(&title_of(item, title).to_lowercase())
                .map_or_else(|| format!("task-{}", at + 1), |name| name.to_string());
            let mut name = wanted.clone();
            let mut n = 2;
            while !taken.insert(name.clone()) {
                name = format!("{wanted}-{n}");
                n += 1;
            }
            name
        })
        .collect();
    let mut dangling = Vec::new();
    let tasks: Vec<Value> = open
        .iter()
        .zip(&names)
        .map(|(item, name)| {
            let title = known(item).map(|(_, title, ..)| title.clone());
            let description = title_of(item, title.as_deref());
            let mut prompt = item.text.clone();
            if !item.details.is_empty() {
                prompt.push_str(&format!("\n\n{}", item.details));
            }
            if let Some((issue, title, body, _)) = known(item) {
                prompt.push_str(&format!("\n\nThis is the issue #{issue}: {title}\n{body}"));
            }
            let said = format!("{}\n{}", item.text, item.details);
            let mut needs: Vec<String> = Vec::new();
            for reference in references(&said) {
                match meant(&reference, items, &open, &names) {
                    Meant::Task(other) if other != *name => {
                        if !needs.contains(&other) {
                            needs.push(other);
                        }
                    }
                    Meant::Task(_) | Meant::Done => {}
                    // The issue that holds the list.
                    Meant::Nothing if reference.issue == Some(number) => {}
                    Meant::Nothing => dangling.push(Dangling {
                        task: name.clone(),
                        names: reference.text,
                    }),
                }
            }
            let mut task = json!({
                "name": name,
                "description": description,
                "prompt": prompt,
                "type": kind(&description),
                "dependencies": needs,
            });
            if let (Some(issue), Some(fields)) = (item.issue, task.as_object_mut()) {
                fields.insert("issue_number".into(), issue.into());
            }
            task
        })
        .collect();
    Some((json!({ "request": request, "tasks": tasks }), dangling))
}

/// What an item is about in a line: its issue's title, what stands in bold at its beginning, or
/// its text without what it says of others.
fn title_of(item: &Item, title: Option<&str>) -> String {
    if let Some(title) = title {
        return title.trim().to_owned();
    }
    let mut text = item.text.as_str();
    if item.issue.is_some() {
        text = text.split_once(' ').map_or("", |(_, rest)| rest);
    }
    let bold = text
        .strip_prefix("**")
        .and_then(|rest| rest.split_once("**"))
        .map(|(bold, _)| bold.trim_end_matches(':'));
    let mut line = bold.unwrap_or(text).to_owned();
    let lower = line.to_lowercase();
    // Lower case may be of another length; then nothing is cut.
    if lower.len() == line.len()
        && let Some(at) = MARKS.iter().filter_map(|mark| lower.find(mark)).min()
        && at > 0
    {
        line.truncate(at);
    }
    line.trim_matches(|c: char| c.is_whitespace() || "-–—:,;([".contains(c))
        .to_owned()
}

/// The words that announce what a task needs. Behind the first ones everything is a name, behind
/// the others only numbers of issues and steps.
const MARKS: &[&str] = &[
    "depends on",
    "depend on",
    "dependent on",
    "blocked by",
    "requires ",
    "needs ",
    "after ",
];
const CERTAIN: usize = 4;

/// Something that a text says it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reference {
    /// As it was written.
    text: String,
    /// `#12`.
    issue: Option<u64>,
    /// `step 2`, `2`.
    step: Option<u64>,
}

/// Everything that a text says it needs, in order.
fn references(text: &str) -> Vec<Reference> {
    let mut found = Vec::new();
    for line in text.lines() {
        let lower = line.to_lowercase();
        let line = if lower.len() == line.len() {
            line
        } else {
            lower.as_str()
        };
        for (rank, mark) in MARKS.iter().enumerate() {
            for (at, _) in lower.match_indices(mark) {
                let whole = lower
                    .get(..at)
                    .is_none_or(|b| !b.ends_with(char::is_alphanumeric));
                let Some(rest) = line.get(at + mark.len()..).filter(|_| whole) else {
                    continue;
                };
                named(rest, rank < CERTAIN, &mut found);
                if found.len() >= MAX_REFERENCES {
                    return found;
                }
            }
        }
    }
    found
}

/// The names of a list such as `#3, #4 and step 5)`; ends at the first that is none.
fn named(text: &str, certain: bool, found: &mut Vec<Reference>) {
    let end = text
        .char_indices()
        .nth(MAX_CLAUSE)
        .map_or(text.len(), |(at, _)| at);
    let text = text.get(..end).unwrap_or_default();
    let clause = text.split(['.', ';', ')', ']']).next().unwrap_or_default();
    let clause = clause.trim_start_matches([':', ' ']);
    for part in clause
        .split([',', '&'])
        .flat_map(|part| part.split(" and "))
    {
        let part = part.trim().trim_matches(['`', '"', '\'', '*', '“', '”']);
        if part.is_empty() {
            continue;
        }
        let lower = part.to_lowercase();
        let step = ["step ", "task ", "item ", "point "]
            .iter()
            .find_map(|word| lower.strip_prefix(word))
            .unwrap_or(&lower);
        let issue = issue_at_start(part);
        let number = number_in(step).filter(|_| step.bytes().all(|b| b.is_ascii_digit()));
        let stepped = number.is_some() && (certain || step.len() < lower.len());
        if issue.is_none() && !stepped && !certain {
            return;
        }
        let reference = Reference {
            text: part.chars().take(60).collect(),
            issue,
            step: number.filter(|_| stepped).or(issue),
        };
        if !found.contains(&reference) {
            found.push(reference);
        }
    }
}

enum Meant {
    Task(String),
    /// Something that is done already.
    Done,
    Nothing,
}

/// The task that a reference means: by issue, by its number in the list, by its name.
fn meant(reference: &Reference, items: &[Item], open: &[&Item], names: &[String]) -> Meant {
    let task = |wanted: &Item| {
        let at = open.iter().position(|item| std::ptr::eq(*item, wanted));
        at.and_then(|at| names.get(at))
            .map_or(Meant::Done, |name| Meant::Task(name.clone()))
    };
    if let Some(issue) = reference.issue
        && let Some(item) = items.iter().find(|item| item.issue == Some(issue))
    {
        return task(item);
    }
    if let Some(step) = reference.step {
        if let Some(item) = items.iter().find(|item| item.number == Some(step)) {
            return task(item);
        }
        // Boxes without numbers are counted.
        let at = usize::try_from(step)
            .ok()
            .and_then(|step| step.checked_sub(1));
        let plain = items.iter().all(|item| item.number.is_none());
        if reference.issue.is_none()
            && plain
            && let Some(item) = at.and_then(|at| items.get(at))
        {
            return task(item);
        }
        return Meant::Nothing;
    }
    let slug = |text: &str| suggest_name(&text.to_lowercase()).map(|name| name.to_string());
    let Some(wanted) = slug(&reference.text) else {
        return Meant::Nothing;
    };
    if let Some(name) = names.iter().find(|name| **name == wanted) {
        return Meant::Task(name.clone());
    }
    match items
        .iter()
        .find(|item| slug(&title_of(item, None)).is_some_and(|name| name == wanted))
    {
        Some(item) => task(item),
        None => Meant::Nothing,
    }
}

/// What kind of work a line asks for, by its words.
fn kind(text: &str) -> &'static str {
    let lower = text.to_lowercase();
    let says = |words: &[&str]| {
        lower
            .split(|c: char| !c.is_alphanumeric())
            .any(|word| words.iter().any(|start| word.starts_with(start)))
    };
    if says(&["fix", "bug", "repair", "crash", "regression"]) {
        "bugfix"
    } else if says(&["document", "docs", "readme", "changelog"]) {
        "documentation"
    } else if says(&["test", "coverage"]) {
        "testing"
    } else if says(&["refactor", "restructur", "rename", "simplif", "cleanup"]) {
        "refactoring"
    } else if says(&[
        "investigat",
        "research",
        "analys",
        "analyz",
        "evaluat",
        "spike",
    ]) {
        "investigation"
    } else {
        "feature"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::plan::Limits;
    use crate::format::plan_file;

    fn texts(body: &str) -> Vec<String> {
        items(body).into_iter().map(|item| item.text).collect()
    }

    /// Name and dependencies of each task, and what dangles.
    fn graph(body: &str) -> Vec<String> {
        let Some((plan, dangling)) = plan(9, "r", &items(body), &[]) else {
            return Vec::new();
        };
        let mut lines: Vec<String> = plan["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|task| {
                let needs: Vec<&str> = task["dependencies"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|d| d.as_str().unwrap())
                    .collect();
                let type_ = task["type"].as_str().unwrap();
                format!(
                    "{} {type_} <- {}",
                    task["name"].as_str().unwrap(),
                    needs.join(" ")
                )
            })
            .collect();
        lines.extend(
            dangling
                .iter()
                .map(|d| format!("{} ?? {}", d.task, d.names)),
        );
        lines
    }

    #[test]
    fn lists_of_all_sorts_are_found() {
        assert_eq!(
            texts("Intro\n\n1. Schema\n2) API\n\n- [ ] Docs\n* [x] Old\n- plain\n"),
            ["Schema", "API", "Docs", "Old"]
        );
        assert_eq!(
            texts(
                "## Steps to reproduce\n1. Open\n2. Crash\n## Tasks\n- [ ] Fix it\n\
                 ```\n- [ ] code\n```\n> - [ ] quoted\n<!-- - [ ] hidden -->\n- [ ] Test it\n\
                 ## Acceptance criteria\n- [ ] fast\n"
            ),
            ["Fix it", "Test it"]
        );
        assert_eq!(
            texts("1.5 is no item\n2020. \n-[ ] neither\n[ ] nor this\n"),
            [""; 0]
        );
        let nested =
            items("- [ ] One\n  - [ ] sub a\n  more words\n\n  and so on\n- [ ] #12 Two\n");
        assert_eq!(nested.len(), 2);
        assert_eq!(nested[0].details, "- [ ] sub a\nmore words\n\nand so on");
        assert_eq!(nested[1].issue, Some(12));
    }

    #[test]
    fn what_stands_round_a_list_decides_what_it_is() {
        for (body, wanted) in [
            // Tabs, and lists below items that are no tasks.
            ("- [ ] One\n\t- [ ] sub\n- [ ] Two\n", &["One", "Two"][..]),
            (
                "- Backend\n  - [ ] API\n- Web\n  - [ ] Page\n",
                &["API", "Page"],
            ),
            // Code: a block in a block, code in a text, other marks.
            ("````\n```\n1. x\n```\n1. y\n````\n1. A\n", &["A"]),
            ("```make all```\n1. A\n2. B\n", &["A", "B"]),
            ("~~~ `x`\n1. x\n```\n~~~~\n1. A\n", &["A"]),
            // What stands below a heading belongs to it.
            (
                "## Acceptance criteria\n### Web\n- [ ] fast\n## More\n- [ ] A\n",
                &["A"],
            ),
            (
                "# Background\n## Tasks\n- [ ] A\n## Links\n- [ ] x\n",
                &["A"],
            ),
            (
                "**Steps to reproduce**:\n1. open\n\n**To be done**\n- [ ] A\n",
                &[],
            ),
            (
                "**Steps to reproduce:**\n1. open\n\n**Do this**\n- [ ] A\n",
                &["A"],
            ),
            // A word that only looks like one of them.
            ("## Tasks for version 2\n- [ ] A\n", &["A"]),
            ("## Context menu\n- [ ] A\n## Linking\n- [ ] x\n", &["A"]),
            // Remarks of templates.
            (
                "- [ ] A <!-- id:3 -->\n- [ ] <!-- what else? -->\n- [ ] B <!-- C\n",
                &["A", "B <!-- C"],
            ),
            ("## Tasks\r\n- [ ] A\r\n- [x] B\r\n", &["A", "B"]),
        ] {
            assert_eq!(texts(body), wanted, "{body}");
        }
    }

    /// Nobody waits for, or reads, thousands of them.
    #[test]
    fn a_text_of_nothing_but_dependencies_is_read_at_once() {
        let same = format!("- [ ] One\n- [ ] Two {}", "depends on ".repeat(6_000));
        let (_, dangling) = plan(9, "r", &items(&same), &[]).unwrap();
        assert!(dangling.len() <= MAX_REFERENCES, "{}", dangling.len());
        let many: String = (0..5_000).map(|n| format!("depends on x{n}. ")).collect();
        let (_, dangling) = plan(9, "r", &items(&format!("1. One\n2. Two {many}")), &[]).unwrap();
        assert_eq!(dangling.len(), MAX_REFERENCES);
    }

    #[test]
    fn what_the_text_says_becomes_the_graph() {
        assert_eq!(
            graph(
                "1. **Database schema**: users and orders\n2. API endpoints (depends on 1)\n\
                 3. Frontend components, after step 2\n4. Write documentation; depends on #2 and #3\n\
                 5. Tests (blocked by: API endpoints, Frontend components)\n"
            ),
            [
                "database-schema feature <- ",
                "api-endpoints feature <- database-schema",
                "frontend-components feature <- api-endpoints",
                "write-documentation documentation <- api-endpoints frontend-components",
                "tests testing <- api-endpoints frontend-components",
            ]
        );
        assert_eq!(
            graph(
                "- [ ] #12 Fix the login\n- [x] #13 Old\n- [ ] Show it after logging in, needs love\n\
                 - [ ] Report\n  Depends on #12, #13 and #99\n"
            ),
            [
                "fix-the-login bugfix <- ",
                "show-it feature <- ",
                "report feature <- fix-the-login",
                "report ?? #99",
            ]
        );
        // One open item is no list of tasks.
        assert_eq!(graph("- [ ] One\n- [x] Two\n"), [""; 0]);
        assert_eq!(
            graph("- [ ] Same\n- [ ] Same\n"),
            ["same feature <- ", "same-2 feature <- "]
        );
    }

    #[test]
    fn items_that_stand_for_issues_know_them() {
        let titles = [
            (3, "Add export".to_owned(), "As CSV.".to_owned(), true),
            (4, "Done".to_owned(), String::new(), false),
            (5, "Import".to_owned(), String::new(), true),
        ];
        let (plan, _) = plan(9, "r", &items("- [ ] #3\n- [ ] #4\n- [ ] #5\n"), &titles).unwrap();
        assert_eq!(plan["tasks"].as_array().unwrap().len(), 2);
        assert_eq!(plan["tasks"][0]["name"], "add-export");
        assert_eq!(plan["tasks"][0]["issue_number"], 3);
        let prompt = plan["tasks"][0]["prompt"].as_str().unwrap();
        assert!(prompt.contains("As CSV."), "{prompt}");
    }

    proptest! {
        /// Whatever is in an issue, it makes a plan that only faults of the graph can refuse, or
        /// none.
        #[test]
        fn no_text_makes_it_fail(body in "([-*] \\[[ x]\\] |[0-9]{1,3}\\. |  |# |```|\n|depends on #?[0-9]{1,2}|after |[a-zA-Zéß🎼.,)&]{1,12}){0,40}") {
            let found = items(&body);
            if let Some((plan, _)) = plan(1, "r", &found, &[]) {
                let bytes = plan.to_string().into_bytes();
                if let Err(faults) = plan_file::parse(&bytes, &Limits::default()) {
                    for fault in faults.list() {
                        let text = fault.to_string();
                        prop_assert!(text.contains("cycle") || text.contains("wait"), "{}", text);
                    }
                }
            }
        }
    }
}
