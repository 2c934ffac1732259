//! How one checkpoint takes the place of another without a moment in which neither is there, and how old ones go.
//!
//! ```text
//! make_room   NAME is there and may be replaced: it is NAME.replaced now, in the state file, too
//! (a save)    NAME is written, and the state file names it
//! remove      NAME.replaced goes; or else, if the save failed
//! undo        what is left of NAME goes, and NAME.replaced is NAME again
//! ```

use std::path::{Path, PathBuf};

use super::directory::{Directory, replaced_name};
use super::retention::step_of;
use super::saver::Saved;
use super::state::CheckpointState;
use crate::error::{Error, Result};

/// The checkpoints that a state file lists, as its writer keeps them.
pub(super) trait Listed {
    /// Their prefixes, in any order.
    fn prefixes(&self) -> Vec<PathBuf>;

    /// A checkpoint has another name for a while. Whether it is one of them.
    fn rename(&mut self, from: &Path, to: &Path) -> bool;

    /// What the state file is to say.
    fn state(&self) -> CheckpointState;
}

/// What may be replaced by a new checkpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct MayReplace {
    /// Whether one that was acknowledged may be.
    pub(super) acknowledged: bool,
    /// The number of the new one, if it is to be listed: one of that name that is there already, with a higher number than
    /// all that are listed, is then taken for one whose save was killed before it was acknowledged, and may be, too.
    pub(super) number: Option<i64>,
}

/// Sees to it that nothing committed is overwritten without leave, and that no reader finds new data under an old index:
/// a checkpoint that may be replaced gets another name until the new one is there. So does one that was never
/// acknowledged: its number alone does not tell it from one that is kept for other reasons, as the best or pinned ones
/// are, in a run that went back to an earlier step.
pub(super) fn make_room(directory: &Directory, listed: &mut impl Listed, name: &str, may: MayReplace) -> Result<()> {
    if !directory.has(name)? {
        return Ok(());
    }
    let prefixes = listed.prefixes();
    let lists = |name: &str| prefixes.contains(&directory.prefix(name));
    if lists(&replaced_name(name)) && !lists(name) {
        // Its save was killed before it was acknowledged, and the one that it was to replace is still there.
        return directory.remove(name);
    }
    let numbers = prefixes
        .iter()
        .filter_map(|prefix| step_of(&directory.own_name(prefix)?, &directory.basename));
    let newest = numbers.max();
    let unacknowledged = newest.zip(may.number).is_some_and(|(newest, number)| number > newest);
    if !unacknowledged && !may.acknowledged {
        let prefix = directory.prefix(name);
        return Err(Error::AlreadyExists { prefix });
    }
    rename(directory, listed, name, &replaced_name(name))
}

/// After a save that failed: takes away what was written, and gives what was to be replaced its name again. If not even
/// that can be done, the state file names it as it is called now, and nothing is lost.
pub(super) fn undo(directory: &Directory, mut before: impl Listed, name: &str) {
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
fn rename(directory: &Directory, listed: &mut impl Listed, name: &str, to: &str) -> Result<()> {
    if let Err(error) = directory.rename(name, to) {
        // What was made of it; the checkpoint itself is as it was.
        let _ = directory.remove(to);
        return Err(error);
    }
    if listed.rename(&directory.prefix(name), &directory.prefix(to)) {
        directory.write_state(listed.state())?;
    }
    directory.remove(name)
}

/// Removes what the new checkpoint has replaced, and those that are too old. A path from elsewhere, or of another name,
/// is forgotten and never touched. Tells `gone` the names of those that are not there any more.
pub(super) fn remove(
    directory: &Directory,
    name: &str,
    doomed: Vec<PathBuf>,
    saved: &mut Saved,
    mut gone: impl FnMut(&str),
) {
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
            Ok(()) => {
                gone(&name);
                saved.removed.extend(was_there.then_some(prefix));
            }
            Err(error) => saved.removal_errors.push(error),
        }
    }
}
