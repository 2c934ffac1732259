//! Variables by their names.

use super::super::VariableInfo;
use super::Bundle;
use crate::error::{Error, Result};
use crate::suggest::nearest;

/// Names of variables other than their keys, known to a higher layer.
pub(crate) trait Names: std::fmt::Debug + Send + Sync {
    /// The key of the variable that `name`, which is no key itself, means.
    fn key_of(&self, bundle: &Bundle, name: &str) -> Result<Option<String>>;

    /// What people call the variable with this key.
    fn name_of(&self, bundle: &Bundle, key: &str) -> Option<String>;
}

impl Bundle {
    /// Whether a variable of this name is there. Looks at the index, and for a name that is no key at the object
    /// graph, if there is one.
    pub fn contains(&self, name: impl AsRef<[u8]>) -> bool {
        self.lookup(name.as_ref()).is_ok_and(|found| found.is_some())
    }

    /// The variable of this name, as [`variable`](Self::variable) finds it, or nothing: for names of which some are not
    /// there, without the search for near ones that an error costs.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&VariableInfo> {
        self.lookup(name.as_ref()).ok().flatten()
    }

    /// The variables whose keys begin so, in their order. Found without looking at the others.
    ///
    /// ```
    /// # use tfckpt::{Checkpoint, Saver, Variable};
    /// # fn main() -> tfckpt::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let names = ["fc/kernel", "fc/kernel/Adam", "fc/bias", "fc2/bias"];
    /// # Saver::new(folder.path()).save(names.map(|name| Variable::new(name, [2], &[0f32; 2])), 1)?;
    /// # let checkpoint = Checkpoint::open(folder.path())?;
    /// let of_layer = checkpoint.beginning_with("fc/").map(|info| info.name().into_owned());
    /// assert_eq!(of_layer.collect::<Vec<_>>(), ["fc/bias", "fc/kernel", "fc/kernel/Adam"]);
    /// assert_eq!(checkpoint.beginning_with("fc3").count(), 0);
    /// assert!(checkpoint.get("fc2/bias").is_some() && checkpoint.get("fc2/kernel").is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn beginning_with(&self, prefix: impl AsRef<[u8]>) -> impl Iterator<Item = &VariableInfo> {
        let first = self.variables.partition_point(|info| info.key() < prefix.as_ref());
        let from = self.variables.get(first..).unwrap_or_default();
        from.iter()
            .take_while(move |info| info.key().starts_with(prefix.as_ref()))
    }

    /// Whether the index has this key.
    pub(crate) fn has_key(&self, key: impl AsRef<[u8]>) -> bool {
        self.position(key.as_ref()).is_some()
    }

    /// The variable of this name: its key, or for a [`Checkpoint`](crate::Checkpoint) that is object-based any name
    /// by which `ObjectGraph::find` finds it.
    ///
    /// # Errors
    /// [`Error::VariableNotFound`], with the nearest names; [`Error::AmbiguousName`]; [`Error::CorruptEntry`];
    /// [`Error::ObjectGraph`].
    pub fn variable(&self, name: impl AsRef<[u8]>) -> Result<&VariableInfo> {
        let key = name.as_ref();
        if let Some(info) = self.lookup(key)? {
            return Ok(info);
        }
        let name = String::from_utf8_lossy(key).into_owned();
        let names: Vec<String> = self.variables.iter().map(|info| self.display_name(info)).collect();
        Err(Error::VariableNotFound {
            prefix: self.prefix(),
            candidates: nearest(&name, names.iter().map(String::as_str), 3),
            name,
        })
    }

    /// What people call a variable: for a [`Checkpoint`](crate::Checkpoint) that is object-based its full name or
    /// object path, as `ObjectVariable::name`; otherwise its key.
    pub fn display_name(&self, info: &VariableInfo) -> String {
        let names = self.names.as_ref();
        let key = std::str::from_utf8(info.key()).ok();
        names
            .zip(key)
            .and_then(|(names, key)| names.name_of(self, key))
            .unwrap_or_else(|| info.name().into_owned())
    }

    /// As [`variable`](Self::variable), without looking for near names.
    pub(crate) fn lookup(&self, name: &[u8]) -> Result<Option<&VariableInfo>> {
        let found = |key: &[u8]| self.position(key).and_then(|at| self.variables.get(at));
        if let Some(info) = found(name) {
            return Ok(Some(info));
        }
        self.check_fault(name)?;
        let (Some(names), Ok(text)) = (&self.names, std::str::from_utf8(name)) else {
            return Ok(None);
        };
        let Some(key) = names.key_of(self, text)? else {
            return Ok(None);
        };
        self.check_fault(key.as_bytes())?;
        Ok(found(key.as_bytes()))
    }

    fn position(&self, key: &[u8]) -> Option<usize> {
        self.variables.binary_search_by(|info| info.key().cmp(key)).ok()
    }

    /// Fails for a variable whose entry is invalid.
    fn check_fault(&self, key: &[u8]) -> Result<()> {
        let at = self.faults.binary_search_by(|(faulty, _)| faulty.as_ref().cmp(key));
        match at.ok().and_then(|at| self.faults.get(at)) {
            None => Ok(()),
            Some((_, fault)) => Err(Error::CorruptEntry {
                path: self.index_path(),
                name: String::from_utf8_lossy(key).into_owned(),
                fault: fault.clone(),
            }),
        }
    }
}
