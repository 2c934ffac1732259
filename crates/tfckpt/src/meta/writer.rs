//! The graph of variables and their saver: all that `import_meta_graph` needs, and no weights.

use prost::Message;

use super::nodes::{Names, NodeBuilder, append, shape, strings, zeros};
use crate::dtype::DType;
use crate::proto::VersionDef;
use crate::proto::meta_graph::{Attr, BytesList, Collection, CollectionDef, SaveSliceInfoDef, SaverDef, VariableDef};
use crate::shape::Shape;
use crate::slice::Slice;
use crate::tensor::Variable;

/// What kind of variables a graph has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VariableKind {
    /// Resource variables, as TensorFlow makes them today.
    #[default]
    Resource,
    /// Reference variables, as TensorFlow 1 made them.
    Ref,
}

/// What a graph says of one variable, or of one slice of a partitioned one.
pub(crate) struct GraphSpec {
    key: Vec<u8>,
    dtype: DType,
    shape: Shape,
    part: Option<(Shape, Slice)>,
    trainable: bool,
    global_step: bool,
}

impl GraphSpec {
    /// The description of a variable.
    pub(crate) fn of(variable: &Variable<'_>, global_step: &str) -> Self {
        let (dtype, shape) = (variable.dtype(), variable.shape());
        let counts = matches!(dtype, DType::Int32 | DType::Int64) && shape.rank() == 0;
        let global_step = counts && variable.key() == global_step.as_bytes();
        let part = variable.part().filter(|(whole, slice)| !slice.is_full(whole));
        GraphSpec {
            key: variable.key().to_vec(),
            dtype,
            shape: shape.clone(),
            part: part.map(|(whole, slice)| (whole.clone(), slice.clone())),
            trainable: variable.is_trainable() && is_float(dtype) && !global_step,
            global_step,
        }
    }
}

impl VariableKind {
    /// Whether TensorFlow 2.21 can assign to such variables of this dtype, on a CPU. One that it cannot would keep a
    /// graph from restoring all the others, so that it is left out.
    fn holds(self, dtype: DType) -> bool {
        use DType::*;
        match dtype {
            Variant | Resource | Qint16 | Float8E4m3fnuz | Float8E4m3b11fnuz | Float8E5m2fnuz => false,
            Quint16 => self == VariableKind::Ref,
            Float8E5m2 | Float8E4m3fn | Float4E2m1fn | Int4 | Uint4 | Int2 | Uint2 => self == VariableKind::Resource,
            _ => true,
        }
    }
}

/// Gradients flow through these alone.
fn is_float(dtype: DType) -> bool {
    matches!(
        dtype,
        DType::Float16 | DType::Bfloat16 | DType::Float32 | DType::Float64 | DType::Complex64 | DType::Complex128
    )
}

/// Writes the graph of a checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct MetaGraphWriter {
    pub(crate) kind: VariableKind,
    /// 0 keeps all.
    pub(crate) max_to_keep: usize,
    pub(crate) keep_checkpoint_every_n_hours: f32,
}

/// Graphs of this version and later ones are read by all of TensorFlow 1.x and 2.x.
const PRODUCER: i32 = 27;
/// `SaverDef.CheckpointFormatVersion.V2`.
const SAVER_V2: i32 = 2;
/// `VariableAggregation.ONLY_FIRST_REPLICA`: that of the step counter.
const ONLY_FIRST_REPLICA: i32 = 3;

impl MetaGraphWriter {
    /// The bytes of the `.meta` file. The same variables give the same bytes.
    pub(crate) fn to_bytes(&self, specs: &[GraphSpec]) -> Vec<u8> {
        let mut graph = Vec::new();
        let mut names = Names::default();
        let specs = specs.iter().filter(|spec| self.kind.holds(spec.dtype));
        let variables: Vec<Placed<'_>> = named(specs, &mut names)
            .into_iter()
            .map(|(spec, name)| self.variable(spec, name, &mut graph))
            .collect();
        let save = names.claim_scope("save");
        saver(&save, &variables, self.kind, &mut graph);
        NodeBuilder::new("NoOp", &names.claim("init", &[""]))
            .inputs(variables.iter().map(|variable| format!("^{}/Assign", variable.name)))
            .push(&mut graph);
        let versions = VersionDef {
            producer: PRODUCER,
            ..Default::default()
        };
        append(&mut graph, 4, &versions);

        let mut file = Vec::new();
        prost::encoding::bytes::encode(2, &graph, &mut file);
        let saver = SaverDef {
            filename_tensor_name: format!("{save}/Const:0"),
            save_tensor_name: format!("{save}/control_dependency:0"),
            restore_op_name: format!("{save}/restore_all"),
            max_to_keep: i32::try_from(self.max_to_keep).unwrap_or(i32::MAX),
            sharded: false,
            keep_checkpoint_every_n_hours: self.keep_checkpoint_every_n_hours,
            version: SAVER_V2,
        };
        append(&mut file, 3, &saver);
        // In the order of their names. An importer takes equal bytes in two collections for the same variable.
        let mut collection = |name: &str, belongs: fn(&GraphSpec) -> bool| {
            let members = variables.iter().filter(|variable| belongs(variable.spec));
            let value: Vec<Vec<u8>> = members.map(|variable| variable.def.clone()).collect();
            if !value.is_empty() {
                append(&mut file, 4, &CollectionEntry::new(name, value));
            }
        };
        collection("global_step", |spec| spec.global_step);
        collection("trainable_variables", |spec| spec.trainable);
        collection("variables", |_| true);
        file
    }

    /// Appends the nodes of a variable.
    fn variable<'s>(&self, spec: &'s GraphSpec, name: String, graph: &mut Vec<u8>) -> Placed<'s> {
        let dims = spec.shape.dims();
        let initial = format!("{name}/Initializer/zeros");
        NodeBuilder::new("Const", &initial)
            .dtype("dtype", spec.dtype)
            .attr("value", zeros(spec.dtype, dims))
            .push(graph);
        let declared = |op| {
            NodeBuilder::new(op, &name)
                .dtype("dtype", spec.dtype)
                .attr("shape", Attr::Shape(shape(dims)))
                .attr("container", Attr::S(Vec::new()))
        };
        let assign = format!("{name}/Assign");
        let read = match self.kind {
            VariableKind::Resource => {
                declared("VarHandleOp")
                    .attr("shared_name", Attr::S(name.clone().into_bytes()))
                    .push(graph);
                NodeBuilder::new(
                    "VarIsInitializedOp",
                    &format!("{name}/IsInitialized/VarIsInitializedOp"),
                )
                .input(&name)
                .push(graph);
                NodeBuilder::new("AssignVariableOp", &assign)
                    .input(&name)
                    .input(&initial)
                    .dtype("dtype", spec.dtype)
                    .push(graph);
                let read = format!("{name}/Read/ReadVariableOp");
                NodeBuilder::new("ReadVariableOp", &read)
                    .input(&name)
                    .dtype("dtype", spec.dtype)
                    .push(graph);
                read
            }
            VariableKind::Ref => {
                declared("VariableV2")
                    .attr("shared_name", Attr::S(Vec::new()))
                    .push(graph);
                assign_ref(&assign, &name, &initial, spec.dtype).push(graph);
                let read = format!("{name}/read");
                NodeBuilder::new("Identity", &read)
                    .input(&name)
                    .dtype("T", spec.dtype)
                    .with(&name)
                    .push(graph);
                read
            }
        };
        let def = VariableDef {
            variable_name: format!("{name}:0"),
            initializer_name: assign,
            snapshot_name: format!("{read}:0"),
            save_slice_info: slice_info(spec),
            is_resource: self.kind == VariableKind::Resource,
            initial_value_name: format!("{initial}:0"),
            trainable: spec.trainable,
            synchronization: 0,
            aggregation: if spec.global_step { ONLY_FIRST_REPLICA } else { 0 },
        };
        Placed {
            spec,
            name,
            read,
            def: def.encode_to_vec(),
        }
    }
}

/// A variable whose nodes are in the graph.
struct Placed<'s> {
    spec: &'s GraphSpec,
    name: String,
    /// The node that reads it.
    read: String,
    /// Its `VariableDef`.
    def: Vec<u8>,
}

/// The names of the variables' nodes, and of the slices' of partitioned ones: `embedding/part_0`, ….
fn named<'s>(specs: impl Iterator<Item = &'s GraphSpec>, names: &mut Names) -> Vec<(&'s GraphSpec, String)> {
    const SUFFIXES: [&str; 6] = [
        "",
        "/Assign",
        "/Initializer/zeros",
        "/IsInitialized/VarIsInitializedOp",
        "/Read/ReadVariableOp",
        "/read",
    ];
    let mut part = 0;
    let mut before: Option<&GraphSpec> = None;
    let name = |spec: &'s GraphSpec| {
        let key = String::from_utf8_lossy(&spec.key);
        let continues = before.is_some_and(|before| before.key == spec.key && before.part.is_some());
        part = if continues { part + 1 } else { 0 };
        before = Some(spec);
        let wanted = match spec.part {
            Some(_) => format!("{key}/part_{part}"),
            None => key.into_owned(),
        };
        (spec, names.claim(&wanted, &SUFFIXES))
    };
    specs.map(name).collect()
}

fn slice_info(spec: &GraphSpec) -> Option<SaveSliceInfoDef> {
    let (whole, slice) = spec.part.as_ref()?;
    let signed = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
    let sizes = |dims: &[usize]| dims.iter().map(|&dim| signed(dim)).collect::<Vec<_>>();
    Some(SaveSliceInfoDef {
        full_name: String::from_utf8_lossy(&spec.key).into_owned(),
        full_shape: sizes(whole.dims()),
        var_offset: slice
            .ranges_in(whole)?
            .iter()
            .map(|range| signed(range.start))
            .collect(),
        var_shape: sizes(spec.shape.dims()),
    })
}

fn assign_ref(name: &str, variable: &str, value: &str, dtype: DType) -> NodeBuilder {
    NodeBuilder::new("Assign", name)
        .input(variable)
        .input(value)
        .dtype("T", dtype)
        .attr("use_locking", Attr::B(true))
        .attr("validate_shape", Attr::B(true))
        .with(variable)
}

/// Appends the nodes that save and restore, in the scope `save`.
fn saver(save: &str, variables: &[Placed<'_>], kind: VariableKind, graph: &mut Vec<u8>) {
    let at = |name: &str| format!("{save}/{name}");
    let filename = |op, name: &str, input: &str| {
        NodeBuilder::new(op, &at(name))
            .input(at(input))
            .dtype("dtype", DType::String)
            .attr("shape", Attr::Shape(shape(&[])))
    };
    NodeBuilder::new("Const", &at("filename/input"))
        .dtype("dtype", DType::String)
        .attr("value", strings(vec![b"model".to_vec()], &[]))
        .push(graph);
    filename("PlaceholderWithDefault", "filename", "filename/input").push(graph);
    filename("PlaceholderWithDefault", "Const", "filename").push(graph);

    let count = variables.len();
    let dtypes = || variables.iter().map(|variable| variable.spec.dtype);
    let mut lists = |scope: &str, on_cpu: bool| {
        let keys = variables.iter().map(|variable| variable.spec.key.clone()).collect();
        let slices = variables
            .iter()
            .map(|variable| shape_and_slice(variable.spec))
            .collect();
        for (name, elements) in [("tensor_names", keys), ("shape_and_slices", slices)] {
            let list = NodeBuilder::new("Const", &at(&format!("{scope}/{name}")))
                .dtype("dtype", DType::String)
                .attr("value", strings(elements, &[count]));
            let list = if on_cpu { list.on_cpu() } else { list };
            list.push(graph);
        }
    };
    lists("SaveV2", false);
    lists("RestoreV2", true);
    let inputs = |scope: &str| {
        [
            at("Const"),
            at(&format!("{scope}/tensor_names")),
            at(&format!("{scope}/shape_and_slices")),
        ]
    };
    NodeBuilder::new("SaveV2", &at("SaveV2"))
        .inputs(inputs("SaveV2"))
        .inputs(variables.iter().map(|variable| match kind {
            VariableKind::Resource => variable.read.clone(),
            VariableKind::Ref => variable.name.clone(),
        }))
        .dtypes("dtypes", dtypes())
        .push(graph);
    NodeBuilder::new("Identity", &at("control_dependency"))
        .input(at("Const"))
        .input(format!("^{}", at("SaveV2")))
        .dtype("T", DType::String)
        .with(&at("Const"))
        .push(graph);
    NodeBuilder::new("RestoreV2", &at("RestoreV2"))
        .inputs(inputs("RestoreV2"))
        .dtypes("dtypes", dtypes())
        .on_cpu()
        .push(graph);

    let mut restored = Vec::with_capacity(count);
    for (i, variable) in variables.iter().enumerate() {
        let numbered = |name: &str| match i {
            0 => at(name),
            i => at(&format!("{name}_{i}")),
        };
        let value = match i {
            0 => at("RestoreV2"),
            i => format!("{}:{i}", at("RestoreV2")),
        };
        let dtype = variable.spec.dtype;
        let assign = match kind {
            VariableKind::Resource => {
                let identity = numbered("Identity");
                NodeBuilder::new("Identity", &identity)
                    .input(value)
                    .dtype("T", dtype)
                    .push(graph);
                let assign = numbered("AssignVariableOp");
                NodeBuilder::new("AssignVariableOp", &assign)
                    .input(&variable.name)
                    .input(identity)
                    .dtype("dtype", dtype)
                    .push(graph);
                assign
            }
            VariableKind::Ref => {
                let assign = numbered("Assign");
                assign_ref(&assign, &variable.name, &value, dtype).push(graph);
                assign
            }
        };
        restored.push(format!("^{assign}"));
    }
    NodeBuilder::new("NoOp", &at("restore_all"))
        .inputs(restored)
        .push(graph);
}

fn shape_and_slice(spec: &GraphSpec) -> Vec<u8> {
    let Some((whole, slice)) = &spec.part else {
        return Vec::new();
    };
    let dims: Vec<String> = whole.dims().iter().map(ToString::to_string).collect();
    format!("{} {slice}", dims.join(" ")).into_bytes()
}

/// An entry of the map of collections.
#[derive(Clone, PartialEq, Message)]
struct CollectionEntry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<CollectionDef>,
}

impl CollectionEntry {
    fn new(name: &str, value: Vec<Vec<u8>>) -> Self {
        let kind = Some(Collection::Bytes(BytesList { value }));
        CollectionEntry {
            key: name.to_owned(),
            value: Some(CollectionDef { kind }),
        }
    }
}
