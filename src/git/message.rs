//! Trailers of commit messages: `Key: value` lines in the last paragraph.

/// The values of a trailer. Only the last paragraph counts, so that nothing that is quoted
/// further up in a message can pass for one.
#[must_use]
pub fn trailer_values<'m>(message: &'m str, key: &str) -> Vec<&'m str> {
    let Some((_, last)) = message.trim_end().rsplit_once("\n\n") else {
        return Vec::new();
    };
    last.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(key).then(|| value.trim())
        })
        .collect()
}

/// The message with more trailers, in the paragraph of those that it has. One that is there
/// already is not repeated.
#[must_use]
pub fn with_trailers(message: &str, trailers: &[(&str, &str)]) -> String {
    let mut text = message.trim_end().to_owned();
    // Git's own rules for what is a paragraph of trailers. They stop reading at a line of
    // dashes, where a patch may begin, hence the last paragraph alone.
    let has_some = text.rsplit_once("\n\n").is_some_and(|(_, last)| {
        git2::message_trailers_strs(&format!("x\n\n{last}\n"))
            .is_ok_and(|t| t.iter().next().is_some())
    });
    let mut gap = if has_some { "\n" } else { "\n\n" };
    for (key, value) in trailers {
        if has_some && trailer_values(&text, key).contains(value) {
            continue;
        }
        text.push_str(&format!("{gap}{key}: {value}"));
        gap = "\n";
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::testkit::Fixture;

    const MESSAGES: &[&str] = &[
        "Subject",
        "Subject\n\nBody that goes on.\n\n",
        "Subject\n\nBody\n\nSigned-off-by: A <a@x>\n",
        "Subject\n\nBody\n\nTask: a\nSigned-off-by: A <a@x>",
        "fix: a subject that looks like one",
        "Subject\n\nNote: this is prose that begins like a trailer\nand goes on\nand on\nand on",
        "Subject\n\nA rule\n---\nand more\n",
        "Subject\n\nSome\n\nKey: folded\n  value\n",
    ];

    #[test]
    fn trailers_are_added_as_git_adds_them() {
        let f = Fixture::new();
        for message in MESSAGES {
            std::fs::write(f.root.join("message"), message).unwrap();
            let git = f.git(&[
                "interpret-trailers",
                "--no-divider",
                "--if-exists=addIfDifferent",
                "--trailer=Task: a",
                "--trailer=Result: 12",
                "message",
            ]);
            let own = with_trailers(message, &[("Task", "a"), ("Result", "12")]);
            assert_eq!(own.trim_end(), git, "{message:?}");
            assert_eq!(trailer_values(&own, "task"), ["a"], "{message:?}");
            assert_eq!(trailer_values(&own, "Result"), ["12"], "{message:?}");
        }
    }

    #[test]
    fn only_the_last_paragraph_counts() {
        assert!(trailer_values("Task: a", "Task").is_empty());
        assert!(trailer_values("x\n\nTask: a\n\nBody\n", "Task").is_empty());
        assert_eq!(
            trailer_values("x\n\n---\n\nTask: a\nTASK:b\n\n", "task"),
            ["a", "b"]
        );
    }
}
