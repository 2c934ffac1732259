//! When a run saves, who is told, and what makes it stop.

mod support;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::{AdamConfig, ModuleOptimizer};
use burn::tensor::Device;
use burn::train::metric::LossMetric;
use burn::train::{Interrupter, LearningResult, SupervisedTraining, TrainStep};
use support::quiet::Quiet;
use support::{BATCH, Cut, Net, ROWS, Rows, STEPS, alone, latest, latest_step, schedule};
use tfckpt::{Checkpoint, Clock, Saved};
use tfckpt_burn::training::{CheckpointRng, Checkpointable, Epochs, SaveListener, Stop};
use tfckpt_burn::{Error, TfCheckpoints};

/// A loop written by hand, step by step.
struct Loop {
    tf: TfCheckpoints,
    net: Net,
    optimizer: ModuleOptimizer,
    rates: ModuleLrScheduler,
}

impl Loop {
    fn start(tf: TfCheckpoints) -> Result<Self, Error> {
        Self::of(
            tf.epochs(Epochs::new(ROWS, BATCH).shuffle(7)).seed_each_step(5),
            Cut::Never,
        )
    }

    fn of(tf: TfCheckpoints, cut: Cut) -> Result<Self, Error> {
        let net = Net::new(&Device::flex().autodiff(), cut);
        let mut it = Loop {
            tf,
            net,
            optimizer: AdamConfig::new().init(),
            rates: schedule(),
        };
        it.tf
            .restore_or_initialize(&mut it.net, &mut it.optimizer, &mut it.rates)?;
        Ok(it)
    }

    /// Takes one step, and gives the step that was saved.
    fn step(&mut self) -> Option<i64> {
        let device = Device::flex().autodiff();
        let batch = self.tf.next_batch().expect("there is more");
        let rows = batch
            .rows
            .iter()
            .map(|&row| burn::data::dataset::Dataset::get(&Rows::default(), row).unwrap());
        let batch = burn::data::dataloader::batcher::Batcher::batch(&Rows::default(), rows.collect(), &device);
        self.tf.before_pass(&device);
        let output = TrainStep::step(&self.net, batch);
        self.net = self.optimizer.step(self.rates.step(), self.net.clone(), output.grads);
        let saved = self.tf.after_step(&self.net, &self.optimizer, &self.rates).unwrap();
        saved.map(|saved| saved.global_step)
    }

    fn finish(&self) -> Option<i64> {
        let saved = self.tf.finish(&self.net, &self.optimizer, &self.rates).unwrap();
        saved.map(|saved| saved.global_step)
    }
}

fn learner(dir: &Path, epochs: usize, tf: &TfCheckpoints, cut: Cut, interrupter: Interrupter) -> LearningResult<Net> {
    let loader = tf.loader(Rows::default(), Rows::default());
    let valid = burn::data::dataloader::DataLoaderBuilder::new(Rows::default()).batch_size(BATCH);
    let training = SupervisedTraining::new(dir.join("burn"), loader, valid.build(Rows::default()))
        .metrics((LossMetric::new(),))
        .num_epochs(epochs)
        .with_interrupter(interrupter)
        .renderer(Box::new(Quiet))
        .with_application_logger(None);
    let net = Net::new(&Device::flex(), cut);
    tf.launch(training, net, AdamConfig::new().init(), schedule()).unwrap()
}

fn with_epochs(tf: TfCheckpoints) -> TfCheckpoints {
    tf.epochs(Epochs::new(ROWS, BATCH).shuffle(7)).seed_each_step(5)
}

/// A clock that stands still until it is set.
#[derive(Debug, Default)]
struct Hand(Mutex<f64>);

impl Clock for Hand {
    fn now(&self) -> f64 {
        *self.0.lock().unwrap()
    }
}

#[test]
fn it_saves_every_so_many_seconds_or_steps_since_the_last_save() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hand::default());
    let tf = TfCheckpoints::new(dir.path())
        .every_seconds(60.0)
        .every_steps(4)
        .save_at_start(true)
        .clock(clock.clone());
    let mut it = Loop::start(tf).unwrap();
    assert_eq!(latest_step(dir.path()), 0);
    let mut saves = Vec::new();
    for seconds in [10.0, 59.0, 60.0, 61.0, 62.0, 63.0, 64.0, 65.0, 124.0, 125.0] {
        *clock.0.lock().unwrap() = seconds;
        saves.extend(it.step());
    }
    assert!(
        Checkpoint::open(dir.path().join("model.ckpt-0")).is_ok(),
        "saved at the start"
    );
    assert_eq!(saves, [3, 7, 9]);
    assert_eq!((it.finish(), it.finish()), (Some(10), None));
}

#[test]
fn a_save_may_be_asked_for_and_one_at_the_end_declined() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut it = Loop::start(TfCheckpoints::new(dir.path()).save_at_end(false)).unwrap();
    assert_eq!(it.step(), None);
    it.tf.request_save();
    assert_eq!((it.step(), it.step(), it.finish()), (Some(2), None, None));
}

#[test]
fn a_request_to_stop_saves_this_step_and_gives_no_more_batches() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let stop = Stop::new();
    let mut it = Loop::start(TfCheckpoints::new(dir.path()).stop(&stop).save_at_end(false)).unwrap();
    assert_eq!((it.step(), it.tf.should_stop()), (None, false));
    stop.request();
    assert!(it.tf.next_batch().is_none());
    assert_eq!(it.finish(), Some(1), "although saving at the end is not wanted");
    assert_eq!((it.tf.exit_code(), it.tf.stopped_by()), (0, None));
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>, Option<i64>);

impl Log {
    fn add(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

impl SaveListener for Log {
    fn begin(&mut self) {
        self.add("begin".to_owned());
    }

    fn before_save(&mut self, global_step: i64) -> ControlFlow<()> {
        self.add(format!("before {global_step}"));
        ControlFlow::Continue(())
    }

    fn after_save(&mut self, saved: &Saved) -> ControlFlow<()> {
        self.add(format!("after {}", saved.global_step));
        match self.1 == Some(saved.global_step) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn end(&mut self, global_step: i64) {
        self.add(format!("end {global_step}"));
    }
}

#[test]
fn listeners_hear_of_every_save_and_one_of_them_ends_the_training() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let log = Log(Arc::default(), Some(6));
    let tf = with_epochs(TfCheckpoints::new(dir.path()).every_steps(3).listener(log.clone()));
    let result = learner(dir.path(), 3, &tf, Cut::Never, Interrupter::new());
    assert!(result.error.is_none());
    let reason = result.interrupted.unwrap().reason.unwrap();
    assert_eq!(reason, "a listener asked to stop: step 6 is saved");
    let expected = ["begin", "before 3", "after 3", "before 6", "after 6", "end 6"];
    assert_eq!(*log.0.lock().unwrap(), expected);
}

#[test]
fn a_listener_may_end_a_training_at_the_save_before_its_first_step() {
    let _alone = alone();
    let [hand, learned] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let stopping = |dir: &Path| {
        let tf = TfCheckpoints::new(dir).save_at_start(true);
        tf.listener(|_: &Saved| ControlFlow::Break(()))
    };
    let it = Loop::start(stopping(hand.path())).unwrap();
    assert!(it.tf.should_stop() && it.tf.next_batch().is_none());
    assert_eq!(it.finish(), None, "step 0 is saved");
    // A learner looks after a step.
    let tf = with_epochs(stopping(learned.path()));
    let result = learner(learned.path(), 3, &tf, Cut::Never, Interrupter::new());
    let reason = result.interrupted.unwrap().reason.unwrap();
    assert_eq!(reason, "a listener asked to stop: step 1 is saved");
    assert_eq!(latest_step(learned.path()), 1);
}

#[test]
fn a_learner_that_others_interrupt_is_saved_as_far_as_it_came() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let interrupter = Interrupter::new();
    interrupter.stop(Some("enough"));
    let tf = with_epochs(TfCheckpoints::new(dir.path()));
    let result = learner(dir.path(), 3, &tf, Cut::Never, interrupter);
    assert_eq!(result.interrupted.unwrap().reason.as_deref(), Some("enough"));
    assert_eq!((tf.global_step(), latest_step(dir.path())), (1, 1));
}

#[test]
fn validation_metrics_of_a_learner_are_in_the_checkpoint_and_go_on() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let options = || {
        with_epochs(
            TfCheckpoints::new(dir.path())
                .valid_metric("Loss", "val_loss")
                .valid_metric("No", "no"),
        )
    };
    for epochs in [1, 3] {
        let tf = options();
        assert!(
            learner(dir.path(), epochs, &tf, Cut::Never, Interrupter::new())
                .error
                .is_none()
        );
        let metrics = tf.metrics();
        assert_eq!(metrics.latest("val_loss").unwrap().global_step, (epochs * STEPS) as i64);
        assert_eq!(metrics.latest("no"), None);
    }
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let read = |what: &str| {
        checkpoint
            .read::<f64>(&format!("tfckpt/metrics/val_loss/{what}"))
            .unwrap()[0]
    };
    assert!(read("lowest") <= read("latest") && read("latest") <= read("highest"));
    assert_eq!(checkpoint.read::<i64>("burn/epoch").unwrap(), [3]);
    assert_eq!(checkpoint.read::<i64>("tfckpt/epochs").unwrap()[..2], [3, 0]);
}

#[test]
fn metrics_of_a_loop_are_of_the_step_that_was_at_work() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    for loss in [f64::NAN, 0.5, 0.25, f64::NAN] {
        let mut it = Loop::start(TfCheckpoints::new(dir.path())).unwrap();
        it.tf.metric("val_loss", loss);
        it.step();
        it.finish();
    }
    let it = Loop::start(TfCheckpoints::new(dir.path())).unwrap();
    let lowest = it.tf.metrics().lowest("val_loss").unwrap();
    assert_eq!((lowest.value, lowest.global_step), (0.25, 3));
    assert_eq!(it.tf.position().unwrap().row, 4 * BATCH);
}

#[test]
fn a_second_run_in_the_directory_is_refused_at_its_start() {
    let dir = tempfile::tempdir().unwrap();
    let _alone = alone();
    let _first = Loop::start(TfCheckpoints::new(dir.path())).unwrap();
    let second = Loop::start(TfCheckpoints::new(dir.path()));
    assert!(matches!(
        second.err(),
        Some(Error::Checkpoint(tfckpt::Error::Locked { .. }))
    ));
}

#[test]
fn states_are_restored_with_the_model_or_not_at_all() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut rng = CheckpointRng::seed_from_u64(1);
    let tracked = |rng: &CheckpointRng| TfCheckpoints::new(dir.path()).track_rng("noise", rng);
    let mut it = Loop::start(tracked(&rng)).unwrap();
    rand::RngCore::next_u64(&mut rng);
    it.step();
    it.finish();
    drop(it);
    let other = CheckpointRng::seed_from_u64(2);
    drop(Loop::start(tracked(&other)).unwrap());
    assert_eq!(other.to_bytes(), rng.to_bytes());

    // The last variable of the model is broken: all else was read when it is found.
    let data = dir.path().join("model.ckpt-1.data-00000-of-00001");
    let offset = Checkpoint::open(dir.path())
        .unwrap()
        .variable("norm/gamma")
        .unwrap()
        .offset();
    let mut bytes = std::fs::read(&data).unwrap();
    bytes[offset as usize] ^= 1;
    std::fs::write(&data, bytes).unwrap();
    let other = CheckpointRng::seed_from_u64(2);
    let before = other.to_bytes();
    let tf = tracked(&other);
    let failed = Loop::start(tf);
    assert!(matches!(
        failed.err(),
        Some(Error::Checkpoint(tfckpt::Error::Checksum { .. }))
    ));
    assert_eq!(other.to_bytes(), before);

    // Without the state the run does not go on exactly.
    let missing = TfCheckpoints::new(dir.path()).track_rng("more", &other);
    let failed = Loop::start(missing).err();
    assert!(
        matches!(&failed, Some(Error::Checkpoint(tfckpt::Error::State { name, .. })) if name == "more"),
        "{failed:?}"
    );
}

#[test]
fn names_that_clash_are_refused_before_they_train() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let rng = CheckpointRng::seed_from_u64(1);
    let clash = Loop::start(TfCheckpoints::new(dir.path()).track_rng("last/kernel", &rng));
    assert!(matches!(
        clash.err(),
        Some(Error::Checkpoint(tfckpt::Error::DuplicateName { .. }))
    ));
}

#[test]
fn a_panic_in_a_step_saves_the_whole_step_before() {
    let _alone = alone();
    let [whole, hand, learned, none] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let mut it = Loop::start(TfCheckpoints::new(whole.path())).unwrap();
    for _ in 0..7 {
        it.step();
    }
    it.finish();

    let options = |dir: &Path| with_epochs(TfCheckpoints::new(dir)).save_on_panic(true);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut it = Loop::of(options(hand.path()), Cut::Panic(8)).unwrap();
        loop {
            it.step();
        }
    }));
    assert!(panicked.is_err());
    assert_eq!(latest(hand.path()), latest(whole.path()));

    for (dir, saves) in [(&learned, true), (&none, false)] {
        let tf = options(dir.path()).save_on_panic(saves);
        let launch = || learner(dir.path(), 1, &tf, Cut::Panic(8), Interrupter::new());
        assert!(catch_unwind(AssertUnwindSafe(launch)).is_err());
        assert_eq!(latest_step(dir.path()), if saves { 7 } else { 0 });
    }
    assert_eq!(
        latest(learned.path()),
        latest(whole.path()),
        "a learner makes the same steps"
    );
}
