//! What checkpoints cost a Burn training at steps for which nothing is due, and what a step of a small network costs.
//!
//! ```text
//! cargo bench --bench burn_hooks
//! ```

use std::ops::ControlFlow;

use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use divan::Bencher;
use tempfile::TempDir;
use tfckpt::Saved;
use tfckpt_burn::TfCheckpoints;
use tfckpt_burn::training::{CheckpointRng, Epochs};

fn main() {
    divan::main();
}

/// The network and the batches of a training that nobody would wait for: any other takes longer.
#[derive(Module, Debug)]
struct Net {
    first: Linear,
    dropout: Dropout,
    last: Linear,
}

const BATCH: usize = 32;
const INPUTS: usize = 64;

impl Net {
    fn new(device: &Device) -> Self {
        Net {
            first: LinearConfig::new(INPUTS, 64).init(device),
            dropout: DropoutConfig::new(0.1).init(),
            last: LinearConfig::new(64, 1).init(device),
        }
    }

    fn loss(&self, x: Tensor<2>) -> Tensor<1> {
        let output = self.last.forward(self.dropout.forward(self.first.forward(x).tanh()));
        let wanted = Tensor::zeros_like(&output);
        MseLoss::new().forward(output, wanted, Reduction::Mean)
    }
}

struct Training {
    net: Net,
    optimizer: ModuleOptimizer,
    rates: ModuleLrScheduler,
    device: Device,
    x: Tensor<2>,
}

impl Training {
    fn new() -> Self {
        let device = Device::flex().autodiff();
        Training {
            net: Net::new(&device),
            optimizer: AdamConfig::new().init(),
            rates: ConstantLr::from(1e-3).into(),
            x: Tensor::ones([BATCH, INPUTS], &device),
            device,
        }
    }

    fn step(&mut self) {
        let gradients = GradientsParams::from_grads(self.net.loss(self.x.clone()).backward(), &self.net);
        self.net = self.optimizer.step(self.rates.step(), self.net.clone(), gradients);
    }
}

/// All that can be asked for, and nothing of it due.
fn checkpoints(dir: &TempDir, training: &mut Training) -> TfCheckpoints {
    let tf = TfCheckpoints::new(dir.path())
        .epochs(Epochs::new(1_000_000_000, BATCH))
        .seed_each_step(7)
        .track_rng("rng", &CheckpointRng::seed_from_u64(7))
        .every_steps(u64::MAX)
        .every_seconds(1e9)
        .listener(|_: &Saved| ControlFlow::Continue(()))
        .stop_on_signals()
        .expect("signals can be listened for");
    let Training {
        net, optimizer, rates, ..
    } = training;
    tf.restore_or_initialize(net, optimizer, rates)
        .expect("the directory is empty");
    tf
}

/// What is called around the step of a loop.
fn around(tf: &TfCheckpoints, training: &Training) {
    divan::black_box(tf.next_batch());
    tf.before_pass(&training.device);
    tf.metric("loss", 0.5);
    let Training {
        net, optimizer, rates, ..
    } = training;
    divan::black_box(tf.after_step(net, optimizer, rates).expect("nothing is saved"));
}

#[divan::bench]
fn hooks_when_nothing_is_due(bencher: Bencher<'_, '_>) {
    let (dir, mut training) = (tempfile::tempdir().expect("a temporary directory"), Training::new());
    let tf = checkpoints(&dir, &mut training);
    bencher.bench_local(|| around(&tf, &training));
}

#[divan::bench]
fn step_without(bencher: Bencher<'_, '_>) {
    let mut training = Training::new();
    bencher.bench_local(|| training.step());
}

#[divan::bench]
fn step_with(bencher: Bencher<'_, '_>) {
    let (dir, mut training) = (tempfile::tempdir().expect("a temporary directory"), Training::new());
    let tf = checkpoints(&dir, &mut training);
    bencher.bench_local(|| {
        training.step();
        around(&tf, &training);
    });
}
