//! What TensorFlow's `CheckpointManager` keeps, as a function of paths and times.
//!
//! Source: `tensorflow/python/checkpoint/checkpoint_management.py`, `CheckpointManager.__init__`, `save` and `_sweep`.

use std::path::{Path, PathBuf};

use super::super::replace::Listed;
use super::super::state::CheckpointState;

/// The checkpoints of a manager, with its rules. Knows no files.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ManagerRetention {
    /// `None` keeps all.
    pub(super) max_to_keep: Option<usize>,
    pub(super) keep_checkpoint_every_n_hours: Option<f64>,
    /// The prefix that was saved last.
    pub(super) latest: Option<PathBuf>,
    /// When the last checkpoint was saved that is kept for ever, in seconds since 1970.
    pub(super) last_preserved: f64,
    /// The checkpoints that may be removed, oldest first, with the times of their saves.
    pub(super) tracked: Vec<(PathBuf, f64)>,
}

impl ManagerRetention {
    /// What a manager knows at its start from the state file of the one before.
    pub(super) fn recover(state: Option<CheckpointState>, now: f64) -> Self {
        let mut retention = ManagerRetention {
            max_to_keep: None,
            keep_checkpoint_every_n_hours: None,
            latest: None,
            // A little earlier, so that a manager that is made again at once takes its checkpoints for younger.
            last_preserved: now - 1.0,
            tracked: Vec::new(),
        };
        let Some(state) = state else { return retention };
        // A clock that was set back must not make checkpoints look old.
        let last_preserved = state.last_preserved_timestamp.unwrap_or(0.0);
        retention.last_preserved = if now < last_preserved { now } else { last_preserved };
        // Without times, as `Saver` leaves the file, all count as preserved.
        let times = state.all_model_checkpoint_timestamps.into_iter();
        for (path, time) in state.all_model_checkpoint_paths.into_iter().zip(times) {
            let time = if now < time { now } else { time };
            if time > retention.last_preserved {
                retention.track(path, time);
            }
        }
        retention.latest = Some(state.model_checkpoint_path);
        retention
    }

    /// A checkpoint was saved `now`: it is the newest, also if one of its name was there before.
    pub(super) fn saved(&mut self, path: PathBuf, now: f64) {
        self.tracked.retain(|(tracked, _)| *tracked != path);
        self.track(path.clone(), now);
        self.latest = Some(path);
    }

    fn track(&mut self, path: PathBuf, time: f64) {
        match self.tracked.iter_mut().find(|(tracked, _)| *tracked == path) {
            Some(tracked) => tracked.1 = time,
            None => self.tracked.push((path, time)),
        }
    }

    /// Takes out what is too much, oldest first, and gives those back that are to be removed. One that was saved so many
    /// hours or more after the last that is kept for ever is itself kept for ever, and no longer tracked.
    pub(super) fn sweep(&mut self) -> Vec<PathBuf> {
        let surplus = self.max_to_keep.map_or(0, |max| self.tracked.len().saturating_sub(max));
        let mut doomed = Vec::new();
        for (path, time) in self.tracked.drain(..surplus) {
            let keeps = |hours: f64| hours != 0.0 && time - hours * 3600.0 >= self.last_preserved;
            match self.keep_checkpoint_every_n_hours.is_some_and(keeps) {
                true => self.last_preserved = time,
                false => doomed.push(path),
            }
        }
        doomed
    }
}

impl Listed for ManagerRetention {
    fn prefixes(&self) -> Vec<PathBuf> {
        let tracked = self.tracked.iter().map(|(path, _)| path);
        tracked.chain(&self.latest).cloned().collect()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> bool {
        let tracked = self.tracked.iter_mut().map(|(path, _)| path);
        let mut named = false;
        for path in tracked.chain(&mut self.latest).filter(|path| *path == from) {
            *path = to.to_owned();
            named = true;
        }
        named
    }

    fn state(&self) -> CheckpointState {
        let (mut paths, mut times): (Vec<PathBuf>, Vec<f64>) = self.tracked.iter().cloned().unzip();
        // The newest is always listed. After a restart it may be one that is kept for ever.
        if let Some(latest) = self.latest.clone().filter(|latest| paths.last() != Some(latest)) {
            paths.push(latest);
            times.push(self.last_preserved);
        }
        CheckpointState {
            all_model_checkpoint_timestamps: times,
            last_preserved_timestamp: Some(self.last_preserved),
            ..CheckpointState::new(paths)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: f64 = 1.7e9;

    fn manager(max_to_keep: usize, hours: f64) -> ManagerRetention {
        ManagerRetention {
            max_to_keep: Some(max_to_keep),
            keep_checkpoint_every_n_hours: Some(hours),
            ..ManagerRetention::recover(None, START)
        }
    }

    fn path(number: usize) -> PathBuf {
        Path::new("run").join(format!("ckpt-{number}"))
    }

    /// The numbers of the checkpoints that are left of twelve.
    fn left_of_twelve(mut manager: ManagerRetention, minutes: f64) -> (Vec<usize>, ManagerRetention) {
        let mut left: Vec<usize> = Vec::new();
        for number in 1..=12 {
            manager.saved(path(number), START + number as f64 * minutes * 60.0);
            left.push(number);
            let doomed = manager.sweep();
            left.retain(|number| !doomed.contains(&path(*number)));
        }
        (left, manager)
    }

    #[test]
    fn one_of_every_few_hours_stays_as_in_tensorflow() {
        // Seen in TensorFlow 2.21.
        let (left, manager_after) = left_of_twelve(manager(2, 1.0), 30.0);
        assert_eq!(left, [2, 4, 6, 8, 10, 11, 12]);
        assert_eq!(manager_after.last_preserved, START + 10.0 * 1800.0);
        assert_eq!(left_of_twelve(manager(2, 2.0), 20.0).0, [6, 11, 12]);
    }

    #[test]
    fn the_state_says_when_each_was_saved() {
        let mut manager = manager(2, 1.0);
        for number in 1..=12 {
            manager.saved(path(number), START + number as f64 * 1800.0);
            manager.sweep();
        }
        assert_eq!(
            manager.state().to_text().unwrap(),
            concat!(
                "model_checkpoint_path: \"run/ckpt-12\"\n",
                "all_model_checkpoint_paths: \"run/ckpt-11\"\n",
                "all_model_checkpoint_paths: \"run/ckpt-12\"\n",
                "all_model_checkpoint_timestamps: 1700019800.0\n",
                "all_model_checkpoint_timestamps: 1700021600.0\n",
                "last_preserved_timestamp: 1700018000.0\n",
            )
        );
    }

    #[test]
    fn a_restart_tracks_what_is_younger_than_the_last_preserved() {
        let (_, before) = left_of_twelve(manager(2, 1.0), 30.0);
        let mut after = ManagerRetention::recover(Some(before.state()), START + 1e5);
        assert_eq!(after.tracked, before.tracked);
        assert_eq!(after.latest, before.latest);
        assert_eq!(after.last_preserved, before.last_preserved);
        after.max_to_keep = Some(1);
        after.saved(path(13), START + 1e5);
        assert_eq!(
            after.sweep(),
            [path(11), path(12)],
            "a lower limit takes effect at once"
        );
    }

    #[test]
    fn after_a_saver_all_its_checkpoints_count_as_kept_for_ever() {
        let state = CheckpointState::new(vec![path(1), path(2)]);
        let manager = ManagerRetention::recover(Some(state), START);
        assert_eq!((manager.tracked.len(), manager.last_preserved), (0, 0.0));
        assert_eq!(manager.latest, Some(path(2)));
    }

    #[test]
    fn when_the_clock_was_set_back_nothing_is_removed_that_was_there_before() {
        let (_, before) = left_of_twelve(manager(2, 1.0), 30.0);
        let mut after = ManagerRetention::recover(Some(before.state()), START);
        assert_eq!(after.last_preserved, START);
        assert!(after.tracked.is_empty());
        after.max_to_keep = Some(1);
        after.saved(path(13), START + 1.0);
        assert!(after.sweep().is_empty());
    }

    #[test]
    fn saving_a_name_again_makes_it_the_newest() {
        let mut manager = manager(2, 1.0);
        for number in [1, 2, 1] {
            manager.saved(path(number), START + number as f64);
            assert!(manager.sweep().is_empty());
        }
        assert_eq!(manager.tracked, [(path(2), START + 2.0), (path(1), START + 1.0)]);
    }
}
