//! The names and layouts that a parameter may have in a checkpoint.

use std::sync::Arc;

use tfckpt::map::{Compound, DenseOrder, Layer, Layout, NameMap};

use crate::kinds::{Known, Params, kinds, split};

/// One way to store a parameter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Way {
    /// The first kind of layer that stores it so.
    pub(crate) kind: Layer,
    /// The first is written; on reading the first that is there counts.
    pub(crate) names: Vec<String>,
    pub(crate) layout: Layout,
    /// Of a parameter that is no variable by itself.
    pub(crate) compound: Option<Arc<Compound>>,
}

/// The different ways to store the parameter at `path` of a layer that is one of `kinds`.
pub(crate) fn ways(names: &NameMap, path: &str, kinds: &[Layer]) -> Vec<Way> {
    let mut ways: Vec<Way> = Vec::new();
    for &kind in kinds {
        let way = Way {
            kind: names.parameter_layer(path, kind),
            names: names.names(path, kind),
            layout: names.layout(path, kind, DenseOrder::OutIn),
            compound: None,
        };
        if !ways.iter().any(|other| other.is_like(&way)) {
            ways.push(way);
        }
    }
    ways
}

/// The one way to store each parameter.
///
/// # Errors
/// The modules whose kinds are not certain, where that matters.
pub(crate) fn certain_ways<'p>(
    names: &NameMap,
    params: &Params,
    paths: impl IntoIterator<Item = &'p str>,
) -> Result<Vec<Way>, Vec<String>> {
    let (mut certain, mut unknown) = (Vec::new(), Vec::new());
    for path in paths {
        let module = split(path).0;
        let mut ways = ways(names, path, &kinds(params, module, Known::All));
        match (ways.pop(), ways.is_empty()) {
            (Some(way), true) => certain.push(way),
            _ => unknown.push(module.to_owned()),
        }
    }
    unknown.dedup();
    if unknown.is_empty() { Ok(certain) } else { Err(unknown) }
}

impl Way {
    /// Of a parameter that is made of others.
    pub(crate) fn made(path: &str, compound: Arc<Compound>) -> Self {
        Way {
            kind: Layer::Other,
            names: compound
                .member(path)
                .map(|member| member.names.clone())
                .unwrap_or_default(),
            layout: Layout::Same,
            compound: Some(compound),
        }
    }

    /// The way to store a slot of a variable that is stored so: `slot` gives the names of the slot of a variable, and `path`
    /// the path of that of a parameter.
    pub(crate) fn of_slot(&self, slot: &dyn Fn(&str) -> Vec<String>, path: &dyn Fn(&str) -> String) -> Self {
        Way {
            names: self.names.iter().flat_map(|name| slot(name)).collect(),
            compound: self
                .compound
                .as_ref()
                .map(|compound| Arc::new(compound.slots(slot, path))),
            ..self.clone()
        }
    }

    /// Whether both write the same.
    fn is_like(&self, other: &Way) -> bool {
        let unmoved = |layout| matches!(layout, Layout::Same | Layout::Squeezed);
        let same_layout = self.layout == other.layout || (unmoved(self.layout) && unmoved(other.layout));
        self.names == other.names && same_layout
    }
}
