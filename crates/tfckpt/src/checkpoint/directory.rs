//! A directory of checkpoints, as the one who writes it sees it.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::open::with_suffix;
use super::retention::{REPLACED, remove_checkpoint, remove_file, step_of};
use super::state::{CheckpointState, STATE_FILE, check_state_file, was_relative};
use crate::bundle::{index_name, parse_shard_name, shard_name};
use crate::error::{Error, Result};
use crate::io::{Durability, LocalDir, Lock, Storage, write_file};
use crate::meta::meta_name;

/// What the name of an index ends with.
const INDEX: &str = ".index";

/// A directory of checkpoints of one base name, with one state file.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) storage: Arc<dyn Storage>,
    /// What the paths of its files begin with.
    pub(super) root: PathBuf,
    pub(super) basename: String,
    pub(super) state_file: String,
    pub(super) relative_paths: bool,
    pub(super) durability: Durability,
    pub(super) exclusive: bool,
    /// Held from the first change on.
    lock: Option<Box<dyn Lock>>,
    entered: bool,
}

impl Directory {
    pub(super) fn local(root: PathBuf, basename: &str) -> Self {
        let storage = Arc::new(LocalDir::new(&root));
        Self::new(storage, root, basename)
    }

    pub(super) fn of(storage: Arc<dyn Storage>, basename: &str) -> Self {
        let root = storage.path("");
        Self::new(storage, root, basename)
    }

    fn new(storage: Arc<dyn Storage>, root: PathBuf, basename: &str) -> Self {
        Directory {
            storage,
            root,
            basename: basename.to_owned(),
            state_file: STATE_FILE.to_owned(),
            relative_paths: true,
            durability: Durability::default(),
            exclusive: true,
            lock: None,
            entered: false,
        }
    }

    /// Makes the directory ready for changes, once: it is there, nobody else writes to it, and what dead writers left is
    /// gone.
    pub(super) fn enter(&mut self) -> Result<()> {
        if self.entered {
            return Ok(());
        }
        self.check_names()?;
        let fails = |action, error| Error::io(action, &self.root, error);
        self.storage.ensure().map_err(|error| fails("create", error))?;
        if self.exclusive {
            self.lock = self.take_lock()?;
        }
        // What cannot be cleaned up is in nobody's way.
        let _ = self.storage.remove_leftovers();
        self.remove_unfinished();
        self.entered = true;
        Ok(())
    }

    fn check_names(&self) -> Result<()> {
        let plain = |name: &str| !name.is_empty() && !name.contains(['/', '\\', '\0']);
        if !plain(&self.basename) {
            return Err(Error::invalid(format!(
                "`{}` cannot be the base name of checkpoints",
                self.basename
            )));
        }
        check_state_file(&self.state_file)?;
        if self.basename == self.state_file {
            return Err(Error::invalid(format!(
                "checkpoints named `{}` would collide with the state file of that name: give one of them another name",
                self.basename
            )));
        }
        Ok(())
    }

    /// Sees to it that nobody else writes here as long as the lock lives; `None` where there are no locks.
    pub(super) fn take_lock(&self) -> Result<Option<Box<dyn Lock>>> {
        let name = format!(".{}.lock", self.state_file);
        match self.storage.lock(&name, &format!("process {}\n", std::process::id())) {
            Ok(Some(lock)) => Ok(Some(lock)),
            Ok(None) => Err(Error::Locked {
                path: self.storage.path(&name),
                holder: self.holder(&name),
            }),
            // A storage without locks.
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
            Err(error) => Err(Error::io("lock", self.storage.path(&name), error)),
        }
    }

    /// Who holds a lock, as it said itself.
    fn holder(&self, name: &str) -> String {
        let said = crate::io::read_file(self.storage.as_ref(), name, 256).unwrap_or_default();
        match String::from_utf8_lossy(&said).trim() {
            "" => "another process".to_owned(),
            holder => holder.to_owned(),
        }
    }

    /// What the state file says, with paths that begin with the directory's.
    pub(super) fn state(&self) -> Result<Option<CheckpointState>> {
        CheckpointState::read(self.storage.as_ref(), &self.state_file, &self.root)
    }

    /// Writes a state whose paths begin with the directory's; without checkpoints there is no state file.
    pub(super) fn write_state(&self, mut state: CheckpointState) -> Result<()> {
        if state.all_model_checkpoint_paths.is_empty() {
            remove_file(self.storage.as_ref(), &self.state_file)?;
            return self.sync();
        }
        // As TensorFlow: in a directory that was named by a relative path, paths are relative in any case.
        let relative = self.relative_paths || !self.root.is_absolute();
        let stored = |path: &mut PathBuf| {
            if let (true, Ok(name)) = (relative, path.strip_prefix(&self.root)) {
                *path = name.to_owned();
            }
        };
        stored(&mut state.model_checkpoint_path);
        state.all_model_checkpoint_paths.iter_mut().for_each(stored);
        let text = state.to_text()?;
        write_file(
            self.storage.as_ref(),
            &self.state_file,
            text.as_bytes(),
            self.durability,
        )
        .map_err(|error| Error::io("write", self.storage.path(&self.state_file), error))?;
        self.sync()
    }

    fn sync(&self) -> Result<()> {
        match self.durability {
            Durability::Synced => self
                .storage
                .sync()
                .map_err(|error| Error::io("sync", &self.root, error)),
            Durability::Buffered => Ok(()),
        }
    }

    pub(super) fn prefix(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Whether a checkpoint of this name is committed here.
    pub(super) fn has(&self, name: &str) -> Result<bool> {
        let exists = self.storage.exists(&index_name(name));
        exists.map_err(|error| Error::io("look for", self.prefix(name), error))
    }

    /// The checkpoint that a path of the state file means, if it is there. A directory that was moved or copied brings
    /// absolute paths of its old place: what lies here under that name comes first. A relative path means what it says,
    /// as long as that is there.
    pub(super) fn find(&self, prefix: PathBuf) -> Option<PathBuf> {
        let name = prefix.file_name()?.to_str()?;
        let here = self.prefix(name);
        let is_here = self.has(name).unwrap_or(false);
        let is_there = || here != prefix && with_suffix(&prefix, INDEX).is_file();
        match is_here && !(was_relative(&prefix, &self.root) && is_there()) {
            true => Some(here),
            false => is_there().then_some(prefix),
        }
    }

    /// The name of a checkpoint that lies here.
    pub(super) fn name_of<'p>(&self, prefix: &'p Path) -> Option<&'p str> {
        let name = prefix.file_name()?.to_str()?;
        (prefix == self.prefix(name)).then_some(name)
    }

    /// The committed checkpoint of the highest step.
    pub(super) fn newest(&self) -> Result<Option<String>> {
        let names = match self.storage.list() {
            Ok(names) => names,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("list", &self.root, error)),
        };
        let step = |name: &&str| step_of(name, &self.basename);
        let own = names
            .iter()
            .filter_map(|file| file.strip_suffix(INDEX))
            .filter(|name| step(name).is_some());
        Ok(own.max_by_key(step).map(str::to_owned))
    }

    /// The name of a checkpoint that its writer may remove: in this directory, with its base name and a step.
    pub(super) fn own_name(&self, prefix: &Path) -> Option<String> {
        let name = self.name_of(prefix)?;
        step_of(name, &self.basename).is_some().then(|| name.to_owned())
    }

    /// When a checkpoint was saved, in whole seconds since 1970, as TensorFlow's `get_checkpoint_mtimes` has it.
    pub(super) fn time_of(&self, prefix: &Path) -> Option<f64> {
        let name = self.own_name(prefix)?;
        self.storage.modified(&index_name(&name)).ok().map(f64::floor)
    }

    /// Removes all files of a checkpoint.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        remove_checkpoint(self.storage.as_ref(), name)
    }

    /// Removes files of checkpoints that have no index: a writer was killed before it was written, or after it was
    /// removed. One that the state file lists lost its index in another way, and is left to people; so is everything if
    /// the state file cannot be read.
    fn remove_unfinished(&self) {
        let Ok(state) = self.state() else { return };
        let listed = state.map(|state| state.all_model_checkpoint_paths).unwrap_or_default();
        let names = self.storage.list().unwrap_or_default();
        let mut unfinished = BTreeSet::new();
        for name in &names {
            let of = name.strip_suffix(".meta").or(parse_shard_name(name).map(|(of, ..)| of));
            let Some(of) = of.filter(|of| step_of(of, &self.basename).is_some()) else {
                continue;
            };
            // A file without an ending is a checkpoint of the format V1.
            let whole = [index_name(of), of.to_owned()].iter().any(|file| names.contains(file));
            let is_listed = listed
                .iter()
                .any(|path| path.file_name().is_some_and(|name| name == of));
            if !whole && !is_listed {
                unfinished.insert(of);
            }
        }
        for name in unfinished {
            // What cannot be removed is in nobody's way.
            let _ = self.remove(name);
        }
    }

    /// Gives a checkpoint another name, under which it is whole at any moment, and takes the old one away.
    pub(super) fn rename(&self, name: &str, to: &str) -> Result<()> {
        let storage = self.storage.as_ref();
        let fails = |action, name: &str, error| Error::io(action, storage.path(name), error);
        // What a writer that was killed here left of it.
        self.remove(to)?;
        let names = storage.list().map_err(|error| fails("list", "", error))?;
        for file in &names {
            let second = match parse_shard_name(file) {
                Some((of, shard, count)) if of == name => shard_name(to, shard, count),
                _ if *file == meta_name(name) => meta_name(to),
                _ => continue,
            };
            storage
                .link(file, &second)
                .map_err(|error| fails("link", file, error))?;
        }
        self.sync()?;
        // The index last: with it, the checkpoint is there.
        let (index, second) = (index_name(name), index_name(to));
        storage
            .link(&index, &second)
            .map_err(|error| fails("link", &index, error))?;
        self.sync()
    }
}

/// The name that a checkpoint has while another one takes its place.
pub(super) fn replaced_name(name: &str) -> String {
    format!("{}{REPLACED}", name.strip_suffix(REPLACED).unwrap_or(name))
}
