//! Where the files of checkpoints live.
//!
//! A [`Storage`] is one directory, flat. [`LocalDir`] is the one on disk, [`MemoryDir`] one for tests and for
//! checkpoints that never touch a disk. Nothing above this module knows about paths or system calls.

mod blank;
mod leftovers;
mod local;
mod lock;
mod memory;
mod progress;
mod system;

use std::io;
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::sync::Arc;

pub use blank::zeroed;
pub(crate) use blank::{Blank, Moved, filled};
pub use local::LocalDir;
pub use lock::Lock;
pub use memory::MemoryDir;
pub(crate) use progress::Watched;
pub use progress::{Done, Progress, Work};

/// One directory of files.
///
/// # Contract
/// - A file becomes visible under its name only by [`NewFile::publish`], whole, replacing what had that name.
/// - After `publish` with [`Durability::Synced`] and [`Storage::sync`], the file survives a power cut.
/// - A name that is not there gives [`io::ErrorKind::NotFound`].
/// - Names are plain file names; one with a separator, or `..`, gives [`io::ErrorKind::InvalidInput`].
///
/// A storage needs the methods without a body; those with one say what a storage without that ability does.
pub trait Storage: std::fmt::Debug + Send + Sync {
    /// Makes the directory, with all its parents, if it is not there. Default: it always is.
    ///
    /// # Errors
    /// A parent is a file, or cannot be written.
    fn ensure(&self) -> io::Result<()> {
        Ok(())
    }

    /// Opens a file for reading. It stays readable when it is replaced or removed afterwards.
    ///
    /// # Errors
    /// The file is not there, or cannot be read.
    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>>;

    /// Starts a new file, which nobody sees before it is published.
    ///
    /// # Errors
    /// The directory is not there, is full, or cannot be written.
    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>>;

    /// The names of all files, in no order. Directories are left out.
    ///
    /// # Errors
    /// The directory is not there, or cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Removes a file. A symbolic link is removed itself, never what it points to.
    ///
    /// # Errors
    /// The file is not there, or cannot be removed.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes everything published and removed so far survive a power cut.
    ///
    /// # Errors
    /// The device failed.
    fn sync(&self) -> io::Result<()>;

    /// Whether a file of this name is there.
    ///
    /// # Errors
    /// The directory cannot be asked.
    fn exists(&self, name: &str) -> io::Result<bool> {
        match self.open(name) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives a file a second name, which nobody may have; both stay when the other is removed. Default: the bytes are
    /// copied.
    ///
    /// # Errors
    /// The file is not there, the name is taken, or the directory cannot be written.
    fn link(&self, name: &str, second: &str) -> io::Result<()> {
        if self.exists(second)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (from, to) = (self.open(name)?, self.create(second)?);
        let size = from.size()?;
        let mut buffer = vec![0; usize::try_from(size.min(COPY_BYTES)).unwrap_or(0)];
        let mut at = 0;
        while at < size {
            let len = usize::try_from(size - at).unwrap_or(usize::MAX).min(buffer.len());
            let piece = buffer.get_mut(..len).unwrap_or_default();
            from.read_exact_at(piece, at)?;
            to.write_all_at(piece, at)?;
            at += len as u64;
        }
        to.publish(Durability::Synced)
    }

    /// When the file was last written, in seconds since 1970. Default: [`io::ErrorKind::Unsupported`].
    ///
    /// # Errors
    /// The file is not there, or the storage keeps no times.
    fn modified(&self, _name: &str) -> io::Result<f64> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// How many bytes may still be written. Default: `None`, it is not known.
    ///
    /// # Errors
    /// The directory cannot be asked.
    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }

    /// Takes the file of this name as a lock, and writes `holder` into it for those who come too late; `None` if
    /// somebody else holds it. It is released when it is dropped, and when the process that took it ends, in whatever
    /// way. Default: [`io::ErrorKind::Unsupported`].
    ///
    /// # Errors
    /// The directory cannot be written, or has no locks: [`io::ErrorKind::Unsupported`].
    fn lock(&self, _name: &str, _holder: &str) -> io::Result<Option<Box<dyn Lock>>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Removes files that writers who are dead by now had started and not published, and says which. Default: none.
    ///
    /// # Errors
    /// The directory cannot be read. A file that cannot be removed is no error.
    fn remove_leftovers(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Lets the next reading of a file come from the device and not from memory, if the system can be asked for that.
    fn forget_cached(&self, _name: &str) {}

    /// The path of a file, for messages.
    fn path(&self, name: &str) -> PathBuf;
}

/// A file that can be read at any place, by several threads at once.
pub trait ReadAt: std::fmt::Debug + Send + Sync {
    /// The length in bytes.
    ///
    /// # Errors
    /// The device failed.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer` with the bytes at `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends before the buffer is full.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// The same into memory that need not be initialised, which it then is. Without an implementation of its own, it is
    /// zeroed first.
    ///
    /// # Errors
    /// As [`read_exact_at`](Self::read_exact_at).
    fn read_new_at<'b>(&self, buffer: &'b mut [MaybeUninit<u8>], offset: u64) -> io::Result<&'b mut [u8]> {
        let buffer = blank::zero(buffer);
        self.read_exact_at(buffer, offset)?;
        Ok(buffer)
    }
}

/// A file being written under a temporary name, by several threads at once. Dropping it unpublished removes it.
pub trait NewFile: std::fmt::Debug + Send + Sync {
    /// Changes the name that the file will get: a data file's says how many there are, which is known at the end.
    ///
    /// # Errors
    /// The name is no plain file name.
    fn set_name(&mut self, name: &str) -> io::Result<()>;

    /// Makes room for a file of `len` bytes, if that can be done ahead: a full disk is then noticed before anything is
    /// written, and the bytes lie together. All of them have to be written before the file is published.
    ///
    /// # Errors
    /// There is no room. That it cannot be made ahead is no error.
    fn allocate(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    /// Writes `bytes` at `offset`; the file grows if it is shorter.
    ///
    /// # Errors
    /// The device is full, or failed.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Says that these bytes will not change any more, and that [`publish`](Self::publish) will wait for the device: it
    /// may start with them now. Costs nothing where it cannot.
    fn start_sync(&self, _offset: u64, _len: u64) {}

    /// Gives the file its name, in one step; whoever opens the name sees the old file whole or the new one whole.
    ///
    /// # Errors
    /// The device failed. The name then still shows the old file, if there was one.
    fn publish(self: Box<Self>, durability: Durability) -> io::Result<()>;
}

/// Bytes that are copied at a time.
const COPY_BYTES: u64 = 1 << 20;

/// Reads a file whole, if it has no more than `limit` bytes.
pub(crate) fn read_file(storage: &dyn Storage, name: &str, limit: u64) -> io::Result<Vec<u8>> {
    let file = storage.open(name)?;
    let size = file.size()?;
    if size > limit {
        let what = format!("the file has {size} bytes, at most {limit} are expected");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Writes and publishes a file of these bytes.
pub(crate) fn write_file(storage: &dyn Storage, name: &str, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let file = storage.create(name)?;
    file.write_all_at(bytes, 0)?;
    file.publish(durability)
}

/// What a save waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The bytes are on the device: they survive a power cut. The default.
    #[default]
    Synced,
    /// The bytes are with the operating system: they survive the process, not a power cut. What TensorFlow does.
    Buffered,
}

/// Refuses names that would leave the directory.
pub(crate) fn check_name(name: &str) -> io::Result<()> {
    let plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0']);
    match plain {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{name}` is not a plain file name"),
        )),
    }
}
