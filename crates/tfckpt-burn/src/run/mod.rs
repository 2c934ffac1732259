//! A training run in a directory: saved as it goes, and resumed.

mod content;
mod event;
mod loops;
mod options;
mod panics;
mod place;
mod restoring;
mod saving;
mod steps;
mod writer;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tfckpt::map::{LoadReport, NameMap};
use tfckpt::training::{Hooks, Listeners};
use tfckpt::{DType, Saver};

use crate::module;
use crate::optimizer::{AllTraits, Naming};
pub(crate) use content::Content;
pub use event::Event;
use event::OnEvent;
pub(crate) use panics::OnPanic;
use place::Place;
pub(crate) use steps::{Draws, EpochEnd};
use writer::Writer;

/// Saves a training run as TensorFlow checkpoints, and takes it up again.
///
/// One checkpoint holds the model, the state of the optimizer as slot variables, the state of the learning-rate
/// scheduler, `global_step`, the position in the training data, random numbers, metrics and whatever else is tracked. It
/// is committed as a whole by a [`Saver`], and restored as a whole or not at all.
///
/// For a `Learner` there is [`launch`](Self::launch); a hand-written loop calls
/// [`restore_or_initialize`](Self::restore_or_initialize) before, [`after_step`](Self::after_step) within and
/// [`finish`](Self::finish) after.
///
/// At a step for which nothing is due it takes about 0.5 µs, with batches, seeds, intervals, signals, a listener and a metric;
/// 0.2 % of a step of the small network in `cargo bench --bench burn_hooks`.
///
/// # A run that goes on exactly
/// A resumed run ends with the very bytes of one that never stopped, if all that it depends on is restored or follows
/// from what is:
///
/// - **Weights, moments, schedule**: always.
/// - **Order of the data**: from [`loader`](Self::loader) (or [`next_batch`](Self::next_batch) in a loop of one's own),
///   whose order follows from seed and epoch; or from Burn's own loader through [`resume`](Self::resume).
/// - **Dropout and whatever else draws from the device**: Burn's generators can be seeded but not read. With
///   [`seed_each_step`](Self::seed_each_step) they are seeded anew for each step, by a number that follows from
///   `global_step`.
/// - **Other random numbers**: [`track_rng`](Self::track_rng).
/// - **The arithmetic**: that of the device is the same in each run; on GPUs that is not always so.
#[derive(Debug)]
pub struct TfCheckpoints {
    pub(crate) shared: Arc<Shared>,
}

/// The options, and the state that the hooks of a run share.
pub(crate) struct Shared {
    names: NameMap,
    /// The dtypes that parameters were restored from and that Burn lacks.
    stored: Mutex<BTreeMap<String, DType>>,
    pub(crate) optimizer: Naming,
    /// What is known of the optimizers, once it was found out.
    traits: Mutex<Option<Arc<AllTraits>>>,
    /// Burn's names of validation metrics, and ours.
    pub(crate) valid_metrics: Vec<(String, String)>,
    seed: Option<u64>,
    saves_on_panic: bool,
    on_event: Option<OnEvent>,
    /// Told while nothing else is locked, so that they may ask for the step.
    listeners: Mutex<Listeners>,
    /// Locked before the state, and for as long as a save takes.
    writer: Mutex<Writer>,
    state: Mutex<State>,
}

/// Where a run is, and what it waits for.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) hooks: Hooks,
    pub(crate) place: Place,
    pub(crate) data: Data,
    listener_stops: bool,
    /// Forward passes since the last step of the optimizer.
    passes: u64,
    /// The state after the last step, if it may have to be saved later.
    whole: Option<Content>,
    has_begun: bool,
}

/// Where the training data is.
#[derive(Debug, Default)]
pub(crate) struct Data {
    /// Somebody looks after it: a loader of ours.
    pub(crate) is_counted: bool,
    /// The epoch of the next pass over it, from 0.
    pub(crate) next_epoch: u64,
    /// Passes that a loader of Burn's has to be told of, because the run before made them.
    pub(crate) passes_behind: u64,
    /// Batches that the next pass leaves out, because the run before has used them.
    pub(crate) skip: u64,
    /// Batches that were handed out in this epoch; of a loop written by hand, in all of them.
    pub(crate) handed_out: u64,
    /// The last batch of the epoch was handed out.
    pub(crate) is_last: bool,
}

impl TfCheckpoints {
    /// Checkpoints in `directory`, which is made if it is not there. Options are set before the first use.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let shared = Shared {
            names: NameMap::keras(),
            stored: Mutex::default(),
            optimizer: Naming::default(),
            traits: Mutex::default(),
            valid_metrics: Vec::new(),
            seed: None,
            saves_on_panic: false,
            on_event: None,
            listeners: Mutex::default(),
            writer: Mutex::new(Writer::new(Saver::new(directory))),
            state: Mutex::default(),
        };
        TfCheckpoints {
            shared: Arc::new(shared),
        }
    }

    /// The number of optimizer steps so far.
    pub fn global_step(&self) -> i64 {
        self.shared.state().hooks.global_step()
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        lock(&self.writer)
    }

    /// Names, and the dtypes that parameters are saved in.
    pub(crate) fn names(&self) -> Cow<'_, NameMap> {
        let stored = lock(&self.stored);
        match stored.is_empty() {
            true => Cow::Borrowed(&self.names),
            false => {
                let stored = stored.iter().map(|(path, dtype)| (path.as_str(), *dtype));
                Cow::Owned(module::with_stored(&self.names, stored))
            }
        }
    }

    /// Takes down the dtypes that parameters were restored from.
    fn remember(&self, report: &LoadReport) {
        let lacking = module::lacking(report).map(|(path, dtype)| (path.to_owned(), dtype));
        lock(&self.stored).extend(lacking);
    }

    fn tell(&self, event: &Event<'_>) {
        if let Some(on_event) = &self.on_event {
            on_event(event);
        }
    }
}

/// A panic elsewhere leaves plain counters, and a saver that looks at the directory itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        f.debug_struct("Shared")
            .field("names", &self.names)
            .field("global_step", &state.hooks.global_step())
            .field("place", &state.place)
            .finish_non_exhaustive()
    }
}
