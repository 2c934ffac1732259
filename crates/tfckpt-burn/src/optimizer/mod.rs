//! The state of optimizers as slot variables, and back.
//!
//! Burn shows the state of an optimizer only as a record, whose tensors are called `PARAM_ID.FIELD`. What TensorFlow has
//! as well becomes its own slots; whatever else there is, is kept under `VARIABLE/optimizer/FIELD`. Of an optimizer itself
//! Burn shows nothing: what it is, is found out by what it does.

mod counters;
mod families;
mod finding;
mod probe;
mod reading;
mod traits;
mod wanted;
mod writing;

use tfckpt::optimizers::{Convention, OptimizerKind, OptimizerNames};

pub(crate) use counters::step;
pub(crate) use reading::load;
pub(crate) use traits::{AllTraits, find as traits_of};
pub(crate) use writing::{object_names, variables};

/// What the state of optimizers is called in the checkpoint, and what is said of them.
#[derive(Debug, Clone)]
pub(crate) struct Naming {
    /// How it is written.
    pub(crate) convention: Convention,
    /// Another name for optimizers than the usual one.
    pub(crate) name: Option<String>,
    /// The names of optimizers of some kinds.
    pub(crate) names: Vec<OptimizerNames>,
    /// The decay rates of the Adam family, if they are not to be found out.
    pub(crate) betas: Option<(f32, f32)>,
}

impl Default for Naming {
    fn default() -> Self {
        Naming {
            convention: Convention::V1,
            name: None,
            names: Vec::new(),
            betas: None,
        }
    }
}

impl Naming {
    /// What the state of an optimizer is called in a convention.
    fn names(&self, kind: OptimizerKind, convention: Convention) -> OptimizerNames {
        let own = |names: &&OptimizerNames| names.kind() == kind && names.convention() == convention;
        let names = self.names.iter().rev().find(own).cloned();
        names.unwrap_or_else(|| {
            let names = OptimizerNames::new(kind, convention);
            match &self.name {
                Some(name) if convention == self.convention => names.named(name),
                _ => names,
            }
        })
    }

    /// All conventions, that which is written first.
    fn conventions(&self) -> impl Iterator<Item = Convention> + use<> {
        let first = self.convention;
        let all = [
            Convention::V1,
            Convention::Keras3,
            Convention::Keras2,
            Convention::Keras2Legacy,
        ];
        std::iter::once(first).chain(all.into_iter().filter(move |other| *other != first))
    }
}

/// What a field of a state is called that TensorFlow does not have.
fn own_name(variable: &str, field: &str) -> String {
    format!("{variable}/optimizer/{field}")
}
