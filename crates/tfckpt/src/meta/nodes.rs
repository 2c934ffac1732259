//! Nodes of a graph on their way to a file, and the names that they may have.

use std::collections::HashSet;

use prost::Message;

use crate::dtype::DType;
use crate::proto::Dim;
use crate::proto::meta_graph::{Attr, AttrEntry, AttrValue, GraphShape, ListValue, NodeDef, TensorProto};

/// One node, built up.
pub(super) struct NodeBuilder(NodeDef);

impl NodeBuilder {
    pub(super) fn new(op: &str, name: &str) -> Self {
        NodeBuilder(NodeDef {
            name: name.to_owned(),
            op: op.to_owned(),
            ..Default::default()
        })
    }

    pub(super) fn input(mut self, input: impl Into<String>) -> Self {
        self.0.input.push(input.into());
        self
    }

    pub(super) fn inputs(mut self, inputs: impl IntoIterator<Item = String>) -> Self {
        self.0.input.extend(inputs);
        self
    }

    /// On the CPU, where files are.
    pub(super) fn on_cpu(mut self) -> Self {
        "/device:CPU:0".clone_into(&mut self.0.device);
        self
    }

    pub(super) fn attr(mut self, key: &str, value: Attr) -> Self {
        self.0.attr.push(AttrEntry {
            key: key.to_owned(),
            value: Some(AttrValue { value: Some(value) }),
        });
        self
    }

    pub(super) fn dtype(self, key: &str, dtype: DType) -> Self {
        self.attr(key, Attr::Type(dtype.number()))
    }

    pub(super) fn dtypes(self, key: &str, dtypes: impl IntoIterator<Item = DType>) -> Self {
        let list = ListValue {
            types: dtypes.into_iter().map(DType::number).collect(),
            ..Default::default()
        };
        self.attr(key, Attr::List(Box::new(list)))
    }

    /// Stays with another node, wherever that is placed.
    pub(super) fn with(self, node: &str) -> Self {
        let list = ListValue {
            s: vec![format!("loc:@{node}").into_bytes()],
            ..Default::default()
        };
        self.attr("_class", Attr::List(Box::new(list)))
    }

    /// Appends it to a `GraphDef`. Attributes are a map, whose entries TensorFlow writes in the order of their keys.
    pub(super) fn push(mut self, graph: &mut Vec<u8>) {
        self.0.attr.sort_by(|a, b| a.key.cmp(&b.key));
        append(graph, 1, &self.0);
    }
}

/// Appends a message as a field.
pub(super) fn append(out: &mut Vec<u8>, field: u32, message: &impl Message) {
    prost::encoding::message::encode(field, message, out);
}

/// A constant of zeros, false or empty strings: no values are given, and that is what TensorFlow fills in.
pub(super) fn zeros(dtype: DType, dims: &[usize]) -> Attr {
    Attr::Tensor(Box::new(TensorProto {
        dtype: dtype.number(),
        shape: Some(shape(dims)),
        ..Default::default()
    }))
}

/// A constant of strings.
pub(super) fn strings(elements: Vec<Vec<u8>>, dims: &[usize]) -> Attr {
    Attr::Tensor(Box::new(TensorProto {
        dtype: DType::String.number(),
        shape: Some(shape(dims)),
        string_val: elements,
        ..Default::default()
    }))
}

pub(super) fn shape(dims: &[usize]) -> GraphShape {
    let dim = |&size: &usize| Dim {
        size: i64::try_from(size).unwrap_or(i64::MAX),
    };
    GraphShape {
        dim: dims.iter().map(dim).collect(),
        unknown_rank: false,
    }
}

/// The names of the graph's nodes. Those of variables are their names in the checkpoint as far as TensorFlow allows
/// them for a node: `[A-Za-z0-9.][A-Za-z0-9_./-]*`, without regard to case only once.
#[derive(Default)]
pub(super) struct Names {
    taken: HashSet<String>,
}

impl Names {
    /// A name for a variable, such that it is free with each of `suffixes` behind it.
    pub(super) fn claim(&mut self, wanted: &str, suffixes: &[&str]) -> String {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
        let mut base: String = wanted.chars().map(|c| if legal(c) { c } else { '_' }).collect();
        if !base.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.') {
            base.insert_str(0, "var");
        }
        let mut name = base.clone();
        let mut number = 0;
        while suffixes.iter().any(|suffix| self.is_taken(&format!("{name}{suffix}"))) {
            number += 1;
            name = format!("{base}_{number}");
        }
        for suffix in suffixes {
            self.taken.insert(format!("{name}{suffix}").to_ascii_lowercase());
        }
        name
    }

    /// A scope that no name lies in: `save`, or else `save_1`, ….
    pub(super) fn claim_scope(&mut self, wanted: &str) -> String {
        let lies_in = |scope: &str| {
            let inside = format!("{scope}/");
            self.taken.iter().any(|name| name == scope || name.starts_with(&inside))
        };
        let numbered = (1..).map(|number| format!("{wanted}_{number}"));
        let scope = std::iter::once(wanted.to_owned())
            .chain(numbered)
            .find(|scope| !lies_in(scope));
        scope.unwrap_or_default()
    }

    fn is_taken(&self, name: &str) -> bool {
        self.taken.contains(&name.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_where_tensorflow_allows_them() {
        let mut names = Names::default();
        let suffixes = &["", "/Assign"];
        let mut claim = |wanted: &str| names.claim(wanted, suffixes);
        assert_eq!(claim("dense/kernel"), "dense/kernel");
        assert_eq!(claim("Dense/Kernel"), "Dense/Kernel_1", "case makes no difference");
        assert_eq!(claim("é中 x"), "var___x");
        assert_eq!(claim("_x"), "var_x");
        assert_eq!(claim(""), "var");
        assert_eq!(claim("dense/kernel/Assign"), "dense/kernel/Assign_1");
        assert_eq!(names.claim_scope("save"), "save");
        names.claim("save/Const", suffixes);
        assert_eq!(names.claim_scope("save"), "save_1");
    }
}
