//! A file that one process at a time holds.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::PathBuf;

/// A lock that is held as long as this lives.
pub trait Lock: std::fmt::Debug + Send + Sync {}

/// A lock of the operating system on a file: gone with the process, so that none is ever stale. The file goes when the
/// lock is released; one that a killed process left is taken over.
#[derive(Debug)]
pub(super) struct LocalLock {
    path: PathBuf,
    /// Closing it releases the lock.
    file: File,
}

/// Somebody who removes the file while we wait for it makes us start again. More often than this is not chance.
const ATTEMPTS: usize = 100;

impl LocalLock {
    /// `None` if somebody else holds it.
    pub(super) fn take(path: PathBuf, holder: &str) -> io::Result<Option<Self>> {
        for _ in 0..ATTEMPTS {
            let file = open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                // A file system without locks.
                Err(TryLockError::Error(error)) => return Err(io::Error::new(io::ErrorKind::Unsupported, error)),
            }
            // The one before may have removed the file between our opening and locking it.
            if is_file_at(&file, &path) {
                file.set_len(0)?;
                (&file).write_all(holder.as_bytes())?;
                return Ok(Some(LocalLock { path, file }));
            }
        }
        Err(io::Error::other("the lock file disappears again and again"))
    }
}

impl Lock for LocalLock {}

impl Drop for LocalLock {
    fn drop(&mut self) {
        // While it is locked: whoever opened it meanwhile finds out that it is no longer the file of that name. In a
        // directory that was moved, the name may be somebody else's by now.
        if is_file_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // A link would let somebody else choose the file that we write to.
        options.custom_flags(libc::O_NOFOLLOW);
    }
    options.open(path)
}

/// Whether `path` still names this very file.
#[cfg(unix)]
fn is_file_at(file: &File, path: &PathBuf) -> bool {
    use std::os::unix::fs::MetadataExt;
    let same = |here: fs::Metadata, there: fs::Metadata| here.ino() == there.ino() && here.dev() == there.dev();
    file.metadata()
        .ok()
        .zip(fs::metadata(path).ok())
        .is_some_and(|(here, there)| same(here, there))
}

/// A file that is open cannot be removed there.
#[cfg(not(unix))]
fn is_file_at(_: &File, path: &PathBuf) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use crate::io::{LocalDir, MemoryDir, Storage};

    fn held_by_one_at_a_time(storage: &dyn Storage) {
        let lock = storage.lock(".lock", "process 7").unwrap().unwrap();
        assert!(storage.lock(".lock", "process 8").unwrap().is_none());
        assert!(storage.lock(".other", "process 8").unwrap().is_some());
        drop(lock);
        assert!(storage.lock(".lock", "process 8").unwrap().is_some());
        assert!(storage.list().unwrap().is_empty(), "no lock leaves a file behind");
    }

    #[test]
    fn a_lock_is_held_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        held_by_one_at_a_time(&LocalDir::new(dir.path()));
        held_by_one_at_a_time(&MemoryDir::new());
        // What a killed process left.
        std::fs::write(dir.path().join(".lock"), "process 6").unwrap();
        let lock = LocalDir::new(dir.path()).lock(".lock", "process 7").unwrap();
        assert!(lock.is_some());
        assert_eq!(std::fs::read(dir.path().join(".lock")).unwrap(), b"process 7");
    }
}
