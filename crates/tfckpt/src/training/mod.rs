//! What a training loop needs around its checkpoints, whatever framework computes.
//!
//! | | |
//! |---|---|
//! | [`Trigger`] | when to save: every so many steps or seconds, at the start, at the end, on request |
//! | [`Stop`] | a signal, or the program itself, asks the loop to save and to end |
//! | [`SaveListener`] | is told before and after a save, and may end the training |
//! | [`Epochs`] | which rows come next, in an order that a resumed run continues |
//! | [`Metrics`] | the lowest, highest and latest value of each metric |
//! | [`States`] | everything else: random numbers, and whatever is [`Checkpointable`] |
//! | [`Hooks`] | all of them put together, for adapters |
//!
//! Each is a small value that does no more than its line says. A loop of one's own takes what it needs:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let directory = dir.path();
//! use tfckpt::training::{Epochs, States, Stop, Trigger};
//! use tfckpt::{Saver, Variable};
//!
//! let (mut weight, mut step) = ([0.0f32], 0);
//! let mut saver = Saver::new(directory);
//! let mut epochs = Epochs::new(1000, 32).shuffle(7).stop_after(3);
//! let (stop, mut trigger) = (Stop::new(), Trigger::new().every_steps(10));
//!
//! if let Some(checkpoint) = saver.latest()? {
//!     weight[0] = checkpoint.read::<f32>("weight")?[0];
//!     step = checkpoint.global_step()?.unwrap_or(0);
//!     States::restore_one("epochs", &mut epochs, &checkpoint, step)?;
//! }
//! trigger.start(step, true);
//! while !stop.is_requested() {
//!     let Some(batch) = epochs.next_batch() else { break };
//!     weight[0] += batch.rows.len() as f32;
//!     step += 1;
//!     epochs.commit();
//!     if trigger.is_due(step).is_some() {
//!         let variables = [Variable::new("weight", [1], &weight), States::variable("epochs", &epochs)];
//!         saver.save(variables, step)?;
//!         trigger.saved(step);
//!     }
//! }
//! assert_eq!((step, weight[0]), (3 * 32, 3000.0));
//! # Ok(())
//! # }
//! ```

mod epochs;
mod hooks;
mod listener;
mod metrics;
#[cfg(feature = "rng")]
mod rng;
mod shuffle;
#[cfg(feature = "signals")]
mod signals;
mod states;
mod stop;
mod trigger;

pub use epochs::{Batch, Epochs, Position};
pub use hooks::{Before, Hooks};
pub use listener::{Listeners, SaveListener};
pub use metrics::{Metrics, Reading};
#[cfg(feature = "rng")]
pub use rng::CheckpointRng;
pub use states::{Checkpointable, Snapshot, States};
pub use stop::{Signal, Stop};
pub use trigger::{Due, Trigger};

/// The scope of the variables that are ours in a checkpoint: metrics, epochs. TensorFlow has no use for them, and ignores
/// them. Nothing there is trainable.
pub const SCOPE: &str = "tfckpt";
