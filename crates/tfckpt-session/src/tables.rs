//! Tables from keys to values, which a session keeps from run to run.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tfckpt::DType;

use crate::error::{Error, Result};

/// A number or a text, as key or as value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Cell {
    Int(i64),
    Text(Vec<u8>),
    /// The bits of a float in double precision.
    Float(u64),
}

impl Cell {
    pub(crate) fn text_len(&self) -> usize {
        match self {
            Cell::Text(text) => text.len(),
            _ => 0,
        }
    }
}

/// A hash table.
#[derive(Debug)]
pub struct Table {
    pub(crate) key: DType,
    pub(crate) value: DType,
    /// `None` until it is filled; one that can be changed is filled with nothing from the start.
    cells: RwLock<Option<HashMap<Cell, Cell>>>,
}

impl Table {
    pub(crate) fn new(key: DType, value: DType, mutable: bool) -> Self {
        Table {
            key,
            value,
            cells: RwLock::new(mutable.then(HashMap::new)),
        }
    }

    /// Replaces what is in it.
    pub(crate) fn fill(&self, pairs: impl IntoIterator<Item = (Cell, Cell)>) {
        let cells = pairs.into_iter().collect();
        *self.cells.write().unwrap_or_else(PoisonError::into_inner) = Some(cells);
    }

    pub(crate) fn insert(&self, pairs: impl IntoIterator<Item = (Cell, Cell)>) {
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        cells.get_or_insert_default().extend(pairs);
    }

    pub(crate) fn remove(&self, keys: &[Cell]) {
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(cells) = cells.as_mut() {
            keys.iter().for_each(|key| {
                cells.remove(key);
            });
        }
    }

    /// What the keys stand for, or `default`.
    ///
    /// # Errors
    /// The table was not filled.
    pub(crate) fn find(&self, keys: &[Cell], default: impl Fn(usize) -> Cell) -> Result<Vec<Cell>> {
        let cells = self.cells.read().unwrap_or_else(PoisonError::into_inner);
        let cells = cells.as_ref().ok_or_else(not_filled)?;
        let found = |(place, key)| cells.get(key).cloned().unwrap_or_else(|| default(place));
        Ok(keys.iter().enumerate().map(found).collect())
    }

    /// All that is in it, by key.
    ///
    /// # Errors
    /// The table was not filled.
    pub(crate) fn pairs(&self) -> Result<BTreeMap<Cell, Cell>> {
        let cells = self.cells.read().unwrap_or_else(PoisonError::into_inner);
        let cells = cells.as_ref().ok_or_else(not_filled)?;
        Ok(cells.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// The length of the longest text among its values.
    pub(crate) fn longest_text(&self) -> usize {
        let cells = self.cells.read().unwrap_or_else(PoisonError::into_inner);
        let lengths = cells.iter().flat_map(HashMap::values).map(Cell::text_len);
        match self.value {
            DType::String => lengths.max().unwrap_or(0),
            _ => 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        let cells = self.cells.read().unwrap_or_else(PoisonError::into_inner);
        cells.as_ref().map_or(0, HashMap::len)
    }
}

fn not_filled() -> Error {
    Error::operand(
        "a table that was never filled: the graph has nothing that fills it, or only in a function that was not called",
    )
}

/// The tables of a session by name, and where the files lie that they are filled from.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    all: Mutex<BTreeMap<String, Arc<Table>>>,
    /// Whether the graph's own operations that fill tables were done.
    pub(crate) filled: Mutex<bool>,
    pub(crate) directories: Vec<PathBuf>,
}

impl Tables {
    pub(crate) fn of(directory: Option<&Path>) -> Self {
        let directories = directory.map(|directory| vec![directory.join("assets"), directory.to_owned()]);
        Tables {
            directories: directories.unwrap_or_default(),
            ..Default::default()
        }
    }

    /// The table called `name`, which is made when it is asked for first.
    pub(crate) fn get(&self, name: &str, make: impl FnOnce() -> Table) -> Arc<Table> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(name.to_owned()).or_insert_with(|| Arc::new(make())).clone()
    }

    /// A file that the graph names, of which only the last part of the name counts: a graph does not choose which files of this
    /// machine are read.
    ///
    /// # Errors
    /// It is in none of the directories, or longer than `most` bytes.
    pub(crate) fn read_file(&self, name: &[u8], most: u64) -> Result<Vec<u8>> {
        let name = String::from_utf8_lossy(name);
        let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
        let is_name = !last.is_empty() && last != "." && last != "..";
        let mut paths = self.directories.iter().map(|directory| directory.join(last));
        let path = paths.find(|path| is_name && path.is_file());
        let path = path.ok_or_else(|| {
            Error::operand(format!(
                "file `{last}` is not beside the graph: say where it is by `Session::with_assets`"
            ))
        })?;
        let io = |source| tfckpt::Error::Io {
            action: "read",
            path: path.clone(),
            source,
        };
        let size = std::fs::metadata(&path).map_err(io)?.len();
        if size > most {
            return Err(Error::Limit {
                what: "the size of a file",
                value: size,
                limit: most,
            });
        }
        Ok(std::fs::read(&path).map_err(io)?)
    }
}
