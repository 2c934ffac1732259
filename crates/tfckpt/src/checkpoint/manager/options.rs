//! What a manager can be told before its first save.

use std::sync::Arc;

use super::CheckpointManager;
use crate::checkpoint::clock::Clock;
use crate::io::{Durability, Progress};
use crate::objects::ObjectLayout;

impl CheckpointManager {
    /// The name in front of `-NUMBER`. Default: `ckpt`.
    #[must_use]
    pub fn checkpoint_name(mut self, name: impl Into<String>) -> Self {
        self.directory.basename = name.into();
        self
    }

    /// Of the checkpoints that are too old, keeps one for ever that was saved so many hours or more after the last that
    /// is kept for ever; it is then no longer one of [`checkpoints`](Self::checkpoints). Default: `None`.
    #[must_use]
    pub fn keep_checkpoint_every_n_hours(mut self, hours: impl Into<Option<f64>>) -> Self {
        self.keep_checkpoint_every_n_hours = hours.into();
        self
    }

    /// The fewest steps between two saves; earlier calls of [`save`](Self::save) do nothing. Default: `None`, each call
    /// saves.
    #[must_use]
    pub fn checkpoint_interval(mut self, steps: impl Into<Option<i64>>) -> Self {
        self.checkpoint_interval = steps.into();
        self
    }

    /// The step of the last save, from which the interval counts. Default: `None`, and the first call saves;
    /// [`restore_or_initialize`](Self::restore_or_initialize) sets it.
    #[must_use]
    pub fn last_checkpoint_step(mut self, step: impl Into<Option<i64>>) -> Self {
        self.last_checkpoint_step = step.into();
        self
    }

    /// Writes object-based checkpoints, as `tf.train.Checkpoint` of objects that are laid out so. Default: none, and
    /// checkpoints are name-based, without a counter among their variables: it is then the number in the name.
    #[must_use]
    pub fn objects(mut self, layout: impl Into<Option<ObjectLayout>>) -> Self {
        self.committer.objects = layout.into();
        self
    }

    /// Whether a committed checkpoint of the same number is replaced. Default: false; TensorFlow's is true. The old one
    /// stays the latest until the new one is there.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// What a save waits for. Default: [`Durability::Synced`]; TensorFlow's is [`Durability::Buffered`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.directory.durability = durability;
        self.committer.durability = durability;
        self
    }

    /// Whether the directory is locked against a second writer, as by [`Saver::exclusive`](crate::Saver::exclusive).
    /// Default: true.
    #[must_use]
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.directory.exclusive = exclusive;
        self
    }

    /// Whether each save is read back before it is acknowledged, as by
    /// [`Saver::verify_after_save`](crate::Saver::verify_after_save). Default: false.
    #[must_use]
    pub fn verify_after_save(mut self, verify: bool) -> Self {
        self.committer.verify = verify;
        self
    }

    /// The most bytes of one data file. Default: no limit, and one file.
    #[must_use]
    pub fn max_shard_bytes(mut self, bytes: u64) -> Self {
        self.committer.max_shard_bytes = bytes;
        self
    }

    /// The most threads that write. Default: one for each core.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.committer.threads = threads;
        self
    }

    /// Who is told how far saves and restores have come. Default: nobody.
    #[must_use]
    pub fn progress(mut self, progress: impl Progress + 'static) -> Self {
        self.committer.progress = Some(Arc::new(progress));
        self
    }

    /// What tells the time. Default: [`SystemClock`](crate::SystemClock).
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.made = clock.now();
        self.clock = Arc::new(clock);
        self
    }
}
