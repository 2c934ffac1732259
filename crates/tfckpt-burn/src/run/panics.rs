//! A run that is dropped because of a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tfckpt::Saved;

use super::{Shared, TfCheckpoints};

impl Drop for TfCheckpoints {
    fn drop(&mut self) {
        self.shared.save_after_panic();
    }
}

/// Saves if it is dropped because of a panic.
pub(crate) struct OnPanic<'a>(pub(crate) &'a Shared);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        self.0.save_after_panic();
    }
}

impl Shared {
    /// Saves the state of the last step that was whole, if that is wanted and there is a panic.
    fn save_after_panic(&self) {
        if !self.saves_on_panic || !std::thread::panicking() {
            return;
        }
        let step = self.state().hooks.global_step();
        // A second panic would end the process in the middle of a save.
        match catch_unwind(AssertUnwindSafe(|| self.save_whole_step())) {
            Ok(Ok(Some(saved))) => eprintln!("saved step {step} after a panic: {}", saved.prefix.display()),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => eprintln!("step {step} was not saved after a panic: {}", error.chain()),
            Err(_) => eprintln!("step {step} was not saved after a panic: saving panicked as well"),
        }
    }

    /// Saves the state after the last step, if it was kept and is not saved.
    pub(crate) fn save_whole_step(&self) -> crate::Result<Option<Saved>> {
        let Some(whole) = self.state().whole.take() else {
            return Ok(None);
        };
        // Errors of earlier saves were to be told to the loop.
        let _ = self.writer().wait();
        if self.writer().last_saved >= Some(whole.global_step) {
            return Ok(None);
        }
        let outcome = self.write(whole)?;
        let last = self.writer().wait()?.pop();
        self.state().hooks.saved();
        Ok(last.or(outcome.committed))
    }
}
