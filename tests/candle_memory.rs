//! What saving, restoring and importing a Candle model takes: measured with a counting allocator.
#![cfg(feature = "candle")]

use candle_core::{DType, Device, Tensor};
use candle_nn::VarMap;
use peak_alloc::PeakAlloc;
use tfckpt::map::NameMap;
use tfckpt::{Checkpoint, Limits, Saver};
use tfckpt_candle::{Variables, recording, var_builder};

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

/// One test, because the peak is that of the whole process.
#[test]
fn saving_copies_nothing_and_restoring_one_transposed_tensor_at_most() {
    let dir = tempfile::tempdir().unwrap();
    // Each has its own buffers.
    let two_threads = Limits::default().with_threads(2);
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    // 8 tables of 4 MiB, which are stored as they are, and 4 kernels of 4 MiB, which are transposed.
    for i in 0..8 {
        candle_nn::embedding(1024, 1024, vb.pp(format!("table{i}"))).unwrap();
    }
    let variables = Variables::new(&varmap).layers(&layers);
    let (tables, other) = (dir.path().join("tables"), dir.path().join("kernels"));
    let (peak, _) = peak_of(|| {
        Saver::new(&tables)
            .threads(2)
            .save(variables.to_save().unwrap(), 1)
            .unwrap()
    });
    assert!(peak < 2, "saving 32 MiB that keep their layout took {peak} MiB");
    let checkpoint = Checkpoint::open_with(&tables, &two_threads).unwrap();
    let (peak, _) = peak_of(|| variables.restore(&checkpoint).unwrap());
    assert!(peak < 2, "restoring 32 MiB that keep their layout took {peak} MiB");

    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    for i in 0..4 {
        candle_nn::linear_no_bias(1024, 1024, vb.pp(format!("fc{i}"))).unwrap();
    }
    let variables = Variables::new(&varmap).layers(&layers);
    let (peak, _) = peak_of(|| {
        Saver::new(&other)
            .threads(2)
            .save(variables.to_save().unwrap(), 1)
            .unwrap()
    });
    assert!(peak <= 2, "saving 16 MiB that are transposed took {peak} MiB");
    let checkpoint = Checkpoint::open_with(&other, &two_threads).unwrap();
    let (peak, _) = peak_of(|| variables.restore(&checkpoint).unwrap());
    assert!(peak < 4 + 2, "restoring 16 MiB that are transposed took {peak} MiB");

    // A model that is built from a checkpoint: its own 32 MiB.
    let vb = var_builder(
        Checkpoint::open(&tables).unwrap(),
        NameMap::keras(),
        DType::F32,
        &Device::Cpu,
    )
    .unwrap();
    let build = |i| candle_nn::embedding(1024, 1024, vb.pp(format!("table{i}"))).unwrap();
    let (peak, tables) = peak_of(|| (0..8).map(build).collect::<Vec<_>>());
    assert!(peak < 32 + 2, "building 32 MiB took {peak} MiB");
    let first = |tensor: &Tensor| tensor.get(0).unwrap().to_vec1::<f32>().unwrap();
    assert!(
        tables
            .iter()
            .all(|table| first(table.embeddings()).iter().any(|&value| value != 0.0))
    );
}
