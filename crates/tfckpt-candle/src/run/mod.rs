//! A training run in a directory: saved as it goes, and resumed.

mod contents;
mod dropped;
mod loops;
mod options;
mod restoring;
mod saving;
mod writer;

use std::path::{Path, PathBuf};

use candle_core::Var;
use candle_nn::VarMap;
use tfckpt::Saver;
use tfckpt::objects::ObjectLayout;
use tfckpt::training::Hooks;

use crate::optim::{CheckpointedOptimizer, OptimizerState};
use crate::variables::Variables;
use writer::Writer;

/// A training run that can be stopped at any moment, by whatever means, and goes on from its last checkpoint as if it
/// had not been stopped.
///
/// Variables, slots and counters of the optimizer, `global_step`, the position in the [epochs](Self::epochs), random
/// numbers, metrics and whatever else is tracked are one checkpoint, and are restored together or not at all.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{Module, Optimizer, VarMap};
/// use tfckpt_candle::training::{CheckpointRng, Epochs};
/// use tfckpt_candle::{Adam, ParamsAdam, Run, dropout};
///
/// let varmap = VarMap::new();
/// let (vb, layers) = tfckpt_candle::recording(&varmap, DType::F32, &Device::Cpu);
/// let model = candle_nn::linear(4, 1, vb.pp("fc"))?;
/// let mut optimizer = Adam::new(&varmap, ParamsAdam::default())?;
/// let rng = CheckpointRng::seed_from_u64(7);
///
/// # let directory = dir.path();
/// let mut run = Run::new(directory, &varmap, &optimizer)
///     .layers(&layers)
///     .epochs(Epochs::new(1000, 32).shuffle(7).stop_after(3))
///     .track_rng("dropout_rng", &rng)
///     .max_to_keep(5)
///     .every_steps(50)
///     .every_seconds(600.0)
///     .stop_on_signals()?;
/// run.restore_or_initialize()?; // from the latest checkpoint, if there is one
/// while let Some(batch) = run.next_batch() {
///     let x = Tensor::ones((batch.rows.len(), 4), DType::F32, &Device::Cpu)?;
///     let loss = model.forward(&dropout(&x, 0.1, &rng)?)?.sqr()?.mean_all()?;
///     optimizer.backward_step(&loss)?;
///     run.metric("loss", f64::from(loss.to_scalar::<f32>()?));
///     run.after_step()?;
/// }
/// run.finish()?;
/// # assert_eq!(tfckpt::Checkpoint::open(run.directory())?.global_step()?, Some(96));
/// assert_eq!(run.exit_code(), 0); // what the process should end with: 143 after SIGTERM
/// # Ok(())
/// # }
/// ```
///
/// A loop that numbers its steps by itself does without epochs: `for step in run.restore_or_initialize()?..steps`, with
/// [`should_stop`](Self::should_stop) to look at after each.
#[derive(Debug)]
pub struct Run {
    writer: Writer,
    variables: Variables,
    optimizers: Vec<OptimizerState>,
    tracked: Vec<(String, Var)>,
    objects: Option<ObjectLayout>,
    hooks: Hooks,
    saves_on_panic: bool,
    /// How many changes each optimizer had made when the last step ended.
    changes: Vec<Option<u64>>,
}

impl Run {
    /// A run in `directory`, which the first save makes. Nothing is read yet.
    pub fn new(directory: impl Into<PathBuf>, varmap: &VarMap, optimizer: &impl CheckpointedOptimizer) -> Self {
        Run {
            writer: Writer::new(Saver::new(directory)),
            variables: Variables::new(varmap),
            optimizers: vec![optimizer.state()],
            tracked: Vec::new(),
            objects: None,
            hooks: Hooks::new(),
            saves_on_panic: false,
            changes: Vec::new(),
        }
    }

    /// Where the run is.
    pub fn directory(&self) -> &Path {
        self.writer.directory()
    }

    /// The number of steps taken, those before a restore included.
    pub fn global_step(&self) -> i64 {
        self.hooks.global_step()
    }
}
