//! GitHub, through `gh`, the person's own command with the person's own login.
//!
//! The one room that runs `gh`. Nothing from outside reaches its command line but a validated
//! issue number or branch name; what it prints is read as the JSON that its manual documents
//! (`gh issue view`, `gh pr list`, `gh repo view`, each with `--json`), tolerantly. Nothing is
//! ever written on GitHub here.

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::agent::environment::Environment;
use crate::agent::process;
use crate::core::id::{BranchName, Oid};
use crate::format::SCHEMA_VERSION;
use crate::format::claude_stream::one_line;
use crate::format::issue_file::IssueFile;

/// Longest answer that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The exit code of `gh` for a login that is missing.
const NO_LOGIN: i32 = 4;

/// The number of an issue: one of those that GitHub gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IssueNumber(NonZeroU64);

impl IssueNumber {
    /// A number from 1 to 2^53.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        let number = NonZeroU64::new(number)?;
        (number.get() < 1 << 53).then_some(Self(number))
    }

    /// The number itself.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

/// A merged pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedPull {
    /// Its number.
    pub number: u64,
    /// The commit of its branch that was merged.
    pub head: Oid,
    /// Where it is to be read.
    pub url: String,
}

/// Why GitHub said nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum GithubError {
    #[error("the GitHub command line `gh` was not found on PATH")]
    NotInstalled,
    #[error("`gh` is not logged in: {said}")]
    NotLoggedIn { said: String },
    #[error("there is no issue #{number} in this repository: {said}")]
    NoSuchIssue { number: u64, said: String },
    #[error("#{number} is a pull request, not an issue")]
    PullRequest { number: u64 },
    #[error("this repository is not on GitHub, or `gh` does not see where: {said}")]
    NoRepository { said: String },
    #[error("`gh {what}` gave no answer within {} s", PATIENCE.as_secs())]
    TimedOut { what: String },
    #[error("`gh {what}` failed: {said}")]
    Failed { what: String, said: String },
    #[error("`gh {what}` printed what was not expected: {said}")]
    Unreadable { what: String, said: String },
}

impl GithubError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotInstalled => "install it: https://cli.github.com, then `gh auth login`",
            Self::NotLoggedIn { .. } => "run `gh auth login` once",
            Self::NoSuchIssue { .. } => "`gh issue list` shows those that there are",
            Self::PullRequest { .. } => "give the number of an issue",
            Self::NoRepository { .. } => {
                "check `git remote -v`, and choose the repository with `gh repo set-default`"
            }
            Self::TimedOut { .. } | Self::Failed { .. } => "try again in a while",
            Self::Unreadable { .. } => "update `gh`: an old one knows fewer fields",
        }
    }
}

/// `gh` in a repository.
#[derive(Debug, Clone)]
pub struct Gh {
    program: PathBuf,
    env: Environment,
    folder: PathBuf,
}

#[derive(Deserialize)]
struct IssueAnswer {
    number: u64,
    #[serde(default)]
    title: String,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    url: String,
    #[serde(default)]
    state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RepositoryAnswer {
    name_with_owner: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PullAnswer {
    number: u64,
    head_ref_oid: String,
    #[serde(default)]
    merged_at: Option<String>,
    #[serde(default)]
    url: String,
}

impl Gh {
    /// The `gh` on the PATH of `env`, asked about the repository in `folder`.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn find(env: &Environment, folder: &Path) -> Result<Self, GithubError> {
        let program = env
            .get("PATH")
            .into_iter()
            .flat_map(std::env::split_paths)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join("gh"))
            .find(|path| is_program(path))
            .ok_or(GithubError::NotInstalled)?;
        let mut env = env.clone();
        for (name, value) in [
            ("GH_PROMPT_DISABLED", "1"),
            ("GH_NO_UPDATE_NOTIFIER", "1"),
            ("GH_PAGER", "cat"),
            ("NO_COLOR", "1"),
        ] {
            env.set(name, value);
        }
        Ok(Self {
            program,
            env,
            folder: folder.to_owned(),
        })
    }

    /// An issue with the repository that it is in.
    ///
    /// # Errors
    /// When there is none, or `gh` cannot tell.
    pub fn issue(&self, number: IssueNumber) -> Result<IssueFile, GithubError> {
        let digits = number.get().to_string();
        let fields = "number,title,body,url,state";
        let answer: IssueAnswer = self
            .ask("issue view", &["issue", "view", &digits, "--json", fields])
            .map_err(|error| about_issue(error, number))?;
        if answer.url.contains("/pull/") {
            return Err(GithubError::PullRequest {
                number: number.get(),
            });
        }
        let repository: RepositoryAnswer =
            self.ask("repo view", &["repo", "view", "--json", "nameWithOwner"])?;
        Ok(IssueFile {
            schema_version: SCHEMA_VERSION,
            number: answer.number,
            title: answer.title,
            body: answer.body.unwrap_or_default(),
            url: answer.url,
            open: !answer.state.eq_ignore_ascii_case("closed"),
            repository: repository.name_with_owner,
        })
    }

    /// The merged pull requests from this branch of the repository.
    ///
    /// # Errors
    /// When `gh` cannot tell.
    pub fn merged_from(&self, branch: &BranchName) -> Result<Vec<MergedPull>, GithubError> {
        let fields = "number,headRefOid,mergedAt,url";
        let head = branch.to_string();
        let answers: Vec<PullAnswer> = self.ask(
            "pr list",
            &[
                "pr", "list", "--state", "merged", "--head", &head, "--json", fields,
            ],
        )?;
        Ok(answers
            .into_iter()
            .filter(|pull| pull.merged_at.as_ref().is_some_and(|at| !at.is_empty()))
            .filter_map(|pull| {
                Some(MergedPull {
                    number: pull.number,
                    head: Oid::parse(&pull.head_ref_oid).ok()?,
                    url: pull.url,
                })
            })
            .collect())
    }

    /// Runs `gh` and reads the JSON that it prints.
    fn ask<T: DeserializeOwned>(&self, what: &str, args: &[&str]) -> Result<T, GithubError> {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let failed = |said: String| GithubError::Failed {
            what: what.to_owned(),
            said,
        };
        let mut child = process::command(&self.program, &self.env)
            .args(&args)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format!("{}: {error}", self.program.display())))?;
        let Some(output) = process::output_within(&mut child, PATIENCE) else {
            let what = what.to_owned();
            return Err(GithubError::TimedOut { what });
        };
        if !output.success {
            let mut said = one_line(&String::from_utf8_lossy(&output.err), 300);
            if said.is_empty() {
                said = match output.exit {
                    Some(code) => format!("exit code {code}, without a word"),
                    None => "it was ended by a signal".to_owned(),
                };
            }
            return Err(refusal(what, output.exit, said));
        }
        serde_json::from_slice(&output.out).map_err(|error| GithubError::Unreadable {
            what: what.to_owned(),
            said: error.to_string(),
        })
    }
}

/// Whether a shell would take this for a program on the PATH.
fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// What a failed call says of itself. `gh` documents its exit code 4 and nothing else, so that
/// the rest is by the words that it uses.
fn refusal(what: &str, exit: Option<i32>, said: String) -> GithubError {
    let lower = said.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if exit == Some(NO_LOGIN) || has(&["gh auth login", "bad credentials", "http 401"]) {
        GithubError::NotLoggedIn { said }
    } else if has(&[
        "no git remotes",
        "none of the git remotes",
        "no default remote repository",
        "could not resolve to a repository",
    ]) {
        GithubError::NoRepository { said }
    } else {
        let what = what.to_owned();
        GithubError::Failed { what, said }
    }
}

fn about_issue(error: GithubError, number: IssueNumber) -> GithubError {
    match error {
        GithubError::Failed { said, .. }
            if said
                .to_ascii_lowercase()
                .contains("could not resolve to an issue")
                || said.to_ascii_lowercase().contains("http 410") =>
        {
            GithubError::NoSuchIssue {
                number: number.get(),
                said,
            }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `gh` that is this shell script.
    fn gh(script: &str) -> (tempfile::TempDir, Result<Gh, GithubError>) {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("gh");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", dir.path().display());
        let gh = Gh::find(&Environment::from_vars([("PATH", path)]), dir.path());
        (dir, gh)
    }

    /// A test beside this one may hold the fresh script open for writing while it forks.
    fn patient<T>(ask: impl Fn() -> Result<T, GithubError>) -> Result<T, GithubError> {
        for _ in 0..50 {
            match ask() {
                Err(GithubError::Failed { said, .. }) if said.contains("busy") => {}
                other => return other,
            }
        }
        panic!("the script stays busy")
    }

    fn number(n: u64) -> IssueNumber {
        IssueNumber::new(n).unwrap()
    }

    #[test]
    fn an_issue_is_read_with_its_repository() {
        let (_dir, gh) = gh(r#"case "$1 $2 $3" in
            "issue view 7") [ "$4" = --json ] && printf '%s' '{"body":"- [ ] a\n- [ ] b","number":7,"state":"OPEN","title":"Two things","url":"https://github.com/o/r/issues/7","new":1}' ;;
            "repo view --json") printf '{"nameWithOwner":"o/r"}' ;;
            *) exit 9 ;; esac"#);
        let issue = patient(|| gh.clone().unwrap().issue(number(7))).unwrap();
        assert_eq!(issue.title, "Two things");
        assert_eq!(issue.repository, "o/r");
        assert_eq!(issue.body, "- [ ] a\n- [ ] b");
        assert!(issue.open);
    }

    #[test]
    fn merged_pull_requests_are_those_with_a_date() {
        let oid = "a".repeat(40);
        let (_dir, gh) = gh(&format!(
            r#"[ "$*" = "pr list --state merged --head task/a --json number,headRefOid,mergedAt,url" ] || exit 9
            printf '[{{"headRefOid":"{oid}","mergedAt":"2026-11-20T10:00:00Z","number":3,"url":"u"}},{{"headRefOid":"x","mergedAt":"2026-11-20T10:00:00Z","number":4,"url":"u"}},{{"headRefOid":"{oid}","mergedAt":null,"number":5,"url":"u"}}]'"#
        ));
        let branch = BranchName::parse("task/a").unwrap();
        let pulls = patient(|| gh.clone().unwrap().merged_from(&branch)).unwrap();
        assert_eq!(pulls.len(), 1);
        assert_eq!(pulls[0].number, 3);
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        for (script, wanted) in [
            (
                "echo 'To get started with GitHub CLI, please run:  gh auth login' >&2; exit 4",
                "not logged in",
            ),
            (
                "echo 'HTTP 401: Bad credentials' >&2; exit 1",
                "not logged in",
            ),
            (
                "echo 'GraphQL: Could not resolve to an issue or pull request with the number of 7. (repository.issue)' >&2; exit 1",
                "no issue #7",
            ),
            ("echo 'no git remotes found' >&2; exit 1", "not on GitHub"),
            ("echo 'something odd' >&2; exit 1", "something odd"),
            ("exit 7", "exit code 7"),
            ("kill -9 $$", "signal"),
            ("echo nonsense", "not expected"),
            (
                r#"printf '{"number":7,"url":"https://github.com/o/r/pull/7"}'"#,
                "pull request",
            ),
        ] {
            let (_dir, gh) = gh(script);
            let error = patient(|| gh.clone().unwrap().issue(number(7))).unwrap_err();
            assert!(error.to_string().contains(wanted), "{script}: {error}");
            assert!(!error.remedy().is_empty());
        }
        let none = Gh::find(
            &Environment::from_vars([("PATH", "/nowhere")]),
            Path::new("/"),
        );
        assert_eq!(none.unwrap_err(), GithubError::NotInstalled);
        // A file of that name that is no program is passed over, as a shell does.
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("gh"), "").unwrap();
        let env = Environment::from_vars([("PATH", dir.path().display().to_string())]);
        let none = Gh::find(&env, Path::new("/"));
        assert_eq!(none.unwrap_err(), GithubError::NotInstalled);
        assert_eq!(IssueNumber::new(0), None);
        assert_eq!(IssueNumber::new(u64::MAX), None);
    }
}
