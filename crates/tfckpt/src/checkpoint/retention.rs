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

/// The step of a checkpoint of this base name: 120 of `model.ckpt-120`.
pub(super) fn step_of(name: &str, basename: &str) -> Option<i64> {
    let digits = name.strip_prefix(basename)?.strip_prefix('-')?;
    // Exactly the text that saving writes: no sign but a minus, no leading zeros that another tool padded with.
    digits.parse().ok().filter(|step: &i64| step.to_string() == digits)
}

/// Removes all files of a checkpoint, the index first: from that moment it does not exist, whatever happens next.
/// Files that are gone already are no error.
pub(super) fn remove_checkpoint(storage: &dyn Storage, prefix: &str) -> Result<()> {
    remove(storage, &index_name(prefix))?;
    let names = storage
        .list()
        .map_err(|error| Error::io("list", storage.path(""), error))?;
    let meta = format!("{prefix}.meta");
    for name in names {
        let is_shard = parse_shard_name(&name).is_some_and(|(of, ..)| of == prefix);
        if is_shard || name == meta {
            remove(storage, &name)?;
        }
    }
    Ok(())
}

fn remove(storage: &dyn Storage, name: &str) -> Result<()> {
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
