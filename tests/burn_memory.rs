//! What saving and restoring a Burn model takes: measured with a counting allocator.
#![cfg(feature = "burn")]

use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Embedding, EmbeddingConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::store::ModuleSnapshot;
use burn::tensor::Device;
use peak_alloc::PeakAlloc;
use tfckpt_burn::{TfCheckpointStore, TfCheckpoints};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;

/// The most memory in use during `work`, above what was in use before, in MiB.
fn peak_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = work();
    (MEMORY.peak_usage().saturating_sub(before) / MIB, result)
}

/// Two tables of 4 MiB, which are stored as they are, and two kernels of 4 MiB, which are transposed.
#[derive(Module, Debug)]
struct Model {
    tables: Vec<Embedding>,
    kernels: Vec<Conv2d>,
}

const LARGEST: usize = 4;
const ALL: usize = 4 * LARGEST;

impl Model {
    fn new(device: &Device) -> Self {
        let table = EmbeddingConfig::new(1024, 1024);
        let kernel = Conv2dConfig::new([256, 256], [4, 4]).with_bias(false);
        let model = Model {
            tables: (0..2).map(|_| table.init(device)).collect(),
            kernels: (0..2).map(|_| kernel.init(device)).collect(),
        };
        // Burn makes the values when they are first asked for; that is not what is measured here.
        let _ = model.clone().into_record();
        model
    }
}

/// One test, because the peak is that of the whole process.
#[test]
fn saving_a_model_needs_one_tensor_and_restoring_it_one_copy() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::flex();
    let model = Model::new(&device);
    let prefix = dir.path().join("model");
    let store = || TfCheckpointStore::from_file(&prefix);
    let (peak, ()) = peak_of(|| model.save_into(&mut store()).unwrap());
    assert!(peak <= LARGEST + 4, "saving {ALL} MiB took {peak} MiB");
    // All of it is read before the first parameter is touched, so that a damaged file changes nothing.
    let mut other = Model::new(&device);
    let (peak, _) = peak_of(|| other.load_from(&mut store()).unwrap());
    assert!(peak <= ALL + 2 * LARGEST, "restoring {ALL} MiB took {peak} MiB");

    // With an optimizer that has twice as much. Burn shows its state only as a record, which is a copy; a few tensors at
    // a time exist once more while they are copied.
    let device = device.autodiff();
    let mut model = Model::new(&device);
    let mut optimizer = AdamConfig::new().init();
    let mut rate: ModuleLrScheduler = ConstantLr::from(1e-3).into();
    let sum = model.tables.iter().map(|table| table.weight.val().sum());
    let sum = sum.chain(model.kernels.iter().map(|kernel| kernel.weight.val().sum()));
    let gradients = sum.reduce(|a, b| a + b).unwrap().backward();
    let gradients = GradientsParams::from_grads(gradients, &model);
    model = optimizer.step(rate.step(), model, gradients);
    let run = || TfCheckpoints::new(dir.path().join("run"));
    let (peak, _) = peak_of(|| run().save(&model, &optimizer, &rate).unwrap());
    println!("saving {ALL} MiB with their moments took {peak} MiB");
    assert!(peak <= 2 * ALL + 4 * LARGEST, "saving moments took {peak} MiB");
    let (mut model, mut optimizer) = (Model::new(&device), AdamConfig::new().init());
    let restore = || {
        run()
            .restore_or_initialize(&mut model, &mut optimizer, &mut rate)
            .unwrap()
    };
    let (peak, _) = peak_of(restore);
    println!("restoring {ALL} MiB with their moments took {peak} MiB");
    // The moments and the weights, each once.
    assert!(peak <= 3 * ALL + 2 * LARGEST, "restoring moments took {peak} MiB");
}
