//! What lies in a directory of checkpoints, whatever its state file says.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs::{self, DirEntry, Metadata};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::open::{is_table, pattern_of_v1_file};
use super::retention::REPLACED;
use crate::bundle::parse_shard_name;
use crate::error::{Error, Result};

/// The files of a directory that belong to checkpoints, put together by their prefixes.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Those with an index, or files of the V1 format; sorted by name.
    pub(super) checkpoints: Vec<Found>,
    /// Data files without an index.
    pub(super) orphans: Vec<Found>,
}

/// What seems to be a checkpoint, by the names of its files.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The prefix within the directory; of several V1 files their pattern.
    pub(super) name: String,
    /// The index first: with it, a checkpoint goes.
    pub(super) files: Vec<String>,
    /// Of all files together.
    pub(super) bytes: u64,
    /// When its index was written, or else its first file; in seconds since 1970.
    pub(super) time: f64,
    /// When the last of its files was written.
    pub(super) changed: f64,
    /// Whether one of its files is a symbolic link, or something else that is no plain file.
    pub(super) linked: bool,
    /// Whether it is of the V1 format.
    pub(super) v1: bool,
}

impl Listing {
    /// Looks at `directory`; one that is not there is empty.
    pub(super) fn of(directory: &Path) -> Result<Self> {
        let fails = |error| Error::io("list", directory, error);
        let here = match directory.as_os_str().is_empty() {
            true => Path::new("."),
            false => directory,
        };
        let entries = match fs::read_dir(here) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Listing::default()),
            entries => entries.map_err(fails)?,
        };
        let entries = entries.collect::<io::Result<Vec<_>>>().map_err(fails)?;
        Ok(Self::grouped(&entries))
    }

    fn grouped(entries: &[DirEntry]) -> Self {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for entry in entries {
            // A name that is not text is none of ours.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // What is gone again was not there.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                continue;
            }
            let Some((prefix, part)) = belongs_to(&name, &entry.path()) else {
                continue;
            };
            groups.entry(prefix).or_default().add(name, part, &metadata);
        }
        let mut listing = Listing::default();
        for (prefix, mut group) in groups {
            group.files.sort();
            let has = |wanted: Part| group.files.iter().any(|(part, _)| *part == wanted);
            match (has(Part::Index), has(Part::V1), has(Part::Data)) {
                (true, ..) => listing.checkpoints.push(group.found(prefix, false)),
                (false, true, _) => listing.checkpoints.push(group.found(prefix, true)),
                (false, false, true) => listing.orphans.push(group.found(prefix, false)),
                // A graph alone is of use without any checkpoint.
                _ => {}
            }
        }
        listing
    }
}

impl Found {
    /// The name without its number: that of the run it belongs to.
    pub(super) fn basename(&self) -> &str {
        split_step(&self.name).0
    }

    /// The number in its name.
    pub(super) fn step(&self) -> Option<i64> {
        split_step(&self.name).1
    }

    /// Older ones first: by number, then by time. What has no number comes before all that have.
    pub(super) fn by_age(&self, other: &Self) -> Ordering {
        let by_step = self.step().cmp(&other.step());
        by_step.then(self.time.total_cmp(&other.time))
    }
}

/// The base name and the number of a checkpoint: `model.ckpt` and 120 of `model.ckpt-120`.
pub(super) fn split_step(name: &str) -> (&str, Option<i64>) {
    let name = name.strip_suffix(REPLACED).unwrap_or(name);
    // The pattern of sharded V1 files: `model.ckpt-3-?????-of-00002`.
    let name = name.split_once("-?").map_or(name, |(name, _)| name);
    let Some((basename, digits)) = name.rsplit_once('-') else {
        return (name, None);
    };
    let step = match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => digits.parse::<i64>().ok(),
        false => None,
    };
    match (step, basename.strip_suffix('-')) {
        (None, _) => (name, None),
        (Some(step), Some(basename)) => (basename, Some(-step)),
        (step, None) => (basename, step),
    }
}

/// Seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

/// In this order they are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Index,
    V1,
    Meta,
    Data,
}

/// The prefix that a file's name belongs to, and what it is there.
fn belongs_to(name: &str, path: &Path) -> Option<(String, Part)> {
    let whole = |prefix: &str, part| (!prefix.is_empty()).then(|| (prefix.to_owned(), part));
    if let Some(prefix) = name.strip_suffix(".index") {
        return whole(prefix, Part::Index);
    }
    if let Some(prefix) = name.strip_suffix(".meta") {
        return whole(prefix, Part::Meta);
    }
    if let Some((prefix, ..)) = parse_shard_name(name) {
        return whole(prefix, Part::Data);
    }
    // The V1 format has no names of its own, so that they have to be sought by what is in them.
    let pattern = pattern_of_v1_file(Path::new(name)).and_then(|pattern| pattern.into_os_string().into_string().ok());
    let numbered = pattern.is_some() || split_step(name).1.is_some();
    (numbered && is_table(path)).then(|| (pattern.unwrap_or(name.to_owned()), Part::V1))
}

#[derive(Debug, Default)]
struct Group {
    files: Vec<(Part, String)>,
    bytes: u64,
    index_time: Option<f64>,
    first: Option<f64>,
    changed: f64,
    linked: bool,
}

impl Group {
    fn add(&mut self, name: String, part: Part, metadata: &Metadata) {
        let time = metadata.modified().map_or(0.0, seconds);
        if part == Part::Index {
            self.index_time = Some(time);
        }
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.changed = self.changed.max(time);
        self.linked |= !metadata.is_file();
        self.bytes = self.bytes.saturating_add(metadata.len());
        self.files.push((part, name));
    }

    fn found(self, name: String, v1: bool) -> Found {
        Found {
            name,
            files: self.files.into_iter().map(|(_, name)| name).collect(),
            bytes: self.bytes,
            time: self.index_time.or(self.first).unwrap_or_default(),
            changed: self.changed,
            linked: self.linked,
            v1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_from_base_names() {
        let cases = [
            ("model.ckpt-120", "model.ckpt", Some(120)),
            ("model.ckpt-00000120", "model.ckpt", Some(120)),
            ("model.ckpt--3", "model.ckpt", Some(-3)),
            ("model.ckpt-7.replaced", "model.ckpt", Some(7)),
            ("model.ckpt-3-?????-of-00002", "model.ckpt", Some(3)),
            ("ckpt-best-7", "ckpt-best", Some(7)),
            ("model.ckpt", "model.ckpt", None),
            ("model.ckpt-", "model.ckpt-", None),
            ("weights.05-0.31", "weights.05-0.31", None),
            ("m-99999999999999999999", "m-99999999999999999999", None),
        ];
        for (name, basename, step) in cases {
            assert_eq!(split_step(name), (basename, step), "{name}");
        }
    }

    #[test]
    fn files_are_put_together_by_their_prefixes() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            "m-1.data-00000-of-00002",
            "m-1.data-00001-of-00002",
            "m-1.index",
            "m-1.meta",
            "m-2.data-00000-of-00001",
            "m-3.meta",
            "m-4.index.tempstate77",
            "checkpoint",
            ".index",
            "m-5",
        ];
        files
            .iter()
            .for_each(|name| fs::write(dir.path().join(name), "x").unwrap());
        let listing = Listing::of(dir.path()).unwrap();
        let names = |found: &[Found]| found.iter().map(|found| found.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&listing.checkpoints), ["m-1"]);
        assert_eq!(names(&listing.orphans), ["m-2"]);
        let files = &listing.checkpoints[0].files;
        assert_eq!(
            *files,
            [
                "m-1.index",
                "m-1.meta",
                "m-1.data-00000-of-00002",
                "m-1.data-00001-of-00002"
            ],
            "the index goes first"
        );
        assert_eq!(listing.checkpoints[0].bytes, 4);
        assert!(Listing::of(&dir.path().join("nowhere")).unwrap().checkpoints.is_empty());
    }
}
