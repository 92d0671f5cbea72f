//! What it was measured on, without a date.

use std::path::Path;
use std::process::Command;

/// One line about the machine.
pub(crate) fn describe() -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into());
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
        .map_or("?".into(), |kib| format!("{:.0}", kib as f64 / 1048576.0));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "Measured with `cargo bench --bench report` on {processors} × {model}, {memory} GB, \
         Linux {}, {} ({}), {}{}.\n",
        kernel.trim(),
        file_system(&std::env::temp_dir()),
        std::env::temp_dir().display(),
        first_line("git", &["--version"]),
        if is_real_time() {
            ", real-time priority"
        } else {
            ""
        },
    )
}

/// Whether other work on the machine has to wait for this.
fn is_real_time() -> bool {
    let stat = procfs::process::Process::myself().and_then(|me| me.stat());
    stat.is_ok_and(|stat| stat.rt_priority.is_some_and(|priority| priority > 0))
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn first_line(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or_else(
        |_| format!("no {program}"),
        |o| {
            String::from_utf8_lossy(&o.stdout)
                .lines()
                .next()
                .unwrap_or("")
                .to_owned()
        },
    )
}

fn file_system(folder: &Path) -> String {
    let folder = folder.to_str().unwrap_or("/tmp");
    first_line("stat", &["-f", "-c", "%T", folder])
}
