//! Saving while the training goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::saver::{Saved, Saver};
use crate::bundle::Arena;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::tensor::Variable;

/// What a save does while another one is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenBusy {
    /// It waits for the other. Every save is made, and one copy of the state is in memory. The default.
    #[default]
    Wait,
    /// It is left out. Training never waits.
    Skip,
    /// It waits in line, with a copy of its own, and a later one takes its place. Training never waits, and the newest
    /// state is always saved; two copies are in memory.
    Replace,
}

/// What became of a save.
#[derive(Debug)]
#[non_exhaustive]
pub enum Submitted {
    /// The state is copied, and is being written or the next to be.
    Started,
    /// Left out: another one is being written, and the choice was [`WhenBusy::Skip`].
    Skipped,
    /// As `Started`, in the place of the save of this step, which is given up.
    Replaced {
        /// The step that will not be saved.
        global_step: i64,
    },
    /// Its copy would have taken more memory than allowed, so that it was written at once. It is done.
    InForeground(Saved),
}

/// A [`Saver`] that writes in the background: a save costs the training one copy of the state, at the speed of memory.
///
/// The copies are made in memory that is kept from save to save, on all cores. All else, layouts, checksums, files and
/// the device, is the work of one thread in the background and those that it starts ([`Saver::threads`]). A save is a
/// commit as always: killed at any moment, the directory has the checkpoint before.
///
/// Dropped, it waits for what is being written; call [`wait`](Self::wait) to learn how that went.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let run = dir.path();
/// use tfckpt::{BackgroundSaver, Saver, Variable, WhenBusy};
///
/// let mut saver = BackgroundSaver::new(Saver::new(run)).when_busy(WhenBusy::Wait);
/// let mut kernel = vec![0.0f32; 1024];
/// for step in 1..=300 {
///     kernel.iter_mut().for_each(|weight| *weight += 1.0); // training
///     if step % 100 == 0 {
///         saver.save([Variable::new("dense/kernel", [1024], &kernel)], step)?;
///     }
/// }
/// saver.wait()?;
/// assert_eq!(tfckpt::Checkpoint::open(run)?.read::<f32>("dense/kernel")?, kernel);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BackgroundSaver {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
    when_busy: WhenBusy,
    memory_budget: u64,
    threads: usize,
}

struct Shared {
    saver: Mutex<Saver>,
    state: Mutex<State>,
    /// Something in the state has changed.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The next save.
    next: Option<Job>,
    /// One is being written, from a copy of so many bytes.
    busy: Option<u64>,
    closed: bool,
    /// Memory that nobody uses.
    free: Vec<Arena>,
    done: Vec<Saved>,
    failed: Option<Error>,
}

/// What a save does in the background.
type Work = Box<dyn FnOnce(&mut Saver) -> Result<Saved> + Send>;

struct Job {
    work: Work,
    arena: Option<Arc<Arena>>,
    global_step: i64,
}

impl BackgroundSaver {
    /// Saves with `saver`.
    pub fn new(saver: Saver) -> Self {
        BackgroundSaver {
            shared: Arc::new(Shared {
                saver: Mutex::new(saver),
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
            worker: None,
            when_busy: WhenBusy::default(),
            memory_budget: u64::MAX,
            threads: Limits::default().threads(),
        }
    }

    /// What a save does while another one is being written. Default: [`WhenBusy::Wait`].
    #[must_use]
    pub fn when_busy(mut self, choice: WhenBusy) -> Self {
        self.when_busy = choice;
        self
    }

    /// The most bytes that copies of the state may take. A state that is larger is saved in the foreground; where two
    /// copies are too much, [`WhenBusy::Replace`] waits. Default: no limit.
    #[must_use]
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.memory_budget = bytes;
        self
    }

    /// The most threads that copy the state. Default: one for each core. How many write is up to [`Saver::threads`].
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Copies `variables` and returns; they are saved as [`Saver::save`] would have saved them now.
    ///
    /// # Errors
    /// That of an earlier save, if it has not been told yet: nothing is then done with this one. Those of copying:
    /// [`Error::Source`], [`Error::WrongLength`]; those of [`Saver::save`] if it is done in the foreground.
    pub fn save<'v>(
        &mut self,
        variables: impl IntoIterator<Item = Variable<'v>>,
        global_step: i64,
    ) -> Result<Submitted> {
        self.save_measured(variables, global_step, [])
    }

    /// As [`save`](Self::save), with what was measured of the network: see [`Saver::save_measured`].
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub fn save_measured<'v>(
        &mut self,
        variables: impl IntoIterator<Item = Variable<'v>>,
        global_step: i64,
        metrics: impl IntoIterator<Item = (String, f64)>,
    ) -> Result<Submitted> {
        let metrics: Vec<(String, f64)> = metrics.into_iter().collect();
        let started = Instant::now();
        let variables: Vec<Variable<'v>> = variables.into_iter().collect();
        let needed = Arena::needed(&variables);
        if needed > self.memory_budget {
            let mut state = self.idle(self.shared.state());
            state.told()?;
            drop(state);
            let mut saver = self.shared.saver.lock().unwrap_or_else(PoisonError::into_inner);
            let saved = saver.save_measured(variables, global_step, metrics);
            return saved.map(Submitted::InForeground);
        }
        let Some(submitted) = self.admit(needed)? else {
            return Ok(Submitted::Skipped);
        };
        let (variables, arena) = self.arena(needed).copy(variables, self.threads)?;
        let blocked = started.elapsed();
        self.submit(Job {
            work: Box::new(move |saver| {
                let saved = saver.save_measured(variables, global_step, metrics)?;
                Ok(Saved { blocked, ..saved })
            }),
            arena: Some(arena),
            global_step,
        });
        Ok(submitted)
    }

    /// Hands `work` to the background: for a state that nobody changes, whose values need no copy. It calls
    /// [`Saver::save`].
    ///
    /// # Errors
    /// That of an earlier save, as [`save`](Self::save).
    pub fn save_with(
        &mut self,
        global_step: i64,
        work: impl FnOnce(&mut Saver) -> Result<Saved> + Send + 'static,
    ) -> Result<Submitted> {
        let started = Instant::now();
        let Some(submitted) = self.admit(0)? else {
            return Ok(Submitted::Skipped);
        };
        let blocked = started.elapsed();
        self.submit(Job {
            work: Box::new(move |saver| {
                let saved = work(saver)?;
                Ok(Saved { blocked, ..saved })
            }),
            arena: None,
            global_step,
        });
        Ok(submitted)
    }

    /// The saves that were finished since they were last asked for. Does not wait.
    ///
    /// # Errors
    /// That of a save that failed. It is told once; saves that were finished are then told by the next call.
    pub fn finished(&mut self) -> Result<Vec<Saved>> {
        let mut state = self.shared.state();
        state.told()?;
        Ok(std::mem::take(&mut state.done))
    }

    /// Waits until everything is written, and gives what [`finished`](Self::finished) would.
    ///
    /// # Errors
    /// As [`finished`](Self::finished).
    pub fn wait(&mut self) -> Result<Vec<Saved>> {
        drop(self.idle(self.shared.state()));
        self.finished()
    }

    /// Waits, and gives the saver back.
    ///
    /// # Errors
    /// As [`finished`](Self::finished).
    pub fn into_saver(mut self) -> Result<Saver> {
        self.wait()?;
        let mut saver = self.shared.saver.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::replace(&mut saver, Saver::new("")))
    }

    /// Makes way for a save whose copy takes so many bytes, and says what becomes of it; `None` if it is to be left out.
    fn admit(&self, needed: u64) -> Result<Option<Submitted>> {
        let mut state = self.shared.state();
        state.told()?;
        let mut submitted = Submitted::Started;
        if state.is_busy() {
            match self.when_busy {
                WhenBusy::Skip => return Ok(None),
                WhenBusy::Replace => {
                    if let Some(job) = state.next.take() {
                        submitted = Submitted::Replaced {
                            global_step: job.global_step,
                        };
                        state.give_back(job);
                    }
                    if state.busy.unwrap_or(0).saturating_add(needed) > self.memory_budget {
                        state = self.idle(state);
                    }
                }
                WhenBusy::Wait => state = self.idle(state),
            }
            state.told()?;
        }
        Ok(Some(submitted))
    }

    /// Memory for a copy of so many bytes.
    fn arena(&self, needed: u64) -> Arena {
        let mut state = self.shared.state();
        let arena = state.free.pop().unwrap_or_default();
        let used = state.busy.unwrap_or(0).saturating_add(needed.max(arena.capacity()));
        let spare = state.free.iter().map(Arena::capacity).sum::<u64>();
        if used.saturating_add(spare) > self.memory_budget {
            state.free.clear();
        }
        arena
    }

    fn submit(&mut self, job: Job) {
        let mut state = self.shared.state();
        state.next = Some(job);
        drop(state);
        self.shared.changed.notify_all();
        if self.worker.as_ref().is_none_or(JoinHandle::is_finished) {
            let shared = self.shared.clone();
            let name = "tfckpt-saver".to_owned();
            match thread::Builder::new().name(name).spawn(move || shared.work()) {
                Ok(worker) => self.worker = Some(worker),
                // No thread to be had: then here and now.
                Err(_) => {
                    self.shared.state().closed = true;
                    self.shared.work();
                    self.shared.state().closed = false;
                }
            }
        }
    }

    /// Waits until nothing is being written and nothing is next.
    fn idle<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let idle = self.shared.changed.wait_while(state, |state| state.is_busy());
        idle.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for BackgroundSaver {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_all();
        if let Some(worker) = self.worker.take() {
            // It does not panic; what its work did is in the state.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Saves until there is nothing more to come.
    fn work(&self) {
        loop {
            let waiting = |state: &mut State| state.next.is_none() && !state.closed;
            let state = self.changed.wait_while(self.state(), waiting);
            let mut state = state.unwrap_or_else(PoisonError::into_inner);
            let Some(mut job) = state.next.take() else { return };
            state.busy = Some(job.arena.as_ref().map_or(0, |arena| arena.capacity()));
            drop(state);
            let work = std::mem::replace(&mut job.work, Box::new(|_| Err(Error::invalid("done twice"))));
            let saved = {
                let mut saver = self.saver.lock().unwrap_or_else(PoisonError::into_inner);
                // A framework that panics while it gives its values away must not leave the training waiting for ever.
                let caught = catch_unwind(AssertUnwindSafe(|| work(&mut saver)));
                caught.unwrap_or_else(|_| Err(Error::invalid("the save panicked in the background; see above")))
            };
            let mut state = self.state();
            state.busy = None;
            state.give_back(job);
            match saved {
                Ok(saved) => state.done.push(saved),
                // The first is what matters: those after it have the same reason.
                Err(error) => state.failed = state.failed.take().or(Some(error)),
            }
            drop(state);
            self.changed.notify_all();
        }
    }
}

impl State {
    fn is_busy(&self) -> bool {
        self.busy.is_some() || self.next.is_some()
    }

    /// Tells of a save that failed, once.
    fn told(&mut self) -> Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Keeps the memory of a save for the next.
    fn give_back(&mut self, job: Job) {
        drop(job.work);
        self.free.extend(job.arena.and_then(Arena::reclaim));
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        f.debug_struct("Shared")
            .field("busy", &state.busy)
            .field("next", &state.next.as_ref().map(|job| job.global_step))
            .finish_non_exhaustive()
    }
}
