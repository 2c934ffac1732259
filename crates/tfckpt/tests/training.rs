//! What a training loop needs around its checkpoints, put together.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tfckpt::training::{Checkpointable, Due, Epochs, Hooks, SCOPE, SaveListener, States, Trigger};
use tfckpt::{BoxError, Checkpoint, DType, Error, Saved, Saver, Variable};

/// A state of one byte that refuses what is above 100.
#[derive(Debug, Default)]
struct Small(u8);

impl Checkpointable for Small {
    fn to_bytes(&self) -> Vec<u8> {
        vec![self.0]
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), BoxError> {
        match bytes {
            [byte @ ..=100] => self.0 = *byte,
            _ => return Err("above 100".into()),
        }
        Ok(())
    }
}

fn small(value: u8) -> Arc<Mutex<Small>> {
    Arc::new(Mutex::new(Small(value)))
}

fn value(state: &Arc<Mutex<Small>>) -> u8 {
    state.lock().unwrap().0
}

fn byte(name: &str, value: u8) -> Variable<'static> {
    Variable::from_bytes(name, DType::Uint8, [1], vec![value])
}

fn saved(dir: &Path, variables: Vec<Variable<'_>>) -> Checkpoint {
    Saver::new(dir).overwrite(true).save(variables, 9).unwrap();
    Checkpoint::open(dir).unwrap()
}

#[test]
fn states_are_restored_all_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (small(1), small(2));
    let mut states = States::new();
    states.track("a", Arc::clone(&a));
    states.track("b", Arc::clone(&b));
    let checkpoint = saved(dir.path(), states.variables());
    assert_eq!(checkpoint.read::<u8>("b").unwrap(), [2]);
    (a.lock().unwrap().0, b.lock().unwrap().0) = (10, 20);
    let before = states.restore(&checkpoint, 9).unwrap();
    assert_eq!((value(&a), value(&b)), (1, 2));
    states.roll_back(&before);
    assert_eq!((value(&a), value(&b)), (10, 20));

    // The second refuses its byte, is missing, is another variable.
    let other = Variable::new("b", [1], &[0.5f32]);
    for bad in [vec![byte("b", 101)], vec![], vec![other]] {
        let checkpoint = saved(dir.path(), [vec![byte("a", 3)], bad].concat_variables());
        let error = states.restore(&checkpoint, 9).unwrap_err();
        assert!(matches!(&error, Error::State { name, .. } if name == "b"), "{error}");
        assert_eq!((value(&a), value(&b)), (10, 20));
    }

    states.may_be_missing(true);
    states.restore(&saved(dir.path(), vec![byte("a", 3)]), 9).unwrap();
    assert_eq!((value(&a), value(&b)), (3, 20));
}

trait Concat<'a> {
    fn concat_variables(self) -> Vec<Variable<'a>>;
}

impl<'a> Concat<'a> for [Vec<Variable<'a>>; 2] {
    fn concat_variables(self) -> Vec<Variable<'a>> {
        self.into_iter().flatten().collect()
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, what: String) -> ControlFlow<()> {
        self.0.lock().unwrap().push(what);
        ControlFlow::Continue(())
    }
}

impl SaveListener for Log {
    fn begin(&mut self) {
        let _ = self.add("begin".to_owned());
    }

    fn before_save(&mut self, global_step: i64) -> ControlFlow<()> {
        self.add(format!("before {global_step}"))
    }

    fn after_save(&mut self, saved: &Saved) -> ControlFlow<()> {
        self.add(format!("after {}", saved.global_step))
    }

    fn end(&mut self, global_step: i64) {
        let _ = self.add(format!("end {global_step}"));
    }
}

/// A loop as an adapter has it, of one weight. Returns the rows that it saw.
fn train(hooks: &mut Hooks, saver: &mut Saver, weight: &mut f32) -> Vec<usize> {
    fn save(hooks: &mut Hooks, saver: &mut Saver, weight: f32) {
        hooks.before_save();
        let mut variables = hooks.variables();
        let weight = [weight];
        variables.push(Variable::new("weight", [1], &weight));
        let saved = saver.save(variables, hooks.global_step()).unwrap();
        hooks.saved();
        hooks.after_save(&saved);
    }
    let latest = saver.latest().unwrap();
    if let Some(checkpoint) = &latest {
        let step = checkpoint.global_step().unwrap().unwrap();
        hooks.restore(checkpoint, step).unwrap();
        *weight = checkpoint.read::<f32>("weight").unwrap()[0];
    }
    if hooks.begin(latest.is_some()).is_some() {
        save(hooks, saver, *weight);
    }
    let mut seen = Vec::new();
    while let Some(batch) = hooks.next_batch() {
        *weight = *weight * 0.9 + batch.rows.iter().sum::<usize>() as f32;
        hooks.metrics.record("weight", f64::from(*weight));
        seen.extend(batch.rows);
        if hooks.after_step().is_some() {
            save(hooks, saver, *weight);
        }
    }
    if hooks.trigger.is_due_at_end(hooks.global_step()).is_some() {
        save(hooks, saver, *weight);
    }
    hooks.end();
    seen
}

fn hooks(epochs: u64) -> Hooks {
    let mut hooks = Hooks::new();
    hooks.epochs = Some(Epochs::new(10, 3).shuffle(7).stop_after(epochs));
    hooks
}

#[test]
fn listeners_hear_what_tensorflow_tells_them_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut hooks) = (Log::default(), hooks(2));
    hooks.trigger = Trigger::new().every_steps(3).at_start(true);
    hooks.listeners.add(log.clone());
    train(&mut hooks, &mut Saver::new(dir.path()), &mut 0.0);
    let expected = [0, 3, 6, 8].map(|step| [format!("before {step}"), format!("after {step}")]);
    let expected = [vec!["begin".to_owned()], expected.concat(), vec!["end 8".to_owned()]].concat();
    assert_eq!(*log.0.lock().unwrap(), expected);
}

#[test]
fn a_listener_ends_the_training_at_a_save_and_the_next_run_goes_on_from_there() {
    let (one_go, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut whole, mut parts) = (0.0, 0.0);
    let all = train(&mut hooks(3), &mut Saver::new(one_go.path()), &mut whole);
    let mut seen = Vec::new();
    for _ in 0..12 {
        let mut hooks = hooks(3);
        hooks.trigger = Trigger::new().every_steps(1);
        hooks.listeners.add(|_: &Saved| ControlFlow::Break(()));
        let mut fresh = f32::NAN;
        if seen.is_empty() {
            fresh = 0.0;
        }
        seen.extend(train(&mut hooks, &mut Saver::new(stopped.path()), &mut fresh));
        parts = fresh;
    }
    assert_eq!(seen, all);
    assert_eq!(parts.to_bits(), whole.to_bits());
    let read = |dir: &Path| {
        let checkpoint = Checkpoint::open(dir).unwrap();
        let names = checkpoint.variables().map(|variable| variable.name().into_owned());
        names
            .map(|name| (checkpoint.read_bytes(&name).unwrap(), name))
            .collect::<Vec<_>>()
    };
    assert_eq!(read(stopped.path()), read(one_go.path()));
}

#[test]
fn what_is_saved_for_the_loop_can_be_read_by_people() {
    let dir = tempfile::tempdir().unwrap();
    let mut hooks = hooks(2);
    hooks.metrics.record("nothing", f64::NAN);
    train(&mut hooks, &mut Saver::new(dir.path()), &mut 0.0);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let ours: Vec<_> = checkpoint
        .variables()
        .map(|v| v.name().into_owned())
        .filter(|name| name.starts_with(SCOPE))
        .collect();
    let metrics = [
        "highest",
        "highest_step",
        "latest",
        "latest_step",
        "lowest",
        "lowest_step",
    ];
    let mut expected = vec!["tfckpt/epochs".to_owned()];
    expected.extend(["latest", "latest_step"].map(|what| format!("tfckpt/metrics/nothing/{what}")));
    expected.extend(metrics.map(|what| format!("tfckpt/metrics/weight/{what}")));
    assert_eq!(ours, expected);
    assert_eq!(checkpoint.read::<i64>("tfckpt/epochs").unwrap(), [2, 0, 10, 1, 7]);
    assert_eq!(
        checkpoint.read::<i64>("tfckpt/metrics/weight/latest_step").unwrap(),
        [8]
    );
}

#[test]
fn a_request_to_stop_is_saved_once() {
    let mut hooks = Hooks::new();
    hooks.begin(false);
    assert_eq!(hooks.after_step(), None);
    hooks.stop.request();
    assert!(hooks.should_stop());
    assert_eq!(hooks.after_step(), Some(Due::Stop));
    hooks.saved();
    assert_eq!(hooks.is_due(), None);
}

#[test]
fn public_types_are_debug_send_and_sync() {
    fn check<T: std::fmt::Debug + Send + Sync>() {}
    check::<Hooks>();
    check::<tfckpt::training::Before>();
    check::<tfckpt::training::Snapshot>();
    check::<tfckpt::training::Batch>();
    check::<tfckpt::training::Due>();
    check::<tfckpt::training::Signal>();
}
