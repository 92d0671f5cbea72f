//! A terminal for programs that want one: a pseudo-terminal, and the screen that a person
//! would see.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A program in a terminal of a fixed size.
pub struct Terminal {
    child: Child,
    master: std::fs::File,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// Starts a program in a terminal of so many columns and rows. It leads a session of its
    /// own, whose terminal this is.
    ///
    /// # Panics
    /// When the system has no pseudo-terminals.
    pub fn start(command: &Command, columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("open a terminal");
        grantpt(&master).expect("own the terminal");
        unlockpt(&master).expect("unlock the terminal");
        let name = ptsname(&master, Vec::new()).expect("the terminal's name");
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).expect("size the terminal");
        let open = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(name.to_str().expect("a plain name"))
                .expect("open the terminal's other side")
        };
        // setsid(1) makes it the controlling terminal, which std cannot do without unsafe code.
        let mut wrapped = Command::new("setsid");
        wrapped
            .arg("--ctty")
            .arg("--wait")
            .arg(command.get_program());
        wrapped.args(command.get_args()).env_clear();
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                wrapped.env(name, value);
            }
        }
        wrapped.env("TERM", "xterm-256color");
        if let Some(folder) = command.get_current_dir() {
            wrapped.current_dir(folder);
        }
        let child = wrapped
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .spawn()
            .expect("start the program");
        let master = std::fs::File::from(master);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(
            nonzero(rows),
            nonzero(columns),
            2000,
        )));
        let mut output = master.try_clone().expect("read the terminal");
        let painted = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 8192];
            // Ends with an error when the other side is closed.
            while let Ok(n) = output.read(&mut bytes) {
                if n == 0 {
                    break;
                }
                painted.lock().expect("the screen").process(&bytes[..n]);
            }
        });
        Self {
            child,
            master,
            screen,
        }
    }

    /// What is on the screen, line by line.
    pub fn screen(&self) -> String {
        self.screen.lock().expect("the screen").screen().contents()
    }

    /// Types.
    ///
    /// # Panics
    /// When the program is gone.
    pub fn type_text(&mut self, text: &str) {
        self.master
            .write_all(text.as_bytes())
            .expect("type into the terminal");
    }

    /// Waits until the screen is as wanted; returns it.
    ///
    /// # Panics
    /// With the last screen when it is not in time.
    #[track_caller]
    pub fn wait_for(
        &self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> String {
        let deadline = Instant::now() + patience;
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(
                Instant::now() < deadline,
                "no {what} on the screen:\n{screen}"
            );
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

fn nonzero(n: u16) -> std::num::NonZero<u16> {
    std::num::NonZero::new(n).expect("a terminal has rows and columns")
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
