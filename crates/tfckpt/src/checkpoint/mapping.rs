//! Mappings in files.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::map::Mapping;

impl Mapping {
    /// Reads a mapping from a file, in TOML if its name ends in `.toml`, and otherwise in JSON.
    ///
    /// # Errors
    /// [`Error::Io`]; as [`from_json`](Self::from_json), with the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
        let is_toml = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
        let mapping = if is_toml {
            of_toml(&text)
        } else {
            Self::from_json(&text)
        };
        mapping.map_err(|error| match error {
            Error::InvalidArgument { what } => Error::invalid(format!("`{}`: {what}", path.display())),
            error => error,
        })
    }
}

#[cfg(feature = "toml")]
fn of_toml(text: &str) -> Result<Mapping> {
    Mapping::from_toml(text)
}

#[cfg(not(feature = "toml"))]
fn of_toml(_: &str) -> Result<Mapping> {
    Err(Error::invalid(
        "mappings in TOML need the feature `toml` of tfckpt; JSON needs none",
    ))
}
