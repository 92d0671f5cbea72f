//! The folder of requests to one instance: whoever wants something of it puts a file there.

use std::path::{Path, PathBuf};

use super::atomic::{self, Durability};
use super::layout::RunDir;
use super::{StoreError, atomic::read_json};
use crate::core::id::TaskName;
use crate::core::time::Timestamp;
use crate::format::instance_request::{InstanceRequest, InstanceRequestFile};

/// Puts a request for an instance into its inbox; returns the file. Requests posted later
/// are taken later.
///
/// # Errors
/// When the folder cannot be made or written.
pub fn post(
    run: &RunDir,
    task: &TaskName,
    request: &InstanceRequest,
    now: Timestamp,
) -> Result<PathBuf, StoreError> {
    let folder = run.instance_inbox(task);
    std::fs::create_dir_all(&folder).map_err(StoreError::io("make the inbox", &folder))?;
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let last = files(&folder)
        .into_iter()
        .filter_map(|path| number(&path))
        .max();
    // A clock that went back must not bring a later request before an earlier one.
    let number = now.0.max(last.map_or(0, |n| n.saturating_add(1)));
    let path = folder.join(format!("{number:015}-{unique}.json"));
    atomic::write_json(
        &path,
        "a request",
        &InstanceRequestFile::from(request),
        Durability::Durable,
    )?;
    Ok(path)
}

/// The requests that wait, in their order. A file that is no request is set aside and
/// handed back as the fault that it has; the others are not held up by it.
#[must_use]
pub fn pending(folder: &Path) -> Vec<(PathBuf, Result<InstanceRequest, String>)> {
    files(folder)
        .into_iter()
        .filter_map(|path| {
            let request = match read_json::<InstanceRequestFile>(&path, "a request") {
                Ok(Some(file)) => InstanceRequest::try_from(file).map_err(|fault| {
                    let _ = atomic::set_aside(&path);
                    fault.to_string()
                }),
                Ok(None) => return None,
                Err(error) => Err(error.to_string()),
            };
            Some((path, request))
        })
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension().is_some_and(|e| e == "json")
                && !path
                    .file_name()
                    .is_some_and(|n| n.as_encoded_bytes().starts_with(b"."))
        })
        .collect();
    files.sort();
    files
}

fn number(path: &Path) -> Option<i64> {
    let name = path.file_name()?.to_str()?;
    name.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::StopHow;
    use crate::core::id::OrchestrationId;
    use crate::store::layout::Layout;

    #[test]
    fn requests_come_out_in_the_order_in_which_they_were_posted() {
        let dir = tempfile::tempdir().unwrap();
        let run = Layout::new(dir.path()).run(&OrchestrationId::parse("r").unwrap());
        let task = TaskName::parse("a").unwrap();
        let requests = ["one", "two", "three"].map(|text| InstanceRequest::Message {
            text: text.to_owned(),
            question: None,
        });
        // The clock goes back between them.
        for (request, now) in requests.iter().zip([9, 5, 5]) {
            post(&run, &task, request, Timestamp(now)).unwrap();
        }
        let found: Vec<_> = pending(&run.instance_inbox(&task))
            .into_iter()
            .map(|(_, request)| request.unwrap())
            .collect();
        assert_eq!(found, requests);
    }

    #[test]
    fn rubbish_is_set_aside_and_holds_nothing_up() {
        let dir = tempfile::tempdir().unwrap();
        let run = Layout::new(dir.path()).run(&OrchestrationId::parse("r").unwrap());
        let task = TaskName::parse("a").unwrap();
        let folder = run.instance_inbox(&task);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("0-x.json"), b"{\"kind\":").unwrap();
        std::fs::write(
            folder.join("0-y.json"),
            b"{\"schemaVersion\":1,\"kind\":\"dance\"}",
        )
        .unwrap();
        let stop = InstanceRequest::Stop {
            how: StopHow::Cancel,
            attempt: None,
        };
        post(&run, &task, &stop, Timestamp(5)).unwrap();
        let found = pending(&folder);
        assert_eq!(found.len(), 3);
        assert!(found[0].1.is_err() && found[1].1.is_err());
        assert_eq!(found[2].1, Ok(stop));
        assert_eq!(pending(&folder).len(), 1);
    }

    #[test]
    fn no_folder_is_an_empty_inbox() {
        assert!(pending(Path::new("/nonexistent/inbox")).is_empty());
    }
}
