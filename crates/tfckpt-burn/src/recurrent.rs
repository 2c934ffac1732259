//! Recurrent layers, whose gates Burn keeps apart and TensorFlow in one kernel.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::TensorData;
use tfckpt::map::{
    Compound, DenseOrder, Gate, GruCell, Ingredient, Layer, LstmCell, NameMap, RecurrentParameter, RecurrentPart,
    RnnCell,
};
use tfckpt::{DType, Variable};

use crate::dtype::{stored, to_stored_bytes};
use crate::error::{Error, Result};
use crate::schema::Parameter;

/// The recurrent layer that a parameter belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recurrent {
    /// Its path: `block.lstm`, or `block.bi.forward`.
    pub(crate) module: String,
    /// Of a direction the path of the layer that has both, and whether it is the one backwards.
    direction: Option<(String, bool)>,
    /// The type of the module.
    kind: Kind,
    /// The path within the layer: `input_gate.input_transform.weight`.
    field: String,
    /// All parameters of the layer.
    pub(crate) parameters: Arc<Vec<(String, String, Vec<usize>)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lstm,
    Gru,
    Rnn,
}

impl Recurrent {
    /// The innermost recurrent layer on the way to a parameter.
    pub(crate) fn of(names: &[String], containers: &[String]) -> Option<Self> {
        let kind = |container: &String| match container.as_str() {
            "Struct:Lstm" => Some(Kind::Lstm),
            "Struct:Gru" => Some(Kind::Gru),
            "Struct:Rnn" => Some(Kind::Rnn),
            _ => None,
        };
        let (at, kind) = containers
            .iter()
            .enumerate()
            .rev()
            .find_map(|(at, own)| Some((at, kind(own)?)))?;
        let field = names.get(at..)?.join(".");
        parse(&field)?;
        let direction = at.checked_sub(1).and_then(|above| {
            let has_both = matches!(
                containers.get(above)?.as_str(),
                "Struct:BiLstm" | "Struct:BiGru" | "Struct:BiRnn"
            );
            has_both.then(|| Some((names.get(..above)?.join("."), names.get(above)? == "reverse")))?
        });
        Some(Recurrent {
            module: names.get(..at)?.join("."),
            direction,
            kind,
            field,
            parameters: Arc::default(),
        })
    }

    /// Of all parameters of a module, tells each of those in recurrent layers what else its layer has.
    pub(crate) fn gather(parameters: &mut [Parameter]) {
        let mut layers: BTreeMap<String, Vec<(String, String, Vec<usize>)>> = BTreeMap::new();
        for parameter in parameters.iter() {
            if let Some(recurrent) = &parameter.recurrent {
                let all = layers.entry(recurrent.module.clone()).or_default();
                all.push((parameter.path.clone(), recurrent.field.clone(), parameter.shape.clone()));
            }
        }
        let layers: BTreeMap<String, Arc<_>> = layers
            .into_iter()
            .map(|(module, all)| (module, Arc::new(all)))
            .collect();
        for recurrent in parameters
            .iter_mut()
            .filter_map(|parameter| parameter.recurrent.as_mut())
        {
            recurrent.parameters = layers.get(&recurrent.module).cloned().unwrap_or_default();
        }
    }

    /// What the layer is made of; `None` if it was declared to be none, or names are not to be changed, or each of its
    /// parameters has a name of its own.
    ///
    /// # Errors
    /// [`tfckpt::Error::Unrepresentable`].
    pub(crate) fn compound(&self, names: &NameMap) -> Result<Option<Compound>> {
        let declared = self.direction.as_ref().map_or(&self.module, |(whole, _)| whole);
        let found = match self.kind {
            Kind::Lstm => Layer::Lstm { cell: LstmCell::Keras },
            Kind::Gru => Layer::Gru { cell: GruCell::Keras },
            Kind::Rnn => Layer::Rnn { cell: RnnCell::Keras },
        };
        let layer = names.layer(declared, found);
        let paths: Vec<&str> = self.parameters.iter().map(|(path, ..)| path.as_str()).collect();
        if names.is_identity() || !layer.is_recurrent() || names.names_each(declared, &paths)? {
            return Ok(None);
        }
        let parameter = |(path, field, dims): &(String, String, Vec<usize>)| {
            let (gate, part) = parse(field)?;
            Some(RecurrentParameter {
                path: path.clone(),
                dims: dims.clone(),
                part,
                gates: vec![gate],
                order: DenseOrder::InOut,
                // As runs were saved before their layers were known.
                own_names: names.names(path, Layer::Dense),
            })
        };
        let parameters: Vec<RecurrentParameter> = self.parameters.iter().filter_map(parameter).collect();
        let module = match &self.direction {
            None => self.module.clone(),
            Some((whole, reverse)) => {
                let inner = match layer {
                    Layer::Lstm { cell: LstmCell::Keras } => "lstm",
                    Layer::Gru {
                        cell: GruCell::Keras | GruCell::KerasBefore,
                    } => "gru",
                    Layer::Rnn { cell: RnnCell::Keras } => "simple_rnn",
                    _ => "",
                };
                let direction = match (inner, reverse) {
                    ("", false) => "fw".to_owned(),
                    ("", true) => "bw".to_owned(),
                    (inner, false) => format!("forward_{inner}"),
                    (inner, true) => format!("backward_{inner}"),
                };
                [whole.as_str(), direction.as_str()]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join(".")
            }
        };
        Ok(Some(names.recurrent(layer, &[module], &parameters)?))
    }
}

/// The gate and the part that a path within a layer means.
fn parse(field: &str) -> Option<(Gate, RecurrentPart)> {
    let mut parts = field.split('.');
    let gate = match parts.next()? {
        "input_gate" => Gate::Input,
        "forget_gate" => Gate::Forget,
        "output_gate" => Gate::Output,
        "update_gate" => Gate::Update,
        "reset_gate" => Gate::Reset,
        "cell_gate" | "new_gate" | "gate" => Gate::Candidate,
        _ => return None,
    };
    let part = match (parts.next()?, parts.next()?) {
        ("input_transform", "weight") => RecurrentPart::Kernel,
        ("hidden_transform", "weight") => RecurrentPart::RecurrentKernel,
        ("input_transform", "bias") => RecurrentPart::Bias,
        ("hidden_transform", "bias") => RecurrentPart::RecurrentBias,
        _ => return None,
    };
    parts.next().is_none().then_some((gate, part))
}

/// Tensors of optimizers' states on their way into slots of which each is made of several.
#[derive(Default)]
pub(crate) struct Slots {
    waiting: BTreeMap<String, (Compound, BTreeMap<String, Ingredient<'static>>)>,
}

impl Slots {
    /// Takes in a tensor of the state of a parameter, if it is as large as one that is made of others; gives it back
    /// otherwise. `slot` gives the names of the slot of a variable.
    ///
    /// # Errors
    /// Those of finding out what the layer is made of; [`Error::UnsupportedDtype`].
    pub(crate) fn take(
        &mut self,
        parameter: &Parameter,
        names: &NameMap,
        slot: &dyn Fn(&str) -> Vec<String>,
        tensor: TensorData,
    ) -> Result<Option<TensorData>> {
        let shape = tensor.shape().to_vec();
        let Some(compound) = parameter.compound(names)?.filter(|_| shape == parameter.shape) else {
            return Ok(Some(tensor));
        };
        let unsupported = || Error::UnsupportedDtype {
            path: parameter.path.clone(),
            dtype: format!("{:?}", tensor.dtype()),
        };
        let dtype: DType = stored(tensor.dtype()).ok_or_else(unsupported)?;
        let compound = compound.slots(slot, &str::to_owned);
        let first = compound
            .made
            .first()
            .map_or_else(|| compound.module.clone(), |made| made.name.clone());
        let bytes = to_stored_bytes(tensor);
        let ingredient = Ingredient::new(dtype, shape, move |sink| sink(&bytes));
        let (_, parts) = self.waiting.entry(first).or_insert_with(|| (compound, BTreeMap::new()));
        parts.insert(parameter.path.clone(), ingredient);
        Ok(None)
    }

    /// The slots.
    ///
    /// # Errors
    /// [`tfckpt::Error::InvalidArgument`] if the state of one of the parameters is missing.
    pub(crate) fn finish(self) -> Result<Vec<Variable<'static>>> {
        let mut variables = Vec::new();
        for (compound, parts) in self.waiting.into_values() {
            let made = compound.variables(&|path| parts.get(path).cloned())?;
            variables.extend(made.into_iter().map(Variable::non_trainable));
        }
        Ok(variables)
    }
}
