//! What becomes of a checkpoint, in words.

use std::cmp::Ordering;
use std::fmt;

/// Which values of a metric are good ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Goal {
    /// Small ones: a loss.
    Min,
    /// Large ones: an accuracy.
    Max,
}

impl Goal {
    /// The better of two values comes first.
    pub(crate) fn compare(self, a: f64, b: f64) -> Ordering {
        let ascending = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
        match self {
            Goal::Min => ascending,
            Goal::Max => ascending.reverse(),
        }
    }
}

/// What becomes of one checkpoint.
///
/// Its text is for people: `kept: latest (2 of 5); best val_loss (1 of 3: 0.31)`, or
/// `dropped: older than the latest 5, and no rule keeps it`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Verdict {
    /// The checkpoint's name within its directory.
    pub name: String,
    /// Every reason for which it is kept; none if it is dropped.
    pub kept: Vec<Reason>,
    /// Why it is dropped; `None` if it is kept.
    pub dropped: Option<Dropped>,
}

impl Verdict {
    /// Whether the checkpoint stays.
    pub fn keeps(&self) -> bool {
        self.dropped.is_none()
    }

    /// Whether it is one of the latest, which are those that the state file lists.
    pub fn is_latest(&self) -> bool {
        self.kept.iter().any(|reason| matches!(reason, Reason::Latest { .. }))
    }
}

/// A reason for which a checkpoint is kept.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// It is one of the latest.
    Latest {
        /// Its place: 1 is the newest.
        rank: usize,
        /// How many are kept; `None` for all.
        count: Option<usize>,
    },
    /// It is one of the best by a metric.
    Best {
        /// The metric.
        metric: String,
        /// Whether small or large values are good.
        goal: Goal,
        /// Its place: 1 is the best.
        rank: usize,
        /// How many are kept.
        count: usize,
        /// Its value.
        value: f64,
    },
    /// It is the first at or after a multiple of so many steps.
    EverySteps {
        /// The rule.
        steps: u64,
        /// The multiple.
        since: i64,
    },
    /// It is the first since so many hours.
    EveryHours {
        /// The rule.
        hours: f64,
    },
    /// It is pinned.
    Pinned,
    /// It was set aside for ever.
    Preserved,
}

/// Why a checkpoint is dropped.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Dropped {
    /// It is not one of the latest, and no other rule keeps it.
    Unwanted {
        /// How many of the latest are kept.
        latest: usize,
    },
    /// A rule would keep it, but the directory would be too large.
    Budget {
        /// The most bytes of all checkpoints together.
        max_bytes: u64,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(dropped) = &self.dropped {
            return write!(f, "dropped: {dropped}");
        }
        f.write_str("kept: ")?;
        for (i, reason) in self.kept.iter().enumerate() {
            write!(f, "{}{reason}", if i > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Latest {
                rank,
                count: Some(count),
            } => write!(f, "latest ({rank} of {count})"),
            Reason::Latest { count: None, .. } => f.write_str("all of the latest are kept"),
            Reason::Best {
                metric,
                rank,
                count,
                value,
                ..
            } => {
                write!(f, "best {metric} ({rank} of {count}: {})", rounded(*value))
            }
            Reason::EverySteps { steps, since } => write!(f, "first since step {since} (every {steps} steps)"),
            Reason::EveryHours { hours } => write!(f, "first of its period (every {} hours)", hours),
            Reason::Pinned => f.write_str("pinned"),
            Reason::Preserved => f.write_str("set aside for ever"),
        }
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dropped::Unwanted { latest: 1 } => f.write_str("not the latest, and no rule keeps it"),
            Dropped::Unwanted { latest } => write!(f, "older than the latest {latest}, and no rule keeps it"),
            Dropped::Budget { max_bytes } => {
                write!(
                    f,
                    "the checkpoints together may have {max_bytes} bytes, and others come first"
                )
            }
        }
    }
}

/// Six digits: a metric that was a `f32` once has a long tail of digits that nobody measured.
pub(in crate::checkpoint) fn rounded(value: f64) -> String {
    let rounded = format!("{value:.5e}").parse().unwrap_or(value);
    format!("{rounded:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_sentences() {
        let verdict = Verdict {
            name: "model.ckpt-3".to_owned(),
            kept: vec![
                Reason::Latest {
                    rank: 2,
                    count: Some(5),
                },
                Reason::Best {
                    metric: "val_loss".to_owned(),
                    goal: Goal::Min,
                    rank: 1,
                    count: 3,
                    value: f64::from(0.31f32),
                },
            ],
            dropped: None,
        };
        assert_eq!(
            verdict.to_string(),
            "kept: latest (2 of 5); best val_loss (1 of 3: 0.31)"
        );
        let dropped = Verdict {
            name: "model.ckpt-1".to_owned(),
            kept: vec![],
            dropped: Some(Dropped::Unwanted { latest: 5 }),
        };
        assert_eq!(
            dropped.to_string(),
            "dropped: older than the latest 5, and no rule keeps it"
        );
    }
}
