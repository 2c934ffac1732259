//! The `checkpoint` state file: which checkpoint of a directory is the latest, and which others are tracked.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::open::checkpoint_exists;
use super::state_text;
use crate::error::{Error, Result};
use crate::io::{LocalDir, Storage, check_name, read_file};

/// The name of the state file.
pub(super) const STATE_FILE: &str = "checkpoint";

/// The most bytes of a state file: that of a million checkpoints would have fewer.
const MAX_BYTES: u64 = 256 << 20;

/// What the `checkpoint` file of a directory says.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct CheckpointState {
    /// The prefix of the newest checkpoint.
    pub model_checkpoint_path: PathBuf,
    /// The prefixes of all tracked checkpoints, oldest first.
    pub all_model_checkpoint_paths: Vec<PathBuf>,
    /// When each of them was saved, in seconds since 1970; written by TensorFlow's `CheckpointManager` only.
    pub all_model_checkpoint_timestamps: Vec<f64>,
    /// When the last checkpoint was saved that is kept forever; written by `CheckpointManager` only.
    pub last_preserved_timestamp: Option<f64>,
}

/// Reads the state file of `directory`, as `tf.train.get_checkpoint_state` does: `None` without one; paths that are
/// not absolute are joined with `directory`.
///
/// # Errors
/// [`Error::StateFile`] if it does not parse or names no newest checkpoint, [`Error::Io`]. This is safer than
/// TensorFlow, which takes a file that does not parse for an absent one, and starts training again from nothing.
pub fn checkpoint_state(directory: impl AsRef<Path>) -> Result<Option<CheckpointState>> {
    CheckpointState::of(directory, STATE_FILE)
}

/// The prefix of the newest checkpoint of `directory`, as `tf.train.latest_checkpoint` answers: the one that the
/// state file names, if its files are there, and `None` otherwise. It does not search the directory.
///
/// In a copy of a directory whose state file has absolute paths, that is the checkpoint of the original.
/// [`Checkpoint::open`](crate::Checkpoint::open), [`latest_valid`](crate::latest_valid), savers and managers take the one
/// of that name in the copy.
///
/// # Errors
/// As [`checkpoint_state`].
pub fn latest_checkpoint(directory: impl AsRef<Path>) -> Result<Option<PathBuf>> {
    Ok(checkpoint_state(directory)?.and_then(|state| state.latest_checkpoint()))
}

/// Whether a path of the state file of `directory`, joined with it, was relative: in front of it, there is the directory.
pub(super) fn was_relative(path: &Path, directory: &Path) -> bool {
    path.is_relative() || (directory.is_absolute() && path.starts_with(directory))
}

/// Whether a state file can have this name.
pub(super) fn check_state_file(name: &str) -> Result<()> {
    check_name(name).map_err(|_| {
        Error::invalid(format!(
            "`{name}` cannot be the name of a state file: it must not contain path components"
        ))
    })
}

impl CheckpointState {
    /// Reads the state file of this name, TensorFlow's `latest_filename`, as [`checkpoint_state`] reads the file
    /// `checkpoint`.
    ///
    /// # Errors
    /// As [`checkpoint_state`], and [`Error::InvalidArgument`] for a name with path components.
    #[doc(alias = "latest_filename")]
    pub fn of(directory: impl AsRef<Path>, latest_filename: &str) -> Result<Option<Self>> {
        let directory = directory.as_ref();
        check_state_file(latest_filename)?;
        Self::read(&LocalDir::new(directory), latest_filename, directory)
    }

    /// The newest checkpoint, if its files are there, as [`latest_checkpoint`] answers.
    pub fn latest_checkpoint(&self) -> Option<PathBuf> {
        let prefix = &self.model_checkpoint_path;
        (prefix.exists() || checkpoint_exists(prefix)).then(|| prefix.clone())
    }

    /// The state of a directory with these checkpoints, oldest first.
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        CheckpointState {
            model_checkpoint_path: paths.last().cloned().unwrap_or_default(),
            all_model_checkpoint_paths: paths,
            ..Default::default()
        }
    }

    /// Reads the state file of this name; paths that are not absolute are joined with `root`. `None` if it is not there.
    pub(super) fn read(storage: &dyn Storage, name: &str, root: &Path) -> Result<Option<Self>> {
        let bytes = match read_file(storage, name, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", storage.path(name), error)),
        };
        let mut state = Self::parse(&bytes, &storage.path(name))?;
        let join = |path: &mut PathBuf| *path = root.join(&path);
        join(&mut state.model_checkpoint_path);
        state.all_model_checkpoint_paths.iter_mut().for_each(join);
        Ok(Some(state))
    }

    /// Parses the text of a state file, which lies at `path`. Paths in it stay as they are written there.
    ///
    /// # Errors
    /// [`Error::StateFile`] with the line, and what is wrong there.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self> {
        let fault = |(line, reason)| Error::StateFile {
            path: path.to_owned(),
            line,
            reason,
        };
        Self::parse_text(text).map_err(fault)
    }

    /// An error is the line and what is wrong.
    fn parse_text(bytes: &[u8]) -> Result<Self, (usize, String)> {
        let mut state = CheckpointState::default();
        for field in state_text::fields(bytes)? {
            let line = field.line;
            match field.name {
                "model_checkpoint_path" => state.model_checkpoint_path = field.text()?.into(),
                "all_model_checkpoint_paths" => state.all_model_checkpoint_paths.push(field.text()?.into()),
                "all_model_checkpoint_timestamps" => state.all_model_checkpoint_timestamps.push(field.number()?),
                "last_preserved_timestamp" => state.last_preserved_timestamp = Some(field.number()?),
                unknown => return Err((line, format!("unknown field `{unknown}`"))),
            }
        }
        match state.model_checkpoint_path.as_os_str().is_empty() {
            true => Err((1, "it names no `model_checkpoint_path`".to_owned())),
            false => Ok(state),
        }
    }

    /// The text of the state file, byte for byte as TensorFlow writes it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a path that is not UTF-8, which the file cannot hold.
    pub(super) fn to_text(&self) -> Result<String> {
        let mut text = String::new();
        let mut path = |name: &str, path: &Path| {
            let utf8 = path.to_str().ok_or_else(|| {
                Error::invalid(format!(
                    "`{}` is not UTF-8, as the state file needs it: use another directory",
                    path.display()
                ))
            })?;
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}: \"{}\"", state_text::escape(utf8));
            Ok(())
        };
        path("model_checkpoint_path", &self.model_checkpoint_path)?;
        self.all_model_checkpoint_paths
            .iter()
            .try_for_each(|p| path("all_model_checkpoint_paths", p))?;
        for &time in &self.all_model_checkpoint_timestamps {
            let _ = writeln!(text, "all_model_checkpoint_timestamps: {}", state_text::double(time));
        }
        if let Some(time) = self.last_preserved_timestamp.filter(|&time| time != 0.0) {
            let _ = writeln!(text, "last_preserved_timestamp: {}", state_text::double(time));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tensorflow_wrote_is_written_again_byte_for_byte() {
        let manager = concat!(
            "model_checkpoint_path: \"ckpt-12\"\n",
            "all_model_checkpoint_paths: \"ckpt-11\"\n",
            "all_model_checkpoint_paths: \"ckpt-12\"\n",
            "all_model_checkpoint_timestamps: 1700019800.0\n",
            "all_model_checkpoint_timestamps: 1795399786.0961916\n",
            "last_preserved_timestamp: 1700018000.0\n",
        );
        let state = CheckpointState::parse_text(manager.as_bytes()).unwrap();
        assert_eq!(state.to_text().unwrap(), manager);
    }

    #[test]
    fn a_state_without_a_newest_checkpoint_is_an_error() {
        assert!(CheckpointState::parse_text(b"").is_err());
        assert!(CheckpointState::parse_text(b"all_model_checkpoint_paths: \"a\"").is_err());
    }
}
