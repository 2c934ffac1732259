//! Recurrent layers: gates, which frameworks keep apart and TensorFlow in one kernel, or in another order.

mod cell;
mod fields;
mod loading;
mod refused;
mod saving;

use super::compound::Compound;
use crate::error::{Error, Result};
use crate::layout::Recipe;
use crate::map::layer::{DenseOrder, Layer};
use crate::map::names::NameMap;
pub(in crate::map) use cell::{CELLS, known_variables};
use cell::{Cell, Stored};
pub use fields::RecurrentLayer;
pub(in crate::map) use fields::{required_variables, stacked};

/// A parameter of a recurrent layer, as a framework has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecurrentParameter {
    /// Its path in the model.
    pub path: String,
    /// Its shape.
    pub dims: Vec<usize>,
    /// What it does.
    pub part: RecurrentPart,
    /// The gates whose weights it has, in the order in which they lie side by side along the axis of the output.
    pub gates: Vec<Gate>,
    /// How a kernel is stored.
    pub order: DenseOrder,
    /// Names under which it is read as it is, if the checkpoint does not have the layer as TensorFlow stores it.
    pub own_names: Vec<String>,
}

/// What a parameter of a recurrent layer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum RecurrentPart {
    Kernel,
    RecurrentKernel,
    /// Is added to the product of input and kernel.
    Bias,
    /// Is added to the product of state and recurrent kernel.
    RecurrentBias,
}

/// A gate, or the candidate for the next state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Gate {
    Input,
    Forget,
    Output,
    Update,
    Reset,
    /// The candidate; all there is in a plain recurrent layer.
    Candidate,
}

use RecurrentPart::{Bias, Kernel, RecurrentBias, RecurrentKernel};

impl NameMap {
    /// What the parameters of a recurrent layer and its variables are made of. `modules` are the paths that the layer may
    /// have in the checkpoint, the first of which is written: that of the layer itself, or `bi.forward_lstm` of one that
    /// is a direction.
    ///
    /// # Errors
    /// [`Error::Unrepresentable`] if the parameters cannot be those of such a cell: what TensorFlow computes with it is
    /// then not what the layer computes.
    pub fn recurrent(&self, layer: Layer, modules: &[String], parameters: &[RecurrentParameter]) -> Result<Compound> {
        let described = Cell::described(layer);
        let cell = Cell::of(layer).ok_or_else(|| Error::invalid(format!("{layer:?} is no recurrent layer")))?;
        let module = modules.first().map_or("", String::as_str);
        let layer = Layers {
            names: self,
            cell: &cell,
            module,
            modules,
            parameters,
            sizes: sizes(module, parameters)?,
            described,
        };
        layer.check()?;
        Ok(Compound {
            module: module.to_owned(),
            members: parameters.iter().map(|parameter| layer.member(parameter)).collect(),
            made: layer.made()?,
            fixed: Vec::new(),
            refused: layer.refused(),
        })
    }
}

/// Features of the input and of the state.
#[derive(Clone, Copy)]
struct Sizes {
    input: usize,
    hidden: usize,
}

/// The sizes, and whether all shapes are those of the same layer.
fn sizes(module: &str, parameters: &[RecurrentParameter]) -> Result<Sizes> {
    let misfit = |parameter: &RecurrentParameter| {
        let RecurrentParameter { path, dims, .. } = parameter;
        Error::unrepresentable(module, format!("`{path}` of shape {dims:?} does not fit the others"))
    };
    // Rows and columns, as TensorFlow has them.
    let of = |parameter: &RecurrentParameter| match (parameter.dims.as_slice(), parameter.order) {
        (&[rows, columns], DenseOrder::InOut) | (&[columns, rows], DenseOrder::OutIn) => columns
            .checked_div(parameter.gates.len())
            .map(|columns| (rows, columns)),
        _ => None,
    };
    let mut kernels = parameters.iter().filter(|parameter| parameter.part == Kernel);
    let first = kernels
        .next()
        .ok_or_else(|| Error::unrepresentable(module, "it has no kernel for the input"))?;
    let (input, hidden) = of(first).ok_or_else(|| misfit(first))?;
    for parameter in parameters {
        let width = hidden.checked_mul(parameter.gates.len());
        let rows = if parameter.part == Kernel { input } else { hidden };
        let expected = match (parameter.part, parameter.order) {
            (Kernel | RecurrentKernel, DenseOrder::InOut) => width.map(|width| vec![rows, width]),
            (Kernel | RecurrentKernel, DenseOrder::OutIn) => width.map(|width| vec![width, rows]),
            _ => width.map(|width| vec![width]),
        };
        if expected.as_ref() != Some(&parameter.dims) {
            return Err(misfit(parameter));
        }
    }
    Ok(Sizes { input, hidden })
}

/// A layer, both as the framework and as TensorFlow has it.
struct Layers<'l> {
    names: &'l NameMap,
    cell: &'l Cell,
    module: &'l str,
    modules: &'l [String],
    parameters: &'l [RecurrentParameter],
    sizes: Sizes,
    /// What the layer was taken for.
    described: Option<String>,
}

/// Of which values a recipe is.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    Values,
    Slots,
}

impl Layers<'_> {
    /// What the two layers do not have in common.
    fn check(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::unrepresentable(self.module, reason));
        let known = |gate: &Gate| self.cell.variables.iter().any(|stored| stored.gates.contains(gate));
        for parameter in self.parameters {
            if let Some(gate) = parameter.gates.iter().find(|gate| !known(gate)) {
                return refuse(format!(
                    "`{}` has an {gate:?} gate, which the cell does not have",
                    parameter.path
                ));
            }
        }
        let (bias, recurrent) = (self.has(Bias), self.has(RecurrentBias));
        if self.cell.two_biases && bias != recurrent {
            return refuse("the cell has two biases or none".to_owned());
        }
        if self.cell.forget_bias.is_some() && !(bias && recurrent) {
            return refuse("the cell has a bias and a forget bias: the layer needs both of its biases".to_owned());
        }
        for stored in self.cell.variables {
            for &gate in stored.gates {
                for &part in stored.parts.iter().filter(|part| self.is_there(**part)) {
                    if self.holder(part, gate).is_none() {
                        return refuse(format!("it has no {gate:?} gate, which the cell has"));
                    }
                }
            }
        }
        Ok(())
    }

    fn has(&self, part: RecurrentPart) -> bool {
        self.parameters.iter().any(|parameter| parameter.part == part)
    }

    /// Whether the variables have that part: a layer may have no biases.
    fn is_there(&self, part: RecurrentPart) -> bool {
        match part {
            Kernel | RecurrentKernel => true,
            Bias => self.has(Bias) || self.has(RecurrentBias),
            RecurrentBias => self.has(RecurrentBias),
        }
    }

    /// The parameter that has this gate of that part, and which of its gates it is. A bias may be that of either product.
    fn holder(&self, part: RecurrentPart, gate: Gate) -> Option<(&RecurrentParameter, usize)> {
        let find = |part| {
            let mut all = self.parameters.iter().filter(move |parameter| parameter.part == part);
            all.find_map(|parameter| {
                let place = parameter.gates.iter().position(|own| *own == gate)?;
                Some((parameter, place))
            })
        };
        match part {
            Bias => find(Bias).or_else(|| find(RecurrentBias)),
            part => find(part),
        }
    }

    /// The names of a variable of the cell.
    fn names_of(&self, leaf: &str) -> Vec<String> {
        let scope = self.cell.scope;
        let in_cell = self.modules.iter().map(|module| format!("{module}.{scope}"));
        let scopes = in_cell.chain(self.modules.iter().cloned());
        let leaf = leaf.replace('/', ".");
        let path = |scope: String| format!("{}.{leaf}", scope.trim_start_matches('.'));
        let mut names: Vec<String> = Vec::new();
        // With names of their own, variables have the same with and without the scope of the cell.
        for name in scopes.flat_map(|scope| self.names.names(&path(scope), Layer::Other)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The names of what a cell of other configurations has: where variables have names of their own, beside the kernel.
    fn names_beside(&self, leaf: &str) -> Vec<String> {
        let names = self.names_of(leaf);
        if !names.is_empty() {
            return names;
        }
        let kernels = self.cell.variables.first().map(|stored| self.names_of(stored.leaf));
        let beside = |kernel: &String| kernel.rsplit_once('/').map(|(scope, _)| format!("{scope}/{leaf}"));
        kernels.unwrap_or_default().iter().filter_map(beside).collect()
    }

    /// The shape of a variable of the cell.
    fn dims(&self, stored: &Stored) -> Vec<usize> {
        let width = self.sizes.hidden * stored.gates.len();
        match stored.parts {
            [Bias] => vec![width],
            [Bias, RecurrentBias] => vec![2, width],
            parts => vec![parts.iter().map(|part| self.rows(*part)).sum(), width],
        }
    }

    fn rows(&self, part: RecurrentPart) -> usize {
        match part {
            Kernel => self.sizes.input,
            RecurrentKernel => self.sizes.hidden,
            Bias | RecurrentBias => 1,
        }
    }

    fn source(&self, stored: &Stored) -> Recipe {
        Recipe::any_of(self.names_of(stored.leaf)).of_shape(self.dims(stored))
    }
}
