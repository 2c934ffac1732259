//! A first mapping, from two lists of names and shapes.

mod recurrent;

use std::collections::BTreeSet;

use super::Mapping;
use super::entry::Entry;

/// A mapping that somebody has to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Draft {
    /// A rule for each parameter that a variable was found for. Those that are not certain have a note.
    pub mapping: Mapping,
    /// What is not certain.
    pub uncertain: Vec<Uncertain>,
    /// Parameters that no variable was found for.
    pub missing: Vec<String>,
    /// Variables that no parameter was found for.
    pub unused: Vec<String>,
}

/// A guess, and why it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uncertain {
    /// The parameter.
    pub path: String,
    /// The variable that it may be.
    pub variable: String,
    /// Why that is not certain.
    pub reason: String,
}

/// How a shape becomes another one.
#[derive(Debug, Clone, PartialEq)]
enum Way {
    Same,
    /// Axis `i` of the parameter is axis `axes[i]` of the variable.
    Transposed(&'static [usize]),
    /// First transposed, and then another shape.
    Reshaped(Option<&'static [usize]>),
}

/// A parameter, a variable, and how likely they are the same.
struct Pair {
    parameter: usize,
    variable: usize,
    score: f64,
    ways: Vec<Way>,
}

/// Names that are less similar are not proposed.
const LEAST: f64 = 0.55;

/// A difference that is none.
const CLOSE: f64 = 0.04;

impl Mapping {
    /// Proposes a mapping between the parameters of a model and the variables of a checkpoint, each with its shape: by the
    /// similarity of names, among those whose shapes can be the same. It is a proposal: what could be another variable, or
    /// another layout, as every square kernel could, is [uncertain](Draft::uncertain), and the rule says so in a note.
    /// Values are not looked at.
    ///
    /// Recurrent layers, which are known by the names of their parameters, get a rule for the layer, with the cell that the
    /// shapes of the variables are those of. It is never certain: no shape tells the order of the gates.
    ///
    /// Takes time in proportion to the product of the two numbers.
    pub fn draft(parameters: &[(String, Vec<usize>)], variables: &[(String, Vec<usize>)]) -> Draft {
        let layers = recurrent::rules(parameters, variables);
        let of_layers: BTreeSet<&str> = layers.parameters.iter().map(String::as_str).collect();
        let taken: BTreeSet<&str> = layers.variables.iter().map(String::as_str).collect();
        let left = |all: &[(String, Vec<usize>)], without: &BTreeSet<&str>| -> Vec<(String, Vec<usize>)> {
            all.iter()
                .filter(|(name, _)| !without.contains(name.as_str()))
                .cloned()
                .collect()
        };
        let mut draft = one_by_one(&left(parameters, &of_layers), &left(variables, &taken));
        draft.mapping.rules.extend(layers.rules);
        draft.uncertain.extend(layers.uncertain);
        draft.missing.extend(layers.missing);
        draft
    }
}

/// Proposes a rule for each parameter that is a variable.
fn one_by_one(parameters: &[(String, Vec<usize>)], variables: &[(String, Vec<usize>)]) -> Draft {
    let words: Vec<(String, String)> = variables.iter().map(|(name, _)| words(name)).collect();
    let mut pairs: Vec<Pair> = Vec::new();
    for (parameter, (path, dims)) in parameters.iter().enumerate() {
        let own = self::words(path);
        for (variable, (_, shape)) in variables.iter().enumerate() {
            let ways = ways(dims, shape);
            let Some(theirs) = words.get(variable).filter(|_| !ways.is_empty()) else {
                continue;
            };
            let score = similarity(&own, theirs);
            if score >= LEAST {
                pairs.push(Pair {
                    parameter,
                    variable,
                    score,
                    ways,
                });
            }
        }
    }
    pairs.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then((a.parameter, a.variable).cmp(&(b.parameter, b.variable)))
    });
    let (mut of_parameter, mut of_variable) = (vec![None; parameters.len()], vec![false; variables.len()]);
    for (number, pair) in pairs.iter().enumerate() {
        let free = of_parameter.get(pair.parameter).is_some_and(Option::is_none);
        if free && of_variable.get(pair.variable) == Some(&false) {
            if let Some(place) = of_parameter.get_mut(pair.parameter) {
                *place = Some(number);
            }
            if let Some(place) = of_variable.get_mut(pair.variable) {
                *place = true;
            }
        }
    }
    let mut draft = Draft {
        mapping: Mapping::default(),
        uncertain: Vec::new(),
        missing: Vec::new(),
        unused: Vec::new(),
    };
    for ((path, dims), chosen) in parameters.iter().zip(&of_parameter) {
        let Some(pair) = chosen.and_then(|number: usize| pairs.get(number)) else {
            draft.missing.push(path.clone());
            continue;
        };
        let Some((name, shape)) = variables.get(pair.variable) else {
            continue;
        };
        let reasons = reasons(pair, &pairs, variables);
        let note = (!reasons.is_empty()).then(|| format!("uncertain: {}", reasons.join("; ")));
        if !reasons.is_empty() {
            draft.uncertain.push(Uncertain {
                path: path.clone(),
                variable: name.clone(),
                reason: reasons.join("; "),
            });
        }
        draft.mapping.rules.push(entry(path, dims, name, shape, pair, note));
    }
    let unused = variables.iter().zip(&of_variable).filter(|(_, used)| !**used);
    draft.unused = unused.map(|((name, _), _)| name.clone()).collect();
    draft
}

fn entry(path: &str, dims: &[usize], name: &str, shape: &[usize], pair: &Pair, note: Option<String>) -> Entry {
    let way = pair.ways.first().cloned().unwrap_or(Way::Same);
    let transpose = match way {
        Way::Same => (0..dims.len()).collect(),
        Way::Transposed(axes) => axes.to_vec(),
        Way::Reshaped(axes) => axes.map_or_else(|| (0..shape.len()).collect(), <[usize]>::to_vec),
    };
    Entry {
        path: Some(path.to_owned()),
        variable: Some(name.to_owned()),
        // Always said, so that no layer has to be known.
        transpose: Some(transpose),
        shape: matches!(way, Way::Reshaped(_)).then(|| shape.to_vec()),
        note,
        ..Entry::default()
    }
}

/// Why a pair is a guess.
fn reasons(pair: &Pair, pairs: &[Pair], variables: &[(String, Vec<usize>)]) -> Vec<String> {
    let mut reasons = Vec::new();
    let close = pairs.iter().filter(|other| {
        other.parameter == pair.parameter && other.variable != pair.variable && pair.score - other.score < CLOSE
    });
    let names: Vec<&str> = close
        .filter_map(|other| variables.get(other.variable).map(|(name, _)| name.as_str()))
        .take(3)
        .collect();
    if !names.is_empty() {
        reasons.push(format!("it could be `{}` as well", names.join("` or `")));
    }
    if pair.ways.len() > 1 {
        reasons.push("its shape is the same when it is transposed".to_owned());
    }
    if pair.score < LEAST + 0.15 {
        reasons.push("the names are hardly similar".to_owned());
    }
    reasons
}

/// The ways in which a variable of this shape can be a parameter of these dimensions, the likeliest first.
fn ways(dims: &[usize], shape: &[usize]) -> Vec<Way> {
    const PERMUTATIONS: [&[usize]; 7] = [
        &[1, 0],
        &[2, 1, 0],
        &[3, 2, 0, 1],
        &[2, 3, 0, 1],
        &[4, 3, 0, 1, 2],
        &[1, 0, 2],
        &[0, 1],
    ];
    let permuted = |axes: &[usize], shape: &[usize]| -> Option<Vec<usize>> {
        (axes.len() == shape.len()).then(|| axes.iter().map(|&axis| shape.get(axis).copied()).collect())?
    };
    let mut ways = Vec::new();
    for axes in PERMUTATIONS
        .iter()
        .filter(|axes| !axes.iter().copied().eq(0..axes.len()))
    {
        if permuted(axes, shape).as_deref() == Some(dims) {
            ways.push(Way::Transposed(axes));
        }
    }
    if dims == shape {
        ways.push(Way::Same);
    }
    // A depthwise kernel.
    if let ([channels, 1, ..], [.., inputs, multiplier]) = (dims, shape)
        && inputs.checked_mul(*multiplier) == Some(*channels)
        && let Some(moved) = permuted(&[2, 3, 0, 1], shape)
        && moved.get(2..) == dims.get(2..)
        && !ways.contains(&Way::Transposed(&[2, 3, 0, 1]))
    {
        ways.push(Way::Reshaped(Some(&[2, 3, 0, 1])));
    }
    let elements = |dims: &[usize]| dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    let ones = dims.iter().chain(shape).any(|&dim| dim == 1);
    if ways.is_empty() && ones && without_ones(dims) == without_ones(shape) && elements(dims) == elements(shape) {
        ways.push(Way::Reshaped(None));
    }
    ways
}

fn without_ones(dims: &[usize]) -> Vec<usize> {
    dims.iter().copied().filter(|&dim| dim != 1).collect()
}

/// The scope and the leaf of a name, in the words that all libraries have in common.
fn words(name: &str) -> (String, String) {
    let name = name.strip_suffix("/.ATTRIBUTES/VARIABLE_VALUE").unwrap_or(name);
    let name = name.replace('.', "/").to_lowercase();
    let (scope, leaf) = name.rsplit_once('/').unwrap_or(("", name.as_str()));
    let leaf = match leaf {
        "kernel" | "weights" | "gamma" | "scale" | "embeddings" | "depthwise_kernel" | "depthwise_weights" | "w"
        | "_kernel" | "_embeddings" | "alpha" => "weight",
        "biases" | "beta" | "b" => "bias",
        "moving_mean" => "running_mean",
        "moving_variance" => "running_var",
        leaf => leaf,
    };
    (scope.replace(['/', '_'], " "), leaf.to_owned())
}

/// From 0 to 1.
fn similarity(own: &(String, String), theirs: &(String, String)) -> f64 {
    let backwards = |scope: &str| scope.split(' ').rev().collect::<Vec<_>>().join(" ");
    let scopes = strsim::jaro_winkler(&own.0, &theirs.0).max(strsim::jaro(&backwards(&own.0), &backwards(&theirs.0)));
    let leaves = if own.1 == theirs.1 {
        1.0
    } else {
        strsim::jaro(&own.1, &theirs.1) * 0.5
    };
    0.6 * scopes + 0.4 * leaves
}
