//! Those who read ahead, on threads of their own or while they wait.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use candle_core::Tensor;
use tfckpt::map::{Layout, Transform};
use tfckpt::{Checkpoint, VariableInfo};

use super::order::{Content, Read};
use super::state::State;
use crate::bridge;
use crate::error::Result;

/// What the threads have in common.
pub(super) struct Shared {
    pub(super) checkpoint: Arc<Checkpoint>,
    /// What nobody has asked for after this time is given up.
    patience: Duration,
    state: Mutex<State>,
    /// Something was asked for, or was read.
    pub(super) changed: Condvar,
}

/// A variable that is to be read ahead. Dropped, it is not being read any more.
struct Claim<'s> {
    shared: &'s Shared,
    place: usize,
    key: Box<[u8]>,
    layout: Layout,
}

impl Shared {
    pub(super) fn new(checkpoint: Arc<Checkpoint>, patience: Duration) -> Self {
        Shared {
            checkpoint,
            patience,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(
        &self,
        info: &VariableInfo,
        transform: &Transform,
        dims: &[usize],
        threads: usize,
    ) -> Result<Tensor> {
        bridge::read(&self.checkpoint.reading(info, threads), transform, dims)
    }

    /// Reads ahead as long as somebody asks.
    pub(super) fn work(&self) {
        while let Some(claim) = self.wait_for_claim() {
            claim.carry_out();
        }
        self.lock().threads -= 1;
    }

    /// Something to read ahead. `None` if nobody has asked for anything for a while; what was read is then given up.
    fn wait_for_claim(&self) -> Option<Claim<'_>> {
        let mut state = self.lock();
        while !state.stopped {
            if let Some(claim) = self.claim(&mut state) {
                return Some(claim);
            }
            let times = state.times;
            let waited = self.changed.wait_timeout(state, self.patience);
            let timeout;
            (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() && state.times == times {
                state.give_up();
                return None;
            }
        }
        None
    }

    fn claim(&self, state: &mut State) -> Option<Claim<'_>> {
        let (place, key, layout) = state.choose()?;
        Some(Claim {
            shared: self,
            place,
            key,
            layout,
        })
    }

    /// What was read of a variable. Whoever would have to wait for it reads ahead meanwhile.
    pub(super) fn wait_for(&self, place: usize) -> Option<Read> {
        let mut state = self.lock();
        while state.is_reading(place) {
            if let Some(claim) = self.claim(&mut state) {
                drop(state);
                claim.carry_out();
                state = self.lock();
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        let read = state.take(place);
        drop(state);
        // There is room for more now, for which somebody may have been waiting since it was asked for.
        self.changed.notify_all();
        read
    }
}

impl Claim<'_> {
    fn carry_out(self) {
        if let Some(read) = self.read() {
            let mut state = self.shared.lock();
            if let Some(slot) = state.slot(self.place) {
                slot.content = Content::Ready(read);
            }
        }
    }

    fn read(&self) -> Option<Read> {
        let info = self.shared.checkpoint.get(&self.key)?;
        let dims = self.layout.model_shape(info.shape().dims())?;
        let transform = self.layout.to_model(&dims)?;
        let tensor = self.shared.read(info, &transform, &dims, 1).ok()?;
        Some(Read {
            transform,
            dims,
            tensor,
        })
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.is_reading(self.place) {
            state.take(self.place);
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}
