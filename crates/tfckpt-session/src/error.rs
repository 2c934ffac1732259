//! The one error type of the crate.

use std::fmt;

use tfckpt::DType;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a graph, its checkpoint and Candle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The graph or the checkpoint is not there, damaged, or does not fit.
    #[error(transparent)]
    Checkpoint(#[from] tfckpt::Error),

    /// Candle refused.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),

    /// The graph has nothing of that name.
    #[error("the graph has no {what} `{name}`{}", Suggestion(suggestion))]
    Unknown {
        /// What was looked for: `tensor`, `operation`, `signature`, `variable`, `function`.
        what: &'static str,
        /// The name.
        name: String,
        /// One that is there, and is written almost alike.
        suggestion: Option<String>,
    },

    /// What was asked for needs operations or dtypes that we do not have. All of them are named.
    #[error(
        "{}: add the operations by `Session::register`, or fetch a tensor that does not need them",
        Unsupported(missing)
    )]
    Unsupported {
        /// What is missing, sorted.
        missing: Vec<Missing>,
    },

    /// The graph contradicts itself.
    #[error("damaged graph: {reason}")]
    Graph {
        /// What is wrong.
        reason: String,
    },

    /// A node could not be compiled or computed.
    #[error("node `{node}` ({op})")]
    Node {
        /// Its name.
        node: String,
        /// What it does.
        op: String,
        /// What went wrong.
        #[source]
        source: Box<Error>,
    },

    /// An operation cannot work with what it was given.
    #[error("{what}")]
    Operand {
        /// What was expected, and what was found.
        what: String,
    },

    /// A placeholder was needed and not fed.
    #[error("placeholder `{name}` needs a value: feed `{name}:0`")]
    NotFed {
        /// Its name.
        name: String,
    },

    /// A variable was needed before it had a value.
    #[error("variable `{name}` has no value: restore a checkpoint, or call `initialize`")]
    Uninitialized {
        /// Its name.
        name: String,
    },

    /// The graph claims something that does not hold. [`Session::without_asserts`](crate::Session::without_asserts) leaves such
    /// claims out.
    #[error("assertion failed: {}", data.join(" "))]
    Assertion {
        /// What the graph has to say: messages, and the first elements of values.
        data: Vec<String>,
    },

    /// A limit was hit.
    #[error("{what} is {value}, the limit is {limit}: raise it in `Limits` if the graph is trusted")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        value: u64,
        /// How large it may be.
        limit: u64,
    },

    /// Training cannot go on from this graph.
    #[error("cannot train on: {reason}")]
    Training {
        /// Why.
        reason: String,
    },

    /// Variables and checkpoint do not fit. Nothing was changed.
    #[error("checkpoint `{prefix}` does not fit the graph: {}", faults.join("; "))]
    Misfit {
        /// The checkpoint's prefix.
        prefix: String,
        /// What is wrong, a line for each variable.
        faults: Vec<String>,
    },
}

/// An operation or a dtype that is missing, and the nodes that need it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Missing {
    /// An operation.
    Op {
        /// Its name.
        op: String,
        /// The nodes.
        nodes: Vec<String>,
    },
    /// A dtype.
    Dtype {
        /// TensorFlow's name of it.
        dtype: &'static str,
        /// The nodes.
        nodes: Vec<String>,
    },
}

impl Error {
    pub(crate) fn operand(what: impl Into<String>) -> Self {
        Error::Operand { what: what.into() }
    }

    pub(crate) fn graph(reason: impl Into<String>) -> Self {
        Error::Graph { reason: reason.into() }
    }

    /// Says which node it was. The innermost one is what people look for.
    pub(crate) fn at(self, node: &str, op: &str) -> Self {
        match self {
            Error::Node { .. } | Error::Unsupported { .. } | Error::NotFed { .. } | Error::Uninitialized { .. } => self,
            error => Error::Node {
                node: node.to_owned(),
                op: op.to_owned(),
                source: Box::new(error),
            },
        }
    }

    pub(crate) fn dtype(what: &str, dtype: DType) -> Self {
        Error::operand(format!("{what} is {dtype}"))
    }
}

/// So that `?` works in functions that return Candle's own result.
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => error,
            error => candle_core::Error::wrap(error),
        }
    }
}

struct Suggestion<'a>(&'a Option<String>);

impl fmt::Display for Suggestion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, ": did you mean `{name}`?"),
            None => Ok(()),
        }
    }
}

struct Unsupported<'a>(&'a [Missing]);

/// So many nodes of each operation are named in the message.
const NAMED: usize = 4;

impl fmt::Display for Unsupported<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not supported: ")?;
        for (i, missing) in self.0.iter().enumerate() {
            let (what, nodes) = match missing {
                Missing::Op { op, nodes } => (op.as_str(), nodes),
                Missing::Dtype { dtype, nodes } => (*dtype, nodes),
            };
            write!(f, "{}{what} (", if i > 0 { ", " } else { "" })?;
            for (i, node) in nodes.iter().take(NAMED).enumerate() {
                write!(f, "{}`{node}`", if i > 0 { ", " } else { "" })?;
            }
            match nodes.len() {
                n if n > NAMED => write!(f, " and {} more)", n - NAMED)?,
                _ => f.write_str(")")?,
            }
        }
        Ok(())
    }
}
