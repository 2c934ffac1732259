//! A graph with values.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Tensor, Var};
use tfckpt::{AttrValue, DType, MetaGraph};

use crate::attrs::Attrs;
use crate::compile::{Compiler, Wanted};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::frozen;
use crate::graph::Graph;
use crate::limits::Limits;
use crate::ops::{Effect, Kernel, Ops};
use crate::random::Random;
use crate::run::Program;
use crate::scope::Scope;
use crate::tables::Tables;
use crate::value::{Strings, TfTensor, Value};
use crate::variables::Variables;

/// A graph, the values of its variables, and what was compiled of it: TensorFlow's `Session`.
///
/// What is fetched is compiled at the first run and kept: the nodes that it needs, in order, constants computed,
/// attributes decoded. Later runs with the same fetches and feeds only compute.
///
/// Tensors are called as in TensorFlow: `dense/Sigmoid:0`, or `dense/Sigmoid` for the first output. Floats are fed and
/// fetched in their dtype, integers are fetched as I64 and fed as any integers, truths are U8.
pub struct Session {
    graph: Arc<MetaGraph>,
    device: Device,
    ops: Ops,
    limits: Limits,
    pub(crate) variables: Variables,
    random: Random,
    pub(crate) tables: Tables,
    without_dropout: bool,
    without_asserts: bool,
    programs: Mutex<HashMap<Wanted, Arc<Program>>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("device", &self.device)
            .field("variables", &self.variables.known().len())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A session on `device`. Its variables have no values yet: [`restore`](Self::restore) them, or
    /// [`initialize`](Self::initialize). Those of a [thawed](Graph::thawed) graph have the values of their constants.
    ///
    /// # Errors
    /// [`Error::Node`] for a constant of a thawed graph that is damaged.
    pub fn new(graph: &Graph, device: &Device) -> Result<Self> {
        let variables = Variables::new(graph.known_variables());
        for (place, TfTensor { tensor, dtype }) in frozen::values(graph.meta(), variables.known(), device)? {
            variables.put(place, &tensor, dtype, device)?;
        }
        Ok(Session {
            variables,
            graph: graph.shared(),
            device: device.clone(),
            ops: Ops::new(),
            limits: Limits::default(),
            random: Random::new(),
            tables: Tables::of(graph.directory()),
            without_dropout: false,
            without_asserts: false,
            programs: Mutex::default(),
        })
    }

    /// Other limits. Default: [`Limits::default`].
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self.forget();
        self
    }

    /// Takes dropout out of the graph: a graph that was saved while it trained then predicts as it should. Default: what the
    /// graph says.
    #[must_use]
    pub fn without_dropout(mut self, without: bool) -> Self {
        self.without_dropout = without;
        self.forget();
        self
    }

    /// Another directory in which files are looked for that the graph names, vocabularies of its tables, by the last part of
    /// their names. Default: `assets/` beside the graph, and the graph's own directory.
    #[must_use]
    pub fn with_assets(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
        self.tables.directories.push(directory.into());
        self
    }

    /// Leaves out what the graph asserts: nothing is checked, and operations that are needed for checks alone need not be there.
    /// Default: false, and then a claim that does not hold is [`Error::Assertion`], as TensorFlow's `InvalidArgumentError`.
    #[must_use]
    pub fn without_asserts(mut self, without: bool) -> Self {
        self.without_asserts = without;
        self.forget();
        self
    }

    /// Adds an operation, or replaces one. `build` is called once for each node that is compiled, and decodes its attributes; what
    /// it returns is called each time the node is computed, with its operands.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let graph = tfckpt_session::Graph::from(tfckpt::MetaGraph::parse(Vec::new(), &tfckpt::Limits::default())?);
    /// # let mut session = tfckpt_session::Session::new(&graph, &candle_core::Device::Cpu)?;
    /// use tfckpt_session::{TfTensor, Value};
    ///
    /// session.register("MyScale", |attrs| {
    ///     let factor = attrs.float("factor", 1.0)?;
    ///     Ok(Box::new(move |args, _| {
    ///         let scaled = (args.float(0)? * f64::from(factor))?;
    ///         Ok(vec![Value::Tensor(TfTensor::natural(scaled)?)])
    ///     }))
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn register(&mut self, op: &str, build: impl Fn(&Attrs<'_>) -> Result<Kernel> + Send + Sync + 'static) {
        self.ops.impure(op, build);
        self.forget();
    }

    /// The device that floats are on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The graph.
    pub fn graph(&self) -> &MetaGraph {
        &self.graph
    }

    /// Computes the tensors called `fetches`, given those called like `feeds`. No gradients lead through them; for those
    /// there is [`run_tracked`](Self::run_tracked).
    ///
    /// # Errors
    /// [`Error::Unknown`]; [`Error::Unsupported`] with all that is missing; [`Error::NotFed`]; [`Error::Uninitialized`];
    /// [`Error::Node`] for what cannot be computed.
    pub fn run(&self, fetches: &[&str], feeds: &[(&str, &Tensor)]) -> Result<Vec<Tensor>> {
        self.run_typed(fetches, &self.typed(feeds)?)?
            .into_iter()
            .map(to_tensor)
            .collect()
    }

    /// As [`run`](Self::run), with values of any kind: strings, and integers with their dtype.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_values(&self, fetches: &[&str], feeds: &[(&str, Value)]) -> Result<Vec<Value>> {
        self.run_typed(fetches, feeds)
    }

    /// As [`run`](Self::run), with tensors that Candle follows back to the variables: `backward` of a loss gives gradients by
    /// [`variable`](Self::variable). All intermediates stay in memory until the tensors are dropped.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_tracked(&self, fetches: &[&str], feeds: &[(&str, &Tensor)]) -> Result<Vec<Tensor>> {
        self.run_values_tracked(fetches, feeds)?
            .into_iter()
            .map(to_tensor)
            .collect()
    }

    pub(crate) fn run_values_tracked(&self, fetches: &[&str], feeds: &[(&str, &Tensor)]) -> Result<Vec<Value>> {
        let wanted = wanted(fetches, &[], feeds.iter().map(|(name, _)| *name));
        self.carry_out(wanted, self.typed(feeds)?, true)
    }

    /// Does the operations called `targets`, and all that must be done before: `init`, `train_op`. They may change variables.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn execute(&self, targets: &[&str], feeds: &[(&str, &Tensor)]) -> Result<()> {
        let wanted = wanted(&[], targets, feeds.iter().map(|(name, _)| *name));
        self.carry_out(wanted, self.typed(feeds)?, false).map(|_| ())
    }

    /// Fetches tensors and does operations in one run.
    pub(crate) fn fetch_and_execute(
        &self,
        fetches: &[&str],
        targets: &[&str],
        feeds: &[(&str, Value)],
    ) -> Result<Vec<Value>> {
        let wanted = wanted(fetches, targets, feeds.iter().map(|(name, _)| *name));
        self.carry_out(wanted, feeds.to_vec(), false)
    }

    /// Gives all variables without a value the one that the graph's own initialisers compute.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for initialisers that we do not have; otherwise as [`execute`](Self::execute).
    pub fn initialize(&self) -> Result<()> {
        let known = self.variables.known().iter().enumerate();
        let empty =
            known.filter(|(place, known)| self.variables.get(*place).is_none() && !known.initializer.is_empty());
        let targets: Vec<&str> = empty.map(|(_, known)| known.initializer.as_str()).collect();
        match targets.is_empty() {
            true => Ok(()),
            false => self.execute(&targets, &[]),
        }
    }

    /// The live variable called `name`; gradients are found by it, and what is set in it the graph sees. Integers are I64,
    /// truths U8.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Uninitialized`].
    pub fn variable(&self, name: &str) -> Result<Var> {
        let names = || self.variables.known().iter().map(|known| &known.name);
        let place = self.variables.find(name);
        let place = place.ok_or_else(|| unknown("variable", name, names()))?;
        let (var, _) = self
            .variables
            .get(place)
            .ok_or_else(|| Error::Uninitialized { name: name.to_owned() })?;
        Ok(var)
    }

    /// All variables that have values, by name, in the order of the graph.
    pub fn variables(&self) -> Vec<(String, Var)> {
        let known = self.variables.known().iter().enumerate();
        known
            .filter_map(|(place, known)| Some((known.name.clone(), self.variables.get(place)?.0)))
            .collect()
    }

    fn run_typed(&self, fetches: &[&str], feeds: &[(&str, Value)]) -> Result<Vec<Value>> {
        let wanted = wanted(fetches, &[], feeds.iter().map(|(name, _)| *name));
        self.carry_out(wanted, feeds.to_vec(), false)
    }

    fn carry_out(&self, wanted: Wanted, feeds: Vec<(&str, Value)>, tracked: bool) -> Result<Vec<Value>> {
        let program = self.program(wanted)?;
        if program.uses_tables {
            self.fill_tables()?;
        }
        let feeds = feeds.into_iter().map(|(_, value)| value).collect();
        self.run_program(&program, feeds, tracked)
    }

    pub(crate) fn run_program(&self, program: &Program, feeds: Vec<Value>, tracked: bool) -> Result<Vec<Value>> {
        let context = Context {
            device: &self.device,
            limits: &self.limits,
            variables: &self.variables,
            random: &self.random,
            tables: &self.tables,
            tracked,
            copies: program.writes,
            depth: 0,
        };
        program.run(feeds, &context)
    }

    /// The program for what is wanted, compiled if it is wanted for the first time.
    pub(crate) fn program(&self, wanted: Wanted) -> Result<Arc<Program>> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = programs.get(&wanted) {
            return Ok(program.clone());
        }
        let scope = Scope::of_graph(&self.graph)?;
        let mut compiler = Compiler::new(
            &self.graph,
            &self.ops,
            &self.device,
            &self.limits,
            &self.variables,
            &self.random,
            &self.tables,
        );
        compiler.without_dropout = self.without_dropout;
        compiler.without_asserts = self.without_asserts;
        let program = Arc::new(compiler.compile(scope, &wanted)?);
        programs.insert(wanted, program.clone());
        Ok(program)
    }

    fn forget(&mut self) {
        self.programs.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether an operation changes variables.
    pub(crate) fn changes_variables(&self, op: &str) -> bool {
        self.ops.get(op).is_some_and(|op| op.effect == Effect::Writes)
    }

    /// The dtype of indices of rows: int32 unless the graph says otherwise.
    pub(crate) fn row_dtype(&self, name: &str) -> DType {
        self.fed_dtype(name).unwrap_or(DType::Int32)
    }

    /// What is fed, as the dtypes of the placeholders.
    pub(crate) fn typed<'n>(&self, feeds: &[(&'n str, &Tensor)]) -> Result<Vec<(&'n str, Value)>> {
        let typed = |(name, tensor): &(&'n str, &Tensor)| {
            let value = match self.fed_dtype(name) {
                Some(dtype) => TfTensor::new((*tensor).clone(), dtype),
                None => TfTensor::natural((*tensor).clone()),
            };
            let value = value.map_err(|error| error.at(name, "fed"))?;
            let tensor = match crate::dtype::is_int(value.dtype) {
                true => value,
                false => value.with(value.tensor.to_device(&self.device)?),
            };
            Ok((*name, Value::Tensor(tensor)))
        };
        feeds.iter().map(typed).collect()
    }

    /// The dtype of a tensor that may be fed; `None` where the graph does not say it in so many words.
    fn fed_dtype(&self, name: &str) -> Option<DType> {
        let base = name.split(':').next().unwrap_or_default();
        let node = self.graph.nodes().find(|node| node.name() == base)?;
        let key = match node.op() {
            "Placeholder" | "PlaceholderV2" | "PlaceholderWithDefault" | "Const" | "ReadVariableOp" => "dtype",
            "Cast" => "DstT",
            "Shape" | "Size" | "Equal" | "NotEqual" | "Less" | "LessEqual" | "Greater" | "GreaterEqual" => return None,
            _ => "T",
        };
        match node.attr(key)? {
            AttrValue::Type(number) => AttrValue::dtype_of(number),
            _ => None,
        }
    }
}

pub(crate) fn wanted<'n>(fetches: &[&str], targets: &[&str], feeds: impl Iterator<Item = &'n str>) -> Wanted {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Wanted {
        fetches: owned(fetches),
        targets: owned(targets),
        feeds: feeds.map(str::to_owned).collect(),
    }
}

pub(crate) fn to_tensor(value: Value) -> Result<Tensor> {
    match value {
        Value::Tensor(tensor) => Ok(tensor.tensor),
        Value::Strings(Strings { dims, .. }) => Err(Error::operand(format!(
            "strings of shape {dims:?} are no tensor of Candle: fetch them by `run_values`"
        ))),
        other => Err(Error::operand(format!(
            "{} was fetched, which has no value",
            other.name()
        ))),
    }
}

pub(crate) fn unknown<'n>(what: &'static str, name: &str, known: impl Iterator<Item = &'n String>) -> Error {
    let close = |known: &&String| strsim::normalized_damerau_levenshtein(known, name);
    let best = known.max_by(|a, b| close(a).total_cmp(&close(b)));
    Error::Unknown {
        what,
        name: name.to_owned(),
        suggestion: best.filter(|known| close(known) > 0.6).cloned(),
    }
}
