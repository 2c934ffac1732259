//! What the state file is to say after a repair.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::known::Known;
use super::looked_at::LookedAt;
use super::old_state::OldState;
use crate::checkpoint::listing::Found;
use crate::checkpoint::state::CheckpointState;
use crate::checkpoint::valid::{here, name_in};
use crate::error::{Error, Skipped};

/// The run whose checkpoints are meant.
pub(super) struct Run {
    pub(super) basename: String,
    /// Whether those of other runs, which a state file may list because two savers share it, are to go.
    pub(super) alone: bool,
}

impl Run {
    pub(super) fn has(&self, found: &Found) -> bool {
        found.basename() == self.basename
    }
}

impl LookedAt {
    /// What the state file should say, if anything; and what it says and should not, with the reasons.
    pub(super) fn new_state(
        &self,
        old: &OldState,
        run: &Run,
        known: &Known,
    ) -> (Option<CheckpointState>, Vec<Skipped>) {
        let whole: HashMap<&str, &Found> = self.whole.iter().map(|found| (found.name.as_str(), found)).collect();
        let mut dropped = Vec::new();
        let mut listed: Vec<(&Found, Option<f64>)> = Vec::new();
        for (path, time) in old.entries() {
            let prefix = here(&self.directory, &self.directory.join(path));
            let name = name_in(&self.directory, &prefix);
            match name.and_then(|name| whole.get(name)) {
                Some(found) if run.alone && !run.has(found) => dropped.push(skipped(path, "it is another run's")),
                // Two entries may mean one checkpoint; the later one counts.
                Some(found) => {
                    listed.retain(|(there, _)| there.name != found.name);
                    listed.push((found, time));
                }
                None => dropped.push(skipped(path, self.why_not(name))),
            }
        }
        let newest = listed
            .iter()
            .rposition(|(found, _)| run.has(found))
            .map(|at| listed.remove(at));
        let mut mine: Vec<&Found> = self.whole.iter().filter(|found| run.has(found)).collect();
        mine.sort_by(|a, b| known.by_age(a, b));
        match (&newest, &old.state) {
            (Some((newest, _)), _) => mine.retain(|found| {
                let later = found.step() > newest.step() && found.time >= newest.time;
                later && !known.is_earlier(found, newest)
            }),
            (None, Some(_)) => drop(mine.drain(..mine.len().saturating_sub(1))),
            (None, None) => {}
        }
        // What is listed is removed one day, by TensorFlow too. The newest is listed in any case.
        let last = mine.pop();
        mine.retain(|found| !known.keeps(found));
        mine.extend(last);
        // The newest is never that of another run.
        let mine = newest.into_iter().chain(mine.into_iter().map(|found| (found, None)));
        let others = listed.len();
        listed.extend(mine);
        let state = (listed.len() > others).then(|| state_of(&listed, old.state.as_ref()));
        (state, dropped)
    }
}

fn skipped(path: &Path, reason: &str) -> Skipped {
    let error = Error::NoCheckpoint {
        path: path.to_owned(),
        reason: reason.to_owned(),
        candidates: Vec::new(),
    };
    Skipped {
        path: path.to_owned(),
        error,
    }
}

/// A state file that lists these; with times if the old one has any.
fn state_of(listed: &[(&Found, Option<f64>)], old: Option<&CheckpointState>) -> CheckpointState {
    let mut state = CheckpointState::new(listed.iter().map(|(found, _)| PathBuf::from(&found.name)).collect());
    if let Some(old) = old {
        state.last_preserved_timestamp = old.last_preserved_timestamp;
        if !old.all_model_checkpoint_timestamps.is_empty() {
            let times = listed.iter().map(|(found, time)| time.unwrap_or(found.time));
            state.all_model_checkpoint_timestamps = times.collect();
        }
    }
    state
}
