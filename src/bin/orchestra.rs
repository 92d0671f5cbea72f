//! The command-line tool.

use std::io::{self, BufReader, Write};
use std::process::ExitCode;

use orchestra::agent::detach::leave_session;
use orchestra::agent::environment::Environment;
use orchestra::agent::player::{PlayOptions, play};
use orchestra::core::id::{OrchestrationId, TaskName};
use orchestra::store::layout::Layout;
use orchestra::supervise::{Supervision, SupervisorExit};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let result = match args.next().as_deref().and_then(|a| a.to_str()) {
        Some("play") => play_command(args),
        Some("supervise") => supervise_command(args),
        _ => Err("usage: orchestra play|supervise …".into()),
    };
    result.unwrap_or_else(|why| {
        let _ = writeln!(io::stderr(), "{why}");
        ExitCode::from(2)
    })
}

fn play_command(args: impl Iterator<Item = std::ffi::OsString>) -> Result<ExitCode, String> {
    let options = PlayOptions::parse(args)?;
    let cwd = std::env::current_dir().map_err(|e| e.to_string())?;
    let code = play(
        &options,
        BufReader::new(io::stdin()),
        &mut io::stdout(),
        &mut io::stderr(),
        &cwd,
        &Environment::from_vars(std::env::vars_os()),
    );
    Ok(ExitCode::from(code))
}

/// `supervise --repo ROOT [--slots DIR] ID TASK`
fn supervise_command(
    mut args: impl Iterator<Item = std::ffi::OsString>,
) -> Result<ExitCode, String> {
    leave_session();
    let (mut repo, mut slots, mut names) = (None, None, Vec::new());
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--repo") => repo = args.next(),
            Some("--slots") => slots = args.next(),
            _ => names.push(arg.to_string_lossy().into_owned()),
        }
    }
    let [id, task] = names.as_slice() else {
        return Err("supervise needs ID and TASK".into());
    };
    let id = OrchestrationId::parse(id).map_err(|e| format!("{id:?}: {e}"))?;
    let task = TaskName::parse(task).map_err(|e| format!("{task:?}: {e}"))?;
    let repo = repo.ok_or("supervise needs --repo")?;
    let slots = slots.map_or_else(|| std::env::temp_dir().join("orchestra-slots"), Into::into);
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    let exit = orchestra::supervise::run(
        &Supervision {
            run: &Layout::new(repo.as_ref()).run(&id),
            task: &task,
            slots: &slots,
            exe: &exe,
            inherited: &Environment::from_vars(std::env::vars_os()),
        },
        &mut io::stdout(),
    );
    Ok(match exit {
        SupervisorExit::Ended(_) | SupervisorExit::NothingToDo => ExitCode::SUCCESS,
        SupervisorExit::Refused(_) | SupervisorExit::OutcomeLost(..) => ExitCode::from(1),
    })
}
