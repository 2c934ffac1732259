//! How far reading and writing have come, for those who wait.

use std::io;
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Durability, Lock, NewFile, ReadAt, Storage};

/// Is told how far a save or a restore has come: what draws a bar, or writes a log.
///
/// # Contract
/// Calls come from any thread, [`advance`](Self::advance) from several at once and some thousand times a second; none of
/// them may block for long. [`begin`](Self::begin) and [`end`](Self::end) come in pairs, unless the work fails: then
/// `end` does not come, and the error is the caller's.
pub trait Progress: std::fmt::Debug + Send + Sync {
    /// Work on so many bytes begins.
    fn begin(&self, _work: Work, _bytes: u64) {}

    /// So many bytes more are done. Bytes that are read twice, to be verified first, count twice.
    fn advance(&self, _bytes: u64) {}

    /// The work is done.
    fn end(&self, _done: &Done) {}
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Work {
    /// A checkpoint is written.
    Save,
    /// A checkpoint is compared with its checksums.
    Verify,
    /// A model is filled.
    Restore,
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Work::Save => "save",
            Work::Verify => "verify",
            Work::Restore => "restore",
        })
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Done {
    /// What.
    pub work: Work,
    /// The prefix of the checkpoint.
    pub prefix: PathBuf,
    /// Bytes of its variables.
    pub bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mebibytes = self.bytes as f64 / f64::from(1 << 20);
        let seconds = self.elapsed.as_secs_f64();
        write!(
            f,
            "{} {}: {mebibytes:.1} MiB in {seconds:.2} s",
            self.work,
            self.prefix.display()
        )
    }
}

/// A storage whose data files tell how much of them is read and written.
#[derive(Debug)]
pub(crate) struct Watched {
    inner: Arc<dyn Storage>,
    progress: Arc<dyn Progress>,
}

impl Watched {
    pub(crate) fn new(inner: Arc<dyn Storage>, progress: Arc<dyn Progress>) -> Self {
        Watched { inner, progress }
    }
}

/// Whether a file has the bytes of variables: every one but index and graph.
fn has_data(name: &str) -> bool {
    !name.ends_with(".index") && !name.ends_with(".meta")
}

impl Storage for Watched {
    fn ensure(&self) -> io::Result<()> {
        self.inner.ensure()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>> {
        let file = self.inner.open(name)?;
        Ok(match has_data(name) {
            true => Arc::new(WatchedFile(file, self.progress.clone())),
            false => file,
        })
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let file = self.inner.create(name)?;
        Ok(match has_data(name) {
            true => Box::new(WatchedNewFile(file, self.progress.clone())),
            false => file,
        })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        self.inner.exists(name)
    }

    fn link(&self, name: &str, second: &str) -> io::Result<()> {
        self.inner.link(name, second)
    }

    fn modified(&self, name: &str) -> io::Result<f64> {
        self.inner.modified(name)
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        self.inner.free_bytes()
    }

    fn lock(&self, name: &str, holder: &str) -> io::Result<Option<Box<dyn Lock>>> {
        self.inner.lock(name, holder)
    }

    fn remove_leftovers(&self) -> io::Result<Vec<String>> {
        self.inner.remove_leftovers()
    }

    fn forget_cached(&self, name: &str) {
        self.inner.forget_cached(name);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.inner.path(name)
    }
}

#[derive(Debug)]
struct WatchedFile(Arc<dyn ReadAt>, Arc<dyn Progress>);

impl ReadAt for WatchedFile {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)?;
        self.1.advance(buffer.len() as u64);
        Ok(())
    }

    fn read_new_at<'b>(&self, buffer: &'b mut [MaybeUninit<u8>], offset: u64) -> io::Result<&'b mut [u8]> {
        let read = self.0.read_new_at(buffer, offset)?;
        self.1.advance(read.len() as u64);
        Ok(read)
    }
}

#[derive(Debug)]
struct WatchedNewFile(Box<dyn NewFile>, Arc<dyn Progress>);

impl NewFile for WatchedNewFile {
    fn set_name(&mut self, name: &str) -> io::Result<()> {
        self.0.set_name(name)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.0.allocate(len)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)?;
        self.1.advance(bytes.len() as u64);
        Ok(())
    }

    fn start_sync(&self, offset: u64, len: u64) {
        self.0.start_sync(offset, len);
    }

    fn publish(self: Box<Self>, durability: Durability) -> io::Result<()> {
        self.0.publish(durability)
    }
}
