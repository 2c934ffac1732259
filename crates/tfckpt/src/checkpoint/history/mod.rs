//! What is known of the checkpoints of a directory, in a file beside the state file, which TensorFlow ignores.
//!
//! ```text
//! checkpoint                 the state file: the latest, for TensorFlow and for us
//! checkpoint.history.json    this one: all of them, with times, metrics and pins, and the best values ever
//! ```
//!
//! The file is advice. Without it, or if it is damaged, what can be known is found out from the directory again, and
//! the training goes on; metrics and pins are then lost. So nothing is removed on its word: see
//! [`History::reconcile`].

mod json;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::directory::replaced_name;
use super::policy::{Goal, Record, Verdict};
use super::retention::{REPLACED, step_of};
use super::state::STATE_FILE;
use crate::bundle::{index_name, parse_shard_name};
use crate::io::{Durability, LocalDir, Storage, check_name, read_file, write_file};
use crate::meta::meta_name;

/// What is known of the checkpoints of a directory: their times, metrics and pins, and the best that was ever measured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// Oldest first; each name once.
    records: Vec<Record>,
    best: BTreeMap<(String, Goal), Best>,
}

/// The best value of a metric that any checkpoint of a directory ever had.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Best {
    /// The value, which is finite.
    pub value: f64,
    /// The step of the checkpoint. Of equal values the one that came first.
    pub global_step: i64,
    /// The name of the checkpoint, which may be gone.
    pub name: String,
}

/// The most bytes of a history that is read or written: some fifty thousand checkpoints.
const MAX_BYTES: u64 = 16 << 20;

impl History {
    /// Reads the history of a directory; empty if there is none, or none that can be read.
    ///
    /// It may still have checkpoints that have been removed since: it is brought up to date with each save.
    pub fn of(directory: impl AsRef<Path>) -> Self {
        Self::read(&LocalDir::new(directory.as_ref()), STATE_FILE)
    }

    /// The checkpoints, oldest first.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The best value of a metric ever, also of a checkpoint that is gone. Values that are not finite do not count.
    pub fn best(&self, metric: &str, goal: Goal) -> Option<&Best> {
        self.best.get(&(metric.to_owned(), goal))
    }

    /// The history beside the state file of this name.
    pub(super) fn read(storage: &dyn Storage, state_file: &str) -> Self {
        match read_file(storage, &file_name(state_file), MAX_BYTES) {
            Ok(bytes) => json::parse(&bytes),
            Err(_) => Self::default(),
        }
    }

    /// Whether there is one.
    pub(super) fn exists(storage: &dyn Storage, state_file: &str) -> bool {
        storage.exists(&file_name(state_file)).unwrap_or(false)
    }

    /// Writes it, with the verdicts on its checkpoints for people to read.
    pub(super) fn write(
        &self,
        storage: &dyn Storage,
        state_file: &str,
        verdicts: &[Verdict],
        durability: Durability,
    ) -> io::Result<()> {
        let text = json::to_text(self, verdicts)?;
        if text.len() as u64 > MAX_BYTES {
            let what = format!("the history has {} bytes, more than are read again", text.len());
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        }
        write_file(storage, &file_name(state_file), text.as_bytes(), durability)
    }

    /// Brings it in agreement with the directory: forgets checkpoints that are gone, and adds those of this base name
    /// that nobody wrote down, with the step from the name and the time from the file.
    ///
    /// One of these that the state file does not list was set aside by somebody whose reasons are lost: it is marked as
    /// preserved, as TensorFlow would never remove it either. `tracked` are the names that the state file lists.
    ///
    /// # Errors
    /// The directory cannot be listed. The history is then as it was.
    pub(super) fn reconcile(&mut self, storage: &dyn Storage, basename: &str, tracked: &[String]) -> io::Result<()> {
        let files: BTreeSet<String> = storage.list()?.into_iter().collect();
        let own = |file: &String| {
            let name = file.strip_suffix(".index")?;
            Some((step_of(name, basename)?, name.to_owned()))
        };
        let there: BTreeMap<String, i64> = files.iter().filter_map(own).map(|(step, name)| (name, step)).collect();
        self.follow_names(|name| there.contains_key(name));
        self.records.retain(|record| there.contains_key(&record.name));

        let known: BTreeSet<String> = self.records.iter().map(|record| record.name.clone()).collect();
        let mut found: Vec<Record> = Vec::new();
        for (name, &step) in there.iter().filter(|(name, _)| !known.contains(*name)) {
            let time = storage.modified(&index_name(name)).unwrap_or(f64::NAN);
            let mut record = Record::new(name, step, time).bytes(bytes_of(storage, &files, name));
            record.preserved = !tracked.contains(name);
            found.push(record);
        }
        found.sort_by_key(|record| record.global_step);
        for record in found {
            // Those that are known are in the order of their saves, which a run that went back to an earlier step may
            // have made another than that of their steps.
            let later = |known: &Record| known.global_step > record.global_step;
            let place = self.records.iter().position(later).unwrap_or(self.records.len());
            self.records.insert(place, record);
        }
        Ok(())
    }

    /// Knows a checkpoint by the name that it has: another one while something takes its place, and the old one again if
    /// that came to nothing.
    fn follow_names(&mut self, is_there: impl Fn(&str) -> bool) {
        let known: BTreeSet<String> = self.records.iter().map(|record| record.name.clone()).collect();
        for record in self.records.iter_mut().filter(|record| !is_there(&record.name)) {
            let other = match record.name.strip_suffix(REPLACED) {
                Some(name) => name.to_owned(),
                None => replaced_name(&record.name),
            };
            if is_there(&other) && !known.contains(&other) {
                record.name = other;
            }
        }
    }

    /// Adds a checkpoint that was saved just now, as the newest.
    pub(super) fn push(&mut self, record: Record) {
        self.forget(&record.name);
        self.note_best(&record);
        self.records.push(record);
    }

    /// Forgets a checkpoint, but not the best values that it had.
    pub(super) fn forget(&mut self, name: &str) {
        self.records.retain(|record| record.name != name);
    }

    /// Adds to what was measured of a checkpoint. False if it is not known.
    pub(super) fn measure(&mut self, name: &str, metrics: BTreeMap<String, f64>) -> bool {
        let Some(record) = self.records.iter_mut().find(|record| record.name == name) else {
            return false;
        };
        record.metrics.extend(metrics);
        let record = record.clone();
        self.note_best(&record);
        true
    }

    /// Pins a checkpoint, or takes its pin away. False if it is not known.
    pub(super) fn pin(&mut self, name: &str, pinned: bool) -> bool {
        let record = self.records.iter_mut().find(|record| record.name == name);
        record.map(|record| record.pinned = pinned).is_some()
    }

    /// Marks a checkpoint as one that `keep_checkpoint_every_n_hours` keeps for ever.
    pub(super) fn preserve(&mut self, name: &str) {
        let record = self.records.iter_mut().find(|record| record.name == name);
        record.into_iter().for_each(|record| record.preserved = true);
    }

    fn note_best(&mut self, record: &Record) {
        for (metric, &value) in record.metrics.iter().filter(|(_, value)| value.is_finite()) {
            for goal in [Goal::Min, Goal::Max] {
                let key = (metric.clone(), goal);
                let best = self.best.get(&key);
                if best.is_none_or(|best| goal.compare(value, best.value) == Ordering::Less) {
                    let best = Best {
                        value,
                        global_step: record.global_step,
                        name: record.name.clone(),
                    };
                    self.best.insert(key, best);
                }
            }
        }
    }
}

fn file_name(state_file: &str) -> String {
    format!("{state_file}.history.json")
}

/// The bytes of all files of a checkpoint.
pub(super) fn bytes_of(storage: &dyn Storage, files: &BTreeSet<String>, name: &str) -> u64 {
    let (index, meta) = (index_name(name), meta_name(name));
    let of_it =
        |file: &&String| **file == index || **file == meta || parse_shard_name(file).is_some_and(|(of, ..)| of == name);
    let size = |file: &String| storage.open(file).and_then(|file| file.size()).unwrap_or(0);
    files.iter().filter(of_it).map(size).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::io::MemoryDir;

    fn directory(steps: &[i64]) -> MemoryDir {
        let dir = MemoryDir::new();
        for step in steps {
            dir.insert(format!("m-{step}.index"), *b"12345");
            dir.insert(format!("m-{step}.data-00000-of-00001"), *b"1234567890");
            dir.insert(format!("m-{step}.meta"), *b"123");
        }
        dir
    }

    fn names(history: &History) -> Vec<&str> {
        history.records().iter().map(|record| record.name.as_str()).collect()
    }

    #[test]
    fn a_history_outlives_the_process_and_the_checkpoints_that_were_the_best() {
        let dir = directory(&[1, 2, 3]);
        let mut history = History::default();
        for (step, loss) in [(1, 0.5), (2, 0.1), (3, f64::NAN)] {
            history.push(Record::new(format!("m-{step}"), step, 100.0).metric("loss", loss));
        }
        history.pin("m-3", true);
        history.forget("m-2");
        history.write(&dir, "checkpoint", &[], Durability::Synced).unwrap();
        assert!(History::exists(&dir, "checkpoint") && !History::exists(&dir, "other"));

        let again = History::read(&dir, "checkpoint");
        assert_eq!(names(&again), ["m-1", "m-3"]);
        assert!(again.records()[1].pinned && again.records()[1].metrics["loss"].is_nan());
        let best = again.best("loss", Goal::Min).unwrap();
        assert_eq!((best.value, best.global_step, best.name.as_str()), (0.1, 2, "m-2"));
        assert_eq!(again.best("loss", Goal::Max).unwrap().value, 0.5);
        assert_eq!(again.best("accuracy", Goal::Max), None);
    }

    #[test]
    fn of_equal_values_the_first_is_the_best_ever() {
        let mut history = History::default();
        history.push(Record::new("m-1", 1, 0.0).metric("loss", 0.5));
        history.push(Record::new("m-2", 2, 0.0).metric("loss", 0.5));
        assert_eq!(history.best("loss", Goal::Min).unwrap().global_step, 1);
        assert!(history.measure("m-2", BTreeMap::from([("loss".to_owned(), 0.25)])));
        assert_eq!(history.best("loss", Goal::Min).unwrap().global_step, 2);
        assert!(!history.measure("m-9", BTreeMap::new()) && !history.pin("m-9", true));
    }

    #[test]
    fn without_its_file_the_history_is_made_again_from_the_directory() {
        let dir = directory(&[9, 10, 100]);
        // None of these is a checkpoint of this base name.
        for other in [
            "m-x.index",
            "n-1.index",
            "m-7.data-00000-of-00001",
            "m-8",
            "checkpoint",
            "m-+3.index",
        ] {
            dir.insert(other, *b"x");
        }
        let mut history = History::default();
        history.reconcile(&dir, "m", &[]).unwrap();
        assert_eq!(names(&history), ["m-9", "m-10", "m-100"]);
        let mut expected = Record::new("m-10", 10, history.records()[1].time).bytes(18);
        expected.preserved = true;
        assert_eq!(format!("{:?}", history.records()[1]), format!("{expected:?}"));
    }

    #[test]
    fn checkpoints_that_are_gone_are_forgotten_and_new_ones_get_their_place() {
        let dir = directory(&[10, 20, 30]);
        let mut history = History::default();
        // The run went back from step 30 to step 10.
        for step in [5, 30, 10] {
            history.push(Record::new(format!("m-{step}"), step, 1.0).pinned(step == 10));
        }
        history.reconcile(&dir, "m", &[]).unwrap();
        assert_eq!(names(&history), ["m-20", "m-30", "m-10"]);
        assert!(history.records()[2].pinned);
    }

    #[test]
    fn a_checkpoint_that_has_another_name_for_a_while_is_the_same_one() {
        let mut history = History::default();
        history.push(Record::new("m-1", 1, 1.0).metric("loss", 0.5).pinned(true));
        let (aside, back) = (MemoryDir::new(), directory(&[1]));
        aside.insert("m-1.replaced.index", *b"12345");
        history.reconcile(&aside, "m", &[]).unwrap();
        assert_eq!(names(&history), ["m-1.replaced"]);
        assert!(history.records()[0].pinned && history.records()[0].metrics["loss"] == 0.5);
        history.reconcile(&back, "m", &[]).unwrap();
        assert_eq!(names(&history), ["m-1"]);
        assert!(history.records()[0].pinned);
    }

    #[test]
    fn what_somebody_set_aside_for_unknown_reasons_is_never_removed() {
        let dir = directory(&[10, 20, 30, 40]);
        let mut history = History::default();
        history
            .reconcile(&dir, "m", &["m-20".to_owned(), "m-30".to_owned()])
            .unwrap();
        let preserved: Vec<bool> = history.records().iter().map(|record| record.preserved).collect();
        assert_eq!(preserved, [true, false, false, true]);
    }

    #[test]
    fn a_huge_file_is_not_read() {
        let dir = MemoryDir::new();
        let mut text = b"{\"checkpoints\": [{\"name\": \"m-1\", \"global_step\": 1}]}".to_vec();
        dir.insert("checkpoint.history.json", text.clone());
        assert_eq!(History::read(&dir, "checkpoint").records().len(), 1);
        text.resize(usize::try_from(MAX_BYTES).unwrap() + 1, b' ');
        dir.insert("checkpoint.history.json", text);
        assert_eq!(History::read(&dir, "checkpoint"), History::default());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn no_file_makes_it_panic(
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut history = History::default();
            history.push(Record::new("m-1", 1, 1e9).metric("loss", 0.5).metric("x", f64::NAN));
            history.push(Record::new("m-2", 2, 2e9).metric("loss", 0.25).pinned(true));
            let mut bytes = json::to_text(&history, &[]).unwrap().into_bytes();
            for (index, byte) in edits {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            cut.into_iter().for_each(|cut| bytes.truncate(cut.index(bytes.len())));
            let read = json::parse(&bytes);
            // What was read can be written and read again.
            let text = json::to_text(&read, &[]).unwrap();
            prop_assert_eq!(format!("{:?}", json::parse(text.as_bytes())), format!("{read:?}"));
        }

        #[test]
        fn numbers_are_read_back_to_the_last_bit(bits in any::<u64>(), time in any::<u64>()) {
            let mut history = History::default();
            history.push(Record::new("m-1", i64::MIN, f64::from_bits(time)).metric("x", f64::from_bits(bits)));
            let again = json::parse(json::to_text(&history, &[]).unwrap().as_bytes());
            let (value, read) = (f64::from_bits(bits), again.records()[0].metrics["x"]);
            prop_assert!(value.to_bits() == read.to_bits() || value.is_nan() && read.is_nan());
            let (value, read) = (f64::from_bits(time), again.records()[0].time);
            prop_assert!(value.to_bits() == read.to_bits() || value.is_nan() && read.is_nan());
        }
    }
}
