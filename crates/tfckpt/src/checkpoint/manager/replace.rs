//! How one checkpoint takes the place of another without a moment in which neither is there, and how old ones go.

use std::path::PathBuf;

use super::super::directory::{Directory, replaced_name};
use super::super::retention::step_of;
use super::super::saver::Saved;
use super::retention::ManagerRetention;
use crate::error::{Error, Result};

/// Sees to it that nothing committed is overwritten without leave: one that may be replaced gets another name until the
/// new one is there.
pub(super) fn make_room(
    directory: &Directory,
    retention: &mut ManagerRetention,
    name: &str,
    number: i64,
    overwrite: bool,
) -> Result<()> {
    if !directory.has(name)? {
        return Ok(());
    }
    let listed = retention
        .tracked
        .iter()
        .map(|(prefix, _)| prefix)
        .chain(&retention.latest);
    let numbers = listed.filter_map(|prefix| step_of(&directory.own_name(prefix)?, &directory.basename));
    // Whole, but newer than all that the state file lists: its save was killed before it was acknowledged.
    let unacknowledged = numbers.max().is_some_and(|newest| number > newest);
    if !unacknowledged && !overwrite {
        let prefix = directory.prefix(name);
        return Err(Error::AlreadyExists { prefix });
    }
    rename(directory, retention, name, &replaced_name(name))
}

/// After a save that failed: takes away what was written, and gives what was to be replaced its name again. If not even
/// that can be done, the state file names it as it is called now, and nothing is lost.
pub(super) fn undo(directory: &Directory, mut before: ManagerRetention, name: &str) {
    let (prefix, replaced) = (directory.prefix(name), replaced_name(name));
    let Ok(state) = directory.state() else { return };
    if state.is_some_and(|state| state.model_checkpoint_path == prefix) {
        // All but acknowledged: the state file was written, and could not be synced. It stays the latest.
        let _ = directory.remove(&replaced);
        return;
    }
    let _ = directory.remove(name);
    if directory.has(&replaced).unwrap_or(false) {
        let _ = rename(directory, &mut before, &replaced, name);
    }
}

/// Renames a checkpoint, in the state file, too.
fn rename(directory: &Directory, retention: &mut ManagerRetention, name: &str, to: &str) -> Result<()> {
    if let Err(error) = directory.rename(name, to) {
        // What was made of it; the checkpoint itself is as it was.
        let _ = directory.remove(to);
        return Err(error);
    }
    if retention.rename(&directory.prefix(name), &directory.prefix(to)) {
        directory.write_state(retention.state())?;
    }
    directory.remove(name)
}

/// Removes what the new checkpoint has replaced, and those that are too old. A path from elsewhere, or of another name,
/// is forgotten and never touched.
pub(super) fn remove(directory: &Directory, name: &str, doomed: Vec<PathBuf>, saved: &mut Saved) {
    let replaced = replaced_name(name);
    if directory.has(&replaced).unwrap_or(false)
        && let Err(error) = directory.remove(&replaced)
    {
        saved.removal_errors.push(error);
    }
    for prefix in doomed {
        let Some(name) = directory.own_name(&prefix) else {
            continue;
        };
        let was_there = directory.has(&name).unwrap_or(true);
        match directory.remove(&name) {
            Ok(()) => saved.removed.extend(was_there.then_some(prefix)),
            Err(error) => saved.removal_errors.push(error),
        }
    }
}
