//! What a saver keeps beyond TensorFlow's list: its rules, and the history that they look at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::directory::{Directory, replaced_name};
use super::history::{History, bytes_of};
use super::policy::{Record, Retention, Verdict};
use crate::error::{Error, Result};
use crate::io::Durability;

/// The rules and the history of a saver.
///
/// A saver that has no rules but TensorFlow's, in a directory without a history, writes none: its directory then looks
/// as TensorFlow's does. A history that is there is heeded in any case, because it knows the pins.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    pub(super) retention: Option<Retention>,
    /// `None` until it is needed.
    history: Option<History>,
    /// What was known before the last save began.
    before: Option<History>,
}

/// A checkpoint that was committed just now.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) prefix: PathBuf,
    pub(super) global_step: i64,
    pub(super) time: f64,
    pub(super) metrics: BTreeMap<String, f64>,
}

impl Keeper {
    /// Whether there is more to look at than the list of the latest: rules, metrics, or a history.
    pub(super) fn is_active(&self, directory: &Directory, has_metrics: bool) -> bool {
        has_metrics
            || self.retention.is_some()
            || self.history.is_some()
            || History::exists(directory.storage.as_ref(), &directory.state_file)
    }

    /// What is known of the directory. `listed` are the checkpoints that the state file lists.
    pub(super) fn history(&mut self, directory: &Directory, listed: &[PathBuf]) -> &mut History {
        self.history.get_or_insert_with(|| {
            let mut history = History::read(directory.storage.as_ref(), &directory.state_file);
            let listed: Vec<String> = listed.iter().filter_map(|prefix| directory.own_name(prefix)).collect();
            // If the directory cannot be listed, what the file says is all that is known.
            let _ = history.reconcile(directory.storage.as_ref(), &directory.basename, &listed);
            history
        })
    }

    /// A save begins: what is known is kept, in case it fails. Before anything is renamed, or taken out of the list.
    pub(super) fn begin(&mut self, directory: &Directory, listed: &[PathBuf]) {
        let before = self.history(directory, listed).clone();
        self.before = Some(before);
    }

    /// What the rules say of the checkpoints that are there.
    pub(super) fn decide(&mut self, directory: &Directory, listed: &[PathBuf], latest: Option<usize>) -> Vec<Verdict> {
        let retention = self.rules(latest);
        retention.decide(self.history(directory, listed).records())
    }

    /// Enters a new checkpoint and marks those that are `preserved` for ever; says which are to be removed. An error is
    /// that of writing the history, which is no reason to lose a save. [`begin`](Self::begin) has been called.
    pub(super) fn enter(
        &mut self,
        directory: &Directory,
        committed: Committed,
        preserved: &[PathBuf],
        latest: Option<usize>,
    ) -> (Vec<PathBuf>, Option<Error>) {
        let Some(name) = directory.own_name(&committed.prefix) else {
            return (Vec::new(), None);
        };
        let rules = self.rules(latest);
        let storage = directory.storage.as_ref();
        let history = self.history(directory, &[]);
        let files: BTreeSet<String> = storage.list().unwrap_or_default().into_iter().collect();
        // A pin is that of the step, and stays when the checkpoint is replaced.
        let replaced = replaced_name(&name);
        let of_step = |record: &&Record| record.name == name || record.name == replaced;
        let pinned = history.records().iter().filter(of_step).any(|record| record.pinned);
        history.forget(&replaced);
        let mut record = Record::new(&name, committed.global_step, committed.time).pinned(pinned);
        record.bytes = bytes_of(storage, &files, &name);
        record.metrics = committed.metrics;
        history.push(record);
        preserved
            .iter()
            .filter_map(|prefix| directory.own_name(prefix))
            .for_each(|name| history.preserve(&name));

        let verdicts = rules.decide(history.records());
        // Those that go now are written down as well: killed before they are gone, the next run still knows that nobody
        // wanted them.
        let written = history.write(storage, &directory.state_file, &verdicts, directory.durability);
        let error = written
            .err()
            .map(|error| Error::io("write the history beside", storage.path(&directory.state_file), error));
        let dropped = verdicts.iter().filter(|verdict| !verdict.keeps());
        let doomed = dropped.map(|verdict| directory.prefix(&verdict.name));
        (doomed.collect(), error)
    }

    /// After a save that failed: what was known before it is known again, and what is there is looked for.
    pub(super) fn look_again(&mut self, directory: &Directory, listed: &[PathBuf]) {
        if let Some(before) = self.before.take() {
            self.history = Some(before);
        }
        if let Some(history) = &mut self.history {
            let listed: Vec<String> = listed.iter().filter_map(|prefix| directory.own_name(prefix)).collect();
            let _ = history.reconcile(directory.storage.as_ref(), &directory.basename, &listed);
        }
    }

    /// A checkpoint has been removed.
    pub(super) fn removed(&mut self, name: &str) {
        if let Some(history) = &mut self.history {
            history.forget(name);
        }
    }

    /// Changes what is known of a checkpoint, and writes it down.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`] if it is not known; [`Error::Io`].
    pub(super) fn change(
        &mut self,
        directory: &Directory,
        listed: &[PathBuf],
        prefix: &Path,
        latest: Option<usize>,
        change: impl FnOnce(&mut History, &str) -> bool,
    ) -> Result<()> {
        let rules = self.rules(latest);
        let history = self.history(directory, listed);
        let name = directory.own_name(prefix);
        if !name.is_some_and(|name| change(history, &name)) {
            return Err(Error::NoCheckpoint {
                path: prefix.to_owned(),
                reason: "this saver has saved none of this step, or removed it".to_owned(),
                candidates: history
                    .records()
                    .iter()
                    .rev()
                    .map(|record| record.name.clone())
                    .take(3)
                    .collect(),
            });
        }
        let verdicts = rules.decide(history.records());
        let (storage, state_file) = (directory.storage.as_ref(), &directory.state_file);
        let written = history.write(storage, state_file, &verdicts, directory.durability);
        // No state file follows, whose writing would see to that.
        let synced = written.and_then(|()| match directory.durability {
            Durability::Synced => storage.sync(),
            Durability::Buffered => Ok(()),
        });
        synced.map_err(|error| Error::io("write the history beside", storage.path(state_file), error))
    }

    /// The rules, or TensorFlow's.
    fn rules(&self, latest: Option<usize>) -> Retention {
        self.retention
            .clone()
            .unwrap_or_else(|| Retention::default().latest(latest))
    }
}
