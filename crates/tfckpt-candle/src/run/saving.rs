//! Saving.

use tfckpt::{Saved, Variable};

use super::Run;
use super::writer::Write;
use crate::error::Result;
use crate::optim::OptimizerState;

impl Run {
    /// Saves now; `None` if this very step is saved already, or in the background and not finished yet.
    ///
    /// # Errors
    /// [`Error::UnknownLayers`](crate::Error::UnknownLayers), [`Error::UnknownVariable`](crate::Error::UnknownVariable),
    /// [`Error::UnsupportedDtype`](crate::Error::UnsupportedDtype), and those of [`Saver::save`](tfckpt::Saver::save). All
    /// earlier checkpoints are then as they were.
    pub fn save(&mut self) -> Result<Option<Saved>> {
        if self.hooks.trigger.is_saved(self.global_step()) {
            return Ok(None);
        }
        self.hooks.before_save();
        match self.write(self.hooks.variables())? {
            Write::Committed(saved) => {
                self.hooks.saved();
                let earlier = self.writer.finished()?;
                Ok(self.tell(earlier.into_iter().chain([saved])))
            }
            Write::OnTheWay => {
                self.hooks.saved();
                self.finished()
            }
            Write::LeftOut => {
                self.hooks.left_out();
                self.finished()
            }
        }
    }

    /// Waits for the save that goes on in the background, and gives the newest that was finished since one was last
    /// given. Dropping the run waits, too, but cannot tell of an error.
    ///
    /// # Errors
    /// That of a save in the background.
    pub fn wait(&mut self) -> Result<Option<Saved>> {
        let finished = self.writer.wait()?;
        Ok(self.tell(finished))
    }

    /// Ends the run: saves its last step unless that is saved or [not wanted](Self::save_at_end), waits for what is being
    /// written, and tells the listeners. Returns the newest save that was not given before. It may go on afterwards.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub fn finish(&mut self) -> Result<Option<Saved>> {
        let mut newest = self.wait()?;
        // Also if saving at the end is not wanted: that a run was asked to stop is another reason.
        let due = self.hooks.trigger.is_due_at_end(self.global_step());
        if due.or_else(|| self.hooks.is_due()).is_some() {
            newest = self.save()?.or(newest);
            newest = self.wait()?.or(newest);
        }
        self.hooks.end();
        Ok(newest)
    }

    /// What was finished in the background.
    pub(super) fn finished(&mut self) -> Result<Option<Saved>> {
        let finished = self.writer.finished()?;
        Ok(self.tell(finished))
    }

    pub(super) fn write(&mut self, others: Vec<Variable<'static>>) -> Result<Write> {
        let variables = self.to_variables(others)?;
        if let Some(layout) = self.objects.take() {
            let tracked = self.tracked.iter().map(|(name, _)| name.as_str());
            let outside = tracked.chain(self.hooks.names());
            let mut layout = outside.fold(layout, |layout, name| layout.outside(name));
            // An object layout has one optimizer.
            if let [names] = self
                .optimizers
                .iter()
                .filter_map(OptimizerState::known_names)
                .collect::<Vec<_>>()
                .as_slice()
            {
                layout = layout.optimizer_names((*names).clone());
            }
            self.writer.change(|saver| saver.objects(layout));
        }
        // For the rules by which the saver keeps checkpoints.
        let step = self.global_step();
        let measured = self.hooks.metrics.of_step(step);
        let measured = measured.map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(self.writer.save(variables, step, measured)?)
    }

    /// Tells the listeners of saves, and gives the newest.
    fn tell(&mut self, saves: impl IntoIterator<Item = Saved>) -> Option<Saved> {
        let mut newest = None;
        for saved in saves {
            self.hooks.after_save(&saved);
            newest = Some(saved);
        }
        newest
    }
}
