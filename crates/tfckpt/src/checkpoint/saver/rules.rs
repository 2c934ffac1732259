//! A saver with rules of its own: metrics, pins, the history, and what would be removed.

use std::collections::BTreeMap;

use super::{Saved, Saver, numbered, prefixes};
use crate::checkpoint::history::History;
use crate::checkpoint::policy::{Retention, Verdict};
use crate::error::Result;
use crate::tensor::Variable;

impl Saver {
    /// Keeps checkpoints by these rules, in place of [`max_to_keep`](Self::max_to_keep). The state file lists what
    /// [`Retention::latest`] keeps, so that TensorFlow's own retention never removes the others; what is known of all of
    /// them is written to the file `checkpoint.history.json` beside it, which TensorFlow ignores. Default: none, and no
    /// such file.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let run = dir.path().join("run");
    /// use tfckpt::{Goal, Retention, Saver, Variable};
    ///
    /// let retention = Retention::default().latest(2).best("val_loss", Goal::Min, 1);
    /// let mut saver = Saver::new(&run).retention(retention);
    /// for (step, loss) in [(100, 0.5), (200, 0.2), (300, 0.4), (400, 0.3)] {
    ///     saver.save_measured([Variable::scalar("w", loss)], step, [("val_loss", loss)])?;
    /// }
    /// let verdicts: Vec<String> = saver.verdicts()?.iter().map(|v| format!("{} {v}", v.name)).collect();
    /// assert_eq!(verdicts, [
    ///     "model.ckpt-200 kept: best val_loss (1 of 1: 0.2)",
    ///     "model.ckpt-300 kept: latest (2 of 2)",
    ///     "model.ckpt-400 kept: latest (1 of 2)",
    /// ]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.max_to_keep = retention.latest_count();
        self.keeper.retention = Some(retention);
        self
    }

    /// As [`save`](Self::save), with what was measured of the network. Metrics are written to the history.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub fn save_measured<'a, M: Into<String>>(
        &mut self,
        variables: impl IntoIterator<Item = Variable<'a>>,
        global_step: i64,
        metrics: impl IntoIterator<Item = (M, f64)>,
    ) -> Result<Saved> {
        self.save_as(variables, global_step, collected(metrics))
    }

    /// Adds to what was measured of a checkpoint that is there: an evaluation that took its time. Values of the same
    /// names are replaced; the rules see them with the next save.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`](crate::Error::NoCheckpoint) if no checkpoint of this step is there; as [`save`](Self::save) for the directory.
    pub fn measure<M: Into<String>>(
        &mut self,
        global_step: i64,
        metrics: impl IntoIterator<Item = (M, f64)>,
    ) -> Result<()> {
        let metrics = collected(metrics);
        self.change(global_step, |history, name| history.measure(name, metrics))
    }

    /// Keeps the checkpoint of this step until told otherwise, over restarts.
    ///
    /// # Errors
    /// As [`measure`](Self::measure).
    pub fn pin(&mut self, global_step: i64) -> Result<()> {
        self.change(global_step, |history, name| history.pin(name, true))
    }

    /// Leaves the checkpoint of this step to the rules again.
    ///
    /// # Errors
    /// As [`measure`](Self::measure).
    pub fn unpin(&mut self, global_step: i64) -> Result<()> {
        self.change(global_step, |history, name| history.pin(name, false))
    }

    /// What is known of the checkpoints of the directory, and the best values ever.
    ///
    /// # Errors
    /// [`Error::StateFile`](crate::Error::StateFile).
    pub fn history(&mut self) -> Result<&History> {
        let listed = prefixes(&self.tracked()?);
        Ok(self.keeper.history(&self.directory, &listed))
    }

    /// What the rules say of each checkpoint that is there, oldest first: what the next save would remove, if there were
    /// no new one, and why the others stay. Removes nothing.
    ///
    /// # Errors
    /// [`Error::StateFile`](crate::Error::StateFile).
    pub fn verdicts(&mut self) -> Result<Vec<Verdict>> {
        let listed = prefixes(&self.tracked()?);
        Ok(self.keeper.decide(&self.directory, &listed, self.max_to_keep))
    }

    fn change(&mut self, global_step: i64, change: impl FnOnce(&mut History, &str) -> bool) -> Result<()> {
        self.directory.enter()?;
        let name = numbered(&self.directory.basename, global_step, self.pad_step_number);
        let (listed, prefix) = (prefixes(&self.tracked()?), self.directory.prefix(&name));
        self.keeper
            .change(&self.directory, &listed, &prefix, self.max_to_keep, change)
    }
}

fn collected<M: Into<String>>(metrics: impl IntoIterator<Item = (M, f64)>) -> BTreeMap<String, f64> {
    metrics.into_iter().map(|(name, value)| (name.into(), value)).collect()
}
