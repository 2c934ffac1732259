//! The little states of a training loop: saved with the weights, restored all or none.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::bundle::Bundle;
use crate::dtype::DType;
use crate::error::{BoxError, Error, Result};
use crate::tensor::Variable;

/// A little state that is part of a checkpoint: a generator of random numbers, a position in a data set, a scheduler.
///
/// In the checkpoint it is a variable of one dimension; its elements are bytes, unless it says otherwise.
///
/// # Contract
/// After `b.restore(&a.to_bytes())` both go on alike. A state that refuses bytes is left as it was, and one that takes
/// its own does not fail. `to_bytes` is called for every save, for some users after every step: it should be quick.
///
/// A run holds its states while the loop uses them, so that what it is given is a handle: a type that shares
/// its insides, as `CheckpointRng` of the feature `rng`, or an `Arc<Mutex<_>>` of any other.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use tfckpt::training::Checkpointable;
///
/// #[derive(Default)]
/// struct Patience { epochs_without_progress: u32 }
///
/// impl Checkpointable for Patience {
///     fn to_bytes(&self) -> Vec<u8> {
///         self.epochs_without_progress.to_le_bytes().to_vec()
///     }
///     fn restore(&mut self, bytes: &[u8]) -> Result<(), tfckpt::BoxError> {
///         self.epochs_without_progress = u32::from_le_bytes(bytes.try_into()?);
///         Ok(())
///     }
/// }
/// let handle = Arc::new(Mutex::new(Patience::default()));
/// # let mut states = tfckpt::training::States::new();
/// states.track("patience", Arc::clone(&handle));
/// ```
pub trait Checkpointable {
    /// The whole state, little-endian.
    fn to_bytes(&self) -> Vec<u8>;

    /// Takes the state that [`to_bytes`](Self::to_bytes) gave, perhaps that of an older version of the program.
    ///
    /// # Errors
    /// The bytes mean nothing to it; the message says what to do.
    fn restore(&mut self, bytes: &[u8]) -> Result<(), BoxError>;

    /// The checkpoint was saved by a program without this state, after so many steps. What follows from the number of
    /// steps is set here; by default nothing does.
    ///
    /// # Errors
    /// The state does not follow from the number of steps, so that training cannot go on exactly.
    fn missing(&mut self, global_step: i64) -> Result<(), BoxError> {
        let _ = global_step;
        Err("the checkpoint was saved without it: allow it to be missing, and the run goes on with the state it starts with".into())
    }

    /// The dtype of the elements in the checkpoint, for people who look at it: any number type. Default: uint8.
    fn dtype(&self) -> DType {
        DType::Uint8
    }
}

/// A handle on a state that others hold as well.
impl<T: Checkpointable> Checkpointable for Arc<Mutex<T>> {
    fn to_bytes(&self) -> Vec<u8> {
        held(self).to_bytes()
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), BoxError> {
        held(self).restore(bytes)
    }

    fn missing(&mut self, global_step: i64) -> Result<(), BoxError> {
        held(self).missing(global_step)
    }

    fn dtype(&self) -> DType {
        held(self).dtype()
    }
}

fn held<T>(handle: &Arc<Mutex<T>>) -> MutexGuard<'_, T> {
    handle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The states of a run, by the names of their variables.
#[derive(Default)]
pub struct States {
    all: Vec<(String, Held)>,
    may_be_missing: bool,
}

/// Behind a lock so that a run can be `Sync`, although a state need not be.
type Held = Mutex<Box<dyn Checkpointable + Send>>;

/// The values of all states at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    all: Vec<(String, DType, Vec<u8>)>,
}

impl States {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more, whose variable has this name.
    pub fn track(&mut self, name: impl Into<String>, state: impl Checkpointable + Send + 'static) {
        self.all.push((name.into(), Mutex::new(Box::new(state))));
    }

    /// Whether a checkpoint may lack some of them, which then stay as they are. Default: false, and
    /// [`restore`](Self::restore) refuses such a checkpoint: a run would go on, but not exactly.
    pub fn may_be_missing(&mut self, may: bool) {
        self.may_be_missing = may;
    }

    /// The names of their variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|(name, _)| name.as_str())
    }

    /// Their values now.
    pub fn snapshot(&self) -> Snapshot {
        let value = |(name, state): &(String, Held)| {
            let state = state.lock().unwrap_or_else(PoisonError::into_inner);
            (name.clone(), state.dtype(), state.to_bytes())
        };
        Snapshot {
            all: self.all.iter().map(value).collect(),
        }
    }

    /// Their values now, to be saved.
    pub fn variables(&self) -> Vec<Variable<'static>> {
        self.snapshot().into_variables()
    }

    /// Takes all of them from a checkpoint of this step, or none: after an error they are as they were. Returns what they
    /// were, for [`roll_back`](Self::roll_back) in case that something else cannot be restored.
    ///
    /// # Errors
    /// [`Error::State`]: one is missing, has another dtype, or refuses its bytes; those of [`Bundle::read_bytes`].
    pub fn restore(&mut self, checkpoint: &Bundle, global_step: i64) -> Result<Snapshot> {
        let before = self.snapshot();
        let mut values = Vec::new();
        for (name, dtype, _) in &before.all {
            values.push(read(checkpoint, name, *dtype)?);
        }
        for ((name, state), value) in self.all.iter_mut().zip(values) {
            if value.is_none() && self.may_be_missing {
                continue;
            }
            let state = state.get_mut().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = set(name, state.as_mut(), value, checkpoint, global_step) {
                self.roll_back(&before);
                return Err(error);
            }
        }
        Ok(before)
    }

    /// Gives them the values of a moment before.
    pub fn roll_back(&mut self, before: &Snapshot) {
        for ((_, state), (_, _, bytes)) in self.all.iter_mut().zip(&before.all) {
            // A state takes its own bytes; see the contract.
            let _ = state.get_mut().unwrap_or_else(PoisonError::into_inner).restore(bytes);
        }
    }

    /// One state, to be saved, for a loop that holds it itself.
    pub fn variable(name: impl Into<String>, state: &impl Checkpointable) -> Variable<'static> {
        to_variable(name.into(), state.dtype(), state.to_bytes())
    }

    /// Restores one state, for a loop that holds it itself.
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    pub fn restore_one(
        name: &str,
        state: &mut impl Checkpointable,
        checkpoint: &Bundle,
        global_step: i64,
    ) -> Result<()> {
        let value = read(checkpoint, name, state.dtype())?;
        set(name, state, value, checkpoint, global_step)
    }
}

impl Snapshot {
    /// To be saved.
    pub fn into_variables(self) -> Vec<Variable<'static>> {
        let variable = |(name, dtype, bytes)| to_variable(name, dtype, bytes);
        self.all.into_iter().map(variable).collect()
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

fn to_variable(name: String, dtype: DType, bytes: Vec<u8>) -> Variable<'static> {
    let elements = bytes.len() / dtype.size().unwrap_or(1).max(1);
    Variable::from_bytes(name, dtype, [elements], bytes).non_trainable()
}

/// The bytes of a state, verified; `None` if the checkpoint does not have it.
fn read(checkpoint: &Bundle, name: &str, dtype: DType) -> Result<Option<Vec<u8>>> {
    if !checkpoint.contains(name) {
        return Ok(None);
    }
    let info = checkpoint.variable(name)?;
    if info.dtype() != dtype || info.shape().rank() != 1 {
        let what = format!(
            "it is {} {} there, not a list of {dtype}: it is another variable, so give the state another name",
            info.dtype(),
            info.shape()
        );
        return Err(fails(checkpoint, name, what.into()));
    }
    checkpoint.read_bytes(name).map(Some)
}

fn set(
    name: &str,
    state: &mut (impl Checkpointable + ?Sized),
    value: Option<Vec<u8>>,
    checkpoint: &Bundle,
    global_step: i64,
) -> Result<()> {
    let done = match value {
        Some(bytes) => state.restore(&bytes),
        None => state.missing(global_step),
    };
    done.map_err(|source| fails(checkpoint, name, source))
}

fn fails(checkpoint: &Bundle, name: &str, source: BoxError) -> Error {
    Error::State {
        prefix: checkpoint.prefix(),
        name: name.to_owned(),
        source,
    }
}
