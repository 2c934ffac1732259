//! One checkpoint out of several that were written side by side, one by each process.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::open::with_suffix;
use crate::bundle::{Endianness, Entries, Written, index_name, read_entries, shard_name, sync, write_index};
use crate::error::{Error, Result};
use crate::io::{Durability, LocalDir, Storage};
use crate::limits::Limits;
use crate::proto::BundleEntryProto;

/// Merges the checkpoints `parts`, each written by a process of its own, into one at the prefix `destination`: the
/// same files that TensorFlow's `MergeV2Checkpoints` gives. Slices of one variable may come from several parts.
///
/// The data files are linked to their new names, or copied where the file system has no links, and the index is
/// written last. Only then are the files of the parts removed, and their directories if nothing else is in them; a
/// merge that is interrupted before leaves the parts as they were, and can be done again. (TensorFlow renames the data
/// files first, and loses both if it is interrupted.)
///
/// By TensorFlow's convention the parts of `run/model.ckpt-5` are `run/model.ckpt-5_temp/part-00000-of-00002`, ….
///
/// # Errors
/// [`Error::NoCheckpoint`] for a part that is not there, [`Error::DuplicateName`] for a variable of two parts,
/// [`Error::AlreadyExists`], [`Error::InvalidArgument`] for parts that do not belong together, those of opening the
/// parts, and [`Error::Io`].
pub fn merge_checkpoints<P: AsRef<Path>>(
    parts: impl IntoIterator<Item = P>,
    destination: impl AsRef<Path>,
) -> Result<Written> {
    let destination = Place::of(destination.as_ref())?;
    if with_suffix(&destination.path(), ".index").exists() {
        return Err(Error::AlreadyExists {
            prefix: destination.path(),
        });
    }
    let mut merged = Merged::default();
    let mut places = Vec::new();
    for part in parts {
        let place = Place::of(part.as_ref())?;
        merged.add(&place)?;
        places.push(place);
    }
    if places.is_empty() {
        return Err(Error::invalid("nothing to merge: name at least one part"));
    }

    let storage =
        LocalDir::create(&destination.directory).map_err(|error| Error::io("create", &destination.directory, error))?;
    let num_shards = u32::try_from(merged.files.len().max(1)).unwrap_or(u32::MAX);
    let mut data_bytes = 0;
    for (shard, source) in (0..num_shards).zip(&merged.files) {
        let target = storage.path(&shard_name(&destination.name, shard, num_shards));
        data_bytes += link(source, &target).map_err(|error| Error::io("link", source, error))?;
    }
    sync(&storage, Durability::Synced).map_err(|error| Error::io("sync", &destination.directory, error))?;
    let entries = &merged.entries;
    write_index(&storage, &destination.name, num_shards, entries, Durability::Synced)?;
    for place in &places {
        place.remove(&merged.files, &destination);
    }
    Ok(Written {
        prefix: destination.path(),
        variables: entries.variables(),
        num_shards,
        data_bytes,
    })
}

/// A prefix, taken apart.
struct Place {
    directory: PathBuf,
    name: String,
}

impl Place {
    fn of(prefix: &Path) -> Result<Self> {
        let name = prefix.file_name().and_then(|name| name.to_str());
        let name =
            name.ok_or_else(|| Error::invalid(format!("`{}` is no prefix of a checkpoint", prefix.display())))?;
        Ok(Place {
            directory: prefix.parent().unwrap_or(Path::new("")).to_owned(),
            name: name.to_owned(),
        })
    }

    fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    /// Removes the files of a part that was merged. What cannot be removed is in nobody's way.
    fn remove(&self, merged: &[PathBuf], destination: &Place) {
        let _ = fs::remove_file(self.directory.join(index_name(&self.name)));
        let own = |file: &&PathBuf| file.parent() == Some(self.directory.as_path());
        for file in merged.iter().filter(own) {
            let _ = fs::remove_file(file);
        }
        if self.directory != destination.directory {
            // Only if nothing is left in it.
            let _ = fs::remove_dir(&self.directory);
        }
    }
}

/// The index of all parts together.
#[derive(Default)]
struct Merged {
    entries: Entries,
    /// The data files, by their new numbers: in the order in which variables name them.
    files: Vec<PathBuf>,
}

impl Merged {
    fn add(&mut self, part: &Place) -> Result<()> {
        let storage = LocalDir::new(&part.directory);
        let index = read_entries(&storage, &part.name, &Limits::default())?;
        if index.endianness == Endianness::Big {
            let what = "a part of a merge cannot be big-endian: convert it first".to_owned();
            return Err(Error::Unsupported {
                path: part.path(),
                what,
            });
        }
        let mut numbers = HashMap::new();
        for (key, mut entry) in index.entries {
            let shard = u32::try_from(entry.shard_id).unwrap_or(u32::MAX);
            entry.shard_id = *numbers.entry(shard).or_insert_with(|| {
                self.files
                    .push(storage.path(&shard_name(&part.name, shard, index.num_shards)));
                i32::try_from(self.files.len() - 1).unwrap_or(i32::MAX)
            });
            self.insert(key, entry)?;
        }
        Ok(())
    }

    fn insert(&mut self, key: Vec<u8>, entry: BundleEntryProto) -> Result<()> {
        let Some(there) = self.entries.get_mut(&key) else {
            self.entries.insert(key, entry);
            return Ok(());
        };
        let name = String::from_utf8_lossy(&key).into_owned();
        if there.slices.is_empty() || entry.slices.is_empty() {
            return Err(Error::DuplicateName { name });
        }
        if there.dtype != entry.dtype || there.shape != entry.shape {
            return Err(Error::invalid(format!(
                "the parts disagree on dtype or shape of the partitioned variable `{name}`"
            )));
        }
        there.slices.extend(entry.slices);
        Ok(())
    }
}

/// Gives a file a second name, or copies it. The length of the file, which is on the device then.
fn link(source: &Path, target: &Path) -> io::Result<u64> {
    match fs::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // What is there belongs to no index: a merge before this one was interrupted.
        _ => {}
    }
    if fs::hard_link(source, target).is_err() {
        fs::copy(source, target)?;
    }
    let file = File::open(target)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}
