//! A disk that fails, dies with its process or loses power at its n-th operation, and what is on it afterwards.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tfckpt::io::{Durability, Lock, NewFile, ReadAt, Storage};

/// What happens at an operation that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, once.
    Error,
    /// The device is full from then on, for ten operations that need room.
    Full,
    /// It fails, and so do all that follow.
    Gone,
    /// The process is killed before it.
    KillBefore,
    /// The process is killed after it.
    KillAfter,
    /// Half of what is written arrives, then the process is killed; other operations are not done.
    KillWithin,
    /// The power fails after it: what was not synced may be lost, in any combination that the seed draws.
    PowerCut(u64),
}

/// A directory on that disk. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What processes see.
    files: BTreeMap<String, File>,
    /// What a name has been since the directory was last synced, oldest first: with the first of them, any may be on the
    /// device.
    names: BTreeMap<String, Vec<Option<File>>>,
    fault: Option<(u64, Fault)>,
    operations: u64,
    full: u64,
    gone: bool,
    dead: bool,
    /// Counts the processes that have used the disk.
    process: u64,
    temporaries: u64,
    locks: HashSet<String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct File {
    bytes: Vec<u8>,
    synced: bool,
    /// The process that writes it, as long as it has no name of its own.
    writer: Option<u64>,
}

/// What an operation may do.
enum Leave {
    Go,
    /// A part of it, before the process dies.
    Half,
}

impl Disk {
    /// Sets what happens at the operation of this number, counted from now on, from 0.
    pub fn set_fault(&self, at: u64, fault: Fault) {
        let mut state = self.state();
        (state.operations, state.fault) = (0, Some((at, fault)));
    }

    /// Whether the fault has come.
    pub fn has_failed(&self) -> bool {
        let state = self.state();
        state.fault.is_some_and(|(at, _)| state.operations > at)
    }

    /// Whether the process was killed, or the power cut.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Another process comes, with a disk that works. After a power cut it finds what was on the device.
    pub fn reboot(&self) {
        let mut state = self.state();
        if let (true, Some((_, Fault::PowerCut(seed)))) = (state.dead, state.fault) {
            state.cut_power(&mut StdRng::seed_from_u64(seed));
        }
        state.names.clear();
        state.locks.clear();
        state.process += 1;
        (state.fault, state.dead, state.gone, state.full) = (None, false, false, 0);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    /// Asks for leave to change something.
    fn operation(&mut self, needs_room: bool) -> io::Result<Leave> {
        let dead = || io::Error::other("the process is dead");
        if self.dead {
            return Err(dead());
        }
        let number = self.operations;
        self.operations += 1;
        if self.gone {
            return Err(io::Error::other("the device is gone"));
        }
        match self.fault {
            Some((at, fault)) if at == number => match fault {
                Fault::Error => return Err(io::Error::other("an error of the device")),
                Fault::Gone => {
                    self.gone = true;
                    return Err(io::Error::other("the device is gone"));
                }
                Fault::Full => self.full = 10,
                Fault::KillBefore => {
                    self.dead = true;
                    return Err(dead());
                }
                Fault::KillWithin => {
                    self.dead = true;
                    return Ok(Leave::Half);
                }
                Fault::KillAfter | Fault::PowerCut(_) => self.dead = true,
            },
            _ => {}
        }
        if needs_room && self.full > 0 {
            self.full -= 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(Leave::Go)
    }

    /// Gives a name to a file, or takes it away.
    fn set(&mut self, name: &str, file: Option<File>) {
        let before = self.files.get(name).cloned();
        let versions = self.names.entry(name.to_owned()).or_insert_with(|| vec![before]);
        versions.push(file.clone());
        match file {
            Some(file) => drop(self.files.insert(name.to_owned(), file)),
            None => drop(self.files.remove(name)),
        }
    }

    /// Leaves what may be on the device: for each name any of what it was since the last sync, with contents that may
    /// not have arrived.
    fn cut_power(&mut self, random: &mut StdRng) {
        for (name, versions) in std::mem::take(&mut self.names) {
            match versions[random.random_range(0..versions.len())].clone() {
                Some(file) => drop(self.files.insert(name, file)),
                None => drop(self.files.remove(&name)),
            }
        }
        for file in self.files.values_mut().filter(|file| !file.synced) {
            match random.random_range(0..4) {
                0 => file.bytes.clear(),
                1 => file.bytes.fill(0),
                2 => file.bytes.truncate(file.bytes.len() / 2),
                _ => {}
            }
        }
    }
}

impl Storage for Disk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>> {
        let state = self.state();
        let file = state.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Bytes(file.bytes.clone())))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let mut state = self.state();
        let leave = state.operation(true)?;
        state.temporaries += 1;
        let temporary = format!("{name}.tempstate{}.tfckpt", state.temporaries);
        let file = File {
            writer: Some(state.process),
            ..File::default()
        };
        state.set(&temporary, Some(file));
        match leave {
            Leave::Half => Err(io::Error::other("the process is dead")),
            Leave::Go => Ok(Box::new(Writing {
                disk: self.clone(),
                temporary,
                target: name.to_owned(),
                published: false,
            })),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().files.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if let Leave::Half = state.operation(false)? {
            return Err(io::Error::other("the process is dead"));
        }
        if !state.files.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.set(name, None);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        if let Leave::Half = state.operation(false)? {
            return Err(io::Error::other("the process is dead"));
        }
        state.names.clear();
        Ok(())
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        Ok(self.state().files.contains_key(name))
    }

    fn link(&self, name: &str, second: &str) -> io::Result<()> {
        let mut state = self.state();
        if let Leave::Half = state.operation(true)? {
            return Err(io::Error::other("the process is dead"));
        }
        if state.files.contains_key(second) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.files.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        state.set(second, Some(file));
        Ok(())
    }

    fn lock(&self, name: &str, _: &str) -> io::Result<Option<Box<dyn Lock>>> {
        let free = self.state().locks.insert(name.to_owned());
        Ok(free.then(|| Box::new(Held(self.clone(), name.to_owned())) as Box<dyn Lock>))
    }

    fn remove_leftovers(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        let process = state.process;
        let dead = |file: &File| file.writer.is_some_and(|writer| writer < process);
        let names: Vec<String> = state
            .files
            .iter()
            .filter(|(_, file)| dead(file))
            .map(|(name, _)| name.clone())
            .collect();
        names.iter().for_each(|name| state.set(name, None));
        Ok(names)
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("disk").join(name)
    }
}

#[derive(Debug)]
struct Held(Disk, String);

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.state().locks.remove(&self.1);
    }
}

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl ReadAt for Bytes {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let bytes = self.0.get(start..start + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

#[derive(Debug)]
struct Writing {
    disk: Disk,
    temporary: String,
    target: String,
    published: bool,
}

impl NewFile for Writing {
    fn set_name(&mut self, name: &str) -> io::Result<()> {
        name.clone_into(&mut self.target);
        Ok(())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        self.disk.state().operation(true).map(drop)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let leave = state.operation(true)?;
        let bytes = match leave {
            Leave::Go => bytes,
            Leave::Half => &bytes[..bytes.len() / 2],
        };
        let start = usize::try_from(offset).unwrap();
        let file = state.files.get_mut(&self.temporary).ok_or(io::ErrorKind::NotFound)?;
        let end = file.bytes.len().max(start + bytes.len());
        file.bytes.resize(end, 0);
        file.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        match leave {
            Leave::Go => Ok(()),
            Leave::Half => Err(io::Error::other("the process is dead")),
        }
    }

    fn publish(mut self: Box<Self>, durability: Durability) -> io::Result<()> {
        let disk = self.disk.clone();
        let mut state = disk.state();
        if durability == Durability::Synced {
            if let Leave::Half = state.operation(false)? {
                return Err(io::Error::other("the process is dead"));
            }
            let file = state.files.get_mut(&self.temporary).ok_or(io::ErrorKind::NotFound)?;
            file.synced = true;
        }
        if let Leave::Half = state.operation(false)? {
            return Err(io::Error::other("the process is dead"));
        }
        let mut file = state
            .files
            .get(&self.temporary)
            .cloned()
            .ok_or(io::ErrorKind::NotFound)?;
        file.writer = None;
        state.set(&self.temporary, None);
        state.set(&self.target, Some(file));
        self.published = true;
        Ok(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        // Who is dead cleans nothing up.
        if !self.published && !state.dead {
            state.set(&self.temporary, None);
        }
    }
}
