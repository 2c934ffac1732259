//! Drafts of recurrent layers: which variables of a scope have the shapes of a cell.

use std::collections::{BTreeMap, BTreeSet};

use super::super::entry::{Entry, Variables};
use super::{LEAST, Uncertain, similarity};
use crate::map::layer::{DenseOrder, Layer};
use crate::map::recipe::{RecurrentLayer, RecurrentPart};

/// Rules for recurrent layers, and what they are about.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) rules: Vec<Entry>,
    pub(super) uncertain: Vec<Uncertain>,
    /// Of layers that no variables were found for.
    pub(super) missing: Vec<String>,
    /// All parameters of recurrent layers.
    pub(super) parameters: Vec<String>,
    /// The variables that are theirs.
    pub(super) variables: Vec<String>,
}

/// A cell as it is written in a rule, and the shapes of its variables.
struct Shapes {
    cell: &'static str,
    reset_after: Option<bool>,
    forget_bias: Option<f64>,
    variables: Vec<(&'static str, Vec<usize>)>,
}

/// The variables of a cell in one scope.
#[derive(Clone)]
struct Candidate {
    /// Which of the cells.
    cell: usize,
    names: Vec<(&'static str, String)>,
    score: f64,
}

pub(super) fn rules(parameters: &[(String, Vec<usize>)], variables: &[(String, Vec<usize>)]) -> Rules {
    let mut all: BTreeMap<String, Vec<RecurrentLayer>> = BTreeMap::new();
    for layer in RecurrentLayer::all(parameters) {
        all.entry(layer.module.clone()).or_default().push(layer);
    }
    let mut rules = Rules::default();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for (module, directions) in all {
        let paths = directions.iter().flat_map(|layer| &layer.parameters);
        let paths: Vec<String> = paths.map(|parameter| parameter.path.clone()).collect();
        match rule(&module, &directions, variables, &taken) {
            Some((entry, names)) => {
                let reason = "no shape tells the order of its gates: it is that of the `cell`".to_owned();
                rules.uncertain.push(Uncertain {
                    path: module,
                    variable: names.first().cloned().unwrap_or_default(),
                    reason: match entry.forget_bias {
                        Some(_) => format!("{reason}; the forget bias is not in the checkpoint"),
                        None => reason,
                    },
                });
                let note = rules
                    .uncertain
                    .last()
                    .map(|guess| format!("uncertain: {}", guess.reason));
                rules.rules.push(Entry { note, ..entry });
                taken.extend(names.iter().cloned());
                rules.variables.extend(names);
            }
            None => rules.missing.extend(paths.iter().cloned()),
        }
        rules.parameters.extend(paths);
    }
    rules
}

/// A rule for a layer in one or both directions, and the variables that it is for.
fn rule(
    module: &str,
    directions: &[RecurrentLayer],
    variables: &[(String, Vec<usize>)],
    taken: &BTreeSet<String>,
) -> Option<(Entry, Vec<String>)> {
    let first = directions.first()?;
    let cells = cells(first)?;
    let mut named: BTreeMap<String, String> = BTreeMap::new();
    let mut used = taken.clone();
    let mut chosen = None;
    for layer in directions {
        let direction = match layer.backward {
            None => "",
            Some(false) => "forward",
            Some(true) => "backward",
        };
        let own = words(&format!("{module} {direction}"));
        let candidates = candidates(&cells, &own, variables, &used);
        // Both directions are of one cell.
        let best = candidates
            .into_iter()
            .filter(|candidate| chosen.is_none_or(|cell| cell == candidate.cell))
            .max_by(|a, b| a.score.total_cmp(&b.score))?;
        chosen = Some(best.cell);
        for (leaf, name) in best.names {
            let key = match direction {
                "" => leaf.to_owned(),
                direction => format!("{direction}/{leaf}"),
            };
            used.insert(name.clone());
            named.insert(key, name);
        }
    }
    let cell = cells.get(chosen?)?;
    let names = named.values().cloned().collect();
    let entry = Entry {
        path: Some(module.to_owned()),
        layer: Some(
            match first.layer {
                Layer::Lstm { .. } => "lstm",
                Layer::Gru { .. } => "gru",
                _ => "simple_rnn",
            }
            .to_owned(),
        ),
        cell: Some(cell.cell.to_owned()),
        forget_bias: cell.forget_bias,
        reset_after: cell.reset_after,
        variables: Some(Variables::Named(named)),
        ..Entry::default()
    };
    Some((entry, names))
}

/// The cells that a layer may have, the likeliest first.
fn cells(layer: &RecurrentLayer) -> Option<Vec<Shapes>> {
    let kernel = layer.parameters.iter().find(|one| one.part == RecurrentPart::Kernel)?;
    let (input, width) = match (kernel.dims.as_slice(), kernel.order) {
        (&[rows, columns], DenseOrder::InOut) | (&[columns, rows], DenseOrder::OutIn) => (rows, columns),
        _ => return None,
    };
    let hidden = width.checked_div(kernel.gates.len())?;
    let is_bias = |part| matches!(part, RecurrentPart::Bias | RecurrentPart::RecurrentBias);
    let has_bias = layer.parameters.iter().any(|one| is_bias(one.part));
    let both = input.checked_add(hidden)?;
    let wide = |gates: usize| hidden.checked_mul(gates);
    let with_bias = |mut variables: Vec<(&'static str, Vec<usize>)>, biases: &[(&'static str, Vec<usize>)]| {
        if has_bias {
            variables.extend(biases.iter().cloned());
        }
        variables
    };
    let keras = |gates, bias: Vec<usize>| -> Option<Vec<(&'static str, Vec<usize>)>> {
        let kernels = vec![
            ("recurrent_kernel", vec![hidden, wide(gates)?]),
            ("kernel", vec![input, wide(gates)?]),
        ];
        Some(with_bias(kernels, &[("bias", bias)]))
    };
    let of = |cell, variables| Shapes {
        cell,
        reset_after: None,
        forget_bias: None,
        variables,
    };
    Some(match layer.layer {
        Layer::Lstm { .. } => {
            let joined = with_bias(vec![("kernel", vec![both, wide(4)?])], &[("bias", vec![wide(4)?])]);
            let old = |cell| Shapes {
                forget_bias: Some(1.0),
                ..of(cell, joined.clone())
            };
            vec![
                of("keras", keras(4, vec![wide(4)?])?),
                old("lstm_cell"),
                old("basic_lstm_cell"),
            ]
        }
        Layer::Gru { .. } => {
            let kernels = vec![
                ("gates/kernel", vec![both, wide(2)?]),
                ("candidate/kernel", vec![both, hidden]),
            ];
            let biases = [("gates/bias", vec![wide(2)?]), ("candidate/bias", vec![hidden])];
            let before = Shapes {
                reset_after: Some(false),
                ..of("keras", keras(3, vec![wide(3)?])?)
            };
            vec![
                of("keras", keras(3, vec![2, wide(3)?])?),
                before,
                of("gru_cell", with_bias(kernels, &biases)),
            ]
        }
        _ => vec![
            of("keras", keras(1, vec![hidden])?),
            of(
                "basic_rnn_cell",
                with_bias(vec![("kernel", vec![both, hidden])], &[("bias", vec![hidden])]),
            ),
        ],
    })
}

/// The scopes that have all variables of a cell.
fn candidates(
    cells: &[Shapes],
    own: &(String, String),
    variables: &[(String, Vec<usize>)],
    used: &BTreeSet<String>,
) -> Vec<Candidate> {
    let mut scopes: BTreeMap<&str, Vec<(&str, &[usize])>> = BTreeMap::new();
    for (name, dims) in variables.iter().filter(|(name, _)| !used.contains(name)) {
        // A gate of a GRU is a scope within that of the cell.
        let parent = name.rsplit_once('/').map_or("", |(scope, _)| scope);
        let above = parent.rsplit_once('/').map_or("", |(scope, _)| scope);
        for scope in BTreeSet::from([parent, above]) {
            scopes.entry(scope).or_default().push((name, dims));
        }
    }
    let mut found = Vec::new();
    for (scope, there) in scopes {
        for (number, cell) in cells.iter().enumerate() {
            let is_basic = scope.ends_with("basic_lstm_cell");
            if (cell.cell == "basic_lstm_cell" && !is_basic) || (cell.cell == "lstm_cell" && is_basic) {
                continue;
            }
            if let Some(names) = fill(cell, scope, &there) {
                // A layer that is the whole model has no name to compare.
                let score = if own.0.is_empty() {
                    LEAST
                } else {
                    similarity(own, &words(scope))
                };
                if score >= LEAST {
                    found.push(Candidate {
                        cell: number,
                        names,
                        score,
                    });
                }
            }
        }
    }
    found
}

/// A variable for each of those of the cell, by shape, and of several by name.
fn fill(cell: &Shapes, scope: &str, there: &[(&str, &[usize])]) -> Option<Vec<(&'static str, String)>> {
    let mut names: Vec<(&'static str, String)> = Vec::new();
    for (leaf, dims) in &cell.variables {
        let depth = leaf.matches('/').count();
        let fits = there.iter().filter(|(name, shape)| {
            let inner = name.strip_prefix(scope).unwrap_or(name).trim_start_matches('/');
            let is_taken = names.iter().any(|(_, taken)| taken == name);
            *shape == dims.as_slice() && inner.matches('/').count() == depth && !is_taken
        });
        let alike = |name: &str| {
            let inner = name.strip_prefix(scope).unwrap_or(name).trim_start_matches('/');
            strsim::jaro(inner, leaf)
        };
        let best = fits.max_by(|(a, _), (b, _)| alike(a).total_cmp(&alike(b)))?;
        names.push((leaf, best.0.to_owned()));
    }
    Some(names)
}

/// A scope as names are compared: the leaf is the same for all.
fn words(scope: &str) -> (String, String) {
    let words = scope.to_lowercase().replace(['.', '/', '_'], " ");
    let plain = |word| match word {
        "fw" => "forward",
        "bw" | "reverse" => "backward",
        word => word,
    };
    let words: Vec<&str> = words.split_whitespace().map(plain).collect();
    (words.join(" "), String::new())
}
