//! What the history says of the checkpoints of a directory: in which order they were saved, and why some are kept.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::looked_at::LookedAt;
use crate::checkpoint::history::History;
use crate::checkpoint::listing::Found;
use crate::checkpoint::policy::{Goal, Reason, Retention};
use crate::checkpoint::repaired::Kept;
use crate::io::Storage;

/// What the history says. Nothing without one.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The places in the order of saves of those that were written down.
    places: BTreeMap<String, usize>,
    /// Step and time of the whole one that was written down last.
    last: Option<(Option<i64>, f64)>,
    /// Why whole checkpoints are kept whatever retention says of the latest.
    reasons: BTreeMap<String, Vec<Reason>>,
    /// The names of all that are pinned, whole or not.
    pinned: BTreeSet<String>,
}

impl Known {
    pub(super) fn of(storage: &dyn Storage, state_file: &str, basename: &str, looked_at: &LookedAt) -> Self {
        if !History::exists(storage, state_file) {
            return Known::default();
        }
        let mut history = History::read(storage, state_file);
        let pinned = history.records().iter().filter(|record| record.pinned);
        let pinned = pinned.map(|record| record.name.clone()).collect();
        let names = history.records().iter().map(|record| record.name.clone());
        let places: BTreeMap<String, usize> = names.zip(0..).collect();
        let last = looked_at.whole.iter().max_by_key(|found| places.get(&found.name));
        let last = last.map(|last| (last.step(), last.time));
        // Those that are gone do not count, and those that nobody wrote down have no reason to be kept.
        let whole: Vec<String> = looked_at.whole.iter().map(|found| found.name.clone()).collect();
        let _ = history.reconcile(storage, basename, &whole);
        let mut records = history.records().to_vec();
        records.retain(|record| whole.contains(&record.name));

        let mut rules = Retention::default().latest(1);
        // Nobody wrote down whether small or large values are good.
        for metric in records.iter().flat_map(|record| record.metrics.keys()) {
            rules = rules.best(metric, Goal::Min, 1).best(metric, Goal::Max, 1);
        }
        let verdicts = rules.decide(&records).into_iter();
        let reasons = verdicts.map(|mut verdict| {
            verdict.kept.retain(|reason| !matches!(reason, Reason::Latest { .. }));
            (verdict.name, verdict.kept)
        });
        Known {
            reasons: reasons.filter(|(_, reasons)| !reasons.is_empty()).collect(),
            places,
            last,
            pinned,
        }
    }

    /// Whether one was saved before another, as far as that was written down.
    pub(super) fn is_earlier(&self, found: &Found, than: &Found) -> bool {
        let place = |found: &Found| self.places.get(&found.name);
        place(found).zip(place(than)).is_some_and(|(place, than)| place < than)
    }

    /// Older ones first: in the order of their saves, which is not that of their numbers in a run that went back. What
    /// was not written down is older than all that was, but for what a killed save left last.
    pub(super) fn by_age(&self, a: &Found, b: &Found) -> Ordering {
        let rank = |found: &Found| match (self.places.get(&found.name), self.last) {
            (Some(&place), _) => (1, place),
            (None, Some((step, time))) if found.step() > step && found.time >= time => (2, 0),
            (None, _) => (0, 0),
        };
        rank(a).cmp(&rank(b)).then(a.by_age(b))
    }

    /// Whether it is kept for a reason of its own, and not as one of the latest.
    pub(super) fn keeps(&self, found: &Found) -> bool {
        self.reasons.contains_key(&found.name)
    }

    pub(super) fn is_pinned(&self, name: &str) -> bool {
        self.pinned.contains(name)
    }

    /// All that are kept for reasons of their own, oldest first.
    pub(super) fn kept(self) -> Vec<Kept> {
        let mut kept: Vec<Kept> = self
            .reasons
            .into_iter()
            .map(|(name, reasons)| Kept { name, reasons })
            .collect();
        kept.sort_by_key(|kept| self.places.get(&kept.name).copied());
        kept
    }
}
