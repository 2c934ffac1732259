//! Recurrent layers: gates, which frameworks keep apart and TensorFlow in one kernel, or in another order.

use super::compound::{Compound, Made, Member, Refusal};
use crate::error::{Error, Result};
use crate::layout::Recipe;
use crate::map::layer::{DenseOrder, ForgetBias, GruCell, Layer, LstmCell, RnnCell};
use crate::map::names::NameMap;

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

use Gate::{Candidate, Forget, Input, Output, Reset, Update};
use RecurrentPart::{Bias, Kernel, RecurrentBias, RecurrentKernel};

/// How TensorFlow stores a cell.
struct Cell {
    scope: &'static str,
    variables: &'static [Stored],
    /// Whether there are two biases for each gate, as rows.
    two_biases: bool,
    forget_bias: Option<ForgetBias>,
    /// Leaves that other configurations of the cell have.
    refused: &'static [(&'static str, &'static str)],
}

/// A variable of a cell: which parts are in it, above each other, and which gates, side by side.
struct Stored {
    leaf: &'static str,
    parts: &'static [RecurrentPart],
    gates: &'static [Gate],
}

impl NameMap {
    /// What the parameters of a recurrent layer and its variables are made of. `modules` are the paths that the layer may
    /// have in the checkpoint, the first of which is written: that of the layer itself, or `bi.forward_lstm` of one that
    /// is a direction.
    ///
    /// # Errors
    /// [`Error::Unrepresentable`] if the parameters cannot be those of such a cell: what TensorFlow computes with it is
    /// then not what the layer computes.
    pub fn recurrent(&self, layer: Layer, modules: &[String], parameters: &[RecurrentParameter]) -> Result<Compound> {
        let cell = cell_of(layer).ok_or_else(|| Error::invalid(format!("{layer:?} is no recurrent layer")))?;
        let module = modules.first().map_or("", String::as_str);
        let layer = Layers {
            names: self,
            cell: &cell,
            module,
            modules,
            parameters,
            sizes: sizes(module, parameters)?,
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

fn cell_of(layer: Layer) -> Option<Cell> {
    const LSTM: &[Gate] = &[Input, Forget, Candidate, Output];
    const OLD_LSTM: &[Gate] = &[Input, Candidate, Forget, Output];
    const GRU: &[Gate] = &[Update, Reset, Candidate];
    macro_rules! stored {
        ($gates:expr, $($leaf:literal: $($part:ident)+),+) => {
            &[$(Stored { leaf: $leaf, parts: &[$($part),+], gates: $gates }),+]
        };
    }
    const PEEPHOLES: &[(&str, &str)] = &[
        ("w_i_diag", "a layer here has no peepholes"),
        ("wci", "a layer here has no peepholes"),
        ("projection/kernel", "a layer here has no projection"),
    ];
    let old_lstm = |scope, forget_bias| Cell {
        scope,
        variables: stored!(OLD_LSTM, "kernel": Kernel RecurrentKernel, "bias": Bias),
        two_biases: false,
        forget_bias: Some(forget_bias),
        refused: PEEPHOLES,
    };
    let keras = |scope, variables, two_biases| Cell {
        scope,
        variables,
        two_biases,
        forget_bias: None,
        refused: &[],
    };
    Some(match layer {
        Layer::Lstm { cell: LstmCell::Keras } => keras(
            "lstm_cell",
            stored!(LSTM, "kernel": Kernel, "recurrent_kernel": RecurrentKernel, "bias": Bias),
            false,
        ),
        Layer::Lstm {
            cell: LstmCell::Basic(bias),
        } => old_lstm("basic_lstm_cell", bias),
        Layer::Lstm {
            cell: LstmCell::Tf1(bias),
        } => old_lstm("lstm_cell", bias),
        Layer::Gru { cell: GruCell::Keras } => keras(
            "gru_cell",
            stored!(GRU, "kernel": Kernel, "recurrent_kernel": RecurrentKernel, "bias": Bias RecurrentBias),
            true,
        ),
        Layer::Gru {
            cell: GruCell::KerasBefore,
        } => keras(
            "gru_cell",
            stored!(GRU, "kernel": Kernel, "recurrent_kernel": RecurrentKernel, "bias": Bias),
            false,
        ),
        Layer::Gru { cell: GruCell::Tf1 } => keras(
            "gru_cell",
            const {
                const GATES: &[Gate] = &[Reset, Update];
                const REST: &[Gate] = &[Candidate];
                &[
                    Stored {
                        leaf: "gates/kernel",
                        parts: &[Kernel, RecurrentKernel],
                        gates: GATES,
                    },
                    Stored {
                        leaf: "gates/bias",
                        parts: &[Bias],
                        gates: GATES,
                    },
                    Stored {
                        leaf: "candidate/kernel",
                        parts: &[Kernel, RecurrentKernel],
                        gates: REST,
                    },
                    Stored {
                        leaf: "candidate/bias",
                        parts: &[Bias],
                        gates: REST,
                    },
                ]
            },
            false,
        ),
        Layer::Rnn { cell: RnnCell::Keras } => keras(
            "simple_rnn_cell",
            stored!(&[Candidate], "kernel": Kernel, "recurrent_kernel": RecurrentKernel, "bias": Bias),
            false,
        ),
        Layer::Rnn { cell: RnnCell::Tf1 } => keras(
            "basic_rnn_cell",
            stored!(&[Candidate], "kernel": Kernel RecurrentKernel, "bias": Bias),
            false,
        ),
        _ => return None,
    })
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
        scopes
            .flat_map(|scope| self.names.names(&path(scope), Layer::Other))
            .collect()
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

    fn member(&self, parameter: &RecurrentParameter) -> Member {
        let own = (!parameter.own_names.is_empty())
            .then(|| Recipe::any_of(parameter.own_names.clone()).of_shape(parameter.dims.clone()));
        let recipes = |of: Of| -> Vec<Recipe> {
            let kept = self.kept(parameter, of);
            let recipe = self.gates(parameter, of, &|stored| self.source(stored));
            kept.into_iter().chain([recipe]).chain(own.clone()).collect()
        };
        let main = self.gates(parameter, Of::Values, &|stored| self.source(stored));
        let mut names: Vec<String> = Vec::new();
        for name in main
            .sources()
            .chain(own.iter().flat_map(Recipe::sources))
            .flat_map(|source| &source.names)
        {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        Member {
            path: parameter.path.clone(),
            names,
            recipes: recipes(Of::Values),
            of_slots: recipes(Of::Slots),
        }
    }

    /// The parameter, of the gates of variables.
    fn gates(&self, parameter: &RecurrentParameter, of: Of, source: &dyn Fn(&Stored) -> Recipe) -> Recipe {
        let part = match parameter.part {
            // The only bias, or the slots of one of two: those of the sum.
            RecurrentBias if !self.cell.two_biases && (of == Of::Slots || !self.has(Bias)) => Bias,
            part => part,
        };
        let hidden = self.sizes.hidden;
        let gate = |gate: &Gate| {
            let holds = |stored: &&Stored| stored.parts.contains(&part) && stored.gates.contains(gate);
            let Some(stored) = self.cell.variables.iter().find(holds) else {
                return Recipe::constant([hidden], self.added_to(*gate));
            };
            let place = stored.gates.iter().position(|own| own == gate).unwrap_or_default();
            let columns = place * hidden..(place + 1) * hidden;
            if stored.parts == [Bias] {
                return source(stored).slice(0, columns);
            }
            let before = stored
                .parts
                .iter()
                .take_while(|own| **own != part)
                .map(|own| self.rows(*own))
                .sum();
            let rows = source(stored)
                .slice(0, before..before + self.rows(part))
                .slice(1, columns);
            match part {
                Bias | RecurrentBias => rows.reshape([hidden]),
                _ => rows,
            }
        };
        let is_bias = matches!(part, Bias | RecurrentBias);
        let all = Recipe::concat(usize::from(!is_bias), parameter.gates.iter().map(gate));
        if all.sources().next().is_none() {
            // A constant counts only where the other bias is, which it is added to.
            let biases = self.cell.variables.iter().filter(|stored| stored.parts == [Bias]);
            let there = biases.map(&source).next();
            return there
                .into_iter()
                .fold(all, |all, bias| all.clone().if_equal(bias.clone(), bias, all));
        }
        match parameter.order {
            DenseOrder::OutIn if !is_bias => all.permute([1, 0]),
            _ => all,
        }
    }

    /// What the second of two biases has that is added when the cell runs.
    fn added_to(&self, gate: Gate) -> f64 {
        match (gate, self.cell.forget_bias) {
            (Forget, Some(bias)) => bias.value(),
            _ => 0.0,
        }
    }

    /// Which leaves hold two biases whose sum is the variable, in the order of its gates.
    fn kept_leaves(stored: &Stored) -> [String; 2] {
        ["input", "recurrent"].map(|which| format!("{}/{which}", stored.leaf))
    }

    /// Whether two biases become one.
    fn sums(&self) -> bool {
        !self.cell.two_biases && self.has(Bias) && self.has(RecurrentBias)
    }

    /// One of two biases as it was when their sum was saved, if the sum is still what is there; of the slots that of the
    /// second.
    fn kept(&self, parameter: &RecurrentParameter, of: Of) -> Option<Recipe> {
        let which = match (parameter.part, of) {
            (Bias, Of::Values) => 0,
            (RecurrentBias, _) => 1,
            _ => return None,
        };
        self.sums().then_some(())?;
        let source = |stored: &Stored, leaf: &str| Recipe::any_of(self.names_of(leaf)).of_shape(self.dims(stored));
        let hidden = self.sizes.hidden;
        let gates = parameter.gates.iter().map(|gate| {
            let holds = |stored: &&Stored| stored.parts == [Bias] && stored.gates.contains(gate);
            let stored = self.cell.variables.iter().find(holds)?;
            let leaves = Self::kept_leaves(stored);
            let place = stored.gates.iter().position(|own| own == gate).unwrap_or_default();
            let columns = place * hidden..(place + 1) * hidden;
            let kept = source(stored, leaves.get(which)?).slice(0, columns.clone());
            if of == Of::Slots {
                return Some(kept);
            }
            let [input, recurrent] = leaves.each_ref().map(|leaf| source(stored, leaf));
            let otherwise = match which {
                0 => self.source(stored).slice(0, columns),
                _ => Recipe::constant([hidden], self.added_to(*gate)),
            };
            let sum = Recipe::sum([input, self.without_forget_bias(stored, recurrent)]);
            Some(kept.if_equal(sum, self.source(stored), otherwise))
        });
        Some(Recipe::concat(0, gates.collect::<Option<Vec<_>>>()?))
    }

    /// The second bias of all gates of a variable, without what is added when the cell runs.
    fn without_forget_bias(&self, stored: &Stored, bias: Recipe) -> Recipe {
        let hidden = self.sizes.hidden;
        if self.cell.forget_bias.is_none() {
            return bias;
        }
        let gates = stored.gates.iter().enumerate().map(|(place, gate)| {
            let gate_bias = bias.clone().slice(0, place * hidden..(place + 1) * hidden);
            match self.added_to(*gate) {
                0.0 => gate_bias,
                added => gate_bias.plus(-added),
            }
        });
        Recipe::concat(0, gates)
    }

    fn made(&self) -> Result<Vec<Made>> {
        let mut all = Vec::new();
        for stored in self
            .cell
            .variables
            .iter()
            .filter(|stored| stored.parts.iter().all(|part| self.is_there(*part)))
        {
            all.push(Made {
                name: self.written(stored.leaf)?,
                recipe: self.variable(stored, Of::Values)?,
                of_slots: self.variable(stored, Of::Slots)?,
                unless_zero: None,
                slots_unless_zero: None,
            });
            if stored.parts == [Bias] && self.sums() {
                let recurrent = self.part_of(stored, RecurrentBias)?;
                let differs = self.without_forget_bias(stored, recurrent.clone());
                let input = self.part_of(stored, Bias)?;
                let width = self.sizes.hidden * stored.gates.len();
                // Zero if the slots are the same, as they are unless sums were made in another order.
                let zero = Recipe::constant([width], 0.0);
                let differs_in_slots = zero.if_equal(input.clone(), recurrent.clone(), Recipe::constant([width], 1.0));
                let [input_leaf, recurrent_leaf] = Self::kept_leaves(stored);
                let both = [
                    (input_leaf, input, None),
                    (recurrent_leaf, recurrent, Some(differs_in_slots)),
                ];
                for (leaf, recipe, slots_unless_zero) in both {
                    all.push(Made {
                        name: self.written(&leaf)?,
                        of_slots: recipe.clone(),
                        recipe,
                        unless_zero: Some(differs.clone()),
                        slots_unless_zero,
                    });
                }
            }
        }
        Ok(all)
    }

    fn written(&self, leaf: &str) -> Result<String> {
        let none = || Error::invalid(format!("`{}` has no name for its `{leaf}`", self.module));
        self.names_of(leaf).into_iter().next().ok_or_else(none)
    }

    /// A variable, of the gates of parameters.
    fn variable(&self, stored: &Stored, of: Of) -> Result<Recipe> {
        let parts = stored.parts.iter().map(|&part| {
            let all = self.part_of(stored, part)?;
            Ok(match (stored.parts, of) {
                ([Bias], Of::Values) if self.sums() => {
                    let recurrent = self.part_of(stored, RecurrentBias)?;
                    Recipe::sum([all, self.without_forget_bias(stored, recurrent)])
                }
                ([Bias, RecurrentBias], _) => all.reshape([1, self.sizes.hidden * stored.gates.len()]),
                _ => all,
            })
        });
        Ok(Recipe::concat(0, parts.collect::<Result<Vec<_>>>()?))
    }

    /// One part of all gates of a variable, of parameters.
    fn part_of(&self, stored: &Stored, part: RecurrentPart) -> Result<Recipe> {
        let hidden = self.sizes.hidden;
        let is_bias = matches!(part, Bias | RecurrentBias);
        let gate = |&gate: &Gate| {
            let missing =
                || Error::unrepresentable(self.module, format!("it has no {gate:?} gate, which the cell has"));
            let (parameter, place) = self.holder(part, gate).ok_or_else(missing)?;
            let source = Recipe::source(parameter.path.as_str()).of_shape(parameter.dims.clone());
            let range = place * hidden..(place + 1) * hidden;
            Ok(match (is_bias, parameter.order) {
                (true, _) => source.slice(0, range),
                (false, DenseOrder::InOut) => source.slice(1, range),
                (false, DenseOrder::OutIn) => source.slice(0, range).permute([1, 0]),
            })
        };
        let gates = stored.gates.iter().map(gate).collect::<Result<Vec<_>>>()?;
        Ok(Recipe::concat(usize::from(!is_bias), gates))
    }

    fn refused(&self) -> Vec<Refusal> {
        let refusal = |leaf: &str, dims: Option<Vec<usize>>, reason: &str| Refusal {
            names: self.names_of(leaf),
            dims,
            reason: reason.to_owned(),
        };
        let of_cell = self.cell.refused.iter();
        let mut refused: Vec<Refusal> = of_cell.map(|(leaf, reason)| refusal(leaf, None, reason)).collect();
        let biases = self
            .cell
            .variables
            .iter()
            .filter(|stored| stored.parts.first() == Some(&Bias));
        for stored in biases {
            let width = self.sizes.hidden * stored.gates.len();
            if !self.is_there(Bias) {
                refused.push(refusal(stored.leaf, None, "the layer has no biases"));
            }
            // The other kind of GRU, and the cells of CUDA.
            let (dims, reason) = match stored.parts {
                [Bias, RecurrentBias] => (
                    vec![width],
                    "a GRU with `reset_after=False` needs a layer that resets before, declared as `GruCell::KerasBefore`",
                ),
                _ => (
                    vec![2, width],
                    "a GRU with `reset_after=True` needs a layer that resets after, declared as `GruCell::Keras`",
                ),
            };
            if stored.gates.len() == 3 {
                refused.push(refusal(stored.leaf, Some(dims), reason));
            }
        }
        refused
    }
}
