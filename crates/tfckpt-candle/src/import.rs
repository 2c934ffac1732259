//! Models built from a checkpoint.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Error, Result, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder, VarMap};
use tfckpt::Checkpoint;
use tfckpt::map::{LoadReport, NameMap, Plan, Target};

use crate::ahead::Ahead;
use crate::bridge::{self, LACKS};
use crate::kinds::{Params, split};
use crate::layers::Layers;
use crate::lookup::{Lookup, Need, Outcome};
use crate::recurrent;

/// A builder of models from any TensorFlow checkpoint, for Candle's layers and those of candle-transformers alike.
/// See [`Import`], of which this is the short form.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path();
/// # let (kernel, bias) = ([1f32, 2., 3., 4., 5., 6.], [0f32; 2]);
/// # let variables = [tfckpt::Variable::new("fc/kernel", [3, 2], &kernel), tfckpt::Variable::new("fc/bias", [2], &bias)];
/// # tfckpt::Saver::new(path).save(variables, 1)?;
/// use candle_core::{DType, Device};
/// use candle_nn::Module;
/// use tfckpt::map::NameMap;
///
/// let checkpoint = tfckpt::Checkpoint::open(path)?;
/// let vb = tfckpt_candle::var_builder(checkpoint, NameMap::keras(), DType::F32, &Device::Cpu)?;
/// let fc = candle_nn::linear(3, 2, vb.pp("fc"))?; // `fc/kernel [3, 2]`, transposed on the way, and `fc/bias`
/// # assert_eq!(fc.weight().to_vec2::<f32>()?, [[1., 3., 5.], [2., 4., 6.]]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// None at present: the index was checked when the checkpoint was opened, and all else shows when layers ask.
pub fn var_builder(
    checkpoint: impl Into<Arc<Checkpoint>>,
    names: NameMap,
    dtype: DType,
    device: &Device,
) -> crate::Result<VarBuilder<'static>> {
    Ok(Import::new(checkpoint, names).var_builder(dtype, device))
}

/// A checkpoint that models are built from. A clone is a handle on the same import.
///
/// Names and layouts are those of TensorFlow: a layer that asks for `fc.weight` gets `fc/kernel`, transposed. What
/// kind of layer asks is told from the initialisation that it names, and where that leaves several possibilities,
/// from the names that the checkpoint has; what is still ambiguous is an error. [`NameMap::with_layer`] declares the
/// kind of a layer, which depthwise convolutions and attention with heads always need.
///
/// Shapes are compared with the index before anything is read. Each tensor is read in one copy, straight into its own
/// storage, transposed on the way. It is cast only if the builder's dtype is another, and the [report](Self::report) says
/// so. What is stored in a dtype that Candle lacks is held in a wider one first, which never changes a value.
///
/// While one is read, other cores read ahead what the model is likely to ask for next: never more than it has asked for
/// so far, nor than 256 MiB, and for no longer than two seconds. [`Limits::with_threads(1)`](tfckpt::Limits::with_threads)
/// turns that off.
#[derive(Clone)]
pub struct Import {
    shared: Arc<Shared>,
}

struct Shared {
    checkpoint: Arc<Checkpoint>,
    ahead: Ahead,
    names: NameMap,
    layers: Layers,
    /// What was asked for, by path.
    asked: Mutex<BTreeMap<String, Target>>,
}

impl Import {
    /// Builds models from `checkpoint`, a [`Checkpoint`] or an `Arc` of one.
    pub fn new(checkpoint: impl Into<Arc<Checkpoint>>, names: NameMap) -> Self {
        let (layers, asked) = (Layers::default(), Mutex::default());
        let checkpoint = checkpoint.into();
        Import {
            shared: Arc::new(Shared {
                ahead: Ahead::new(checkpoint.clone()),
                checkpoint,
                names,
                layers,
                asked,
            }),
        }
    }

    /// A builder of models that do not train. Layers that ask for a variable that is not there get
    /// `Error::CannotFindTensor`, or `Error::UnexpectedShape` if it has another shape.
    pub fn var_builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(Frozen(self.clone())), dtype, device.clone())
    }

    /// A builder of models that train on, as `init_from_checkpoint` does it in TensorFlow: each variable of the
    /// model becomes a variable of `varmap`, with the value from the checkpoint where it has one of that name, and
    /// otherwise initialised. [`report`](Self::report) tells which ones were not there. A variable of another shape
    /// is an error all the same. The [`Layers`] are those that saving needs.
    pub fn init_from_checkpoint(
        &self,
        varmap: &VarMap,
        dtype: DType,
        device: &Device,
    ) -> (VarBuilder<'static>, Layers) {
        let backend = Trained {
            import: self.clone(),
            varmap: varmap.clone(),
        };
        let layers = self.shared.layers.clone();
        (
            VarBuilder::from_backend(Box::new(backend), dtype, device.clone()),
            layers,
        )
    }

    /// Whether names and checkpoint are those of the models that were built so far, in what shows only when they are built.
    /// Nothing in a [mapping](tfckpt::map::Mapping) is ambiguous or of no use; and no layer was built without a variable
    /// that the checkpoint has for it and that would change what it computes, as the biases of a recurrent layer: while they
    /// are built, layers ask for one parameter after the other, and what is left out is not known.
    ///
    /// # Errors
    /// [`tfckpt::Error::Mapping`] with all that is wrong; [`tfckpt::Error::Unrepresentable`] with the variable that a layer
    /// left out.
    pub fn check(&self) -> crate::Result<()> {
        let layers = &self.shared.layers;
        let asked: Vec<String> = self.asked().keys().cloned().collect();
        let params: Params = {
            let recorded = layers.lock();
            let param = |path: &String| Some((path.clone(), recorded.get(path)?.clone()));
            asked.iter().filter_map(param).collect()
        };
        for compound in recurrent::compounds(&self.shared.names, &params)?.values() {
            compound.check(&self.shared.checkpoint)?;
        }
        let kind = |path: String| {
            let layer = layers.layer(split(&path).0).unwrap_or_default();
            (path, layer)
        };
        let kinds: Vec<_> = asked.into_iter().map(kind).collect();
        Ok(self.shared.names.check(&kinds)?)
    }

    /// What the models asked for so far, and what of the checkpoint nobody wanted.
    pub fn report(&self) -> LoadReport {
        let targets: Vec<Target> = self.asked().values().cloned().collect();
        let mut plan = Plan::partial(&self.shared.checkpoint, &targets);
        plan.mark_used(|name| self.shared.names.ignores(name));
        plan.into_report()
    }

    /// The value of a parameter. The inner error says that the checkpoint does not have it, the outer one all else.
    fn find(&self, need: &Need<'_>, dtype: DType, device: &Device) -> Result<Result<Tensor>> {
        let Shared {
            checkpoint,
            ahead,
            names,
            layers,
            ..
        } = self.shared.as_ref();
        if let (Some(dims), Some(hint)) = (need.dims, need.hint) {
            layers.record(need.path, dims, hint);
        }
        let outcome = Lookup {
            checkpoint,
            names,
            params: &layers.lock(),
        }
        .find(need);
        let (target, found) = match outcome {
            Outcome::Found(found) => (found.target(need.path, dtype), Ok(found)),
            Outcome::Made(target) => {
                let (tensor, report) = made(checkpoint, &target)?;
                if tensor.dtype() == dtype {
                    layers.remember(&report);
                }
                self.asked().insert(need.path.to_owned(), target);
                return Ok(Ok(tensor.to_dtype(dtype)?.to_device(device)?));
            }
            Outcome::Missing { target, error } => (target, Err(error)),
            Outcome::Wrong(error) => return Err(error),
        };
        self.asked().insert(need.path.to_owned(), target);
        let found = match found {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        layers.tell(need.path, found.kind);
        // Cast before the upload: not every device casts integers.
        let tensor = ahead.read(&found)?;
        if tensor.dtype() == dtype && LACKS.contains(&found.info.dtype()) {
            layers.remember_dtype(need.path, found.info.dtype());
        }
        Ok(Ok(tensor.to_dtype(dtype)?.to_device(device)?))
    }

    fn contains(&self, path: &str) -> bool {
        let Shared {
            checkpoint,
            names,
            layers,
            ..
        } = self.shared.as_ref();
        Lookup {
            checkpoint,
            names,
            params: &layers.lock(),
        }
        .contains(path)
    }

    fn asked(&self) -> MutexGuard<'_, BTreeMap<String, Target>> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A parameter that is made of parts of variables, or of several.
fn made(checkpoint: &Checkpoint, target: &Target) -> Result<(Tensor, LoadReport)> {
    let plan = Plan::new(checkpoint, std::slice::from_ref(target)).map_err(Error::wrap)?;
    let read = plan.carry_out(checkpoint, |filling| bridge::made(filling, &target.shape));
    let tensor = read.map_err(Error::wrap)?.pop();
    let tensor = tensor.ok_or_else(|| Error::Msg(format!("`{}` is made of nothing", target.path)).bt());
    Ok((tensor?, plan.into_report()))
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import")
            .field("checkpoint", &self.shared.checkpoint.prefix())
            .field("names", &self.shared.names)
            .finish_non_exhaustive()
    }
}

struct Frozen(Import);

impl SimpleBackend for Frozen {
    fn get(&self, shape: Shape, name: &str, hint: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let need = Need {
            path: name,
            dims: Some(shape.dims()),
            hint: Some(hint),
            dtype,
        };
        self.0.find(&need, dtype, device)?
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        let need = Need {
            path: name,
            dims: None,
            hint: None,
            dtype,
        };
        self.0.find(&need, dtype, device)?
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

struct Trained {
    import: Import,
    varmap: VarMap,
}

impl SimpleBackend for Trained {
    fn get(&self, shape: Shape, name: &str, hint: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        if SimpleBackend::contains_tensor(&self.varmap, name) {
            self.import.shared.layers.record(name, shape.dims(), hint);
            return self.varmap.get(shape, name, hint, dtype, device);
        }
        let need = Need {
            path: name,
            dims: Some(shape.dims()),
            hint: Some(hint),
            dtype,
        };
        let Ok(tensor) = self.import.find(&need, dtype, device)? else {
            return self.varmap.get(shape, name, hint, dtype, device);
        };
        let var = Var::from_tensor(&tensor)?;
        let tensor = var.as_tensor().clone();
        let mut vars = self.varmap.data().lock().unwrap_or_else(PoisonError::into_inner);
        vars.insert(name.to_owned(), var);
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        SimpleBackend::get_unchecked(&self.varmap, name, dtype, device)
    }

    /// Exactly what is in the `VarMap` already or in the checkpoint.
    fn contains_tensor(&self, name: &str) -> bool {
        SimpleBackend::contains_tensor(&self.varmap, name) || self.import.contains(name)
    }
}
