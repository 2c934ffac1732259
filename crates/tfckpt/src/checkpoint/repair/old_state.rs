//! The state file as it was before a repair.

use std::fs;
use std::path::{Path, PathBuf};

use crate::checkpoint::state::CheckpointState;
use crate::error::Error;

/// The state file as it was.
pub(super) struct OldState {
    /// With the paths as they stand there.
    pub(super) state: Option<CheckpointState>,
    pub(super) fault: Option<Error>,
}

impl OldState {
    pub(super) fn read(directory: &Path, state_file: &str) -> Self {
        let path = directory.join(state_file);
        let (state, fault) = match fs::read(&path) {
            Ok(bytes) => match CheckpointState::parse(&bytes, &path) {
                Ok(state) => (Some(state), None),
                Err(error) => (None, Some(error)),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (None, None),
            Err(error) => (None, Some(Error::io("read", &path, error))),
        };
        OldState { state, fault }
    }

    /// What it lists, the newest last, each with its time.
    pub(super) fn entries(&self) -> Vec<(&Path, Option<f64>)> {
        let Some(state) = &self.state else { return Vec::new() };
        let times = state.all_model_checkpoint_timestamps.iter().copied().map(Some);
        let paths = state.all_model_checkpoint_paths.iter().map(PathBuf::as_path);
        let mut entries: Vec<_> = paths.zip(times.chain(std::iter::repeat(None))).collect();
        let newest = state.model_checkpoint_path.as_path();
        let time = entries
            .iter()
            .rev()
            .find(|(path, _)| *path == newest)
            .and_then(|(_, time)| *time);
        entries.retain(|(path, _)| *path != newest);
        entries.push((newest, time));
        entries
    }
}
