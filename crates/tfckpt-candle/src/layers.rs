//! Listening to a model while it is built.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder, VarMap};
use tfckpt::map::{Conversion, Layer, LoadReport};

use crate::bridge::LACKS;
use crate::kinds::{Known, Param, Params, kinds, split};

/// In place of `VarBuilder::from_varmap`: the same builder, which also takes down what each layer asks for, so that
/// saving knows the kind of each layer, and with it its names and layouts in TensorFlow.
///
/// ```
/// # fn main() -> candle_core::Result<()> {
/// use candle_core::{DType, Device};
/// use tfckpt::map::Layer;
///
/// let varmap = candle_nn::VarMap::new();
/// let (vb, layers) = tfckpt_candle::recording(&varmap, DType::F32, &Device::Cpu);
/// let conv = candle_nn::conv2d(1, 8, 3, Default::default(), vb.pp("conv"))?;
/// let head = candle_nn::linear(8, 8, vb.pp("head"))?;
/// assert_eq!(layers.layer("conv"), Some(Layer::Conv2d));
/// assert_eq!(layers.layer("head"), Some(Layer::Dense));
/// # Ok(())
/// # }
/// ```
pub fn recording(varmap: &VarMap, dtype: DType, device: &Device) -> (VarBuilder<'static>, Layers) {
    let layers = Layers::default();
    let backend = Recording {
        varmap: varmap.clone(),
        layers: layers.clone(),
    };
    (
        VarBuilder::from_backend(Box::new(backend), dtype, device.clone()),
        layers,
    )
}

/// What the layers of a model asked for while it was built. A clone is a handle on the same notes.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    params: Arc<Mutex<Params>>,
    /// The paths of the parameters, in the order in which they were asked for.
    order: Arc<Mutex<Vec<String>>>,
    /// The dtypes that variables were restored from and are stored in again.
    stored: Arc<Mutex<BTreeMap<String, tfckpt::DType>>>,
}

impl Layers {
    /// The kind of the layer at `path`, `block.conv1`; `None` if it is not certain.
    pub fn layer(&self, path: &str) -> Option<Layer> {
        match kinds(&self.lock(), path, Known::All).as_slice() {
            [Layer::Other] | [] => None,
            [kind] => Some(*kind),
            _ => None,
        }
    }

    /// The paths of all modules that asked for parameters, sorted.
    pub fn modules(&self) -> Vec<String> {
        let mut modules: Vec<String> = self.lock().keys().map(|path| split(path).0.to_owned()).collect();
        modules.sort();
        modules.dedup();
        modules
    }

    /// The layers of which the kind is certain, with the paths of their modules, in the order in which they were made:
    /// as [`NameMap::numbered`](tfckpt::map::NameMap::numbered) takes them.
    ///
    /// ```
    /// # fn main() -> candle_core::Result<()> {
    /// use tfckpt::map::{Layer, NameMap};
    ///
    /// # use candle_core::{DType, Device};
    /// # let varmap = candle_nn::VarMap::new();
    /// let (vb, layers) = tfckpt_candle::recording(&varmap, DType::F32, &Device::Cpu);
    /// let (hidden, head) = (candle_nn::linear(4, 8, vb.pp("hidden"))?, candle_nn::linear(8, 2, vb.pp("head"))?);
    /// let names = NameMap::tf_layers().numbered(layers.in_order());
    /// assert_eq!(names.names("head.weight", Layer::Dense), ["dense_1/kernel"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn in_order(&self) -> Vec<(String, Layer)> {
        let order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let mut modules: Vec<&str> = Vec::new();
        for path in order.iter() {
            let module = split(path).0;
            if !modules.contains(&module) {
                modules.push(module);
            }
        }
        let of_kind = |module: &str| Some((module.to_owned(), self.layer(module)?));
        modules.into_iter().filter_map(of_kind).collect()
    }

    /// Takes down which variables were restored from dtypes that Candle lacks, so that they are saved as they were.
    pub(crate) fn remember(&self, report: &LoadReport) {
        let lacking =
            |cast: &Conversion| LACKS.contains(&cast.from()) && Conversion::new(cast.to(), cast.from()).is_some();
        for loaded in &report.loaded {
            if let Some(cast) = loaded.cast.filter(lacking) {
                self.remember_dtype(&loaded.path, cast.from());
            }
        }
    }

    pub(crate) fn remember_dtype(&self, path: &str, dtype: tfckpt::DType) {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored.insert(path.to_owned(), dtype);
    }

    /// The dtype that a variable was restored from, if Candle lacks it.
    pub(crate) fn stored_dtype(&self, path: &str) -> Option<tfckpt::DType> {
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored.get(path).copied()
    }

    pub(crate) fn record(&self, path: &str, dims: &[usize], hint: Init) {
        // A second layer that shares the parameter does not change what it is: tied embeddings stay embeddings.
        let param = Param {
            dims: dims.to_vec(),
            hint: Some(hint),
            told: None,
        };
        let mut params = self.lock();
        if !params.contains_key(path) {
            params.insert(path.to_owned(), param);
            let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            order.push(path.to_owned());
        }
    }

    /// Takes down the kind of layer that a checkpoint told by the name of this parameter.
    pub(crate) fn tell(&self, path: &str, kind: Layer) {
        if let Some(param) = self.lock().get_mut(path) {
            param.told = Some(kind);
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Params> {
        self.params.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Recording {
    varmap: VarMap,
    layers: Layers,
}

impl SimpleBackend for Recording {
    fn get(&self, shape: Shape, name: &str, hint: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        self.layers.record(name, shape.dims(), hint);
        self.varmap.get(shape, name, hint, dtype, device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        SimpleBackend::get_unchecked(&self.varmap, name, dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        SimpleBackend::contains_tensor(&self.varmap, name)
    }
}
