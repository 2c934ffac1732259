//! LSTM and GRU layers, whose parameters TensorFlow's variables are not one by one.
//!
//! Candle calls them `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, with the number of the layer and perhaps
//! `_reverse`; which of the two it is shows in the shape of `weight_hh`.

use std::collections::BTreeMap;
use std::sync::Arc;

use tfckpt::Error;
use tfckpt::map::{Compound, DenseOrder, Gate, GruCell, Layer, LstmCell, NameMap, RecurrentParameter, RecurrentPart};

use crate::kinds::{Params, split};

/// What a name like `weight_ih_l0_reverse` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Field {
    layer: usize,
    reverse: bool,
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    WeightIh,
    WeightHh,
    BiasIh,
    BiasHh,
}

impl Field {
    fn parse(field: &str) -> Option<Self> {
        let (rest, reverse) = match field.strip_suffix("_reverse") {
            Some(rest) => (rest, true),
            None => (field, false),
        };
        let (part, layer) = rest.rsplit_once("_l")?;
        let part = match part {
            "weight_ih" => Part::WeightIh,
            "weight_hh" => Part::WeightHh,
            "bias_ih" => Part::BiasIh,
            "bias_hh" => Part::BiasHh,
            _ => return None,
        };
        let layer = layer
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| layer.parse().ok())??;
        Some(Field { layer, reverse, part })
    }
}

/// The parameters of a layer in one direction, with their shapes.
type Group = BTreeMap<Field, (String, Vec<usize>)>;

/// What the parameters of all recurrent layers are made of, by their paths. Layers that were declared as others, and those
/// whose names are not to be changed, are left out.
///
/// # Errors
/// [`Error::Unrepresentable`].
pub(crate) fn compounds(names: &NameMap, params: &Params) -> Result<BTreeMap<String, Arc<Compound>>, Error> {
    let mut groups: BTreeMap<(&str, usize, bool), Group> = BTreeMap::new();
    for (path, param) in params.iter().filter(|_| !names.is_identity()) {
        let (module, field) = split(path);
        if let Some(field) = Field::parse(field) {
            let group = groups.entry((module, field.layer, field.reverse)).or_default();
            group.insert(field, (path.clone(), param.dims.clone()));
        }
    }
    let mut all = BTreeMap::new();
    for (&(module, layer, reverse), group) in &groups {
        let Some(found) = found(group) else { continue };
        let kind = declared(names, module, layer, found);
        let paths: Vec<&str> = group.values().map(|(path, _)| path.as_str()).collect();
        if !kind.is_recurrent() || names.names_each(module, &paths)? {
            continue;
        }
        let both = groups.contains_key(&(module, layer, !reverse));
        let modules = [scope(kind, module, layer, reverse, both)];
        let compound = Arc::new(compound(names, kind, &modules, group)?);
        all.extend(group.values().map(|(path, _)| (path.clone(), compound.clone())));
    }
    Ok(all)
}

/// What a single parameter may be made of while the model is still being built: each kind of layer that it may belong to,
/// the likely ones first.
///
/// # Errors
/// [`Error::Unrepresentable`].
pub(crate) fn candidates(names: &NameMap, params: &Params, path: &str, dims: &[usize]) -> Result<Vec<Compound>, Error> {
    let (module, name) = split(path);
    let Some(field) = Field::parse(name).filter(|_| !names.is_identity()) else {
        return Ok(Vec::new());
    };
    let path_of = |part: Part| {
        let other = field_name(Field { part, ..field });
        if module.is_empty() {
            other
        } else {
            format!("{module}.{other}")
        }
    };
    // Every layer has both kernels.
    let (input, state) = (path_of(Part::WeightIh), path_of(Part::WeightHh));
    if names.names_each(module, &[path, &input, &state])? {
        return Ok(Vec::new());
    }
    let known = |part: Part| params.get(&path_of(part)).map(|param| param.dims.clone());
    // The weights for the input come first.
    let Some([width, input]) = known(Part::WeightIh)
        .as_deref()
        .and_then(|dims| <[usize; 2]>::try_from(dims).ok())
    else {
        return Ok(Vec::new());
    };
    let kinds = match declared(names, module, field.layer, Layer::Other) {
        kind if kind.is_recurrent() => vec![kind],
        _ => match known(Part::WeightHh).as_deref() {
            Some(&[width, hidden]) => of_gates(width, hidden).into_iter().collect(),
            _ => vec![LSTM, GRU],
        },
    };
    let mut all = Vec::new();
    for kind in kinds {
        let gates = gates(kind).map_err(|error| within(error, module))?.len();
        if width % gates != 0 {
            continue;
        }
        let hidden = width / gates;
        let all_dims = [vec![width, input], vec![width, hidden], vec![width], vec![width]];
        let parts = [Part::WeightIh, Part::WeightHh, Part::BiasIh, Part::BiasHh];
        let group: Group = parts
            .into_iter()
            .zip(all_dims)
            .map(|(part, dims)| (Field { part, ..field }, (path_of(part), dims)))
            .collect();
        if group.get(&field).is_none_or(|(_, expected)| expected != dims) {
            continue;
        }
        let alone = |both| scope(kind, module, field.layer, field.reverse, both);
        let modules = if field.reverse {
            vec![alone(true)]
        } else {
            vec![alone(false), alone(true)]
        };
        all.push(compound(names, kind, &modules, &group)?);
    }
    Ok(all)
}

/// What a layer was declared to be, by the path of the module or with its number.
fn declared(names: &NameMap, module: &str, number: usize, found: Layer) -> Layer {
    let of_module = names.layer(module, found);
    match number {
        0 => of_module,
        number => names.layer(&format!("{module}_{number}"), of_module),
    }
}

const LSTM: Layer = Layer::Lstm { cell: LstmCell::Keras };
const GRU: Layer = Layer::Gru { cell: GruCell::Keras };

fn field_name(field: Field) -> String {
    let part = match field.part {
        Part::WeightIh => "weight_ih",
        Part::WeightHh => "weight_hh",
        Part::BiasIh => "bias_ih",
        Part::BiasHh => "bias_hh",
    };
    let reverse = if field.reverse { "_reverse" } else { "" };
    format!("{part}_l{}{reverse}", field.layer)
}

/// The kind of a layer whose parameters are all there.
fn found(group: &Group) -> Option<Layer> {
    let (_, (_, dims)) = group.iter().find(|(field, _)| field.part == Part::WeightHh)?;
    match dims.as_slice() {
        &[width, hidden] => of_gates(width, hidden),
        _ => None,
    }
}

fn of_gates(width: usize, hidden: usize) -> Option<Layer> {
    match width.checked_div(hidden) {
        Some(4) => Some(LSTM),
        Some(3) => Some(GRU),
        _ => None,
    }
}

/// The gates in Candle's order.
fn gates(kind: Layer) -> Result<&'static [Gate], Error> {
    match kind {
        Layer::Lstm { .. } => Ok(&[Gate::Input, Gate::Forget, Gate::Candidate, Gate::Output]),
        Layer::Gru { cell: GruCell::Keras } => Ok(&[Gate::Reset, Gate::Update, Gate::Candidate]),
        Layer::Gru { .. } => Err(refused(
            "Candle's GRU resets the state after it is multiplied, and this cell before",
        )),
        _ => Err(refused("Candle has no such layer")),
    }
}

fn refused(reason: &str) -> Error {
    Error::Unrepresentable {
        module: String::new(),
        reason: reason.to_owned(),
    }
}

/// The path of a layer, or of one of its directions, in the checkpoint.
fn scope(kind: Layer, module: &str, layer: usize, reverse: bool, both: bool) -> String {
    let mut path = module.to_owned();
    if layer > 0 {
        path = format!("{path}_{layer}");
    }
    let direction = match (both || reverse, kind, reverse) {
        (false, ..) => return path,
        (_, Layer::Lstm { cell: LstmCell::Keras }, false) => "forward_lstm",
        (_, Layer::Lstm { cell: LstmCell::Keras }, true) => "backward_lstm",
        (_, Layer::Gru { cell: GruCell::Keras }, false) => "forward_gru",
        (_, Layer::Gru { cell: GruCell::Keras }, true) => "backward_gru",
        (_, _, false) => "fw",
        (_, _, true) => "bw",
    };
    match path.is_empty() {
        true => direction.to_owned(),
        false => format!("{path}.{direction}"),
    }
}

/// The error of a layer that did not know its path.
fn within(error: Error, path: &str) -> Error {
    match error {
        Error::Unrepresentable { module, reason } if module.is_empty() => Error::Unrepresentable {
            module: path.to_owned(),
            reason,
        },
        other => other,
    }
}

fn compound(names: &NameMap, kind: Layer, modules: &[String], group: &Group) -> Result<Compound, Error> {
    let module = modules.first().map_or("", String::as_str);
    let gates = gates(kind).map_err(|error| within(error, module))?;
    let parameter = |(field, (path, dims)): (&Field, &(String, Vec<usize>))| RecurrentParameter {
        path: path.clone(),
        dims: dims.clone(),
        part: match field.part {
            Part::WeightIh => RecurrentPart::Kernel,
            Part::WeightHh => RecurrentPart::RecurrentKernel,
            Part::BiasIh => RecurrentPart::Bias,
            Part::BiasHh => RecurrentPart::RecurrentBias,
        },
        gates: gates.to_vec(),
        order: DenseOrder::OutIn,
        // As runs were saved before their layers were known.
        own_names: names.names(path, Layer::Other),
    };
    let parameters: Vec<RecurrentParameter> = group.iter().map(parameter).collect();
    names.recurrent(kind, modules, &parameters)
}
