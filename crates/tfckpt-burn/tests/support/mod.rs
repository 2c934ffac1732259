//! A little network with everything that makes an exact resume hard: dropout, running statistics, moments, a schedule.
#![allow(dead_code, reason = "not every test uses all of it")]

pub(crate) mod quiet;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::data::dataloader::{Dataset, batcher::Batcher};
use burn::data::dataset::DatasetError;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use burn::train::{InferenceStep, RegressionOutput, TrainOutput, TrainStep};
use rand::RngCore;
use tfckpt::latest_checkpoint;
use tfckpt_burn::training::{CheckpointRng, Stop};

pub(crate) const ROWS: usize = 50;
pub(crate) const BATCH: usize = 4;
/// Steps of an epoch; the last batch is smaller.
pub(crate) const STEPS: usize = ROWS.div_ceil(BATCH);
pub(crate) const EPOCHS: usize = 4;

/// The generator of the device belongs to the process, and tests run side by side.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What happens in the middle of a step.
#[derive(Debug, Clone, Default)]
pub(crate) enum Cut {
    /// Nothing.
    #[default]
    Never,
    /// In the forward pass of this step of the process, from 1, everything falls.
    Panic(usize),
    /// In that pass it is asked to stop.
    Stop(usize, Stop),
}

#[derive(Module, Debug)]
pub(crate) struct Net {
    first: Linear,
    norm: BatchNorm,
    dropout: Dropout,
    last: Linear,
    /// The losses of all training steps.
    #[module(skip)]
    pub(crate) losses: Arc<Mutex<Vec<f32>>>,
    #[module(skip)]
    cut: Arc<Mutex<Cut>>,
}

impl Net {
    pub(crate) fn new(device: &Device, cut: Cut) -> Self {
        device.seed(1);
        let net = Net {
            first: LinearConfig::new(3, 8).init(device),
            norm: BatchNormConfig::new(8).init(device),
            dropout: DropoutConfig::new(0.3).init(),
            last: LinearConfig::new(8, 1).init(device),
            losses: Arc::default(),
            cut: Arc::new(Mutex::new(cut)),
        };
        // Initialized now, in a fixed order.
        let _ = net.clone().into_record();
        net
    }

    fn output(&self, (x, y): (Tensor<2>, Tensor<2>)) -> RegressionOutput {
        let hidden = self.norm.forward(self.first.forward(x).tanh());
        let output = self.last.forward(self.dropout.forward(hidden));
        let loss = MseLoss::new().forward(output.clone(), y.clone(), Reduction::Mean);
        RegressionOutput::new(loss, output, y)
    }
}

impl TrainStep for Net {
    type Input = (Tensor<2>, Tensor<2>);
    type Output = RegressionOutput;

    fn step(&self, batch: Self::Input) -> TrainOutput<RegressionOutput> {
        let item = self.output(batch);
        let loss = item.loss.clone().into_scalar::<f32>();
        let step = {
            let mut losses = self.losses.lock().unwrap();
            losses.push(loss);
            losses.len()
        };
        match &*self.cut.lock().unwrap() {
            Cut::Panic(at) if *at == step => {
                self.losses.lock().unwrap().pop();
                panic!("cut off in step {step}");
            }
            Cut::Stop(at, stop) if *at == step => stop.request(),
            _ => {}
        }
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

/// Rows, made noisy on their way into a batch if there is a generator.
#[derive(Clone, Default)]
pub(crate) struct Rows(pub(crate) Option<CheckpointRng>);

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
    fn batch(&self, mut items: Vec<[f32; 4]>, device: &Device) -> (Tensor<2>, Tensor<2>) {
        if let Some(mut rng) = self.0.clone() {
            for row in &mut items {
                row[0] += (rng.next_u32() % 100) as f32 / 1000.0;
            }
        }
        let n = items.len();
        let x: Vec<f32> = items.iter().flat_map(|row| row[..3].to_vec()).collect();
        let y: Vec<f32> = items.iter().map(|row| row[3]).collect();
        let tensor = |values, width| Tensor::from_data(TensorData::new(values, [n, width]), device);
        (tensor(x, 3), tensor(y, 1))
    }
}

/// A schedule whose place matters.
pub(crate) fn schedule() -> ModuleLrScheduler {
    CosineAnnealingLrSchedulerConfig::new(0.02, EPOCHS * STEPS)
        .init()
        .unwrap()
}

/// The step of the latest checkpoint; 0 without one.
pub(crate) fn latest_step(dir: &Path) -> i64 {
    match latest_checkpoint(dir).unwrap() {
        Some(prefix) => tfckpt::Checkpoint::open(prefix)
            .unwrap()
            .global_step()
            .unwrap()
            .unwrap(),
        None => 0,
    }
}

/// The bytes of the latest checkpoint: model, moments, scheduler, counters, random numbers, metrics.
pub(crate) fn latest(dir: &Path) -> (String, Vec<u8>, Vec<u8>) {
    let prefix = latest_checkpoint(dir).unwrap().expect("something was saved");
    let file = |suffix| fs::read(format!("{}{suffix}", prefix.display())).unwrap();
    let name = prefix.file_name().unwrap().to_str().unwrap().to_owned();
    (name, file(".index"), file(".data-00000-of-00001"))
}
