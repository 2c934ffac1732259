//! The history as text: JSON with a checkpoint on each line.
//!
//! JSON has no NaN and no infinities: they are the strings `nan`, `inf` and `-inf`. A newer version adds fields and
//! leaves these as they are; what is not understood is passed over, one field or one checkpoint at a time.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::io;

use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{Best, Goal, History, Record, Verdict, check_name};

const ABOUT: &str = "what tfckpt knows of the checkpoints of this directory: times in seconds since 1970, all their bytes, metrics, \
                     pins, and why each was kept or dropped at the last save. Set `pinned` to true to keep one. \
                     TensorFlow ignores this file, and training goes on without it.";

/// A checkpoint.
#[derive(Serialize, Deserialize)]
struct Line {
    name: String,
    global_step: i64,
    #[serde(default = "unknown", deserialize_with = "number")]
    time: Number,
    #[serde(default, deserialize_with = "lenient")]
    bytes: u64,
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "BTreeMap::is_empty")]
    metrics: BTreeMap<String, Number>,
    #[serde(default, deserialize_with = "lenient")]
    pinned: bool,
    #[serde(default, deserialize_with = "lenient")]
    preserved: bool,
    /// For people; it is not read.
    #[serde(skip_deserializing, skip_serializing_if = "String::is_empty")]
    verdict: String,
}

/// The best value ever of a metric.
#[derive(Serialize, Deserialize)]
struct BestLine {
    value: f64,
    global_step: i64,
    name: String,
}

/// What is read of a file.
#[derive(Deserialize, Default)]
struct File {
    #[serde(default)]
    checkpoints: Lines,
    #[serde(default, deserialize_with = "lenient")]
    best: BTreeMap<String, BestLines>,
}

#[derive(Deserialize, Default)]
struct BestLines {
    min: Option<BestLine>,
    max: Option<BestLine>,
}

/// The history that a file holds; as much of it as can be understood.
pub(super) fn parse(bytes: &[u8]) -> History {
    let file: File = serde_json::from_slice(bytes).unwrap_or_default();
    let mut history = History::default();
    for line in file.checkpoints.0 {
        let metrics = line.metrics.into_iter().map(|(metric, value)| (metric, value.0));
        let mut record = Record::new(line.name, line.global_step, line.time.0)
            .bytes(line.bytes)
            .pinned(line.pinned);
        record.metrics = metrics.collect();
        record.preserved = line.preserved;
        history.note_best(&record);
        history.records.push(record);
    }
    for (metric, BestLines { min, max }) in file.best {
        for (goal, line) in [(Goal::Min, min), (Goal::Max, max)] {
            let Some(BestLine {
                value,
                global_step,
                name,
            }) = line.filter(|line| line.value.is_finite())
            else {
                continue;
            };
            // A checkpoint that is listed may be better than what this part says, if somebody edited the file.
            let better = history
                .best(&metric, goal)
                .is_some_and(|best| goal.compare(best.value, value).is_lt());
            if !better {
                let best = Best {
                    value,
                    global_step,
                    name,
                };
                history.best.insert((metric.clone(), goal), best);
            }
        }
    }
    history
}

/// The text of the file.
pub(super) fn to_text(history: &History, verdicts: &[Verdict]) -> io::Result<String> {
    let verdicts: BTreeMap<&str, &Verdict> = verdicts
        .iter()
        .map(|verdict| (verdict.name.as_str(), verdict))
        .collect();
    let mut text = format!(
        "{{\n  \"version\": 1,\n  \"about\": {},\n  \"checkpoints\": [",
        serde_json::to_string(ABOUT)?
    );
    for (i, record) in history.records.iter().enumerate() {
        let verdict = verdicts.get(record.name.as_str());
        let line = Line {
            name: record.name.clone(),
            global_step: record.global_step,
            time: Number(record.time),
            bytes: record.bytes,
            metrics: record
                .metrics
                .iter()
                .map(|(metric, &value)| (metric.clone(), Number(value)))
                .collect(),
            pinned: record.pinned,
            preserved: record.preserved,
            verdict: verdict.map(ToString::to_string).unwrap_or_default(),
        };
        let comma = if i > 0 { "," } else { "" };
        // Writing to a string does not fail.
        let _ = write!(text, "{comma}\n    {}", serde_json::to_string(&line)?);
    }
    text.push_str("\n  ],\n  \"best\": {");
    let mut best: BTreeMap<&str, BTreeMap<&str, BestLine>> = BTreeMap::new();
    for (
        (metric, goal),
        Best {
            value,
            global_step,
            name,
        },
    ) in &history.best
    {
        let (value, global_step, name) = (*value, *global_step, name.clone());
        let line = BestLine {
            value,
            global_step,
            name,
        };
        best.entry(metric).or_default().insert(goal_name(*goal), line);
    }
    for (i, (metric, lines)) in best.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let (metric, lines) = (serde_json::to_string(metric)?, serde_json::to_string(lines)?);
        let _ = write!(text, "{comma}\n    {metric}: {lines}");
    }
    text.push_str("\n  }\n}\n");
    Ok(text)
}

fn goal_name(goal: Goal) -> &'static str {
    match goal {
        Goal::Min => "min",
        Goal::Max => "max",
    }
}

/// The checkpoints that can be understood, one after the other, so that a hostile file takes no more memory than what
/// is kept of it.
#[derive(Default)]
struct Lines(Vec<Line>);

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(LinesVisitor)
    }
}

struct LinesVisitor;

impl<'de> Visitor<'de> for LinesVisitor {
    type Value = Lines;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of checkpoints")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Lines, A::Error> {
        let mut lines: BTreeMap<String, (usize, Line)> = BTreeMap::new();
        let mut place = 0;
        while let Some(raw) = list.next_element::<&RawValue>()? {
            let line: Option<Line> = serde_json::from_str(raw.get()).ok();
            if let Some(line) = line.filter(|line| check_name(&line.name).is_ok()) {
                lines.insert(line.name.clone(), (place, line));
                place += 1;
            }
        }
        let mut lines: Vec<(usize, Line)> = lines.into_values().collect();
        lines.sort_by_key(|(place, _)| *place);
        Ok(Lines(lines.into_iter().map(|(_, line)| line).collect()))
    }
}

/// A field that is passed over if it is not what it should be.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).unwrap_or_default())
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).unwrap_or(unknown()))
}

fn unknown() -> Number {
    Number(f64::NAN)
}

/// Any `f64`.
#[derive(Clone, Copy)]
struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            finite if finite.is_finite() => serializer.serialize_f64(finite),
            nan if nan.is_nan() => serializer.serialize_str("nan"),
            infinite if infinite > 0.0 => serializer.serialize_str("inf"),
            _ => serializer.serialize_str("-inf"),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Stored {
            Finite(f64),
            Word(String),
            /// What other programs write in place of NaN.
            Null(()),
        }
        match Stored::deserialize(deserializer)? {
            Stored::Finite(value) => Ok(Number(value)),
            Stored::Word(word) => word.parse().map(Number).map_err(serde::de::Error::custom),
            Stored::Null(()) => Ok(Number(f64::NAN)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        let mut history = History::default();
        let values = [
            0.1 + 0.2,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            5e-324,
            -0.0,
            f64::MAX,
        ];
        for (i, value) in (1..).zip(values) {
            let record = Record::new(format!("model.ckpt-{i}"), i, 1.7e9 + 0.1 * i as f64);
            history.push(record.metric("loss \"é\"\n", value).bytes(u64::MAX - 1).pinned(i == 2));
        }
        history
    }

    #[test]
    fn everything_survives_and_equal_histories_have_equal_bytes() {
        let history = history();
        let text = to_text(&history, &[]).unwrap();
        let again = parse(text.as_bytes());
        // `Debug`, because NaN is not equal to itself.
        assert_eq!(format!("{again:?}"), format!("{history:?}"));
        assert_eq!(to_text(&again, &[]).unwrap(), text);
        let empty = History::default();
        assert_eq!(parse(to_text(&empty, &[]).unwrap().as_bytes()), empty);
    }

    #[test]
    fn a_file_is_read_by_people_line_by_line() {
        let mut history = History::default();
        history.push(
            Record::new("m-5", 5, 1.5)
                .metric("loss", f64::NAN)
                .metric("accuracy", 0.5),
        );
        let verdicts = crate::Retention::default().decide(history.records());
        let text = to_text(&history, &verdicts).unwrap();
        let line = r#"    {"name":"m-5","global_step":5,"time":1.5,"bytes":0,"metrics":{"accuracy":0.5,"loss":"nan"},"pinned":false,"preserved":false,"verdict":"kept: latest (1 of 5)"}"#;
        assert!(text.lines().any(|found| found == line), "{text}");
        let best = r#"    "accuracy": {"max":{"value":0.5,"global_step":5,"name":"m-5"},"min":{"value":0.5,"global_step":5,"name":"m-5"}}"#;
        assert!(text.lines().any(|found| found == best), "{text}");
    }

    #[test]
    fn what_is_not_understood_is_passed_over_and_the_rest_is_read() {
        let text = r#"{"version": 9, "future": [{}], "checkpoints": [
            7, null, {"name": 3}, {"name": "m-1"}, {"name": "../m-2", "global_step": 2}, {"name": "", "global_step": 2},
            {"name": "m-3", "global_step": 3, "pinned": true, "time": "noon", "bytes": -1, "metrics": {"a": []}, "new": 1},
            {"name": "m-4", "global_step": 4, "metrics": {"a": 1, "b": null, "c": "inf"}},
            {"name": "m-3", "global_step": 3, "pinned": true}
        ], "best": {"a": {"min": {"value": 0.5, "global_step": 1, "name": "m-1"}, "max": null}}}"#;
        let history = parse(text.as_bytes());
        let names: Vec<&str> = history.records().iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["m-4", "m-3"]);
        assert!(history.records()[1].pinned && history.records()[1].time.is_nan());
        let metrics = &history.records()[0].metrics;
        assert!(metrics["a"] == 1.0 && metrics["b"].is_nan() && metrics["c"] == f64::INFINITY);
        assert_eq!(history.best("a", Goal::Min).unwrap().value, 0.5);
        assert_eq!(history.best("a", Goal::Max).unwrap().value, 1.0);
    }

    #[test]
    fn a_damaged_file_is_an_empty_history() {
        let whole = to_text(&history(), &[]).unwrap();
        for len in 0..whole.trim_end().len() {
            assert_eq!(parse(&whole.as_bytes()[..len]), History::default(), "{len}");
        }
        let deep = "[".repeat(1 << 20);
        for hostile in [
            &deep,
            &format!("{{\"checkpoints\": [{deep}"),
            "\u{0}",
            "{\"checkpoints\": 3}",
        ] {
            assert_eq!(parse(hostile.as_bytes()), History::default());
        }
        let many = format!("{{\"checkpoints\": [{}0]}}", "0,".repeat(1 << 20));
        assert_eq!(parse(many.as_bytes()), History::default());
    }
}
