//! Variables out of a graph and its checkpoint, without the code of any network.

use std::path::{Path, PathBuf};

use candle_core::{Device, Var};
use candle_nn::VarMap;
use tfckpt::{Checkpoint, DType, GraphVariable, MetaGraph, Shape, Slice};

use crate::bridge;
use crate::error::Result;

/// A graph that was imported, and its variables.
///
/// Names and layouts are those of the graph: `dense/kernel` is `[in, out]` here, as it is there.
#[non_exhaustive]
pub struct ImportedGraph {
    /// The graph.
    pub graph: MetaGraph,
    /// The variables that were restored, by name.
    pub varmap: VarMap,
    /// All variables of the graph, in its order.
    pub variables: Vec<ImportedVariable>,
}

impl std::fmt::Debug for ImportedGraph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportedGraph")
            .field("variables", &self.variables)
            .finish_non_exhaustive()
    }
}

/// A variable of a graph, and what became of it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ImportedVariable {
    /// Its name in the graph, and in the `VarMap`.
    pub name: String,
    /// Its dtype, if that is known.
    pub dtype: Option<DType>,
    /// Its shape, if that is known.
    pub shape: Option<Shape>,
    /// Whether an optimizer trained it.
    pub trainable: bool,
    /// Why it is not in the `VarMap`; `None` if it is.
    pub left_out: Option<String>,
}

impl std::fmt::Display for ImportedVariable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dtype = self.dtype.map_or("unknown dtype", DType::name);
        write!(f, "{} {dtype}", self.name)?;
        if let Some(shape) = &self.shape {
            write!(f, " {shape}")?;
        }
        match &self.left_out {
            None => write!(f, ": restored"),
            Some(reason) => write!(f, ": left out, {reason}"),
        }
    }
}

/// Imports the graph at `path`, `run/model.ckpt-100.meta`, and restores its variables from the checkpoint beside it:
/// `tf.compat.v1.train.import_meta_graph` and `restore` in one. A SavedModel's directory will do as well. No code of the
/// network is needed; its operations are not run.
///
/// Variables that Candle has no dtype for, and those that the checkpoint has no value of, are listed with the reason.
/// The slices of a partitioned variable are variables of their own, as in the graph.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let run = dir.path();
/// # tfckpt::Saver::new(run).save([tfckpt::Variable::new("dense/kernel", [2, 2], &[1f32, 2., 3., 4.])], 100)?;
/// let imported = tfckpt_candle::import_meta_graph(run.join("model.ckpt-100.meta"), &candle_core::Device::Cpu)?;
/// for variable in &imported.variables {
///     println!("{variable}"); // dense/kernel float32 [2, 2]: restored
/// }
/// let vars = imported.varmap.data().lock().unwrap();
/// assert_eq!(vars["dense/kernel"].to_vec2::<f32>()?, [[1., 2.], [3., 4.]]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`MetaGraph::open`] and [`Checkpoint::open`], and of reading a variable: a damaged file is never left out
/// silently.
pub fn import_meta_graph(path: impl AsRef<Path>, device: &Device) -> Result<ImportedGraph> {
    let path = path.as_ref();
    let graph = MetaGraph::open(path)?;
    let checkpoint = Checkpoint::open(prefix_of(path))?;
    let varmap = VarMap::new();
    let mut variables = Vec::new();
    for variable in graph.variables() {
        let left_out = match restored(variable, &checkpoint, device)? {
            Ok(var) => {
                // The map is whole between any two calls, so that a panic elsewhere does not damage it.
                let mut vars = varmap.data().lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                vars.insert(variable.name.clone(), var);
                None
            }
            Err(reason) => Some(reason),
        };
        variables.push(ImportedVariable {
            name: variable.name.clone(),
            dtype: variable.dtype,
            shape: variable.shape.clone(),
            trainable: variable.trainable,
            left_out,
        });
    }
    Ok(ImportedGraph {
        graph,
        varmap,
        variables,
    })
}

/// The checkpoint that belongs to a graph.
fn prefix_of(graph: &Path) -> PathBuf {
    match graph.extension().is_some_and(|extension| extension == "meta") {
        true => graph.with_extension(""),
        false => graph.to_owned(),
    }
}

/// The variable with its value, or why there is none.
fn restored(variable: &GraphVariable, checkpoint: &Checkpoint, device: &Device) -> Result<Result<Var, String>> {
    let name = variable.checkpoint_key.as_deref().unwrap_or(&variable.name);
    if !checkpoint.contains(name) {
        return Ok(Err("the checkpoint has no value for it".to_owned()));
    }
    let info = checkpoint.variable(name)?;
    let slice = match &variable.part {
        Some((_, _, slice)) => slice.clone(),
        None => Slice::full(info.shape().rank()),
    };
    let shape = slice.shape_in(info.shape());
    let Some(shape) = shape.filter(|shape| variable.shape.as_ref().is_none_or(|expected| expected == shape)) else {
        return Ok(Err(format!("its value in the checkpoint has shape {}", info.shape())));
    };
    match bridge::read_part(checkpoint, info, &slice, shape.dims())? {
        Some(tensor) => Ok(Ok(Var::from_tensor(&tensor.to_device(device)?)?)),
        None => Ok(Err(format!("Candle has no dtype for {}", info.dtype()))),
    }
}
