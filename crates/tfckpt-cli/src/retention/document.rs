//! What is said of each checkpoint, as JSON.

use serde::Serialize;
use tfckpt::{Dropped, Reason, Record, Verdict};

use super::Args;

/// The JSON document. Fields may be added; a change of meaning raises `schema_version`.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    schema_version: u32,
    directory: String,
    basename: String,
    kept_bytes: u64,
    dropped_bytes: u64,
    /// Oldest first.
    checkpoints: Vec<Judged<'a>>,
}

#[derive(Debug, Serialize)]
struct Judged<'a> {
    name: &'a str,
    global_step: i64,
    /// When it was saved, in seconds since 1970; `null` if nobody knows.
    time: Option<f64>,
    bytes: u64,
    /// Values that are not finite are `null`.
    metrics: Vec<Metric<'a>>,
    pinned: bool,
    preserved: bool,
    kept: bool,
    /// Why it is kept: all reasons; or dropped: one.
    reasons: Vec<Why>,
}

#[derive(Debug, Serialize)]
struct Metric<'a> {
    name: &'a str,
    value: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Why {
    /// `latest`, `best`, `every_steps`, `every_hours`, `pinned`, `preserved`; `unwanted`, `budget`.
    rule: &'static str,
    /// In words.
    text: String,
}

impl<'a> Document<'a> {
    pub(super) fn of(args: &Args, basename: String, judged: &'a [(Record, Verdict)]) -> Self {
        let bytes = |kept: bool| {
            let of = judged.iter().filter(|(_, verdict)| verdict.keeps() == kept);
            of.map(|(record, _)| record.bytes).fold(0, u64::saturating_add)
        };
        Document {
            schema_version: 1,
            directory: args.directory.display().to_string(),
            basename,
            kept_bytes: bytes(true),
            dropped_bytes: bytes(false),
            checkpoints: judged
                .iter()
                .map(|(record, verdict)| Judged::of(record, verdict))
                .collect(),
        }
    }
}

impl<'a> Judged<'a> {
    fn of(record: &'a Record, verdict: &Verdict) -> Self {
        let metrics = record.metrics.iter().map(|(name, &value)| Metric {
            name,
            value: Some(value).filter(|value| value.is_finite()),
        });
        let kept = verdict.kept.iter().map(Why::kept);
        Judged {
            name: &record.name,
            global_step: record.global_step,
            time: Some(record.time).filter(|time| time.is_finite()),
            bytes: record.bytes,
            metrics: metrics.collect(),
            pinned: record.pinned,
            preserved: record.preserved,
            kept: verdict.keeps(),
            reasons: kept.chain(verdict.dropped.as_ref().map(Why::dropped)).collect(),
        }
    }
}

impl Why {
    fn kept(reason: &Reason) -> Self {
        let rule = match reason {
            Reason::Latest { .. } => "latest",
            Reason::Best { .. } => "best",
            Reason::EverySteps { .. } => "every_steps",
            Reason::EveryHours { .. } => "every_hours",
            Reason::Pinned => "pinned",
            Reason::Preserved => "preserved",
            _ => "other",
        };
        Why {
            rule,
            text: reason.to_string(),
        }
    }

    fn dropped(dropped: &Dropped) -> Self {
        let rule = match dropped {
            Dropped::Unwanted { .. } => "unwanted",
            Dropped::Budget { .. } => "budget",
            _ => "other",
        };
        Why {
            rule,
            text: dropped.to_string(),
        }
    }
}
