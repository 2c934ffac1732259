//! What a saver can be told before its first save.

use std::sync::Arc;

use super::Saver;
use crate::checkpoint::clock::Clock;
use crate::checkpoint::retention::HourlyKeeper;
use crate::io::{Durability, Progress};
use crate::meta::VariableKind;
use crate::objects::ObjectLayout;

impl Saver {
    /// The name in front of `-STEP`. Default: `model.ckpt`.
    #[must_use]
    pub fn basename(mut self, basename: impl Into<String>) -> Self {
        self.directory.basename = basename.into();
        self
    }

    /// How many checkpoints to keep; 0 or `None` keeps all, and then the state file lists only the newest, as
    /// TensorFlow's does. Default: 5. A lower number than that of an earlier run takes effect with the next save.
    #[must_use]
    pub fn max_to_keep(mut self, count: impl Into<Option<usize>>) -> Self {
        self.max_to_keep = count.into().filter(|&count| count > 0);
        self
    }

    /// Besides the last few, keeps a checkpoint for ever from every so many hours of training, as
    /// `tf.compat.v1.train.Saver` does: one that is too old stays if it was saved later than the end of the current
    /// period, and the next period begins; the first one begins when this saver is made. Such a checkpoint is no longer
    /// in the state file. Default: 10,000, which is never.
    #[must_use]
    pub fn keep_checkpoint_every_n_hours(mut self, hours: f64) -> Self {
        self.hourly = HourlyKeeper::new(hours, self.clock.now());
        self
    }

    /// Whether the step in a name has at least eight digits, `model.ckpt-00000100`. Default: false.
    #[must_use]
    pub fn pad_step_number(mut self, pad: bool) -> Self {
        self.pad_step_number = pad;
        self
    }

    /// The name of the state file. Two savers with state files of their own can share a directory, if their base names
    /// differ. Default: `checkpoint`.
    #[must_use]
    pub fn latest_filename(mut self, name: impl Into<String>) -> Self {
        self.directory.state_file = name.into();
        self
    }

    /// Whether saves are entered into the state file. One that is not is never removed, nor found as the latest.
    /// Default: true.
    #[must_use]
    pub fn write_state(mut self, write: bool) -> Self {
        self.write_state = write;
        self
    }

    /// What a save waits for. Default: [`Durability::Synced`]; TensorFlow's is [`Durability::Buffered`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.directory.durability = durability;
        self.committer.durability = durability;
        self
    }

    /// Whether the state file holds paths relative to the directory. Default: true; TensorFlow's is false. In a
    /// directory that was given by a relative path they are relative in any case, as TensorFlow's.
    #[must_use]
    pub fn save_relative_paths(mut self, relative: bool) -> Self {
        self.directory.relative_paths = relative;
        self
    }

    /// Whether a committed checkpoint of the same step is replaced. Default: false. It stays the latest, under the name
    /// `MODEL-STEP.replaced`, until the new one is there, whatever happens in between.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Whether the directory is locked against a second writer, from the first save until this saver is dropped. The
    /// lock is the operating system's: it goes with the process, however that ends. Storages without locks are written
    /// to all the same. Default: true.
    #[must_use]
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.directory.exclusive = exclusive;
        self
    }

    /// Whether each save is read back, from the device where the system can be asked for that, and compared with its
    /// checksums before it is acknowledged. Default: false. Takes about as long as reading the checkpoint.
    #[must_use]
    pub fn verify_after_save(mut self, verify: bool) -> Self {
        self.committer.verify = verify;
        self
    }

    /// The most bytes of one data file; see [`BundleWriter::with_max_shard_bytes`](crate::BundleWriter::with_max_shard_bytes).
    /// Default: no limit, and one file.
    #[must_use]
    pub fn max_shard_bytes(mut self, bytes: u64) -> Self {
        self.committer.max_shard_bytes = bytes;
        self
    }

    /// The most threads that write. Default: one for each core. Fewer leave cores to a training that goes on meanwhile.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.committer.threads = threads;
        self
    }

    /// Whether each save writes `PREFIX.meta`, the graph with which TensorFlow's `import_meta_graph` restores the
    /// checkpoint without any other code. Default: true.
    #[must_use]
    pub fn write_meta_graph(mut self, write: bool) -> Self {
        self.write_meta_graph = write;
        self
    }

    /// The kind of the variables in that graph. Default: [`VariableKind::Resource`].
    #[must_use]
    pub fn variable_kind(mut self, kind: VariableKind) -> Self {
        self.variable_kind = kind;
        self
    }

    /// Writes object-based checkpoints, which `tf.train.Checkpoint` restores into objects that are laid out so. The
    /// save counter is the step, as in the name. As TensorFlow, writes no `.meta` beside them. Default: none, and
    /// checkpoints are name-based.
    #[must_use]
    pub fn objects(mut self, layout: impl Into<Option<ObjectLayout>>) -> Self {
        self.committer.objects = layout.into();
        self
    }

    /// Who is told how far saves have come, and restores of what [`latest`](Self::latest) opens. Default: nobody.
    #[must_use]
    pub fn progress(mut self, progress: impl Progress + 'static) -> Self {
        self.committer.progress = Some(Arc::new(progress));
        self
    }

    /// What tells the time. Default: [`SystemClock`](crate::SystemClock).
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self.hourly = HourlyKeeper::new(self.hourly.hours(), self.clock.now());
        self
    }
}
