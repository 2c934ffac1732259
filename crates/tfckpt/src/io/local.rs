//! A directory on disk.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
#[cfg(unix)]
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::lock::{LocalLock, Lock};
use super::{Durability, NewFile, ReadAt, Storage, check_name, leftovers, system};

/// A directory on disk.
#[derive(Debug, Clone)]
pub struct LocalDir {
    root: PathBuf,
}

impl LocalDir {
    /// The directory at `root`, which need not exist for reading to answer "not found".
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        // `Path::parent` of a bare name is empty, which system calls do not take for the current directory.
        LocalDir {
            root: if root.as_os_str().is_empty() {
                PathBuf::from(".")
            } else {
                root
            },
        }
    }

    /// The directory at `root`, made with all its parents if it is not there.
    ///
    /// # Errors
    /// A parent is a file, or cannot be written.
    pub fn create(root: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = Self::new(root);
        fs::create_dir_all(&dir.root)?;
        Ok(dir)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn file(&self, name: &str) -> io::Result<PathBuf> {
        check_name(name)?;
        Ok(self.root.join(name))
    }
}

impl Storage for LocalDir {
    fn ensure(&self) -> io::Result<()> {
        fs::create_dir_all(&self.root)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>> {
        let file = File::open(self.file(name)?)?;
        // A directory opens, and fails only when it is read.
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Arc::new(LocalFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let target = self.file(name)?;
        let unique = RandomState::new().build_hasher().finish();
        let temporary = self.root.join(leftovers::temporary_name(name, unique));
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        // As long as the writer lives: what is not locked is a leftover. File systems without locks keep leftovers.
        let _ = file.try_lock();
        Ok(Box::new(LocalNewFile {
            file,
            temporary,
            target,
            published: false,
        }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.file(name)?)
    }

    fn sync(&self) -> io::Result<()> {
        // Only Unix lets a directory be synced, and only there is it needed.
        if cfg!(unix) {
            File::open(&self.root)?.sync_all()
        } else {
            Ok(())
        }
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        Ok(self.file(name)?.is_file())
    }

    fn link(&self, name: &str, second: &str) -> io::Result<()> {
        let (from, to) = (self.file(name)?, self.file(second)?);
        match fs::hard_link(&from, &to) {
            // File systems without second names.
            Err(error)
                if error.kind() == io::ErrorKind::Unsupported || error.kind() == io::ErrorKind::PermissionDenied =>
            {
                fs::copy(&from, &to)?;
                File::open(&to)?.sync_all()
            }
            done => done,
        }
    }

    fn modified(&self, name: &str) -> io::Result<f64> {
        let modified = fs::metadata(self.file(name)?)?.modified()?;
        Ok(match modified.duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        })
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        system::free_bytes(&self.root)
    }

    fn lock(&self, name: &str, holder: &str) -> io::Result<Option<Box<dyn Lock>>> {
        let lock = LocalLock::take(self.file(name)?, holder)?;
        Ok(lock.map(|lock| Box::new(lock) as Box<dyn Lock>))
    }

    fn remove_leftovers(&self) -> io::Result<Vec<String>> {
        leftovers::remove(&self.root)
    }

    fn forget_cached(&self, name: &str) {
        if let Ok(file) = self.file(name).and_then(File::open) {
            system::forget_cached(&file);
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

#[derive(Debug)]
struct LocalFile(File);

impl ReadAt for LocalFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, buffer, offset)
    }

    #[cfg(unix)]
    fn read_new_at<'b>(&self, buffer: &'b mut [MaybeUninit<u8>], offset: u64) -> io::Result<&'b mut [u8]> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let read = || rustix::io::pread(&self.0, &mut *rest, offset + done as u64).map(|(read, _)| read.len());
            match rustix::io::retry_on_intr(read)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => done += read,
            }
        }
        #[allow(unsafe_code, reason = "the parts that were read are not one slice for the compiler")]
        // SAFETY: each byte was in one of the slices that `pread` gave back as read, which lie end to end.
        Ok(unsafe { buffer.assume_init_mut() })
    }

    #[cfg(windows)]
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(&self.0, buffer, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    buffer = buffer.get_mut(n..).unwrap_or_default();
                    offset += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct LocalNewFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    published: bool,
}

impl NewFile for LocalNewFile {
    fn set_name(&mut self, name: &str) -> io::Result<()> {
        check_name(name)?;
        self.target.set_file_name(name);
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        system::allocate(&self.file, len)
    }

    #[cfg(unix)]
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset)
    }

    #[cfg(windows)]
    fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match std::os::windows::fs::FileExt::seek_write(&self.file, bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    bytes = bytes.get(n..).unwrap_or_default();
                    offset += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn start_sync(&self, offset: u64, len: u64) {
        system::start_writeback(&self.file, offset, len);
    }

    fn publish(mut self: Box<Self>, durability: Durability) -> io::Result<()> {
        if durability == Durability::Synced {
            self.file.sync_all()?;
        }
        fs::rename(&self.temporary, &self.target)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for LocalNewFile {
    fn drop(&mut self) {
        if !self.published {
            // Nothing better can be done with a failure: the name is temporary, and no reader ever looks at it.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
