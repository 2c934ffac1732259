//! From a graph to programs: prune, order, fold constants, number the places.

mod body;
mod constants;
mod functions;
mod fuse;
mod loops;
mod nodes;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use candle_core::Device;
use tfckpt::{Function, MetaGraph};

use crate::error::{Error, Missing, Result};
use crate::limits::Limits;
use crate::ops::{Effect, Ops};
use crate::random::Random;
use crate::run::{Cell, Program};
use crate::scope::{Scope, Source};
use crate::tables::Tables;
use crate::variables::Variables;

pub(crate) use constants::{decode_constant, from_bytes, to_bytes};

use body::Body;

/// What is compiled for: tensors that come out, nodes that must be done, tensors that are given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    pub(crate) fetches: Vec<String>,
    pub(crate) targets: Vec<String>,
    pub(crate) feeds: Vec<String>,
}

/// What all bodies of one compilation share.
pub(crate) struct Compiler<'g> {
    pub(crate) ops: &'g Ops,
    pub(crate) device: &'g Device,
    pub(crate) limits: &'g Limits,
    pub(crate) variables: &'g Variables,
    pub(crate) random: &'g Random,
    pub(crate) tables: &'g Tables,
    /// Whether anything that was compiled needs a table.
    uses_tables: bool,
    /// Whether dropout is taken out.
    pub(crate) without_dropout: bool,
    /// Whether claims of the graph are left out.
    pub(crate) without_asserts: bool,
    functions: HashMap<&'g str, Function<'g>>,
    compiled: HashMap<String, Cell>,
    /// What functions do besides giving results, as far as that was asked for.
    effects: HashMap<String, Effect>,
    missing: BTreeMap<String, BTreeSet<String>>,
    missing_dtypes: BTreeMap<&'static str, BTreeSet<String>>,
    constant_bytes: u64,
    nodes: usize,
    depth: usize,
}

impl<'g> Compiler<'g> {
    pub(crate) fn new(
        graph: &'g MetaGraph,
        ops: &'g Ops,
        device: &'g Device,
        limits: &'g Limits,
        variables: &'g Variables,
        random: &'g Random,
        tables: &'g Tables,
    ) -> Self {
        Compiler {
            ops,
            device,
            limits,
            variables,
            random,
            tables,
            uses_tables: false,
            without_dropout: false,
            without_asserts: false,
            functions: graph
                .function_library()
                .map(|function| (function.name(), function))
                .collect(),
            compiled: HashMap::new(),
            effects: HashMap::new(),
            missing: BTreeMap::new(),
            missing_dtypes: BTreeMap::new(),
            constant_bytes: 0,
            nodes: 0,
            depth: 0,
        }
    }

    /// The program that computes what is wanted.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with all that is missing; [`Error::Unknown`], [`Error::Graph`], [`Error::Limit`].
    pub(crate) fn compile(&mut self, mut scope: Scope<'g>, wanted: &Wanted) -> Result<Program> {
        let source = |name: &String| scope.source(name);
        let feeds = wanted.feeds.iter().map(source).collect::<Result<Vec<Source>>>()?;
        let fetches = wanted.fetches.iter().map(source).collect::<Result<Vec<Source>>>()?;
        let targets = wanted.targets.iter().map(|name| scope.node(name));
        let targets = targets.collect::<Result<Vec<usize>>>()?;
        fetches.iter().for_each(|fetch| scope.uses(*fetch));
        let mut body = Body::new(&scope, self);
        for feed in &feeds {
            body.param(*feed);
        }
        let mut program = body.finish(self, &fetches, &targets)?;
        program.uses_tables = self.uses_tables;
        self.report()?;
        Ok(program)
    }

    /// Notes that a node needs an operation that we do not have.
    fn lacks(&mut self, op: &str, node: &str) {
        self.missing.entry(op.to_owned()).or_default().insert(node.to_owned());
    }

    /// Whether anything is missing: the program is then not going to be run.
    fn lacks_any(&self) -> bool {
        !self.missing.is_empty() || !self.missing_dtypes.is_empty()
    }

    fn report(&self) -> Result<()> {
        let ops = self.missing.iter().map(|(op, nodes)| Missing::Op {
            op: op.clone(),
            nodes: nodes.iter().cloned().collect(),
        });
        let dtypes = self.missing_dtypes.iter().map(|(dtype, nodes)| Missing::Dtype {
            dtype,
            nodes: nodes.iter().cloned().collect(),
        });
        let missing: Vec<Missing> = ops.chain(dtypes).collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(Error::Unsupported { missing }),
        }
    }
}
