//! A directory in memory.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Durability, Lock, NewFile, ReadAt, Storage, check_name};

/// A directory in memory: the reference that other storages are compared with. Clones share their files.
#[derive(Debug, Clone, Default)]
pub struct MemoryDir {
    files: Arc<Mutex<HashMap<String, Arc<[u8]>>>>,
    locks: Arc<Mutex<HashSet<String>>>,
}

impl MemoryDir {
    /// An empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a file there.
    pub fn insert(&self, name: impl Into<String>, bytes: impl Into<Arc<[u8]>>) {
        self.files().insert(name.into(), bytes.into());
    }

    /// The bytes of a file.
    pub fn get(&self, name: &str) -> Option<Arc<[u8]>> {
        self.files().get(name).cloned()
    }

    fn files(&self) -> MutexGuard<'_, HashMap<String, Arc<[u8]>>> {
        // The map is whole between any two calls, so that a panic elsewhere does not damage it.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for MemoryDir {
    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>> {
        check_name(name)?;
        let bytes = self.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(MemoryFile(bytes)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        check_name(name)?;
        Ok(Box::new(MemoryNewFile {
            dir: self.clone(),
            name: name.to_owned(),
            bytes: Mutex::default(),
        }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files().keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files()
            .remove(name)
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn link(&self, name: &str, second: &str) -> io::Result<()> {
        check_name(second)?;
        let mut files = self.files();
        if files.contains_key(second) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let bytes = files.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        files.insert(second.to_owned(), bytes);
        Ok(())
    }

    fn lock(&self, name: &str, _holder: &str) -> io::Result<Option<Box<dyn Lock>>> {
        check_name(name)?;
        let taken = !self
            .locks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned());
        if taken {
            return Ok(None);
        }
        Ok(Some(Box::new(MemoryLock {
            locks: self.locks.clone(),
            name: name.to_owned(),
        })))
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("memory:").join(name)
    }
}

#[derive(Debug)]
struct MemoryLock {
    locks: Arc<Mutex<HashSet<String>>>,
    name: String,
}

impl Lock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut held = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(&self.name);
    }
}

#[derive(Debug)]
struct MemoryFile(Arc<[u8]>);

impl ReadAt for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(buffer.len())?));
        let bytes = range
            .and_then(|range| self.0.get(range))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryNewFile {
    dir: MemoryDir,
    name: String,
    bytes: Mutex<Vec<u8>>,
}

impl NewFile for MemoryNewFile {
    fn set_name(&mut self, name: &str) -> io::Result<()> {
        check_name(name)?;
        name.clone_into(&mut self.name);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(bytes.len())?));
        let range = range.ok_or(io::ErrorKind::FileTooLarge)?;
        let mut file = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if file.len() < range.end {
            file.resize(range.end, 0);
        }
        file.get_mut(range).unwrap_or_default().copy_from_slice(bytes);
        Ok(())
    }

    fn publish(self: Box<Self>, _: Durability) -> io::Result<()> {
        let bytes = self.bytes.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.dir.insert(self.name, bytes);
        Ok(())
    }
}
