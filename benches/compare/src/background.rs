//! How long a training loop stands still while its state is copied for a save in the background.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use tfckpt::io::Durability;
use tfckpt::{BackgroundSaver, Saver};

use crate::candle_state::CandleState;
use crate::{Answer, timed};

#[derive(Default)]
pub(crate) struct Background {
    /// Kept from save to save, as a training loop keeps it: its memory is touched for the first time only once.
    saver: Option<BackgroundSaver>,
    /// Where one plain copy of the state goes.
    copy: Vec<Vec<f32>>,
}

impl Background {
    /// Saves into `directory`, the same one each time. The time is that until training goes on, which it does; the
    /// answer comes when all is written.
    pub(crate) fn save(&mut self, state: Option<&CandleState>, directory: PathBuf) -> Result<Answer> {
        let state = state.context("candle_make comes first")?;
        let new = || BackgroundSaver::new(Saver::new(directory).overwrite(true).durability(Durability::Buffered));
        let saver = self.saver.get_or_insert_with(new);
        let (seconds, _submitted) = timed(|| Ok(saver.save(state.variables()?, 1)?))?;
        state.train()?;
        saver.wait()?;
        Ok(Answer::time(seconds, state.bytes()))
    }

    /// One copy of the state on one thread, into memory that is there already.
    pub(crate) fn memcpy(&mut self, state: Option<&CandleState>) -> Result<Answer> {
        let state = state.context("candle_make comes first")?;
        if self.copy.is_empty() {
            // Not zero, which the system would not have to have in memory.
            self.copy = state.tensors().map(|tensor| vec![1.0; tensor.elem_count()]).collect();
        }
        let (seconds, ()) = timed(|| {
            for (tensor, copy) in state.tensors().zip(&mut self.copy) {
                let (storage, _) = tensor.storage_and_layout();
                let candle_core::Storage::Cpu(storage) = &*storage else {
                    bail!("the state is not on the CPU");
                };
                copy.copy_from_slice(storage.as_slice()?);
            }
            Ok(())
        })?;
        Ok(Answer::time(seconds, state.bytes()))
    }
}
