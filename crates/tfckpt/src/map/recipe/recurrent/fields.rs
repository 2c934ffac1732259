//! Recurrent layers, told by the names of their parameters.
//!
//! | framework | a parameter |
//! |---|---|
//! | Burn | `lstm.input_gate.input_transform.weight`; of two directions `bi.forward.…`, `bi.reverse.…` |
//! | Candle, PyTorch | `lstm.weight_ih_l0`, `lstm.bias_hh_l0`; of the next layer `…_l1`, of the other direction `…_l0_reverse` |

use std::collections::BTreeMap;

use super::Gate::{self, Candidate, Forget, Input, Output, Reset, Update};
use super::RecurrentPart::{self, Bias, Kernel, RecurrentBias, RecurrentKernel};
use super::{Cell, RecurrentParameter};
use crate::error::{Error, Result};
use crate::map::layer::{DenseOrder, GruCell, Layer, LstmCell, RnnCell};
use crate::map::names::NameMap;
use crate::map::recipe::Compound;

/// A recurrent layer of a model of which nothing is known but the names and shapes of its parameters: those of Burn, Candle
/// or PyTorch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecurrentLayer {
    /// Its path: `encoder.lstm`, and `encoder.lstm_1` for what PyTorch calls the layer 1 of it.
    pub module: String,
    /// Of a direction of a layer that has both, whether it is the one backwards.
    pub backward: Option<bool>,
    /// An LSTM, a GRU or a plain one, with the cell of Keras.
    pub layer: Layer,
    /// Its parameters.
    pub parameters: Vec<RecurrentParameter>,
}

/// What the path of a parameter says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field<'p> {
    module: &'p str,
    number: usize,
    backward: Option<bool>,
    part: RecurrentPart,
    /// All gates are in one parameter if it is none.
    gate: Option<Gate>,
}

impl<'p> Field<'p> {
    fn parse(path: &'p str) -> Option<Self> {
        Self::of_burn(path).or_else(|| Self::of_pytorch(path))
    }

    fn of_burn(path: &'p str) -> Option<Self> {
        let mut parts = path.rsplitn(4, '.');
        let (leaf, transform, gate) = (parts.next()?, parts.next()?, parts.next()?);
        let module = parts.next().unwrap_or("");
        let gate = match gate {
            "input_gate" => Input,
            "forget_gate" => Forget,
            "output_gate" => Output,
            "update_gate" => Update,
            "reset_gate" => Reset,
            "cell_gate" | "new_gate" | "gate" => Candidate,
            _ => return None,
        };
        let part = match (transform, leaf) {
            ("input_transform", "weight") => Kernel,
            ("hidden_transform", "weight") => RecurrentKernel,
            ("input_transform", "bias") => Bias,
            ("hidden_transform", "bias") => RecurrentBias,
            _ => return None,
        };
        let (whole, last) = module.rsplit_once('.').unwrap_or(("", module));
        let (module, backward) = match last {
            "forward" => (whole, Some(false)),
            "reverse" => (whole, Some(true)),
            _ => (module, None),
        };
        Some(Field {
            module,
            number: 0,
            backward,
            part,
            gate: Some(gate),
        })
    }

    fn of_pytorch(path: &'p str) -> Option<Self> {
        let (module, field) = path.rsplit_once('.').unwrap_or(("", path));
        let (rest, reverse) = match field.strip_suffix("_reverse") {
            Some(rest) => (rest, true),
            None => (field, false),
        };
        let (part, number) = rest.rsplit_once("_l")?;
        let part = match part {
            "weight_ih" => Kernel,
            "weight_hh" => RecurrentKernel,
            "bias_ih" => Bias,
            "bias_hh" => RecurrentBias,
            _ => return None,
        };
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        Some(Field {
            module,
            number: digits.then(|| number.parse().ok())??,
            backward: reverse.then_some(true),
            part,
            gate: None,
        })
    }

    /// The path of the layer.
    fn layer(&self) -> String {
        match self.number {
            0 => self.module.to_owned(),
            number => format!("{}_{number}", self.module),
        }
    }
}

impl RecurrentLayer {
    /// The recurrent layers among parameters, each with its path and shape.
    pub fn all(parameters: &[(String, Vec<usize>)]) -> Vec<RecurrentLayer> {
        type Group<'p> = Vec<(Field<'p>, &'p (String, Vec<usize>))>;
        let mut groups: BTreeMap<(String, bool), Group<'_>> = BTreeMap::new();
        for parameter in parameters {
            if let Some(field) = Field::parse(&parameter.0) {
                let key = (field.layer(), field.backward == Some(true));
                groups.entry(key).or_default().push((field, parameter));
            }
        }
        let both: Vec<String> = groups
            .keys()
            .filter(|(_, backward)| *backward)
            .map(|(layer, _)| layer.clone())
            .collect();
        let layers = groups.into_iter().filter_map(|((module, backward), group)| {
            let of_burn = group.iter().any(|(field, _)| field.backward.is_some());
            let kind = kind_of(&group)?;
            let parameters = group.iter().map(|(field, (path, dims))| RecurrentParameter {
                path: path.clone(),
                dims: dims.clone(),
                part: field.part,
                gates: field.gate.map_or_else(|| gates_of(kind).to_vec(), |gate| vec![gate]),
                order: if field.gate.is_some() {
                    DenseOrder::InOut
                } else {
                    DenseOrder::OutIn
                },
                own_names: Vec::new(),
            });
            Some(RecurrentLayer {
                parameters: parameters.collect(),
                backward: (of_burn || both.contains(&module)).then_some(backward),
                layer: kind,
                module,
            })
        });
        layers.collect()
    }

    /// What it is made of by these names; `None` if they take it for none, or name each of its parameters by itself.
    ///
    /// # Errors
    /// [`Error::Unrepresentable`], as [`NameMap::recurrent`], or if only some of its parameters are named by themselves.
    pub fn compound(&self, names: &NameMap) -> Result<Option<Compound>> {
        let layer = names.layer(&self.module, self.layer);
        let paths: Vec<&str> = self
            .parameters
            .iter()
            .map(|parameter| parameter.path.as_str())
            .collect();
        if names.is_identity() || !layer.is_recurrent() || names.names_each(&self.module, &paths)? {
            return Ok(None);
        }
        let parameters: Vec<RecurrentParameter> = self
            .parameters
            .iter()
            .map(|parameter| RecurrentParameter {
                own_names: names.names(&parameter.path, Layer::Other),
                ..parameter.clone()
            })
            .collect();
        names.recurrent(layer, &[self.scope(layer)], &parameters).map(Some)
    }

    /// Its path in the checkpoint.
    fn scope(&self, layer: Layer) -> String {
        let Some(backward) = self.backward else {
            return self.module.clone();
        };
        let inner = match layer {
            Layer::Lstm { cell: LstmCell::Keras } => Some("lstm"),
            Layer::Gru {
                cell: GruCell::Keras | GruCell::KerasBefore,
            } => Some("gru"),
            Layer::Rnn { cell: RnnCell::Keras } => Some("simple_rnn"),
            _ => None,
        };
        let direction = match (inner, backward) {
            (Some(inner), false) => format!("forward_{inner}"),
            (Some(inner), true) => format!("backward_{inner}"),
            (None, false) => "fw".to_owned(),
            (None, true) => "bw".to_owned(),
        };
        match self.module.as_str() {
            "" => direction,
            module => format!("{module}.{direction}"),
        }
    }
}

impl NameMap {
    /// Whether each of the parameters of a recurrent layer, those at `paths`, is named [by itself](Self::is_named): then they
    /// are variables one by one, or what rules make of them, and not those of a cell.
    ///
    /// # Errors
    /// [`Error::Unrepresentable`] if only some of them are: the others would be parts of other variables.
    pub fn names_each(&self, module: &str, paths: &[&str]) -> Result<bool> {
        let (named, others): (Vec<&&str>, Vec<&&str>) = paths.iter().partition(|path| self.is_named(path));
        match (named.first(), others.first()) {
            (None, _) => Ok(false),
            (Some(_), None) => Ok(true),
            (Some(named), Some(other)) => Err(Error::unrepresentable(
                module,
                format!(
                    "`{named}` has a name of its own and `{other}` has none: name all parameters of a recurrent layer, or \
                     the variables of its cell with `Rule::variables`"
                ),
            )),
        }
    }
}

/// The path by which rules call a parameter of a layer that is on top of another one: `lstm_1.weight_ih_l1` for
/// `lstm.weight_ih_l1`. `None` for all others.
pub(in crate::map) fn stacked(path: &str) -> Option<String> {
    let layer = Field::parse(path).filter(|field| field.number > 0)?.layer();
    let (_, field) = path.rsplit_once('.').unwrap_or(("", path));
    Some(format!("{layer}.{field}"))
}

/// The variables that the layer has of which these are parameters, as a rule for such a layer calls them; empty if they are
/// those of none.
pub(in crate::map) fn required_variables(layer: Layer, paths: &[&str]) -> Vec<String> {
    let fields: Vec<Field<'_>> = paths.iter().filter_map(|path| Field::parse(path)).collect();
    let Some(cell) = Cell::of(layer) else {
        return Vec::new();
    };
    let has_bias = fields.iter().any(|field| matches!(field.part, Bias | RecurrentBias));
    let leaves = cell.leaves(has_bias);
    let is = |backward| fields.iter().any(|field| field.backward.unwrap_or(false) == backward);
    let two = fields.iter().any(|field| field.backward.is_some());
    let directions: Vec<&str> = match two {
        _ if fields.is_empty() => Vec::new(),
        false => vec![""],
        true => [(false, "forward/"), (true, "backward/")]
            .into_iter()
            .filter(|(backward, _)| is(*backward))
            .map(|(_, direction)| direction)
            .collect(),
    };
    let in_direction = |direction: &str| {
        leaves
            .iter()
            .map(move |leaf| format!("{direction}{leaf}"))
            .collect::<Vec<_>>()
    };
    directions.into_iter().flat_map(in_direction).collect()
}

/// The kind of a layer, by its gates.
fn kind_of(group: &[(Field<'_>, &(String, Vec<usize>))]) -> Option<Layer> {
    const LSTM: Layer = Layer::Lstm { cell: LstmCell::Keras };
    const GRU: Layer = Layer::Gru { cell: GruCell::Keras };
    const RNN: Layer = Layer::Rnn { cell: RnnCell::Keras };
    let has = |gate| group.iter().any(|(field, _)| field.gate == Some(gate));
    if group.iter().any(|(field, _)| field.gate.is_some()) {
        return match (has(Forget) || has(Output), has(Update) || has(Reset)) {
            (true, false) => Some(LSTM),
            (false, true) => Some(GRU),
            (false, false) => Some(RNN),
            (true, true) => None,
        };
    }
    let (_, (_, dims)) = group.iter().find(|(field, _)| field.part == RecurrentKernel)?;
    let &[width, hidden] = dims.as_slice() else {
        return None;
    };
    match width.checked_div(hidden).filter(|gates| gates * hidden == width)? {
        4 => Some(LSTM),
        3 => Some(GRU),
        1 => Some(RNN),
        _ => None,
    }
}

/// All gates in PyTorch's order.
fn gates_of(layer: Layer) -> &'static [Gate] {
    match layer {
        Layer::Lstm { .. } => &[Input, Forget, Candidate, Output],
        Layer::Gru { .. } => &[Reset, Update, Candidate],
        _ => &[Candidate],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(parameters: &[(&str, &[usize])]) -> Vec<(String, Vec<usize>)> {
        let owned = parameters
            .iter()
            .map(|(path, dims)| ((*path).to_owned(), dims.to_vec()));
        owned.collect()
    }

    #[test]
    fn layers_are_told_by_the_names_of_their_parameters() {
        let layers = RecurrentLayer::all(&shapes(&[
            ("a.lstm.weight_ih_l0", &[20, 3]),
            ("a.lstm.weight_hh_l0", &[20, 5]),
            ("a.lstm.weight_ih_l1", &[20, 5]),
            ("a.lstm.weight_hh_l1", &[20, 5]),
            ("gru.weight_ih_l0", &[6, 4]),
            ("gru.weight_hh_l0", &[6, 2]),
            ("gru.weight_ih_l0_reverse", &[6, 4]),
            ("gru.weight_hh_l0_reverse", &[6, 2]),
            ("bi.reverse.gate.input_transform.weight", &[4, 2]),
            ("b.update_gate.input_transform.weight", &[4, 2]),
            ("fc.weight", &[4, 2]),
            ("weight_ih_lx", &[4, 2]),
            ("odd.weight_hh_l0", &[7, 2]),
        ]));
        let told: Vec<(&str, Option<bool>, usize)> = layers
            .iter()
            .map(|layer| (layer.module.as_str(), layer.backward, gates_of(layer.layer).len()))
            .collect();
        assert_eq!(
            told,
            [
                ("a.lstm", None, 4),
                ("a.lstm_1", None, 4),
                ("b", None, 3),
                ("bi", Some(true), 1),
                ("gru", Some(false), 3),
                ("gru", Some(true), 3),
            ]
        );
    }

    #[test]
    fn a_rule_for_a_layer_needs_names_for_what_it_has() {
        let lstm = Layer::Lstm { cell: LstmCell::Keras };
        let paths = ["l.weight_ih_l0", "l.weight_hh_l0", "l.bias_ih_l0"];
        assert_eq!(required_variables(lstm, &paths), ["kernel", "recurrent_kernel", "bias"]);
        let both = ["l.weight_ih_l0", "l.weight_ih_l0_reverse"];
        let gru = Layer::Gru { cell: GruCell::Tf1 };
        assert_eq!(
            required_variables(gru, &both),
            [
                "forward/gates/kernel",
                "forward/candidate/kernel",
                "backward/gates/kernel",
                "backward/candidate/kernel"
            ]
        );
        assert!(required_variables(lstm, &["l.weight"]).is_empty());
    }
}
