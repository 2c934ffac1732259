//! Which checkpoints go, and how they go.

use std::io::ErrorKind;

use crate::bundle::{index_name, parse_shard_name};
use crate::error::{Error, Result};
use crate::io::Storage;

/// How many of the oldest of `tracked` checkpoints are too many; 0 if all are kept.
pub(super) fn surplus(tracked: usize, max_to_keep: Option<usize>) -> usize {
    match max_to_keep {
        Some(max) if max > 0 => tracked.saturating_sub(max),
        _ => 0,
    }
}

/// What is put behind the name of a checkpoint while another one takes its place.
pub(super) const REPLACED: &str = ".replaced";

/// The name of the checkpoint of a step.
pub(super) fn numbered(basename: &str, step: i64, pad: bool) -> String {
    match pad {
        true => format!("{basename}-{step:08}"),
        false => format!("{basename}-{step}"),
    }
}

/// The step of a checkpoint of this base name: 120 of `model.ckpt-120`.
pub(super) fn step_of(name: &str, basename: &str) -> Option<i64> {
    let name = name.strip_suffix(REPLACED).unwrap_or(name);
    let step = name.strip_prefix(basename)?.strip_prefix('-')?.parse().ok()?;
    // Exactly the text that saving writes: no sign but a minus, no other padding.
    [false, true]
        .iter()
        .any(|&pad| numbered(basename, step, pad) == name)
        .then_some(step)
}

/// `keep_checkpoint_every_n_hours` of `tf.compat.v1.train.Saver`: of what is too old, one checkpoint of every period
/// is kept for ever. Source: `saver.py`, `Saver._MaybeDeleteOldCheckpoints`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct HourlyKeeper {
    hours: f64,
    /// The end of the current period, in seconds since 1970.
    next: f64,
}

impl HourlyKeeper {
    /// The first period begins `now`.
    pub(super) fn new(hours: f64, now: f64) -> Self {
        HourlyKeeper {
            hours,
            next: now + hours * 3600.0,
        }
    }

    pub(super) fn hours(self) -> f64 {
        self.hours
    }

    /// Whether a checkpoint that is too old is kept, and then the next period begins: one period later, not one after
    /// this checkpoint.
    pub(super) fn keeps(&mut self, time: f64) -> bool {
        let keeps = time > self.next;
        if keeps {
            self.next += self.hours * 3600.0;
        }
        keeps
    }
}

/// Removes all files of a checkpoint, the index first: from that moment it does not exist, whatever happens next.
/// Files that are gone already are no error.
pub(super) fn remove_checkpoint(storage: &dyn Storage, prefix: &str) -> Result<()> {
    remove_file(storage, &index_name(prefix))?;
    let names = storage
        .list()
        .map_err(|error| Error::io("list", storage.path(""), error))?;
    let meta = format!("{prefix}.meta");
    for name in names {
        let is_shard = parse_shard_name(&name).is_some_and(|(of, ..)| of == prefix);
        if is_shard || name == meta {
            remove_file(storage, &name)?;
        }
    }
    Ok(())
}

/// Removes a file, if it is there.
pub(super) fn remove_file(storage: &dyn Storage, name: &str) -> Result<()> {
    match storage.remove(name) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", storage.path(name), error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::MemoryDir;

    #[test]
    fn the_oldest_are_surplus_and_zero_keeps_all() {
        assert_eq!(surplus(7, Some(5)), 2);
        assert_eq!(surplus(3, Some(5)), 0);
        assert_eq!(surplus(100, Some(0)), 0);
        assert_eq!(surplus(100, None), 0);
    }

    /// The numbers of the checkpoints that are left of twelve, saved every `minutes`.
    fn left_of_twelve(max_to_keep: usize, hours: f64, minutes: f64) -> Vec<usize> {
        let mut keeper = HourlyKeeper::new(hours, 0.0);
        let (mut last, mut left) = (Vec::new(), Vec::new());
        for number in 1..=12 {
            last.push((number, number as f64 * minutes * 60.0));
            for (number, time) in last.drain(..surplus(last.len(), Some(max_to_keep))) {
                left.extend(keeper.keeps(time).then_some(number));
            }
        }
        left.extend(last.iter().map(|&(number, _)| number));
        left
    }

    #[test]
    fn one_of_every_few_hours_stays_as_in_tensorflow() {
        // Seen in TensorFlow 2.21.
        assert_eq!(left_of_twelve(2, 1.0, 30.0), [3, 5, 7, 9, 11, 12]);
        assert_eq!(left_of_twelve(1, 1.0, 30.0), [3, 5, 7, 9, 11, 12]);
        assert_eq!(left_of_twelve(2, 2.0, 20.0), [7, 11, 12]);
        assert_eq!(left_of_twelve(3, 0.5, 60.0), (1..=12).collect::<Vec<_>>());
    }

    #[test]
    fn only_the_files_of_the_checkpoint_go() {
        let dir = MemoryDir::new();
        let keep = [
            "m-12.index",
            "m-1.indexes",
            "m-1x.data-00000-of-00001",
            "other",
            "m-1.data-00000-of-00001.tempstate3",
        ];
        let go = [
            "m-1.index",
            "m-1.meta",
            "m-1.data-00000-of-00002",
            "m-1.data-00001-of-00002",
        ];
        keep.iter().chain(&go).for_each(|name| dir.insert(*name, *b""));
        remove_checkpoint(&dir, "m-1").unwrap();
        let mut left = dir.list().unwrap();
        left.sort();
        let mut keep = keep.map(str::to_owned);
        keep.sort();
        assert_eq!(left, keep);
    }

    #[test]
    fn steps_are_read_from_names_that_saving_writes() {
        assert_eq!(step_of("model.ckpt-120", "model.ckpt"), Some(120));
        assert_eq!(step_of("model.ckpt--3", "model.ckpt"), Some(-3));
        assert_eq!(step_of("model.ckpt-00000007", "model.ckpt"), Some(7), "padded");
        assert_eq!(step_of("model.ckpt-7.replaced", "model.ckpt"), Some(7));
        for name in [
            "model.ckpt",
            "model.ckpt-",
            "model.ckpt-1a",
            "model.ckpt-007",
            "model.ckpt-+1",
            "m-1",
        ] {
            assert_eq!(step_of(name, "model.ckpt"), None, "{name}");
        }
    }
}
