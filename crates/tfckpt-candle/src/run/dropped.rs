//! A run that is dropped because of a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tfckpt::Saved;

use super::Run;
use super::writer::Write;

impl Drop for Run {
    fn drop(&mut self) {
        if !self.saves_on_panic || !std::thread::panicking() {
            return;
        }
        let step = self.global_step();
        // A second panic would end the process in the middle of a save.
        match catch_unwind(AssertUnwindSafe(|| self.save_whole_step())) {
            Ok(Ok(Some(saved))) => eprintln!("saved step {step} after a panic: {}", saved.prefix.display()),
            Ok(Ok(None)) => {}
            Ok(Err(reason)) => eprintln!("step {step} was not saved after a panic: {reason}"),
            Err(_) => eprintln!("step {step} was not saved after a panic: saving panicked as well"),
        }
    }
}

impl Run {
    /// Saves the state of the last step that was whole; `None` if it is saved.
    fn save_whole_step(&mut self) -> Result<Option<Saved>, String> {
        // Errors of earlier saves were to be told to the loop, which is no more.
        let _ = self.writer.wait();
        if self.hooks.trigger.is_saved(self.global_step()) {
            return Ok(None);
        }
        self.is_whole()?;
        let others = self.hooks.variables_of_whole_step();
        let others = others.ok_or("no step was taken yet, and the run was not restored")?;
        let saved = match self.write(others).map_err(|error| chain(&error))? {
            Write::Committed(saved) => Some(saved),
            _ => self.writer.wait().map_err(|error| chain(&error))?.pop(),
        };
        self.hooks.saved();
        Ok(saved)
    }

    /// Whether all variables are as they were when the last step ended; or else why that is not certain.
    fn is_whole(&self) -> Result<(), String> {
        let mut all_tell = true;
        for (optimizer, before) in self.optimizers.iter().zip(&self.changes) {
            match (optimizer.change_count(), before) {
                (Some(now), Some(before)) if now == *before => {}
                (None, _) | (_, None) => all_tell = false,
                _ => return Err("the optimizer had begun to change variables".into()),
            }
        }
        let between_steps = self.hooks.epochs.is_some() && !self.hooks.is_in_step();
        if between_steps {
            return Ok(());
        }
        let begun = match self.hooks.epochs.is_some() {
            true => "a step had begun",
            false => "a step may have begun, because batches do not come from the run (`Run::epochs`)",
        };
        if !all_tell {
            return Err(format!(
                "{begun}, and an optimizer does not tell when it changes variables"
            ));
        }
        let variables = self.variables.entries().map_err(|error| chain(&error))?;
        match variables.iter().find(|entry| !entry.trained) {
            Some(entry) => Err(format!("{begun}, and the forward pass changes `{}`", entry.path)),
            None if !self.tracked.is_empty() => Err(format!("{begun}, and tracked variables may have changed")),
            None => Ok(()),
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
