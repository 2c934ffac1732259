//! A graph that was imported.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tfckpt::{AttrValue, Collection, GraphVariable, MetaGraph, SaverInfo, Signature};

use crate::dtype::is_supported;
use crate::error::Result;
use crate::frozen;
use crate::keys::saved_model_keys;
use crate::ops::Ops;
use crate::variables::Known;

/// The graph of a network, without its weights.
#[derive(Debug, Clone)]
pub struct Graph {
    meta: Arc<MetaGraph>,
    prefix: Option<PathBuf>,
    directory: Option<PathBuf>,
    thawed: bool,
}

/// An operation that a graph uses.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsedOp {
    /// Its name.
    pub op: String,
    /// How many nodes of the graph and of its functions do it.
    pub nodes: usize,
    /// Whether a session can run it.
    pub supported: bool,
}

/// Reads the graph at `path`, as `tf.compat.v1.train.import_meta_graph` does: a `.meta` file; a SavedModel, by its
/// directory or its `saved_model.pb`; or a frozen graph, a `.pb` file with a `GraphDef`.
///
/// ```no_run
/// # fn main() -> tfckpt_session::Result<()> {
/// use candle_core::{DType, Device, Tensor};
/// use tfckpt_session::{Session, import_meta_graph};
///
/// let graph = import_meta_graph("run/model.ckpt-100.meta")?;
/// let mut session = Session::new(&graph, &Device::Cpu)?;
/// session.restore("run/model.ckpt-100")?;
/// let x = Tensor::zeros((1, 10), DType::F32, &Device::Cpu)?;
/// let y = session.run(&["dense/Sigmoid:0"], &[("x:0", &x)])?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`MetaGraph::open`].
pub fn import_meta_graph(path: impl AsRef<Path>) -> Result<Graph> {
    Graph::open(path)
}

impl Graph {
    /// As [`import_meta_graph`].
    ///
    /// # Errors
    /// Those of [`MetaGraph::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let graph = Graph::from(MetaGraph::open(path)?);
        Ok(Graph {
            prefix: beside(path),
            directory: match path.is_dir() {
                true => Some(path.to_owned()),
                false => path.parent().map(Path::to_owned),
            },
            ..graph
        })
    }

    /// The graph with the weights of a frozen one as variables again, under the names of their constants: a session then has
    /// values for them from the start, [`Session::run_tracked`](crate::Session::run_tracked) leads gradients to them, and
    /// [`Session::save_weights`](crate::Session::save_weights) hands them on.
    ///
    /// Weights are the constants of floats that are handed on as variables are read, by `dense/kernel/read` or
    /// `dense/MatMul/ReadVariableOp`; in a graph that was simplified such that nothing is, all floats that are no scalars. All
    /// count as trainable: a frozen graph does not say which were.
    ///
    /// ```no_run
    /// # fn main() -> tfckpt_session::Result<()> {
    /// use candle_core::Device;
    /// use tfckpt_session::{Session, import_meta_graph};
    ///
    /// let graph = import_meta_graph("frozen.pb")?.thawed();
    /// let session = Session::new(&graph, &Device::Cpu)?;
    /// session.save_weights("weights/model")?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn thawed(mut self) -> Self {
        self.thawed = true;
        self
    }

    /// What the file says: nodes, functions, everything.
    pub fn meta(&self) -> &MetaGraph {
        &self.meta
    }

    /// Where it was read.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    pub(crate) fn shared(&self) -> Arc<MetaGraph> {
        self.meta.clone()
    }

    /// The variables.
    pub fn variables(&self) -> &[GraphVariable] {
        self.meta.variables()
    }

    /// The signatures by name: what is to be fed, and what comes out.
    pub fn signatures(&self) -> BTreeMap<&str, Signature> {
        self.meta.signatures().collect()
    }

    /// The collections by name.
    pub fn collections(&self) -> BTreeMap<&str, Collection<'_>> {
        self.meta.collections().collect()
    }

    /// The saver; `None` if the graph has none.
    pub fn saver(&self) -> Option<SaverInfo> {
        self.meta.saver()
    }

    /// The prefix of the checkpoint that belongs to it, if there is one where it was read.
    pub fn checkpoint(&self) -> Option<&Path> {
        self.prefix.as_deref()
    }

    /// The operations that it and its functions use, and which of them a session can run. Of training graphs, those that
    /// compute gradients need not be.
    pub fn ops(&self) -> Vec<UsedOp> {
        let ops = Ops::new();
        let functions: BTreeSet<&str> = self.meta.function_library().map(tfckpt::Function::name).collect();
        let used = |(op, nodes): (&str, usize)| UsedOp {
            op: op.to_owned(),
            nodes,
            supported: ops.get(op).is_some() || BUILT_IN.contains(&op) || functions.contains(op),
        };
        self.meta.ops().into_iter().map(used).collect()
    }

    /// Dtypes that nodes need and no session can compute with, by name.
    pub fn unsupported_dtypes(&self) -> BTreeSet<&'static str> {
        let mut found = BTreeSet::new();
        for node in self.meta.nodes() {
            for (_, value) in node.attrs() {
                if let AttrValue::Type(number) = value {
                    match AttrValue::dtype_of(number) {
                        Some(dtype) if is_supported(dtype) => {}
                        Some(dtype) => {
                            found.insert(dtype.name());
                        }
                        None => {
                            found.insert("an unknown dtype");
                        }
                    }
                }
            }
        }
        found
    }

    /// The variables as a session keeps them.
    pub(crate) fn known_variables(&self) -> Vec<Known> {
        let mut keys = saved_model_keys(&self.meta);
        let known = |variable: &GraphVariable| Known {
            name: variable.name.clone(),
            key: match &variable.checkpoint_key {
                Some(key) => Some(key.to_string()),
                None => keys.remove(&variable.name),
            },
            dtype: variable.dtype,
            shape: variable.shape.clone(),
            trainable: variable.trainable,
            initializer: variable.initializer.clone(),
            part: variable
                .part
                .as_ref()
                .map(|(name, whole, slice)| (name.clone(), whole.clone(), slice.clone())),
            frozen: false,
        };
        let mut all: Vec<Known> = self.meta.variables().iter().map(known).collect();
        if self.thawed {
            all.extend(frozen::weights(&self.meta));
        }
        all
    }
}

impl From<MetaGraph> for Graph {
    fn from(meta: MetaGraph) -> Self {
        Graph {
            meta: Arc::new(meta),
            prefix: None,
            directory: None,
            thawed: false,
        }
    }
}

/// All operations that a session can run, sorted.
pub fn supported_ops() -> Vec<String> {
    let ops = Ops::new();
    let all: BTreeSet<&str> = ops.names().chain(BUILT_IN.iter().copied()).collect();
    all.into_iter().map(str::to_owned).collect()
}

/// Operations that the compiler itself turns into something else.
const BUILT_IN: [&str; 28] = [
    "Const",
    "HostConst",
    "Placeholder",
    "PlaceholderV2",
    "VariableV2",
    "Variable",
    "VarHandleOp",
    "NoOp",
    "ControlTrigger",
    "LoopCond",
    "Exit",
    "RefExit",
    "Enter",
    "RefEnter",
    "NextIteration",
    "RefNextIteration",
    "PartitionedCall",
    "StatefulPartitionedCall",
    "If",
    "StatelessIf",
    "Case",
    "StatelessCase",
    "While",
    "StatelessWhile",
    // What a session does itself: it saves and restores without the graph's help.
    "SaveV2",
    "RestoreV2",
    "MergeV2Checkpoints",
    "ShardedFilename",
];

/// The checkpoint that belongs to the graph at `path`.
fn beside(path: &Path) -> Option<PathBuf> {
    if path.extension().is_some_and(|extension| extension == "meta") {
        return Some(path.with_extension(""));
    }
    let directory = match path.is_dir() {
        true => path,
        false => path.parent()?,
    };
    let prefix = directory.join("variables").join("variables");
    prefix.with_extension("index").is_file().then_some(prefix)
}
