//! A run that was stopped and taken up again ends exactly where one ends that never stopped.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use burn::data::dataloader::{DataLoader, DataLoaderBuilder, Dataset, batcher::Batcher};
use burn::data::dataset::DatasetError;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::{AdamConfig, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData};
use burn::train::{InferenceStep, LearningResult, RegressionOutput, SupervisedTraining, TrainOutput, TrainStep};
use tfckpt::{Checkpoint, WhenBusy, latest_checkpoint};
use tfckpt_burn::{Error, Event, TfCheckpoints};

#[path = "support/quiet.rs"]
mod quiet;

#[derive(Module, Debug)]
struct Net {
    first: Linear,
    norm: BatchNorm,
    last: Linear,
    /// The loss of every training step.
    #[module(skip)]
    losses: Arc<Mutex<Vec<f32>>>,
}

impl Net {
    fn new(device: &Device) -> Self {
        // The generator belongs to the process, and tests run side by side.
        static SEED: Mutex<()> = Mutex::new(());
        let _alone = SEED.lock().unwrap();
        device.seed(1);
        let net = Net {
            first: LinearConfig::new(3, 8).init(device),
            norm: BatchNormConfig::new(8).init(device),
            last: LinearConfig::new(8, 1).init(device),
            losses: Arc::default(),
        };
        // Initialized now, in a fixed order.
        let _ = net.clone().into_record();
        net
    }

    fn output(&self, (x, y): (Tensor<2>, Tensor<2>)) -> RegressionOutput {
        let output = self.last.forward(self.norm.forward(self.first.forward(x).tanh()));
        let loss = MseLoss::new().forward(output.clone(), y.clone(), Reduction::Mean);
        RegressionOutput::new(loss, output, y)
    }

    fn losses(&self) -> Vec<f32> {
        self.losses.lock().unwrap().clone()
    }
}

impl TrainStep for Net {
    type Input = (Tensor<2>, Tensor<2>);
    type Output = RegressionOutput;

    fn step(&self, batch: Self::Input) -> TrainOutput<RegressionOutput> {
        let item = self.output(batch);
        self.losses.lock().unwrap().push(item.loss.clone().into_scalar::<f32>());
        TrainOutput::new(self, item.loss.backward(), item)
    }
}

impl InferenceStep for Net {
    type Input = (Tensor<2>, Tensor<2>);
    type Output = RegressionOutput;

    fn step(&self, batch: Self::Input) -> RegressionOutput {
        self.output(batch)
    }
}

const ROWS: usize = 50;
const BATCH: usize = 10;
const STEPS: usize = ROWS / BATCH;

#[derive(Clone)]
struct Rows;

impl Dataset<[f32; 4]> for Rows {
    fn get(&self, index: usize) -> Result<[f32; 4], DatasetError> {
        let x = [0, 1, 2].map(|i| ((index * 7 + i * 13) % 11) as f32 / 11.0 - 0.5);
        Ok([x[0], x[1], x[2], (x[0] * 3.0 - x[1] * x[2]).sin()])
    }

    fn len(&self) -> usize {
        ROWS
    }
}

impl Batcher<[f32; 4], (Tensor<2>, Tensor<2>)> for Rows {
    fn batch(&self, items: Vec<[f32; 4]>, device: &Device) -> (Tensor<2>, Tensor<2>) {
        let n = items.len();
        let x: Vec<f32> = items.iter().flat_map(|row| row[..3].to_vec()).collect();
        let y: Vec<f32> = items.iter().map(|row| row[3]).collect();
        let tensor = |values, width| Tensor::from_data(TensorData::new(values, [n, width]), device);
        (tensor(x, 3), tensor(y, 1))
    }
}

fn loader() -> Arc<dyn DataLoader<(Tensor<2>, Tensor<2>)>> {
    DataLoaderBuilder::new(Rows).batch_size(BATCH).build(Rows)
}

/// A schedule whose place matters.
fn schedule() -> ModuleLrScheduler {
    CosineAnnealingLrSchedulerConfig::new(0.05, 4 * STEPS).init().unwrap()
}

fn learner(dir: &Path, epochs: usize, tf: &TfCheckpoints) -> (Vec<f32>, LearningResult<Net>) {
    let net = Net::new(&Device::flex());
    let losses = net.losses.clone();
    let training = SupervisedTraining::new(dir.join("burn"), tf.resume(loader()), loader())
        .num_epochs(epochs)
        .renderer(Box::new(quiet::Quiet))
        .with_application_logger(None);
    let result = tf.launch(training, net, AdamConfig::new().init(), schedule()).unwrap();
    let losses = losses.lock().unwrap().clone();
    (losses, result)
}

/// The bytes of the latest checkpoint: model, moments, scheduler and counters.
fn latest(dir: &Path) -> (String, Vec<u8>, Vec<u8>) {
    let prefix = latest_checkpoint(dir).unwrap().expect("something was saved");
    let file = |suffix| fs::read(format!("{}{suffix}", prefix.display())).unwrap();
    let name = prefix.file_name().unwrap().to_str().unwrap().to_owned();
    (name, file(".index"), file(".data-00000-of-00001"))
}

#[test]
fn a_learner_stopped_between_epochs_goes_on_as_if_it_had_not() {
    let [whole, parts] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (losses, _) = learner(whole.path(), 4, &TfCheckpoints::new(whole.path()));
    assert_eq!(losses.len(), 4 * STEPS);
    let (mut resumed, _) = learner(parts.path(), 2, &TfCheckpoints::new(parts.path()));
    let tf = TfCheckpoints::new(parts.path());
    let (rest, result) = learner(parts.path(), 4, &tf);
    assert!(result.error.is_none(), "{:?}", result.error);
    resumed.extend(rest);
    assert_eq!(resumed, losses, "every loss is the same to the last bit");
    assert_eq!(
        latest(parts.path()),
        latest(whole.path()),
        "and so are weights, moments, schedule and counters"
    );
    assert_eq!(tf.global_step(), 20);
}

#[test]
fn a_learner_killed_within_an_epoch_goes_on_as_if_it_had_not() {
    let whole = tempfile::tempdir().unwrap();
    let (losses, _) = learner(whole.path(), 4, &TfCheckpoints::new(whole.path()));
    for killed_at in [2i64, 6, 7, 12] {
        // A run that saves at each step, of which nothing later than one step is left.
        let parts = tempfile::tempdir().unwrap();
        let all = TfCheckpoints::new(parts.path()).max_to_keep(0).every_steps(1);
        let (every, _) = learner(parts.path(), 4, &all);
        assert_eq!(every, losses, "saving changes nothing");
        // As if its process had died: the directory's lock goes with it.
        drop(all);
        let state = format!("model_checkpoint_path: \"model.ckpt-{killed_at}\"\n");
        fs::write(parts.path().join("checkpoint"), state).unwrap();
        let (rest, result) = learner(parts.path(), 4, &TfCheckpoints::new(parts.path()).every_steps(1));
        assert!(result.error.is_none(), "{:?}", result.error);
        assert_eq!(rest, losses[killed_at as usize..], "killed after step {killed_at}");
        assert_eq!(
            latest(parts.path()),
            latest(whole.path()),
            "killed after step {killed_at}"
        );
    }
}

#[test]
fn a_learner_with_nothing_to_restore_starts() {
    let dir = tempfile::tempdir().unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = events.clone();
    let tf = TfCheckpoints::new(dir.path().join("new"))
        .every_steps(4)
        .on_event(move |event| {
            let step = match event {
                Event::Saved(saved) => saved.global_step,
                _ => panic!("nothing is restored"),
            };
            heard.lock().unwrap().push(step);
        });
    learner(dir.path(), 2, &tf);
    let events = events.lock().unwrap();
    // 4 steps after each save, and at the end of each epoch unless a later step was faster.
    assert!([4, 9, 10].iter().all(|step| events.contains(step)), "{events:?}");
    assert!(events.is_sorted(), "never an older one after a newer one: {events:?}");
}

#[test]
fn a_directory_that_cannot_be_read_is_an_error_and_no_fresh_start() {
    let dir = tempfile::tempdir().unwrap();
    learner(dir.path(), 1, &TfCheckpoints::new(dir.path()));
    let data = dir.path().join("model.ckpt-5.data-00000-of-00001");
    let mut bytes = fs::read(&data).unwrap();
    bytes[50] ^= 1;
    fs::write(&data, bytes).unwrap();
    let net = Net::new(&Device::flex());
    let before = net.clone().into_record().into_bytes().unwrap();
    let (mut model, mut optimizer, mut rates) = (net, AdamConfig::new().init(), schedule());
    let result = TfCheckpoints::new(dir.path()).restore_or_initialize(&mut model, &mut optimizer, &mut rates);
    assert!(
        matches!(result, Err(Error::Checkpoint(tfckpt::Error::Checksum { .. }))),
        "{result:?}"
    );
    assert_eq!(
        model.into_record().into_bytes().unwrap().to_vec(),
        before.to_vec(),
        "the model is as it was"
    );
    fs::write(dir.path().join("checkpoint"), "nonsense").unwrap();
    let (mut model, mut optimizer, mut rates) = (Net::new(&Device::flex()), AdamConfig::new().init(), schedule());
    let result = TfCheckpoints::new(dir.path()).restore_or_initialize(&mut model, &mut optimizer, &mut rates);
    assert!(
        matches!(result, Err(Error::Checkpoint(tfckpt::Error::StateFile { .. }))),
        "{result:?}"
    );
}

#[test]
fn a_save_that_fails_stops_the_learner_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    // A file where the directory should be.
    fs::write(dir.path().join("run"), "").unwrap();
    let tf = TfCheckpoints::new(dir.path().join("run")).every_steps(2);
    let net = Net::new(&Device::flex());
    let result = tf.restore_or_initialize(&mut net.clone(), &mut AdamConfig::new().init(), &mut schedule());
    assert!(result.is_err(), "a file is no directory of checkpoints");
}

/// A loop written by hand, which stops after `steps`.
fn by_hand(
    dir: &Path,
    steps: usize,
    optimizer: ModuleOptimizer,
    options: fn(TfCheckpoints) -> TfCheckpoints,
) -> Vec<f32> {
    let device = Device::flex().autodiff();
    let tf = options(TfCheckpoints::new(dir));
    let (mut net, mut optimizer, mut rates) = (Net::new(&device), optimizer, schedule());
    let start = tf.restore_or_initialize(&mut net, &mut optimizer, &mut rates).unwrap();
    for step in start as usize..steps {
        let rows = (0..BATCH)
            .map(|row| Rows.get((step % STEPS) * BATCH + row).unwrap())
            .collect();
        let output = TrainStep::step(&net, Rows.batch(rows, &device));
        let losses = net.losses.clone();
        net = optimizer.step(rates.step(), net, output.grads);
        net.losses = losses;
        tf.after_step(&net, &optimizer, &rates).unwrap();
    }
    tf.save(&net, &optimizer, &rates).unwrap();
    tf.wait().unwrap();
    assert!(
        tf.save(&net, &optimizer, &rates).unwrap().is_none(),
        "a step is saved once"
    );
    net.losses()
}

#[test]
fn a_loop_by_hand_goes_on_as_if_it_had_not_stopped() {
    let optimizers: [fn() -> ModuleOptimizer; 3] = [
        || AdamConfig::new().init(),
        || AdamConfig::new().with_amsgrad(true).init(),
        || {
            SgdConfig::new()
                .with_momentum(Some(burn::optim::momentum::MomentumConfig::new()))
                .init()
        },
    ];
    for optimizer in optimizers {
        let [whole, parts] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let losses = by_hand(whole.path(), 17, optimizer(), |tf| tf);
        let mut resumed = by_hand(parts.path(), 7, optimizer(), |tf| tf.every_steps(3).max_to_keep(2));
        resumed.extend(by_hand(parts.path(), 8, optimizer(), |tf| tf));
        resumed.extend(by_hand(parts.path(), 17, optimizer(), |tf| tf));
        assert_eq!(resumed, losses);
        assert_eq!(latest(parts.path()), latest(whole.path()));
    }
}

#[test]
fn saving_in_the_background_saves_the_same() {
    let background: fn(TfCheckpoints) -> TfCheckpoints =
        |tf| tf.every_steps(1).max_to_keep(0).in_background(WhenBusy::Wait);
    let [whole, parts] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let adam = || AdamConfig::new().init();
    let losses = by_hand(whole.path(), 9, adam(), |tf| tf.every_steps(1).max_to_keep(0));
    let mut resumed = by_hand(parts.path(), 4, adam(), background);
    resumed.extend(by_hand(parts.path(), 9, adam(), background));
    assert_eq!(resumed, losses);
    for step in 1..=9 {
        for suffix in ["index", "data-00000-of-00001", "meta"] {
            let name = format!("model.ckpt-{step}.{suffix}");
            let read = |dir: &tempfile::TempDir| fs::read(dir.path().join(&name)).unwrap();
            assert!(read(&whole) == read(&parts), "{name} differs");
        }
    }
    // A learner, too, and whoever drops it waits for the last.
    let dir = tempfile::tempdir().unwrap();
    let tf = TfCheckpoints::new(dir.path())
        .every_steps(2)
        .in_background(WhenBusy::Skip);
    let (_, result) = learner(dir.path(), 2, &tf);
    assert!(result.error.is_none(), "{:?}", result.error);
    drop(tf);
    assert!(Checkpoint::open(dir.path()).unwrap().global_step().unwrap().is_some());
}

#[test]
fn who_is_told_of_a_save_in_the_background_may_ask_for_the_step() {
    let dir = tempfile::tempdir().unwrap();
    let run: Arc<OnceLock<TfCheckpoints>> = Arc::default();
    let (asked, steps) = (run.clone(), Arc::new(Mutex::new(Vec::new())));
    let heard = steps.clone();
    // Each save waits for the one before, which waits for the answer.
    let tf = TfCheckpoints::new(dir.path())
        .every_steps(1)
        .in_background(WhenBusy::Wait);
    let tf = tf.on_event(move |_| {
        let step = asked.get().map_or(0, TfCheckpoints::global_step);
        heard.lock().unwrap().push(step);
    });
    let tf = run.get_or_init(|| tf);
    let device = Device::flex().autodiff();
    let (mut net, mut optimizer, mut rates) = (Net::new(&device), AdamConfig::new().init(), schedule());
    for step in 0..4 {
        let rows = (0..BATCH).map(|row| Rows.get(step * BATCH + row).unwrap()).collect();
        let output = TrainStep::step(&net, Rows.batch(rows, &device));
        net = optimizer.step(rates.step(), net, output.grads);
        tf.after_step(&net, &optimizer, &rates).unwrap();
    }
    tf.wait().unwrap();
    let steps = steps.lock().unwrap();
    assert_eq!(steps.len(), 4);
    assert!(
        steps.is_sorted() && steps.iter().all(|step| (1..=4).contains(step)),
        "{steps:?}"
    );
}

#[test]
fn moments_are_tensorflows_slots_in_tensorflows_layout() {
    let dir = tempfile::tempdir().unwrap();
    by_hand(dir.path(), 3, AdamConfig::new().init(), |tf| tf);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    for variable in [
        "first/kernel",
        "first/bias",
        "norm/gamma",
        "norm/beta",
        "last/kernel",
        "last/bias",
    ] {
        let shape = checkpoint.variable(variable).unwrap().shape().clone();
        for slot in ["Adam", "Adam_1"] {
            assert_eq!(
                *checkpoint.variable(format!("{variable}/{slot}")).unwrap().shape(),
                shape
            );
        }
    }
    assert!(
        !checkpoint.contains("norm/moving_mean/Adam"),
        "running statistics have no gradient"
    );
    assert_eq!(checkpoint.read::<i64>("Adam/iterations").unwrap(), [3]);
    assert_eq!(checkpoint.read::<f32>("beta1_power").unwrap(), [0.9 * 0.9 * 0.9 * 0.9]);
    assert_eq!(
        checkpoint.read::<f32>("beta2_power").unwrap(),
        [0.999f32 * 0.999 * 0.999 * 0.999]
    );
    assert_eq!(checkpoint.global_step().unwrap(), Some(3));
}

#[test]
fn the_state_of_another_optimizer_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    by_hand(dir.path(), 3, AdamConfig::new().init(), |tf| tf);
    let (mut net, mut sgd, mut rates) = (
        Net::new(&Device::flex().autodiff()),
        SgdConfig::new().init(),
        schedule(),
    );
    let before = net.clone().into_record().into_bytes().unwrap();
    let result = TfCheckpoints::new(dir.path()).restore_or_initialize(&mut net, &mut sgd, &mut rates);
    assert!(matches!(result, Err(Error::AnotherOptimizer { .. })), "{result:?}");
    assert_eq!(net.into_record().into_bytes().unwrap().to_vec(), before.to_vec());
}

#[test]
fn running_statistics_are_those_of_the_step_that_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::flex().autodiff();
    let net = Net::new(&device);
    let rows = (0..BATCH).map(|row| Rows.get(row).unwrap()).collect();
    let output = TrainStep::step(&net, Rows.batch(rows, &device));
    let tf = TfCheckpoints::new(dir.path());
    let net = AdamConfig::new().init().step(1e-3, net, output.grads);
    tf.save(&net, &AdamConfig::new().init(), &schedule()).unwrap();
    let mean = Checkpoint::open(dir.path())
        .unwrap()
        .read::<f32>("norm/moving_mean")
        .unwrap();
    let expected = net
        .valid()
        .norm
        .running_mean
        .value()
        .into_data()
        .try_to_vec::<f32>()
        .unwrap();
    assert_eq!(mean, expected);
    assert!(mean.iter().any(|&value| value != 0.0));
}
