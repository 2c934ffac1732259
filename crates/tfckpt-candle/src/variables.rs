//! The variables of a model, saved and restored in place.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError};

use candle_core::Var;
use candle_nn::VarMap;
use tfckpt::map::{DenseOrder, Layer, LoadReport, NameMap};
use tfckpt::{Checkpoint, GLOBAL_STEP, Variable};

use crate::entries::{self, Entry};
use crate::error::{Error, Result};
use crate::kinds::{Known, Param, Params, certain_kind, split};
use crate::layers::Layers;
use crate::recurrent;
use crate::ways::{Way, certain_ways};

/// The variables of a `VarMap`, with the names and layouts that they have in checkpoints.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let run = dir.path();
/// use candle_core::{DType, Device};
/// use tfckpt_candle::Variables;
///
/// let varmap = candle_nn::VarMap::new();
/// let (vb, layers) = tfckpt_candle::recording(&varmap, DType::F32, &Device::Cpu);
/// let fc = candle_nn::linear(4, 2, vb.pp("fc"))?;
///
/// let variables = Variables::new(&varmap).layers(&layers);
/// tfckpt::Saver::new(run).save(variables.to_save()?, 100)?;
///
/// let checkpoint = tfckpt::Checkpoint::open(run)?;
/// assert_eq!(checkpoint.variable("fc/kernel")?.shape().dims(), [4, 2]);
/// let report = variables.restore(&checkpoint)?;
/// assert_eq!(report.loaded.len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Variables {
    varmap: VarMap,
    pub(crate) layers: Layers,
    pub(crate) names: NameMap,
    pub(crate) verify_first: bool,
}

impl Variables {
    /// The variables of `varmap`, those that are added later included. Names are those of Keras.
    pub fn new(varmap: &VarMap) -> Self {
        Variables {
            varmap: varmap.clone(),
            layers: Layers::default(),
            names: NameMap::default(),
            verify_first: true,
        }
    }

    /// The kinds of the layers, as [`recording`](crate::recording) took them down. Without them every layer with
    /// weights has to be declared by [`NameMap::with_layer`], or nothing be renamed, by [`NameMap::identity`].
    #[must_use]
    pub fn layers(mut self, layers: &Layers) -> Self {
        self.layers = layers.clone();
        self
    }

    /// Names and layouts in the checkpoint. Default: [`NameMap::keras`].
    #[must_use]
    pub fn names(mut self, names: NameMap) -> Self {
        self.names = names;
        self
    }

    /// Whether a checkpoint is verified before the first variable is changed. Default: true, and then it is read twice.
    /// Without, checksums are compared all the same while variables are filled, in one pass; a damaged file is found out
    /// when some are filled already: for a run that then ends anyway.
    #[must_use]
    pub fn verify_first(mut self, verify: bool) -> Self {
        self.verify_first = verify;
        self
    }

    /// The variables as [`Saver::save`](tfckpt::Saver::save) takes them, sorted by path. Nothing is copied here: the
    /// bytes are taken from the live variables while they are written, those of transposed ones 1 MiB at a time for each core.
    ///
    /// # Errors
    /// [`Error::UnknownLayers`], which names all of them; [`Error::UnsupportedDtype`];
    /// [`tfckpt::Error::DuplicateName`].
    pub fn to_save(&self) -> Result<Vec<Variable<'static>>> {
        entries::to_variables(&self.entries()?)
    }

    /// Fills all variables from `checkpoint`, in place: models that were built from the `VarMap` see the new values.
    /// Values that a model derived from variables when it was built, such as a transposed copy, stay as they were.
    ///
    /// The checkpoint is read twice, once to verify and once to fill, so that a damaged file leaves the model as it
    /// was; see [`verify_first`](Self::verify_first).
    ///
    /// # Errors
    /// [`Error::UnknownLayers`], [`Error::UnsupportedDtype`]; [`tfckpt::Error::Mismatch`] with all variables that
    /// are missing or have another dtype or shape; those of
    /// [`Bundle::verify`](tfckpt::Bundle::verify). The model is then as it was. Only a
    /// disk that fails between the two readings leaves it half restored.
    pub fn restore(&self, checkpoint: &Checkpoint) -> Result<LoadReport> {
        let report = entries::restore(&self.entries()?, checkpoint, self.verify_first, |name| {
            name == GLOBAL_STEP || self.names.ignores(name)
        })?;
        self.layers.remember(&report);
        Ok(report)
    }

    /// All variables, sorted by path.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>> {
        let mut vars = named_vars(&self.varmap);
        self.names.check(&self.kinds_of(&vars))?;
        vars.retain(|path, _| !self.names.skips(path));
        let params = self.params(&vars);
        let mut compounds = recurrent::compounds(&self.names, &params)?;
        for (path, param) in &params {
            if compounds.contains_key(path) {
                continue;
            }
            let found = certain_kind(&params, split(path).0, Known::All);
            if let Some(compound) = self.names.compound(path, &param.dims, found, DenseOrder::OutIn) {
                compounds.insert(path.clone(), Arc::new(compound));
            }
        }
        let plain = vars
            .keys()
            .map(String::as_str)
            .filter(|path| !compounds.contains_key(*path));
        let ways = certain_ways(&self.names, &params, plain);
        let mut ways = ways.map_err(|modules| Error::UnknownLayers { modules })?.into_iter();
        let mut entries = Vec::with_capacity(vars.len());
        for (path, var) in vars {
            let way = match compounds.remove(&path) {
                Some(compound) => Some(Way::made(&path, compound)),
                None => ways.next(),
            };
            entries.extend(way.map(|way| {
                Entry {
                    // Statistics are gathered, not trained.
                    trained: !path.ends_with("running_mean") && !path.ends_with("running_var"),
                    casts: self.names.casts(),
                    stored: self
                        .names
                        .stored_dtype(&path)
                        .or_else(|| self.layers.stored_dtype(&path)),
                    path,
                    way,
                    var,
                }
            }));
        }
        Ok(entries)
    }

    /// All parameters, and the kinds of their layers, as far as they are certain.
    fn kinds_of(&self, vars: &BTreeMap<String, Var>) -> Vec<(String, Layer)> {
        let kind = |path: &String| (path.clone(), self.layers.layer(split(path).0).unwrap_or_default());
        vars.keys().map(kind).collect()
    }

    fn params(&self, vars: &BTreeMap<String, Var>) -> Params {
        let recorded = self.layers.lock();
        let param = |(path, var): (&String, &Var)| {
            let unheard = Param {
                dims: var.dims().to_vec(),
                hint: None,
                told: None,
            };
            (path.clone(), recorded.get(path).cloned().unwrap_or(unheard))
        };
        vars.iter().map(param).collect()
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variables")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// The variables of a `VarMap` by path; its own iteration order differs from process to process.
pub(crate) fn named_vars(varmap: &VarMap) -> BTreeMap<String, Var> {
    let vars = varmap.data().lock().unwrap_or_else(PoisonError::into_inner);
    vars.iter().map(|(path, var)| (path.clone(), var.clone())).collect()
}
