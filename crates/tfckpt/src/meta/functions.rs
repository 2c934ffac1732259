//! Functions of a graph's library: what calls, branches and loops of TensorFlow 2 refer to.

use super::attr::AttrValue;
use super::reader::Node;
use crate::dtype::DType;
use crate::proto::meta_graph::{ArgDef, FunctionDef};

/// A function of a graph's library.
///
/// Tensors in its body are named `argument`, or `node:output:index` with the name of the operation's output argument,
/// other than in the graph itself.
#[derive(Debug, Clone, Copy)]
pub struct Function<'g> {
    function: &'g FunctionDef,
}

impl<'g> Function<'g> {
    pub(super) fn new(function: &'g FunctionDef) -> Self {
        Function { function }
    }

    /// Its name, by which attributes refer to it.
    pub fn name(self) -> &'g str {
        self.function.signature.as_ref().map_or("", |signature| &signature.name)
    }

    /// What it takes, in order: names, and dtypes where they do not depend on the call.
    pub fn inputs(self) -> impl ExactSizeIterator<Item = (&'g str, Option<DType>)> {
        let args = self
            .function
            .signature
            .as_ref()
            .map_or(&[][..], |signature| &signature.input_arg);
        args.iter().map(arg)
    }

    /// What it returns, in order: names, and dtypes where they do not depend on the call.
    pub fn outputs(self) -> impl ExactSizeIterator<Item = (&'g str, Option<DType>)> {
        let args = self
            .function
            .signature
            .as_ref()
            .map_or(&[][..], |signature| &signature.output_arg);
        args.iter().map(arg)
    }

    /// The tensor of the body that the output called `output` is.
    pub fn returned(self, output: &str) -> Option<&'g str> {
        self.function.ret.get(output).map(String::as_str)
    }

    /// Nodes that a call must have done, whether anything that it returns needs them or not.
    pub fn control_outputs(self) -> impl Iterator<Item = &'g str> {
        self.function.control_ret.values().map(String::as_str)
    }

    /// Its nodes, in the order of the file.
    pub fn nodes(self) -> impl ExactSizeIterator<Item = Node<'g>> {
        self.function.node.iter().map(|node| Node { node })
    }
}

fn arg(arg: &ArgDef) -> (&str, Option<DType>) {
    (&arg.name, AttrValue::dtype_of(arg.dtype))
}
