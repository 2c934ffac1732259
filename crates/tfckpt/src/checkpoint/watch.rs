//! Waiting for the next checkpoint of a training that runs elsewhere.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Checkpoint;
use super::check::Check;
use super::look::Seen;
use super::state::STATE_FILE;
use super::told::Told;
use crate::error::{Error, Result};

/// Gives the newest checkpoint of `directory`, and then each newer one when it appears, as
/// `tf.train.checkpoints_iterator` does: what an evaluator loops over while a training goes on elsewhere. Ones that are
/// saved while the caller is busy with another are passed over, but for the newest. `directory` need not exist yet.
///
/// As TensorFlow, it goes by the state file. Differently from it, and for safety:
/// - A checkpoint that is not whole is never given; the wait goes on until it is, or until there is another.
/// - None is given twice, also if the training falls back to it. One that was written again, with other contents, is
///   another one.
/// - The last one is not missed: before it ends because [`timeout_fn`](CheckpointsIterator::timeout_fn) says so, it looks
///   once more.
///
/// It wakes up when the file system tells of a new state file (with the feature `notify`), and looks by itself each
/// second, for file systems that tell nothing, such as those of networks. In between it takes no time.
///
/// # A checkpoint that goes away
/// The training removes old checkpoints, perhaps before the evaluator gets to them. [`next_checkpoint`] gives them
/// open: all files are open then, and on Unix stay readable as long as the [`Checkpoint`] lives. The iterator itself
/// gives paths, as TensorFlow does, and what is behind a path may go.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let run = dir.path();
/// # tfckpt::Saver::new(run).save([tfckpt::Variable::scalar("v", 1f32)], 100)?;
/// # use std::time::Duration;
/// let mut checkpoints = tfckpt::checkpoints_iterator(run).timeout(Duration::ZERO);
/// while let Some(checkpoint) = checkpoints.next_checkpoint() {
///     let checkpoint = checkpoint?;
///     println!("evaluating step {:?}", checkpoint.global_step()?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// [`next_checkpoint`]: CheckpointsIterator::next_checkpoint
pub fn checkpoints_iterator(directory: impl Into<PathBuf>) -> CheckpointsIterator {
    let directory = directory.into();
    CheckpointsIterator {
        wait: Wait {
            told: Told::new(&directory, STATE_FILE),
            directory,
            state_file: STATE_FILE.to_owned(),
            check: Check::Lengths,
            poll: POLL,
            seen: Seen::default(),
        },
        min_interval: Duration::ZERO,
        timeout: None,
        timeout_fn: None,
        given: None,
        done: false,
    }
}

/// Waits until the newest checkpoint of `directory` is another one than `last_checkpoint`, and gives its prefix; `None`
/// if there is none within `timeout`, which is without end if it is `None`. As `tf.train.wait_for_new_checkpoint`, but
/// that it gives whole checkpoints alone, and looks for the last time when the time is over, not a second before. For a
/// state file of another name, [`CheckpointsIterator::latest_filename`] is there.
///
/// # Errors
/// [`Error::Io`] for a directory that is none, or may not be read. Whatever may change is waited for.
pub fn wait_for_new_checkpoint(
    directory: impl Into<PathBuf>,
    last_checkpoint: Option<&Path>,
    timeout: Option<Duration>,
) -> Result<Option<PathBuf>> {
    let mut checkpoints = checkpoints_iterator(directory);
    if let Some(last) = last_checkpoint {
        checkpoints = checkpoints.after(last);
    }
    checkpoints.timeout(timeout).next().transpose()
}

/// How long it takes at most until a new checkpoint is seen without word from the file system.
const POLL: Duration = Duration::from_secs(1);

/// The checkpoints of a directory as they appear, made by [`checkpoints_iterator`]. Gives their prefixes.
pub struct CheckpointsIterator {
    wait: Wait,
    min_interval: Duration,
    timeout: Option<Duration>,
    timeout_fn: Option<Box<dyn FnMut() -> bool + Send>>,
    /// When the last one was given, until its interval is over.
    given: Option<Instant>,
    done: bool,
}

impl CheckpointsIterator {
    /// The least time between two checkpoints. Default: none.
    #[must_use]
    #[doc(alias = "min_interval_secs")]
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.min_interval = interval;
        self
    }

    /// How long it waits for a checkpoint before it ends, or asks [`timeout_fn`](Self::timeout_fn). Zero looks once.
    /// Default: `None`, without end.
    #[must_use]
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Asked each time that the timeout is over, and after each checkpoint: `true` ends the iteration, because the
    /// training has ended, and `false` goes on. Default: none, and it ends with the first timeout.
    #[must_use]
    pub fn timeout_fn(mut self, timeout_fn: impl FnMut() -> bool + Send + 'static) -> Self {
        self.timeout_fn = Some(Box::new(timeout_fn));
        self
    }

    /// Takes the checkpoint of this prefix for one that was given already: that with which an evaluator ended last time.
    /// Default: none.
    #[must_use]
    pub fn after(mut self, last_checkpoint: impl AsRef<Path>) -> Self {
        self.wait.seen.add(last_checkpoint.as_ref());
        self
    }

    /// How closely a checkpoint is looked at before it is given. Default: [`Check::Lengths`], because whoever evaluates
    /// it reads all of it, and finds any byte that is wrong.
    #[must_use]
    pub fn check(mut self, check: Check) -> Self {
        self.wait.check = check;
        self
    }

    /// The name of the state file, that of [`Saver::latest_filename`](crate::Saver::latest_filename). Default:
    /// `checkpoint`. One with path components is an error when it looks.
    #[must_use]
    pub fn latest_filename(mut self, name: impl Into<String>) -> Self {
        self.wait.state_file = name.into();
        self.wait.told = Told::new(&self.wait.directory, &self.wait.state_file);
        self
    }

    /// How often it looks at the directory without being told of a change. Default: 1 second.
    #[must_use]
    #[doc(alias = "seconds_to_sleep")]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.wait.poll = interval;
        self
    }

    /// Why the newest checkpoint of the state file was not given, when that was looked at last: it is not whole, or the
    /// state file does not parse. `None` if there is nothing new.
    pub fn problem(&self) -> Option<&Error> {
        self.wait.seen.problem.as_ref()
    }

    /// The next checkpoint, open, with all its files: on Unix it stays readable when it is removed. One that goes away
    /// before is passed over. `None` when it has ended.
    ///
    /// # Errors
    /// As [`wait_for_new_checkpoint`]; asked again, it looks again.
    pub fn next_checkpoint(&mut self) -> Option<Result<Checkpoint>> {
        if self.done {
            return None;
        }
        if let Some(given) = self.given.take() {
            std::thread::sleep(self.min_interval.saturating_sub(given.elapsed()));
            if self.timeout_fn.as_mut().is_some_and(|has_ended| has_ended()) {
                return self.last_look();
            }
        }
        loop {
            match self.wait.next(self.timeout) {
                Ok(Some(checkpoint)) => return self.give(checkpoint),
                Ok(None) => match self.timeout_fn.as_mut().map(|has_ended| has_ended()) {
                    // A timeout of nothing must not make a busy loop.
                    Some(false) if self.timeout == Some(Duration::ZERO) => self.wait.told.wait(self.wait.poll),
                    Some(false) => {}
                    Some(true) => return self.last_look(),
                    None => {
                        self.done = true;
                        return None;
                    }
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// What was saved between the look before and the end of the training.
    fn last_look(&mut self) -> Option<Result<Checkpoint>> {
        self.done = true;
        self.wait.next(Some(Duration::ZERO)).transpose()
    }

    fn give(&mut self, checkpoint: Checkpoint) -> Option<Result<Checkpoint>> {
        self.given = Some(Instant::now());
        Some(Ok(checkpoint))
    }
}

impl Iterator for CheckpointsIterator {
    type Item = Result<PathBuf>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_checkpoint()?;
        Some(next.map(|checkpoint| checkpoint.prefix()))
    }
}

impl fmt::Debug for CheckpointsIterator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointsIterator")
            .field("wait", &self.wait)
            .field("min_interval", &self.min_interval)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A directory that is waited for.
#[derive(Debug)]
struct Wait {
    directory: PathBuf,
    state_file: String,
    check: Check,
    poll: Duration,
    seen: Seen,
    told: Told,
}

impl Wait {
    /// The next checkpoint; `None` if there is none within so long.
    fn next(&mut self, timeout: Option<Duration>) -> Result<Option<Checkpoint>> {
        let start = Instant::now();
        loop {
            // First, so that nothing is missed between the look and the wait.
            self.told.watch();
            if let Some(checkpoint) = self.seen.look(&self.directory, &self.state_file, self.check)? {
                return Ok(Some(checkpoint));
            }
            let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            self.told.wait(left.map_or(self.poll, |left| left.min(self.poll)));
        }
    }
}
