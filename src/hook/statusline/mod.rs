//! `orchestra-statusline`: one line of live status at the foot of Claude Code.
//!
//! It only reads, and prints nothing where no orchestration runs. `orchestra statusline` puts it
//! into the client's settings. What it shows comes from the configuration (`statusline_symbols`,
//! `statusline_show`); its own flags in the setting are stronger:
//!
//! - `--symbols unicode|ascii` or `--symbols conducting=♪,active=▶,…`
//! - `--show count,instances,tasks,progress,time,cost,resources` (these, in this order)
//! - `--beside COMMAND`: the status line that was there before. It is called with the same
//!   input, at the same time, and what it prints stands above our line. When it fails or takes
//!   longer than `PATIENCE`, our line stands alone.
//! - `--beside-user`: the same with the one of the person's own settings, for a line of ours in
//!   the settings of a project, which hide it

mod line;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

use super::edge::World;
use super::{Outcome, place};
use crate::agent::beside::Beside;
use crate::conduct;
use crate::core::time::{Millis, Timestamp};
use crate::format::client_settings;
use crate::format::config::Layer;
use crate::format::statusline::{Part, Symbols};
use crate::store::layout::RunDir;
use crate::store::modified;
use crate::view::snapshot::Snapshot;

pub use line::line;

/// How long the end of a run is shown.
const AFTERGLOW: Millis = Millis(5 * 60 * 1000);

/// How long the other status line may take. The client ends a status line after 5 s.
const PATIENCE: Duration = Duration::from_millis(2500);

/// Columns of the terminal that the client keeps free beside a status line; it cuts what is
/// longer.
const MARGIN: usize = 4;

/// What the line is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Style {
    /// The signs.
    pub symbols: Symbols,
    /// The parts, in order.
    pub show: Vec<Part>,
    /// Columns at most.
    pub width: usize,
    /// Whether there are colours.
    pub color: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            symbols: Symbols::unicode(),
            show: Part::DEFAULT.to_vec(),
            width: 80,
            color: false,
        }
    }
}

/// What the setting asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Flags {
    symbols: Option<Symbols>,
    show: Option<Vec<Part>>,
    beside: Option<String>,
    beside_user: bool,
}

impl Flags {
    fn parse(args: &[String]) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut args = args.iter();
        while let Some(flag) = args.next() {
            if flag == client_settings::BESIDE_USER {
                flags.beside_user = true;
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                client_settings::BESIDE => flags.beside = Some(value.clone()),
                "--symbols" => {
                    let symbols = Symbols::parse(value);
                    flags.symbols =
                        Some(symbols.map_err(|why| format!("--symbols {value}: {why}"))?);
                }
                "--show" => {
                    let parts = value.split(',').map(|word| {
                        Part::from_str(word.trim(), false).map_err(|_| {
                            let known: Vec<String> = Part::value_variants()
                                .iter()
                                .filter_map(Part::to_possible_value)
                                .map(|v| v.get_name().to_owned())
                                .collect();
                            format!("--show {word}: known are {}", known.join(", "))
                        })
                    });
                    flags.show = Some(parts.collect::<Result<_, _>>()?);
                }
                _ => {
                    return Err(format!(
                        "{flag} is not known; --symbols, --show and --beside are"
                    ));
                }
            }
        }
        Ok(flags)
    }

    /// With what is configured where they say nothing. A configuration that is at fault is
    /// told by every command, and is no reason for an empty line.
    fn style(&self, root: &Path, world: &World) -> Style {
        let mut style = Style {
            color: world.var("NO_COLOR").is_none(),
            ..Style::default()
        };
        if let Some(width) = world.var("COLUMNS").and_then(|text| text.parse().ok()) {
            style.width = usize::saturating_sub(width, MARGIN).max(10);
        }
        // The strongest first: a person's own counts more than the project's, as everywhere.
        let layers = [
            Layer::from_env(|name| world.var(name)).ok(),
            config_home(world).and_then(|home| layer(&home.join("orchestra/config.toml"))),
            layer(&root.join(".claude/orchestra.toml")),
        ];
        let (mut symbols, mut show) = (self.symbols.clone(), self.show.clone());
        for layer in layers.into_iter().flatten() {
            symbols = symbols.or(layer.statusline_symbols);
            show = show.or(layer.statusline_show);
        }
        style.symbols = symbols.unwrap_or(style.symbols);
        style.show = show.unwrap_or(style.show);
        style
    }
}

fn layer(path: &Path) -> Option<Layer> {
    let text = std::fs::read_to_string(path).ok()?;
    Layer::from_toml(&text, "").ok()
}

fn config_home(world: &World) -> Option<PathBuf> {
    let set = world.var("XDG_CONFIG_HOME").map(PathBuf::from);
    set.filter(|path| path.is_absolute())
        .or_else(|| Some(Path::new(world.var("HOME")?).join(".config")))
}

/// The whole program.
#[must_use]
pub fn hook(world: &World) -> Outcome {
    let flags = match Flags::parse(&world.args) {
        Ok(flags) => flags,
        Err(why) => return Outcome::Fault(why),
    };
    let other = flags
        .beside
        .clone()
        .or_else(|| flags.beside_user.then(|| of_the_person(world))?);
    let other =
        other.map(|command| Beside::start(&command, &world.env, &world.cwd, world.input.clone()));
    let ours = ours(&flags, world);
    let other = other.and_then(|beside| beside.output(PATIENCE));
    match (other, ours) {
        (None, None) => Outcome::Silent,
        (Some(text), None) | (None, Some(text)) => Outcome::Line(text),
        (Some(above), Some(below)) => Outcome::Line(format!("{above}\n{below}")),
    }
}

/// The command of the status line in the person's own settings that is not this program, or
/// that stands beside it there.
fn of_the_person(world: &World) -> Option<String> {
    let folder = match world.var("CLAUDE_CONFIG_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(world.var("HOME")?).join(".claude"),
    };
    let text = std::fs::read_to_string(folder.join("settings.json")).ok()?;
    let line = client_settings::status_line(&text).ok()??;
    let command = line.command()?;
    if line.is_ours() {
        client_settings::beside(command)
    } else {
        Some(command.to_owned())
    }
}

fn ours(flags: &Flags, world: &World) -> Option<String> {
    // Without a usable event the line is about where the program was started.
    let event: Value = serde_json::from_slice(&world.input).unwrap_or_default();
    let folder = ["/workspace/current_dir", "/workspace/project_dir", "/cwd"]
        .iter()
        .find_map(|path| event.pointer(path)?.as_str())
        .unwrap_or_default();
    let (root, layout) = place::layout(&world.folder(folder))?;
    let now = conduct::now();
    let mut style = None;
    // Newest first; of older ones only those that still run matter.
    layout.runs().into_iter().rev().find_map(|run| {
        if !run.settings().exists() || is_old_news(&run, now) {
            return None;
        }
        let snapshot = Snapshot::load(&run, now).ok()?;
        let style = style.get_or_insert_with(|| flags.style(&root, world));
        line(&snapshot, style)
    })
}

/// Ended so long ago that it is not shown; told without reading its journal.
fn is_old_news(run: &RunDir, now: Timestamp) -> bool {
    modified(&run.results()).is_some_and(|at| now.since(at) > AFTERGLOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::environment::Environment;

    fn flags(args: &[&str]) -> Result<Flags, String> {
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        Flags::parse(&args)
    }

    #[test]
    fn flags_choose_signs_and_parts() {
        let chosen = flags(&["--symbols", "ascii", "--show", "progress,cost"]).unwrap();
        assert_eq!(chosen.symbols, Some(Symbols::ascii()));
        assert_eq!(chosen.show, Some(vec![Part::Progress, Part::Cost]));
        for bad in [
            &["--show", "all"][..],
            &["--symbols", "pretty"],
            &["--show"],
            &["--beside"],
            &["--more", "x"],
        ] {
            assert!(flags(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_configuration_counts_below_the_flags() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            ".claude/orchestra.toml",
            "statusline_show = [\"cost\"]\nstatusline_symbols = \"ascii\"\n",
        );
        write(
            ".config/orchestra/config.toml",
            "statusline_show = [\"time\"]\n",
        );
        let world = |vars: &[(&str, &str)]| World {
            env: Environment::from_vars(
                [("HOME", dir.path().to_str().unwrap()), ("COLUMNS", "100")]
                    .iter()
                    .chain(vars)
                    .copied(),
            ),
            ..World::default()
        };
        let style = Flags::default().style(dir.path(), &world(&[("NO_COLOR", "1")]));
        let expected = Style {
            symbols: Symbols::ascii(),
            show: vec![Part::Time],
            width: 96,
            color: false,
        };
        assert_eq!(style, expected);
        let env = [("ORCHESTRA_STATUSLINE_SHOW", "count,resources")];
        let style = Flags::default().style(dir.path(), &world(&env));
        assert_eq!(style.show, [Part::Count, Part::Resources]);
        assert!(style.color);
        let flags = flags(&["--show", "tasks", "--symbols", "unicode"]).unwrap();
        let style = flags.style(dir.path(), &world(&env));
        assert_eq!(
            (style.show, style.symbols),
            (vec![Part::Tasks], Symbols::unicode())
        );
    }

    #[test]
    fn where_nothing_runs_nothing_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let world = World {
            cwd: dir.path().to_owned(),
            ..World::default()
        };
        assert_eq!(hook(&world), Outcome::Silent);
        std::fs::create_dir_all(dir.path().join(".git")).unwrap();
        std::fs::create_dir_all(dir.path().join(".claude/orchestration/run-1")).unwrap();
        assert_eq!(hook(&world), Outcome::Silent);
    }

    #[test]
    fn the_other_status_line_gets_the_same_input_and_stands_above() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        let world = |args: &[&str]| World {
            input: b"{\"model\": \"m\"}".to_vec(),
            env: Environment::from_vars([("HOME", home), ("PATH", "/usr/bin:/bin")]),
            cwd: dir.path().to_owned(),
            args: args.iter().map(|a| (*a).to_owned()).collect(),
            ..World::default()
        };
        let said = |args: &[&str]| hook(&world(args));
        assert_eq!(
            said(&["--beside", "cat; echo; printf '\\033[1mtwo\\033[0m\\n'"]),
            Outcome::Line("{\"model\": \"m\"}\n\u{1b}[1mtwo\u{1b}[0m".into())
        );
        assert_eq!(said(&["--beside", "echo no; exit 3"]), Outcome::Silent);
        assert_eq!(said(&["--beside", "/no/such/program"]), Outcome::Silent);
        // The person's own, however it is set up there.
        assert_eq!(said(&["--beside-user"]), Outcome::Silent);
        std::fs::create_dir(dir.path().join(".claude")).unwrap();
        for command in ["echo mine", "/x/orchestra-statusline --beside 'echo mine'"] {
            let settings =
                serde_json::json!({"statusLine": {"type": "command", "command": command}});
            std::fs::write(
                dir.path().join(".claude/settings.json"),
                settings.to_string(),
            )
            .unwrap();
            assert_eq!(
                said(&["--beside-user"]),
                Outcome::Line("mine".into()),
                "{command}"
            );
        }
    }
}
