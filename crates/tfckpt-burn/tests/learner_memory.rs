//! What saving a learner's epochs takes: measured with a counting allocator. One test, because the peak is that of the
//! whole process.

#[path = "support/quiet.rs"]
mod quiet;

use std::path::Path;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoaderBuilder, Dataset};
use burn::data::dataset::DatasetError;
use burn::module::Module;
use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{Linear, LinearConfig};
use burn::optim::SgdConfig;
use burn::tensor::{Device, Tensor};
use burn::train::{InferenceStep, Learner, LearnerModel, RegressionOutput, SupervisedTraining, TrainOutput, TrainStep};
use peak_alloc::PeakAlloc;
use quiet::Quiet;
use tfckpt_burn::TfCheckpoints;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;
const WIDTH: usize = 1024;
/// MiB of one layer, and of all.
const LARGEST: usize = 4;
const ALL: usize = 6 * LARGEST;

#[derive(Module, Debug)]
struct Net {
    layers: Vec<Linear>,
}

impl Net {
    fn new() -> Self {
        let layer = LinearConfig::new(WIDTH, WIDTH).with_bias(false);
        let net = Net {
            layers: (0..6).map(|_| layer.init(&Device::flex().autodiff())).collect(),
        };
        // Burn makes the values when they are first asked for; that is not what is measured here.
        let _ = net.clone().into_record();
        net
    }

    fn output(&self, x: Tensor<2>) -> RegressionOutput {
        let output = self.layers.iter().fold(x.clone(), |x, layer| layer.forward(x));
        let loss = MseLoss::new().forward(output.clone(), x.clone(), Reduction::Mean);
        RegressionOutput::new(loss, output, x)
    }
}

impl TrainStep for Net {
    type Input = Tensor<2>;
    type Output = RegressionOutput;

    fn step(&self, x: Tensor<2>) -> TrainOutput<RegressionOutput> {
        let item = self.output(x);
        TrainOutput::new(self, item.loss.backward(), item)
    }
}

impl InferenceStep for Net {
    type Input = Tensor<2>;
    type Output = RegressionOutput;

    fn step(&self, x: Tensor<2>) -> RegressionOutput {
        self.output(x)
    }
}

#[derive(Clone)]
struct Row;

impl Dataset<()> for Row {
    fn get(&self, _: usize) -> Result<(), DatasetError> {
        Ok(())
    }

    fn len(&self) -> usize {
        1
    }
}

impl Batcher<(), Tensor<2>> for Row {
    fn batch(&self, _: Vec<()>, device: &Device) -> Tensor<2> {
        Tensor::ones([1, WIDTH], device)
    }
}

/// The most memory in use during `work`, above what was in use before, in MiB.
fn peak_of(work: impl FnOnce()) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    work();
    MEMORY.peak_usage().saturating_sub(before) / MIB
}

fn training<M>(dir: &Path) -> SupervisedTraining<M>
where
    M: LearnerModel + TrainStep<Input = Tensor<2>, Output = RegressionOutput>,
    M: InferenceStep<Input = Tensor<2>, Output = RegressionOutput>,
{
    let loader = || DataLoaderBuilder::new(Row).batch_size(1).build(Row);
    SupervisedTraining::new(dir.join("burn"), loader(), loader())
        .num_epochs(1)
        .renderer(Box::new(Quiet))
        .with_application_logger(None)
}

#[test]
fn saving_an_epoch_needs_no_more_than_the_record_that_burn_makes_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let net = Net::new();
    let without = peak_of(|| {
        let learner = Learner::new(net, SgdConfig::new().init(), 1e-3);
        assert!(training(dir).launch(learner).error.is_none());
    });
    let net = Net::new();
    let tf = TfCheckpoints::new(dir.join("tf"));
    let with = peak_of(|| {
        let result = tf.launch(training(dir), net, SgdConfig::new().init(), 1e-3).unwrap();
        assert!(result.error.is_none());
    });
    println!("{ALL} MiB: training took {without} MiB, and {with} MiB with a checkpoint");
    assert!(
        with <= without.max(ALL) + 2 * LARGEST,
        "{with} MiB, {without} MiB without"
    );
}
