//! Where what is named leads, and whether it may be written there.

use std::path::{Path, PathBuf};

use super::{Denial, MAX_FOLDERS, Step, Walk, value};
use crate::hook::guard::paths::Place;
use crate::hook::guard::value::{Seg, Where};

impl Walk<'_> {
    /// The places that a field may lead to, as far as they are known.
    #[must_use]
    pub fn paths(&self, field: &[Seg]) -> Vec<PathBuf> {
        self.state
            .folders
            .iter()
            .filter_map(
                |folder| match value::resolve(field, folder.as_deref(), self.bounds) {
                    Where::At(paths) => Some(paths),
                    _ => None,
                },
            )
            .flatten()
            .collect()
    }

    /// Whether a field may be written to.
    ///
    /// # Errors
    /// Why not.
    pub fn write(&self, what: &str, field: &[Seg]) -> Step {
        self.touch(what, field, false)
    }

    /// Whether what a field names may be taken away.
    ///
    /// # Errors
    /// Why not.
    pub fn remove(&self, what: &str, field: &[Seg]) -> Step {
        self.touch(what, field, true)
    }

    pub(super) fn touch(&self, what: &str, field: &[Seg], removes: bool) -> Step {
        for folder in &self.state.folders {
            match value::resolve(field, folder.as_deref(), self.bounds) {
                Where::Inside => {}
                Where::Unknown if !self.strict => {}
                Where::Unknown => {
                    return Err(format!(
                        "{what} `{}`: where that leads can only be known when it runs. Write the \
                         path out, relative to your worktree; temporary files go to $TMPDIR ({}).",
                        value::shown(field),
                        self.bounds.scratch().display()
                    ));
                }
                Where::At(paths) => {
                    for real in paths {
                        self.touch_path(what, field, &real, removes)?;
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn touch_path(&self, what: &str, field: &[Seg], real: &Path, removes: bool) -> Step {
        let place = self.bounds.place(real);
        if self.bounds.is_own(real) {
            let bound = if removes {
                self.bounds.holds_own_settings(real)
            } else {
                self.bounds.is_own_settings(real)
            };
            if bound {
                return Err(format!(
                    "{what} `{}` would change what binds your worktree to git or to its settings; \
                     that stays as it is.",
                    value::shown(field)
                ));
            }
            return Ok(());
        }
        if !self.strict && place == Place::Outside {
            return Ok(());
        }
        Err(self.outside(what, field, real))
    }

    /// Says that a path is not the instance's.
    #[must_use]
    pub fn outside(&self, what: &str, field: &[Seg], real: &Path) -> Denial {
        let mut text = format!("{what} `{}` would reach ", value::shown(field));
        text.push_str(match self.bounds.place(real) {
            Place::Main => "into the person's main checkout. ",
            Place::Sibling => "into another task's worktree. ",
            _ => "outside your worktree. ",
        });
        match self.bounds.same_in_worktree(real) {
            Some(mine) => text.push_str(&format!("Your copy of it is {}.", mine.display())),
            None => text.push_str(&format!(
                "Work only inside {}; temporary files go to $TMPDIR ({}).",
                self.bounds.worktree().display(),
                self.bounds.scratch().display()
            )),
        }
        text
    }

    /// Says that something is not for an instance.
    #[must_use]
    pub fn refuse(&self, what: &str, field: &[Seg], why: &str) -> Denial {
        format!(
            "{what} `{}` {why}; work only inside {}.",
            value::shown(field),
            self.bounds.worktree().display()
        )
    }

    /// Goes to another folder.
    ///
    /// # Errors
    /// When it is the person's checkout or another task's worktree.
    pub fn go(&mut self, field: &[Seg]) -> Step {
        let folders = std::mem::take(&mut self.state.folders);
        let mut next: Vec<Option<PathBuf>> = Vec::new();
        for folder in &folders {
            // With CDPATH a name may lead anywhere.
            let named = !value::beginning(field).starts_with(['/', '.']);
            let searched = named
                && (self.state.variables.get("CDPATH").is_some()
                    || self.bounds.var("CDPATH").is_some());
            let to = if searched {
                Where::Unknown
            } else {
                value::resolve(field, folder.as_deref(), self.bounds)
            };
            match to {
                Where::At(paths) => next.extend(paths.into_iter().map(Some)),
                Where::Inside | Where::Unknown => next.push(None),
            }
        }
        next.sort();
        next.dedup();
        let foreign = next
            .iter()
            .flatten()
            .find(|real| self.bounds.is_foreign(real))
            .cloned();
        self.state.before.extend(folders.iter().cloned());
        self.state.folders = if next.len() > MAX_FOLDERS {
            vec![None]
        } else {
            next
        };
        match foreign {
            Some(real) => {
                self.state.folders = folders;
                Err(self.outside("going to", field, &real))
            }
            None => Ok(()),
        }
    }

    /// Whether every folder that the line may be in is one of the instance's own.
    #[must_use]
    pub fn is_at_home(&self) -> bool {
        self.state
            .folders
            .iter()
            .all(|folder| folder.as_ref().is_some_and(|f| self.bounds.is_own(f)))
    }
}
