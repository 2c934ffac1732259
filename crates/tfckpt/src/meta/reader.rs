//! Reading a meta graph.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use prost::Message;

use super::attr::{AttrValue, dims};
use super::functions::Function;
use super::prescan;
use super::variables::{GraphVariable, variables};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::proto::meta_graph::{self as proto, MetaGraphDef, NodeDef, SavedModel};

/// The graph of a network: what a `.meta` file, or a SavedModel's `saved_model.pb`, says of its variables, signatures
/// and operations. It holds no weights; those are in the checkpoint beside it.
///
/// ```no_run
/// # fn main() -> tfckpt::Result<()> {
/// let graph = tfckpt::MetaGraph::open("run/model.ckpt-100.meta")?;
/// for variable in graph.variables() {
///     println!("{} {:?} {:?}", variable.name, variable.dtype, variable.shape);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct MetaGraph {
    bytes: Vec<u8>,
    graph: MetaGraphDef,
    variables: Vec<GraphVariable>,
}

/// What a graph says of its saver.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SaverInfo {
    /// The tensor that the prefix is fed to: `save/Const:0`.
    pub filename_tensor_name: String,
    /// The tensor whose evaluation saves.
    pub save_tensor_name: String,
    /// The operation that restores.
    pub restore_op_name: String,
    /// How many checkpoints to keep; 0 keeps all.
    pub max_to_keep: i32,
    /// Whether each device writes a data file of its own.
    pub sharded: bool,
    /// One checkpoint of so many hours is kept forever.
    pub keep_checkpoint_every_n_hours: f32,
    /// The format: 1 or 2; 0 in old graphs.
    pub version: i32,
}

/// A collection of a graph.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Collection<'g> {
    /// Names of nodes and tensors.
    Nodes(&'g [String]),
    /// Messages, above all `VariableDef`s, or text.
    Bytes(&'g [Vec<u8>]),
    /// Numbers.
    Ints(&'g [i64]),
    /// Numbers.
    Floats(&'g [f32]),
    /// Messages of any type.
    Any(&'g [Vec<u8>]),
    /// Nothing that could be read.
    Unknown,
}

/// A signature: what is to be fed, and what comes out.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Signature {
    /// Inputs by name.
    pub inputs: BTreeMap<String, TensorInfo>,
    /// Outputs by name.
    pub outputs: BTreeMap<String, TensorInfo>,
    /// What it is for: `tensorflow/serving/predict`.
    pub method_name: String,
}

/// A tensor of a signature.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TensorInfo {
    /// Its name in the graph: `dense/Sigmoid:0`.
    pub name: String,
    /// The dtype, if it is known.
    pub dtype: Option<DType>,
    /// The shape, of which dimensions may be open; `None` if the rank is.
    pub shape: Option<Vec<Option<u64>>>,
}

/// An operation of a graph.
#[derive(Debug, Clone, Copy)]
pub struct Node<'g> {
    pub(super) node: &'g NodeDef,
}

impl MetaGraph {
    /// Reads the graph at `path`: a `.meta` file; a SavedModel's directory or its `saved_model.pb`, and of it the graph
    /// for serving; a `.pb` file with a `GraphDef` alone, which is what a frozen graph is.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::CorruptMetaGraph`], [`Error::LimitExceeded`], and [`Error::Unsupported`] for a graph in
    /// text form.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &Limits::default())
    }

    /// Reads the graph at `path` under limits other than the default ones.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, limits: &Limits) -> Result<Self> {
        let mut path = path.as_ref().to_owned();
        if path.is_dir() {
            path.push("saved_model.pb");
        }
        let io = |error| Error::io("read", &path, error);
        let size = std::fs::metadata(&path).map_err(io)?.len();
        check_size(&path, size, limits)?;
        let bytes = std::fs::read(&path).map_err(io)?;
        // The file may have grown in between.
        check_size(&path, bytes.len() as u64, limits)?;
        match path.extension().is_some_and(|extension| extension == "pb") {
            // The first field of a SavedModel is a number, its schema's version; that of a GraphDef is a node.
            true if bytes.first() == Some(&FIRST_NODE) => Self::decode(meta_graph_of(&bytes), path),
            true => Self::of_saved_model(&bytes, path),
            false => Self::decode(bytes, path),
        }
    }

    /// Parses the bytes of a `.meta` file.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn parse(bytes: impl Into<Vec<u8>>, limits: &Limits) -> Result<Self> {
        let (bytes, path) = (bytes.into(), PathBuf::from("memory:"));
        check_size(&path, bytes.len() as u64, limits)?;
        Self::decode(bytes, path)
    }

    fn of_saved_model(bytes: &[u8], path: PathBuf) -> Result<Self> {
        let model = SavedModel::decode(bytes).map_err(|error| corrupt(&path, &error))?;
        let graphs = model
            .meta_graphs
            .into_iter()
            .map(|bytes| Self::decode(bytes, path.clone()));
        let graphs = graphs.collect::<Result<Vec<_>>>()?;
        let serving = graphs
            .iter()
            .position(|graph| graph.tags().iter().any(|tag| tag == "serve"));
        graphs
            .into_iter()
            .nth(serving.unwrap_or(0))
            .ok_or_else(|| Error::CorruptMetaGraph {
                path,
                reason: "the SavedModel has no graph".to_owned(),
            })
    }

    fn decode(bytes: Vec<u8>, path: PathBuf) -> Result<Self> {
        if let Err((offset, what)) = prescan::check(&bytes) {
            let reason = format!("{what} at byte {offset}");
            return Err(Error::CorruptMetaGraph { path, reason });
        }
        let graph = MetaGraphDef::decode(bytes.as_slice()).map_err(|error| match is_text(&bytes) {
            true => Error::Unsupported {
                path: path.clone(),
                what: "a graph in text form: save it in binary form, `as_text=False`".to_owned(),
            },
            false => corrupt(&path, &error),
        })?;
        Ok(MetaGraph {
            variables: variables(&graph),
            graph,
            bytes,
        })
    }

    /// The variables, in the order of the graph's collection of them, or of its nodes if it has none.
    pub fn variables(&self) -> &[GraphVariable] {
        &self.variables
    }

    /// The saver; `None` if the graph has none.
    pub fn saver(&self) -> Option<SaverInfo> {
        let saver = self.graph.saver.clone()?;
        Some(SaverInfo {
            filename_tensor_name: saver.filename_tensor_name,
            save_tensor_name: saver.save_tensor_name,
            restore_op_name: saver.restore_op_name,
            max_to_keep: saver.max_to_keep,
            sharded: saver.sharded,
            keep_checkpoint_every_n_hours: saver.keep_checkpoint_every_n_hours,
            version: saver.version,
        })
    }

    /// The collections by name, sorted.
    pub fn collections(&self) -> impl Iterator<Item = (&str, Collection<'_>)> {
        self.graph.collections.iter().map(|(name, collection)| {
            let collection = match &collection.kind {
                Some(proto::Collection::Nodes(list)) => Collection::Nodes(&list.value),
                Some(proto::Collection::Bytes(list)) => Collection::Bytes(&list.value),
                Some(proto::Collection::Ints(list)) => Collection::Ints(&list.value),
                Some(proto::Collection::Floats(list)) => Collection::Floats(&list.value),
                Some(proto::Collection::Any(list)) => Collection::Any(&list.value),
                None => Collection::Unknown,
            };
            (name.as_str(), collection)
        })
    }

    /// The signatures by name, sorted.
    pub fn signatures(&self) -> impl Iterator<Item = (&str, Signature)> {
        let tensors = |tensors: &BTreeMap<String, proto::TensorInfo>| {
            let tensor = |(name, info): (&String, &proto::TensorInfo)| {
                let tensor = TensorInfo {
                    name: info.name.clone(),
                    dtype: AttrValue::dtype_of(info.dtype),
                    shape: info.shape.as_ref().and_then(dims),
                };
                (name.clone(), tensor)
            };
            tensors.iter().map(tensor).collect()
        };
        self.graph.signatures.iter().map(move |(name, signature)| {
            let signature = Signature {
                inputs: tensors(&signature.inputs),
                outputs: tensors(&signature.outputs),
                method_name: signature.method_name.clone(),
            };
            (name.as_str(), signature)
        })
    }

    /// The nodes, in the order of the file.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = Node<'_>> {
        let nodes = self.graph.graph.as_ref().map_or(&[][..], |graph| &graph.node);
        nodes.iter().map(|node| Node { node })
    }

    /// The functions of the graph's library: name, and nodes.
    pub fn functions(&self) -> impl Iterator<Item = (&str, Vec<Node<'_>>)> {
        let library = self.graph.graph.as_ref().and_then(|graph| graph.library.as_ref());
        let functions = library.map_or(&[][..], |library| &library.function);
        functions.iter().map(|function| {
            let name = function.signature.as_ref().map_or("", |signature| &signature.name);
            (name, function.node.iter().map(|node| Node { node }).collect())
        })
    }

    /// The functions of the graph's library, with what they take and return.
    pub fn function_library(&self) -> impl Iterator<Item = Function<'_>> {
        let library = self.graph.graph.as_ref().and_then(|graph| graph.library.as_ref());
        library
            .map_or(&[][..], |library| &library.function)
            .iter()
            .map(Function::new)
    }

    /// The operations that the graph and its functions use, and how many nodes use each.
    pub fn ops(&self) -> BTreeMap<&str, usize> {
        let mut ops = BTreeMap::new();
        let library = self.functions().flat_map(|(_, nodes)| nodes);
        for node in self.nodes().chain(library) {
            *ops.entry(node.op()).or_insert(0) += 1;
        }
        ops
    }

    /// What the graph is for: `serve` in a SavedModel.
    pub fn tags(&self) -> &[String] {
        self.graph.meta_info.as_ref().map_or(&[], |info| &info.tags)
    }

    /// The TensorFlow that wrote it; `None` if it does not say.
    pub fn tensorflow_version(&self) -> Option<&str> {
        let info = self.graph.meta_info.as_ref()?;
        Some(info.tensorflow_version.as_str()).filter(|version| !version.is_empty())
    }

    /// Whether the variables of the checkpoint beside it are named by a graph of Python objects, as those of
    /// TensorFlow 2's SavedModels are.
    pub fn is_object_based(&self) -> bool {
        self.graph.object_graph.as_ref().is_some_and(|graph| !graph.is_empty())
    }

    /// The bytes of the graph as they were read: whatever we do not know is still there.
    pub fn to_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<'g> Node<'g> {
    /// Its name.
    pub fn name(self) -> &'g str {
        &self.node.name
    }

    /// What it does: `MatMul`.
    pub fn op(self) -> &'g str {
        &self.node.op
    }

    /// Its inputs: `node`, `node:1` for another output than the first, `^node` for what must be done before.
    pub fn inputs(self) -> &'g [String] {
        &self.node.input
    }

    /// The device that it is placed on; empty for any.
    pub fn device(self) -> &'g str {
        &self.node.device
    }

    /// The attributes, in the order of the file.
    pub fn attrs(self) -> impl Iterator<Item = (&'g str, AttrValue<'g>)> {
        let attrs = self.node.attr.iter();
        attrs.filter_map(|entry| {
            Some((
                entry.key.as_str(),
                AttrValue::new(entry.value.as_ref()?.value.as_ref()?),
            ))
        })
    }

    /// One attribute.
    pub fn attr(self, key: &str) -> Option<AttrValue<'g>> {
        self.attrs()
            .filter(|(name, _)| *name == key)
            .last()
            .map(|(_, value)| value)
    }
}

/// The tag of a node in a `GraphDef`.
const FIRST_NODE: u8 = 0x0a;

/// A `MetaGraphDef` of a `GraphDef`, which becomes its second field.
fn meta_graph_of(graph: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(graph.len() + 11);
    bytes.push(0x12);
    prost::encoding::encode_varint(graph.len() as u64, &mut bytes);
    bytes.extend_from_slice(graph);
    bytes
}

fn check_size(path: &Path, size: u64, limits: &Limits) -> Result<()> {
    match size > limits.graph_bytes() {
        true => Err(Error::LimitExceeded {
            path: path.to_owned(),
            what: "the size of the graph",
            value: size,
            limit: limits.graph_bytes(),
        }),
        false => Ok(()),
    }
}

fn corrupt(path: &Path, error: &prost::DecodeError) -> Error {
    Error::CorruptMetaGraph {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// Whether it looks like the text form of a graph.
fn is_text(bytes: &[u8]) -> bool {
    let start = bytes.get(..bytes.len().min(64)).unwrap_or_default();
    let text = start
        .iter()
        .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    text && start.contains(&b'{')
}
