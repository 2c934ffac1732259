//! From whatever path a person has to the checkpoint that they mean.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::GLOBAL_STEP;
use super::state::{STATE_FILE, checkpoint_state};
use super::valid::here;
use crate::bundle::{Bundle, Names, VariableInfo, matches, parse_shard_name};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::io::{LocalDir, Progress};
use crate::limits::Limits;
use crate::objects::{ObjectGraph, ObjectNames};
use crate::suggest::nearest;
use crate::table::MAGIC;

/// A checkpoint on disk, open for reading. All reading is done through [`Bundle`], which it derefs to.
///
/// ```no_run
/// # fn main() -> tfckpt::Result<()> {
/// let checkpoint = tfckpt::Checkpoint::open("run/model.ckpt-100")?;
/// for variable in checkpoint.variables() {
///     println!("{} {} {}", variable.name(), variable.dtype(), variable.shape());
/// }
/// let kernel: Vec<f32> = checkpoint.read("dense/kernel")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    bundle: Bundle,
    objects: Option<Arc<ObjectNames>>,
}

impl Checkpoint {
    /// Opens the checkpoint at `path`, which may be
    /// - a prefix, `run/model.ckpt-100`: what TensorFlow calls the path of a checkpoint;
    /// - one of its files, `run/model.ckpt-100.index`;
    /// - a file of the V1 format, or the pattern of several, `model.ckpt-3-?????-of-00002`;
    /// - a directory with a `checkpoint` state file, for the latest one in it, or that state file;
    /// - a SavedModel's directory, or its `saved_model.pb`.
    ///
    /// An absolute path in the state file means the checkpoint of that name in its own directory, if there is one: the
    /// directory may have been moved or copied. A relative path means what it says, if that is there.
    ///
    /// Reads the index alone; variables are read when they are asked for.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`], which tells what a prefix is and which ones are near; [`Error::StateFile`];
    /// otherwise as [`Bundle::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &Limits::default())
    }

    /// Opens the checkpoint at `path` under limits other than the default ones.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, limits: &Limits) -> Result<Self> {
        let (storage, name) = place(path.as_ref())?;
        Ok(Bundle::open(storage, &name, limits)?.into())
    }

    /// Opens the checkpoint at `path`, and tells how far verifying and restoring it have come.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_watched(path: impl AsRef<Path>, limits: &Limits, progress: Arc<dyn Progress>) -> Result<Self> {
        let (storage, name) = place(path.as_ref())?;
        Ok(Bundle::open_watched(storage, &name, limits, progress)?.into())
    }

    /// The object graph of a checkpoint that `tf.train.Checkpoint`, Keras or a SavedModel wrote; `None` if it is
    /// name-based. Read once, when it is first needed.
    ///
    /// # Errors
    /// [`Error::ObjectGraph`].
    pub fn objects(&self) -> Result<Option<&ObjectGraph>> {
        match &self.objects {
            Some(objects) => objects.graph(&self.bundle),
            None => Ok(None),
        }
    }

    /// The variable that `name` means: its key, full name, object path, or the end of one of these that only one
    /// variable has; see [`ObjectGraph::find`]. All reading takes such names.
    ///
    /// # Errors
    /// As [`Bundle::variable`].
    pub fn find(&self, name: &str) -> Result<&VariableInfo> {
        self.bundle.variable(name)
    }

    /// The value of the variable `global_step`, or in an object-based checkpoint without one of the root's child `step`;
    /// `None` if there is none that is an int64 or int32 scalar.
    ///
    /// # Errors
    /// The variable is there and cannot be read.
    pub fn global_step(&self) -> Result<Option<i64>> {
        let Some(info) = self.step_variable()? else {
            return Ok(None);
        };
        if info.shape().rank() > 0 {
            return Ok(None);
        }
        match info.dtype() {
            DType::Int64 => Ok(self.bundle.read::<i64>(info.key())?.first().copied()),
            DType::Int32 => Ok(self.bundle.read::<i32>(info.key())?.first().map(|&step| step.into())),
            _ => Ok(None),
        }
    }

    fn step_variable(&self) -> Result<Option<&VariableInfo>> {
        if !self.bundle.has_key(GLOBAL_STEP)
            && let Some(graph) = self.objects()?
        {
            let root = graph.node(0);
            let child = root.and_then(|root| root.child(GLOBAL_STEP).or_else(|| root.child("step")));
            let step = child
                .and_then(|node| node.variable())
                .or_else(|| graph.find(GLOBAL_STEP).ok());
            return Ok(step.and_then(|step| self.bundle.get(step.key())));
        }
        Ok(self.bundle.get(GLOBAL_STEP))
    }
}

impl Deref for Checkpoint {
    type Target = Bundle;

    fn deref(&self) -> &Bundle {
        &self.bundle
    }
}

impl From<Bundle> for Checkpoint {
    fn from(bundle: Bundle) -> Self {
        let objects = ObjectNames::of(&bundle);
        let names = objects.clone().map(|names| names as Arc<dyn Names>);
        Checkpoint {
            bundle: bundle.with_names(names),
            objects,
        }
    }
}

/// The directory of the checkpoint that `path` means, and its name there.
fn place(path: &Path) -> Result<(Arc<LocalDir>, String)> {
    parts(&resolve(path)?)
}

/// The directory of this very prefix, and its name there.
fn parts(prefix: &Path) -> Result<(Arc<LocalDir>, String)> {
    let name = prefix.file_name().and_then(OsStr::to_str);
    let name = name.ok_or_else(|| no_checkpoint(prefix, "its last component is not UTF-8 text"))?;
    let storage = Arc::new(LocalDir::new(prefix.parent().unwrap_or(Path::new(""))));
    Ok((storage, name.to_owned()))
}

/// Opens the checkpoint of this very prefix, which is not taken for anything else.
pub(super) fn open_prefix(prefix: &Path, limits: &Limits) -> Result<Checkpoint> {
    let (storage, name) = parts(prefix)?;
    Ok(Bundle::open(storage, &name, limits)?.into())
}

/// The prefix that `path` means.
fn resolve(path: &Path) -> Result<PathBuf> {
    if has_index(path) {
        return Ok(path.to_owned());
    }
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => resolve_directory(path),
        Ok(_) => resolve_file(path),
        Err(_) if has_v1_files(path) => Ok(path.to_owned()),
        // Perhaps one of the files of a checkpoint was named, and that very file is gone.
        Err(_) => match prefix_of_file(path) {
            Some(prefix) if has_index(&prefix) => Ok(prefix),
            _ => Err(no_checkpoint(path, "there are no such files")),
        },
    }
}

fn resolve_directory(dir: &Path) -> Result<PathBuf> {
    if let Some(state) = checkpoint_state(dir)? {
        let latest = here(dir, &state.model_checkpoint_path);
        if checkpoint_exists(&latest) {
            return Ok(latest);
        }
        let reason = format!(
            "its file `{STATE_FILE}` names `{}`, which is not there",
            latest.display()
        );
        return Err(no_checkpoint_in(dir, dir, reason));
    }
    let variables = dir.join("variables").join("variables");
    match has_index(&variables) {
        true => Ok(variables),
        false => Err(no_checkpoint_in(
            dir,
            dir,
            format!("the directory has no file `{STATE_FILE}`"),
        )),
    }
}

fn resolve_file(path: &Path) -> Result<PathBuf> {
    let dir = path.parent().unwrap_or(Path::new(""));
    match path.file_name().and_then(OsStr::to_str) {
        Some(STATE_FILE) => return resolve_directory(dir),
        Some("saved_model.pb" | "saved_model.pbtxt") => return resolve_directory(dir),
        _ => {}
    }
    match prefix_of_file(path) {
        Some(prefix) if has_index(&prefix) => Ok(prefix),
        _ if is_table(path) => Ok(pattern_of_v1_file(path).unwrap_or(path.to_owned())),
        Some(prefix) => {
            let reason = format!("`{}` is not there", with_suffix(&prefix, ".index").display());
            Err(no_checkpoint(path, &reason))
        }
        None => Err(no_checkpoint(path, "this file is none of a checkpoint's")),
    }
}

/// The prefix that a file's name would belong to.
fn prefix_of_file(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let prefix = name.strip_suffix(".index").or(name.strip_suffix(".meta"));
    let prefix = prefix.or(parse_shard_name(name).map(|(prefix, ..)| prefix))?;
    Some(path.with_file_name(prefix))
}

/// Whether there is a checkpoint of this name: an index file, or files of the V1 format. It may still be damaged.
pub(super) fn checkpoint_exists(prefix: &Path) -> bool {
    has_index(prefix) || prefix.is_file() || has_v1_files(prefix)
}

/// Whether the name is a pattern that files of the V1 format match.
fn has_v1_files(pattern: &Path) -> bool {
    let Some(name) = pattern.file_name().and_then(OsStr::to_str) else {
        return false;
    };
    let names = || {
        let dir = pattern.parent().filter(|dir| !dir.as_os_str().is_empty());
        let entries = fs::read_dir(dir.unwrap_or(Path::new("."))).into_iter().flatten();
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
    };
    name.contains('?') && names().any(|found| matches(name, &found))
}

/// The pattern of all files that belong with `NAME-00000-of-00002`.
pub(super) fn pattern_of_v1_file(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let (rest, of) = name.rsplit_once("-of-")?;
    let (prefix, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let pattern = format!("{prefix}-{}-of-{of}", "?".repeat(number.len()));
    (digits(number) && digits(of)).then(|| path.with_file_name(pattern))
}

/// Whether the file ends as a table does: what a V1 checkpoint is.
pub(super) fn is_table(path: &Path) -> bool {
    let magic = |mut file: fs::File| {
        let mut magic = [0; 8];
        file.seek(SeekFrom::End(-8))?;
        file.read_exact(&mut magic)?;
        Ok::<_, std::io::Error>(u64::from_le_bytes(magic) == MAGIC)
    };
    fs::File::open(path).and_then(magic).unwrap_or(false)
}

fn has_index(prefix: &Path) -> bool {
    prefix.file_name().is_some() && with_suffix(prefix, ".index").is_file()
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn no_checkpoint(path: &Path, reason: &str) -> Error {
    no_checkpoint_in(path, path.parent().unwrap_or(Path::new("")), reason.to_owned())
}

/// The error, with the prefixes in `dir` that are nearest to `path`.
fn no_checkpoint_in(path: &Path, dir: &Path, reason: String) -> Error {
    let here = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    let names: Vec<String> = fs::read_dir(here)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .into_string()
                .ok()?
                .strip_suffix(".index")
                .map(str::to_owned)
        })
        .collect();
    let wanted = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let mut near = nearest(wanted, names.iter().map(String::as_str), 3);
    if near.is_empty() {
        near = names;
        near.sort();
        near.truncate(3);
    }
    let candidates = near.iter().map(|name| dir.join(name).display().to_string()).collect();
    Error::NoCheckpoint {
        path: path.to_owned(),
        reason,
        candidates,
    }
}
