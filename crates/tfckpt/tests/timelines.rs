//! Under the same clock saves are made when TensorFlow's `CheckpointSaverHook` makes them, and listeners are told what its
//! listeners are told.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tfckpt::training::{Hooks, SaveListener, Trigger};
use tfckpt::{Clock, Saved, Saver};

/// A clock that stands still until it is set.
#[derive(Debug, Default)]
struct Hand(Mutex<f64>);

impl Clock for Hand {
    fn now(&self) -> f64 {
        *self.0.lock().unwrap()
    }
}

#[derive(Clone, Default)]
struct Log {
    told: Arc<Mutex<Vec<String>>>,
    stop_at: Option<i64>,
}

impl Log {
    fn note(&self, what: String) {
        self.told.lock().unwrap().push(what);
    }
}

impl SaveListener for Log {
    fn begin(&mut self) {
        self.note("begin".to_owned());
    }

    fn before_save(&mut self, global_step: i64) -> ControlFlow<()> {
        self.note(format!("before {global_step}"));
        ControlFlow::Continue(())
    }

    fn after_save(&mut self, saved: &Saved) -> ControlFlow<()> {
        self.note(format!("after {}", saved.global_step));
        match self.stop_at.is_some_and(|stop_at| saved.global_step >= stop_at) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn end(&mut self, global_step: i64) {
        self.note(format!("end {global_step}"));
    }
}

/// One process of a timeline: what its listener is told.
fn told(directory: &Path, timeline: &Value, run: &Value) -> Vec<String> {
    let clock = Arc::new(Hand::default());
    let mut times = run["times"]
        .as_array()
        .unwrap()
        .iter()
        .map(|time| time.as_f64().unwrap());
    let mut tick = || {
        let time = times.next()?;
        *clock.0.lock().unwrap() = time;
        Some(())
    };
    tick();
    let log = Log {
        stop_at: run["stop_at"].as_i64(),
        ..Log::default()
    };
    let mut hooks = Hooks::new();
    hooks.trigger = Trigger::new()
        .every_steps(timeline["every_steps"].as_u64().unwrap_or(0))
        .every_seconds(timeline["every_seconds"].as_f64().unwrap_or(0.0))
        .at_start(true)
        .clock(clock.clone());
    hooks.listeners.add(log.clone());

    let mut saver = Saver::new(directory);
    let mut save = |hooks: &mut Hooks| {
        hooks.before_save();
        let saved = saver.save(hooks.variables(), hooks.global_step()).unwrap();
        hooks.saved();
        hooks.after_save(&saved);
    };
    let latest = Saver::new(directory).latest().unwrap();
    if let Some(checkpoint) = &latest {
        hooks
            .restore(checkpoint, checkpoint.global_step().unwrap().unwrap())
            .unwrap();
    }
    if hooks.begin(latest.is_some()).is_some() {
        save(&mut hooks);
    }
    while !hooks.should_stop() && tick().is_some() {
        if hooks.after_step().is_some() {
            save(&mut hooks);
        }
    }
    if hooks.trigger.is_due_at_end(hooks.global_step()).is_some() {
        save(&mut hooks);
    }
    hooks.end();
    drop(hooks);
    let told = log.told.lock().unwrap();
    told.clone()
}

#[test]
fn saves_and_words_to_listeners_are_those_of_tensorflow() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/hooks/timelines.json");
    let timelines: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut saves = 0;
    for timeline in timelines.as_array().unwrap() {
        let dir = tempfile::tempdir().unwrap();
        for (number, run) in timeline["runs"].as_array().unwrap().iter().enumerate() {
            let mut expected: Vec<&str> = run["told"]
                .as_array()
                .unwrap()
                .iter()
                .map(|line| line.as_str().unwrap())
                .collect();
            if number > 0 {
                // TensorFlow begins by writing the step anew that it has just restored; we do not.
                expected.drain(1..3);
            }
            assert_eq!(told(dir.path(), timeline, run), expected, "{timeline} run {number}");
            saves += expected.iter().filter(|line| line.starts_with("after")).count();
        }
    }
    assert_eq!(saves, 144);
}
