//! Variables from a checkpoint, and back into one.

use std::path::{Path, PathBuf};

use tfckpt::io::LocalDir;
use tfckpt::{BundleWriter, Checkpoint, DType, Slice, Variable};

use crate::compile::{from_bytes, to_bytes};
use crate::error::{Error, Result};
use crate::session::Session;
use crate::value::TfTensor;
use crate::variables::Known;

/// What became of a graph's variables.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Restored {
    /// Variables that have values now.
    pub loaded: Vec<String>,
    /// Variables that were left as they were, with the reason.
    pub left: Vec<(String, String)>,
}

impl Session {
    /// Gives the variables the values that they have in the checkpoint at `prefix`, under the names that the graph's saver has
    /// for them. Live variables are filled in place. Variables that the saver does not save are left as they are.
    ///
    /// All is read and checked before the first variable is changed.
    ///
    /// # Errors
    /// [`Error::Misfit`] with all variables that are missing or have another dtype or shape; those of
    /// [`Checkpoint::open`] and of reading. The session is then as it was.
    pub fn restore(&self, prefix: impl AsRef<Path>) -> Result<Restored> {
        self.restore_from(&Checkpoint::open(prefix)?)
    }

    /// As [`restore`](Self::restore), from a checkpoint that is open.
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    pub fn restore_from(&self, checkpoint: &Checkpoint) -> Result<Restored> {
        let mut report = Restored::default();
        let mut faults = Vec::new();
        let mut values = Vec::new();
        for (place, known) in self.variables.known().iter().enumerate() {
            let key = known.key.as_deref().unwrap_or(&known.name);
            if !checkpoint.contains(key) {
                match known.key {
                    Some(_) => faults.push(format!("`{key}` is not there")),
                    None => report
                        .left
                        .push((known.name.clone(), "the graph's saver does not save it".to_owned())),
                }
                continue;
            }
            match fits(known, key, checkpoint)? {
                Ok(slice) => values.push((place, key, slice)),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            let prefix = checkpoint.prefix().display().to_string();
            return Err(Error::Misfit { prefix, faults });
        }
        let mut read = Vec::with_capacity(values.len());
        for (place, key, slice) in values {
            let info = checkpoint.variable(key)?;
            if info.dtype() == DType::String {
                let name = self.variables.name(place).to_owned();
                report.left.push((name, "it holds strings".to_owned()));
                continue;
            }
            let (bytes, dims) = match &slice {
                Some(slice) => {
                    let shape = slice.shape_in(info.shape()).unwrap_or_else(|| info.shape().clone());
                    (checkpoint.read_slice_bytes(key, slice)?, shape.dims().to_vec())
                }
                None => (checkpoint.read_bytes(key)?, info.shape().dims().to_vec()),
            };
            read.push((place, from_bytes(&bytes, info.dtype(), &dims, self.device())?));
        }
        for (place, TfTensor { tensor, dtype }) in &read {
            self.variables.put(*place, tensor, *dtype, self.device())?;
            report.loaded.push(self.variables.name(*place).to_owned());
        }
        Ok(report)
    }

    /// All variables that have values and that the graph's saver saves, as [`tfckpt::Saver::save`] takes them: under their names
    /// in checkpoints, in the dtypes that the graph has for them. Without a saver, all variables.
    ///
    /// # Errors
    /// [`Error::Uninitialized`] for a variable that the saver saves and that has no value.
    pub fn to_save(&self) -> Result<Vec<Variable<'static>>> {
        let saves = self.variables.known().iter().any(|known| known.key.is_some());
        let mut all = Vec::new();
        for (place, known) in self.variables.known().iter().enumerate() {
            let key = match (&known.key, saves) {
                (Some(key), _) => key,
                (None, true) => continue,
                (None, false) => &known.name,
            };
            let Some((var, dtype)) = self.variables.get(place) else {
                match saves {
                    true => {
                        return Err(Error::Uninitialized {
                            name: known.name.clone(),
                        });
                    }
                    false => continue,
                }
            };
            let tensor = TfTensor {
                tensor: var.as_detached_tensor(),
                dtype,
            };
            let bytes = to_bytes(&tensor)?;
            let variable = Variable::from_bytes(key.as_str(), dtype, var.dims(), bytes);
            let variable = match known.trainable {
                true => variable,
                false => variable.non_trainable(),
            };
            all.push(match &known.part {
                Some((_, whole, slice)) => variable.slice_of(whole.clone(), slice.clone()),
                None => variable,
            });
        }
        Ok(all)
    }

    /// All variables that have values under the names that the graph itself has for them, whatever its saver calls them; parts of
    /// a partitioned one together make the whole. So the weights of a SavedModel are `dense/kernel`, not
    /// `layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE`.
    ///
    /// # Errors
    /// Candle's, if a tensor cannot be brought to the CPU.
    pub fn weights(&self) -> Result<Vec<Variable<'static>>> {
        let mut all = Vec::new();
        for (place, known) in self.variables.known().iter().enumerate() {
            let Some((var, dtype)) = self.variables.get(place) else {
                continue;
            };
            let tensor = TfTensor {
                tensor: var.as_detached_tensor(),
                dtype,
            };
            let bytes = to_bytes(&tensor)?;
            let name = known.part.as_ref().map_or(&known.name, |(whole, ..)| whole);
            let variable = Variable::from_bytes(name.as_str(), dtype, var.dims(), bytes);
            all.push(match &known.part {
                Some((_, whole, slice)) => variable.slice_of(whole.clone(), slice.clone()),
                None => variable,
            });
        }
        Ok(all)
    }

    /// Writes [`weights`](Self::weights) as a checkpoint at `prefix`, without the graph: what a model that is written in Rust is
    /// loaded from by name, one of Burn by `tfckpt_burn::TfCheckpointStore`, one of Candle by `tfckpt_candle::var_builder`. For
    /// TensorFlow, and to go on with the graph, there is [`save`](Self::save).
    ///
    /// # Errors
    /// [`Error::Operand`] for a prefix without a name; those of [`BundleWriter`].
    pub fn save_weights(&self, prefix: impl AsRef<Path>) -> Result<PathBuf> {
        let prefix = prefix.as_ref();
        let (directory, name) = place(prefix)?;
        create(directory, prefix)?;
        write(directory, name, self.weights()?)?;
        Ok(prefix.to_owned())
    }

    /// Saves all variables that the graph's saver saves at `prefix`, `run/model.ckpt-360`, with the graph beside it, byte for
    /// byte as it was read: TensorFlow imports the one and restores the other. The files appear whole, the index last.
    ///
    /// [`to_save`](Self::to_save) and [`tfckpt::Saver`] keep a directory of them.
    ///
    /// # Errors
    /// [`Error::Uninitialized`]; those of [`BundleWriter`].
    pub fn save(&self, prefix: impl AsRef<Path>) -> Result<PathBuf> {
        let prefix = prefix.as_ref();
        let (directory, name) = place(prefix)?;
        let variables = self.to_save()?;
        create(directory, prefix)?;
        let mut meta = prefix.as_os_str().to_owned();
        meta.push(".meta");
        let mut partial = meta.clone();
        partial.push(".tmp");
        std::fs::write(&partial, self.graph().to_bytes()).map_err(not_written(prefix))?;
        std::fs::rename(&partial, &meta).map_err(not_written(prefix))?;
        write(directory, name, variables)?;
        Ok(prefix.to_owned())
    }
}

/// The directory of a prefix, and its name there.
fn place(prefix: &Path) -> Result<(&Path, &str)> {
    let name = prefix.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Error::operand(format!("`{}` is no prefix of a checkpoint", prefix.display())))?;
    Ok((prefix.parent().unwrap_or(Path::new("")), name))
}

fn create(directory: &Path, prefix: &Path) -> Result<()> {
    let directory = match directory.as_os_str().is_empty() {
        true => Path::new("."),
        false => directory,
    };
    std::fs::create_dir_all(directory).map_err(not_written(prefix))?;
    Ok(())
}

fn not_written(prefix: &Path) -> impl FnOnce(std::io::Error) -> tfckpt::Error {
    let path = prefix.to_owned();
    move |source| tfckpt::Error::Io {
        action: "write",
        path,
        source,
    }
}

fn write(directory: &Path, name: &str, mut variables: Vec<Variable<'_>>) -> Result<()> {
    variables.sort_by(|a, b| a.key().cmp(b.key()));
    let mut writer = BundleWriter::create(std::sync::Arc::new(LocalDir::new(directory)), name)?;
    writer.add_all(variables)?;
    writer.finish()?;
    Ok(())
}

/// The part of the checkpoint's variable that this one is, or why it does not fit.
fn fits(known: &Known, key: &str, checkpoint: &Checkpoint) -> Result<Result<Option<Slice>, String>> {
    let info = checkpoint.variable(key)?;
    if let Some(dtype) = known.dtype.filter(|dtype| *dtype != info.dtype()) {
        return Ok(Err(format!("`{key}` is {}, expected {dtype}", info.dtype())));
    }
    let slice = known.part.as_ref().map(|(_, _, slice)| slice.clone());
    let shape = match &slice {
        Some(slice) => slice.shape_in(info.shape()),
        None => Some(info.shape().clone()),
    };
    match (&known.shape, shape) {
        (_, None) => Ok(Err(format!(
            "`{key}` has shape {}, of which there is no such slice",
            info.shape()
        ))),
        (Some(expected), Some(shape)) if *expected != shape => {
            Ok(Err(format!("`{key}` has shape {shape}, expected {expected}")))
        }
        _ => Ok(Ok(slice)),
    }
}
