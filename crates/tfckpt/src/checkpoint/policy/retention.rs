//! The rules.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::record::Record;
use super::verdict::{Dropped, Goal, Reason, Verdict};

/// Rules that say which checkpoints are kept. A checkpoint is kept if any rule keeps it.
///
/// The default keeps the latest 5, as TensorFlow. The newest checkpoint, pinned ones and those that were set aside for
/// ever are kept whatever the rules are; only the budget of [`max_bytes`](Self::max_bytes) takes the latter.
///
/// ```
/// use tfckpt::{Goal, Record, Retention};
///
/// let retention = Retention::default().latest(2).best("val_loss", Goal::Min, 1);
/// let losses = [0.9, 0.3, 0.5, f64::NAN];
/// let records: Vec<Record> = (1..).zip(losses)
///     .map(|(i, loss)| Record::new(format!("model.ckpt-{i}"), i, 60.0 * i as f64).metric("val_loss", loss))
///     .collect();
/// let verdicts: Vec<String> = retention.decide(&records).iter().map(ToString::to_string).collect();
/// assert_eq!(verdicts, [
///     "dropped: older than the latest 2, and no rule keeps it",
///     "kept: best val_loss (1 of 1: 0.3)",
///     "kept: latest (2 of 2)",
///     "kept: latest (1 of 2)",
/// ]);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Retention {
    /// `None` keeps all.
    latest: Option<usize>,
    /// How many of the best by each metric and goal.
    best: BTreeMap<(String, Goal), usize>,
    every_steps: BTreeSet<u64>,
    every_hours: Vec<f64>,
    max_bytes: Option<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        Retention {
            latest: Some(5),
            best: BTreeMap::new(),
            every_steps: BTreeSet::new(),
            every_hours: Vec::new(),
            max_bytes: None,
        }
    }
}

impl Retention {
    /// Keeps so many of the newest; 0 or `None` keeps all. Default: 5. A later call replaces an earlier one.
    pub fn latest(mut self, count: impl Into<Option<usize>>) -> Self {
        self.latest = count.into().filter(|&count| count > 0);
        self
    }

    /// Keeps so many of the best by a metric, besides the latest. Default: none. May be called for several metrics, and
    /// for both goals; of several counts for the same, the largest holds.
    ///
    /// A checkpoint without the metric, or with one that is not finite, is never one of the best. Of equals the one with
    /// the smaller step is the better.
    pub fn best(mut self, metric: impl Into<String>, goal: Goal, count: usize) -> Self {
        let kept = self.best.entry((metric.into(), goal)).or_default();
        *kept = count.max(*kept);
        self
    }

    /// Keeps the first checkpoint at or after each multiple of so many steps. Default: none; 0 is none. May be called
    /// several times.
    pub fn every_steps(mut self, steps: u64) -> Self {
        if steps > 0 {
            self.every_steps.insert(steps);
        }
        self
    }

    /// Keeps the oldest checkpoint, and then each that was saved so many hours or more after the one kept before.
    /// Default: none; what is no positive number is none. May be called several times.
    ///
    /// This is not TensorFlow's `keep_checkpoint_every_n_hours`, which looks at a checkpoint once, when it is too old to
    /// be one of the latest. When the clock went backwards, a new period begins.
    pub fn every_hours(mut self, hours: f64) -> Self {
        if hours > 0.0 && !self.every_hours.contains(&hours) {
            self.every_hours.push(hours);
            self.every_hours.sort_by(f64::total_cmp);
        }
        self
    }

    /// The most bytes that all checkpoints together may have. Default: no limit. Of several limits the smallest holds.
    ///
    /// Where the other rules keep more, the oldest go first; those that are among the best go after all others, the worst
    /// of them first. The newest and pinned ones never go, even if they alone have more bytes.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(self.max_bytes.map_or(bytes, |max| max.min(bytes)));
        self
    }

    /// How many of the newest are kept; `None` for all.
    pub(in crate::checkpoint) fn latest_count(&self) -> Option<usize> {
        self.latest
    }

    /// Says of each checkpoint why it is kept or dropped. `records` are ordered from the oldest to the newest, and so are
    /// the verdicts. Nothing is removed: what a saver would do can be looked at first.
    ///
    /// Deciding again about what was kept keeps it all. Of several records of one name the last holds for all of them.
    pub fn decide(&self, records: &[Record]) -> Vec<Verdict> {
        let places = records.iter().enumerate();
        let last: BTreeMap<&str, usize> = places.map(|(place, record)| (record.name.as_str(), place)).collect();
        let mut candidates: Vec<Candidate<'_>> = last.values().filter_map(|&i| Candidate::new(i, records)).collect();
        candidates.sort_unstable_by_key(|candidate| candidate.place);
        let mut dropped: BTreeMap<&str, Dropped> = BTreeMap::new();
        loop {
            self.give_reasons(&mut candidates);
            let doomed = self.doomed(&candidates);
            if doomed.is_empty() {
                break;
            }
            // Where the budget took the one that began a period of hours, other periods begin elsewhere: what is left is
            // decided again, or the next save would drop what this one kept.
            candidates.retain(|candidate| !doomed.contains_key(candidate.record.name.as_str()));
            dropped.extend(doomed);
        }
        let mut kept: BTreeMap<&str, Vec<Reason>> = BTreeMap::new();
        kept.extend(
            candidates
                .into_iter()
                .map(|kept| (kept.record.name.as_str(), kept.reasons)),
        );
        let verdict = |record: &Record| Verdict {
            name: record.name.clone(),
            kept: kept.get(record.name.as_str()).cloned().unwrap_or_default(),
            dropped: dropped.get(record.name.as_str()).cloned(),
        };
        records.iter().map(verdict).collect()
    }

    /// Finds every reason for every candidate, anew.
    fn give_reasons(&self, candidates: &mut [Candidate<'_>]) {
        let newest_first = candidates.iter_mut().rev();
        for (rank, candidate) in (1..).zip(newest_first) {
            candidate.reasons.clear();
            let count = self.latest;
            if count.is_none_or(|count| rank <= count) {
                candidate.reasons.push(Reason::Latest { rank, count });
            }
        }
        for ((metric, goal), &count) in &self.best {
            give_best(candidates, metric, *goal, count);
        }
        for &steps in &self.every_steps {
            give_every_steps(candidates, steps);
        }
        for &hours in &self.every_hours {
            give_every_hours(candidates, hours);
        }
        for candidate in candidates {
            let marks = [
                (candidate.record.pinned, Reason::Pinned),
                (candidate.record.preserved, Reason::Preserved),
            ];
            let marks = marks.into_iter().filter(|(marked, _)| *marked);
            candidate.reasons.extend(marks.map(|(_, reason)| reason));
        }
    }

    /// Which candidates go: those without a reason, and then as many as the budget of bytes asks for.
    fn doomed<'a>(&self, candidates: &[Candidate<'a>]) -> BTreeMap<&'a str, Dropped> {
        let mut doomed = BTreeMap::new();
        let mut bytes = 0u64;
        for candidate in candidates {
            match (candidate.reasons.is_empty(), self.latest) {
                (true, Some(latest)) => {
                    doomed.insert(candidate.record.name.as_str(), Dropped::Unwanted { latest });
                }
                _ => bytes = bytes.saturating_add(candidate.record.bytes),
            }
        }
        let Some(max_bytes) = self.max_bytes else { return doomed };
        let mut may_go: Vec<&Candidate<'a>> = candidates
            .split_last()
            .map_or(&[][..], |(_, older)| older)
            .iter()
            .collect();
        may_go.retain(|candidate| !candidate.record.pinned && !candidate.reasons.is_empty());
        may_go.sort_by_key(|candidate| candidate.best_rank().map(Reverse));
        for candidate in may_go {
            if bytes <= max_bytes {
                break;
            }
            bytes = bytes.saturating_sub(candidate.record.bytes);
            doomed.insert(&candidate.record.name, Dropped::Budget { max_bytes });
        }
        doomed
    }
}

/// A checkpoint that has not been dropped yet.
struct Candidate<'a> {
    /// Its place among all records, which are ordered by age.
    place: usize,
    record: &'a Record,
    reasons: Vec<Reason>,
}

impl<'a> Candidate<'a> {
    fn new(place: usize, records: &'a [Record]) -> Option<Self> {
        let record = records.get(place)?;
        let reasons = Vec::new();
        Some(Candidate { place, record, reasons })
    }

    /// Its best place among the best by any metric.
    fn best_rank(&self) -> Option<usize> {
        let rank = |reason: &Reason| match reason {
            Reason::Best { rank, .. } => Some(*rank),
            _ => None,
        };
        self.reasons.iter().filter_map(rank).min()
    }
}

fn give_best(candidates: &mut [Candidate<'_>], metric: &str, goal: Goal, count: usize) {
    let measured = candidates.iter_mut().filter_map(|candidate| {
        let value = candidate.record.metrics.get(metric).copied();
        Some((value.filter(|value| value.is_finite())?, candidate))
    });
    let mut measured: Vec<(f64, &mut Candidate<'_>)> = measured.collect();
    measured.sort_by(|(a, first), (b, second)| {
        let steps = first.record.global_step.cmp(&second.record.global_step);
        goal.compare(*a, *b).then(steps).then(first.place.cmp(&second.place))
    });
    for (rank, (value, candidate)) in (1..=count).zip(measured) {
        candidate.reasons.push(Reason::Best {
            metric: metric.to_owned(),
            goal,
            rank,
            count,
            value,
        });
    }
}

fn give_every_steps(candidates: &mut [Candidate<'_>], steps: u64) {
    let signed = i64::try_from(steps).unwrap_or(i64::MAX);
    let mut first: BTreeMap<i64, &mut Candidate<'_>> = BTreeMap::new();
    for candidate in candidates {
        let step = candidate.record.global_step;
        let since = step.div_euclid(signed).saturating_mul(signed);
        match first.get_mut(&since) {
            Some(earlier) if earlier.record.global_step <= step => {}
            Some(later) => *later = candidate,
            None => drop(first.insert(since, candidate)),
        }
    }
    for (since, candidate) in first {
        candidate.reasons.push(Reason::EverySteps { steps, since });
    }
}

fn give_every_hours(candidates: &mut [Candidate<'_>], hours: f64) {
    let period = hours * 3600.0;
    let mut began: Option<f64> = None;
    for candidate in candidates {
        let time = candidate.record.time;
        let within = |began: f64| began <= time && time - began < period;
        if !time.is_nan() && !began.is_some_and(within) {
            began = Some(time);
            candidate.reasons.push(Reason::EveryHours { hours });
        }
    }
}
