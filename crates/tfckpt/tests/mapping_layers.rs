//! Mappings of layers that are made of several variables: there and back with what TensorFlow wrote, under names that no
//! preset knows. And parts of variables by rules, and casts of what is made.

#[path = "mapping_layers/casts.rs"]
mod casts;
#[path = "mapping_layers/drafts.rs"]
mod drafts;
#[path = "support/mappings.rs"]
mod mappings;
#[path = "mapping_layers/parts.rs"]
mod parts;
#[cfg(feature = "toml")]
#[path = "mapping_layers/toml.rs"]
mod toml;

use std::collections::BTreeMap;
use std::path::Path;

use mappings::{contents, renamed};
use tfckpt::map::{
    Casts, Compound, DenseOrder, Filling, Ingredient, Layer, Mapping, NameMap, Plan, RecurrentLayer, Rule, Target,
};
use tfckpt::{Checkpoint, DType, Error, MappingFault, Saver, Variable};

type Shapes = Vec<(String, Vec<usize>)>;
type Values = BTreeMap<String, (DType, Vec<u8>)>;

/// What the parameters are made of.
fn compounds(names: &NameMap, parameters: &Shapes) -> tfckpt::Result<Vec<Compound>> {
    let kinds: Vec<(&str, Layer)> = parameters
        .iter()
        .map(|(path, _)| (path.as_str(), Layer::Other))
        .collect();
    names.check(&kinds)?;
    let layers = RecurrentLayer::all(parameters);
    let recurrent = layers.iter().map(|layer| layer.compound(names));
    let mut all: Vec<Compound> = recurrent.filter_map(Result::transpose).collect::<tfckpt::Result<_>>()?;
    for (path, dims) in parameters {
        if all.iter().all(|compound| compound.member(path).is_none()) {
            all.extend(names.compound(path, dims, Layer::Other, DenseOrder::OutIn));
        }
    }
    Ok(all)
}

fn loaded(
    names: &NameMap,
    checkpoint: &Checkpoint,
    parameters: &Shapes,
    own: DType,
) -> tfckpt::Result<(Values, String)> {
    let compounds = compounds(names, parameters)?;
    compounds.iter().try_for_each(|compound| compound.check(checkpoint))?;
    let target = |(path, dims): &(String, Vec<usize>)| {
        let member = compounds.iter().find_map(|compound| compound.member(path));
        let member = member.expect("all are made").clone();
        Target {
            path: path.clone(),
            names: member.names,
            dtypes: names.accepts(own, &[DType::Float8E5m2]),
            shape: dims.clone(),
            recipes: member.recipes,
            how: member.how,
            ..Target::default()
        }
    };
    let targets: Vec<Target> = parameters.iter().map(target).collect();
    let plan = Plan::new(checkpoint, &targets)?;
    plan.verify(checkpoint)?;
    let report = format!("{:#}", plan.report());
    let read = |filling: &Filling<'_>| {
        let path = targets[filling.target()].path.clone();
        Ok::<_, Error>((path, (filling.dtype(), filling.read::<u8>()?)))
    };
    let values = plan.carry_out(checkpoint, read)?.into_iter().collect();
    Ok((values, report))
}

fn saved(names: &NameMap, dir: &Path, parameters: &Shapes, values: &Values) -> tfckpt::Result<Checkpoint> {
    let find = |path: &str| {
        let (_, dims) = parameters.iter().find(|(own, _)| own == path)?;
        let (dtype, bytes) = values.get(path)?;
        let ingredient = Ingredient::new(*dtype, dims.clone(), move |sink| sink(bytes));
        Some(match names.stored_dtype(path) {
            Some(stored) => ingredient.stored_as(stored),
            None => ingredient,
        })
    };
    let mut variables: Vec<Variable<'_>> = Vec::new();
    for compound in compounds(names, parameters)? {
        for variable in compound.variables(&find)? {
            if variables.iter().all(|other| other.key() != variable.key()) {
                variables.push(variable);
            }
        }
    }
    Saver::new(dir).save(variables, 1)?;
    Checkpoint::open(dir)
}

fn shapes(parameters: &[(&str, &[usize])]) -> Shapes {
    let owned = parameters
        .iter()
        .map(|(path, dims)| ((*path).to_owned(), dims.to_vec()));
    owned.collect()
}

/// As Candle and PyTorch have it.
fn pytorch(layer: &str, gates: usize, input: usize, hidden: usize) -> Shapes {
    let width = gates * hidden;
    shapes(&[
        (&format!("{layer}.weight_ih_l0"), &[width, input]),
        (&format!("{layer}.weight_hh_l0"), &[width, hidden]),
        (&format!("{layer}.bias_ih_l0"), &[width]),
        (&format!("{layer}.bias_hh_l0"), &[width]),
    ])
}

/// As Burn has it, gate by gate.
fn burn(layer: &str, gates: &[&str], input: usize, hidden: usize) -> Shapes {
    let of_gate = |gate: &&str| {
        shapes(&[
            (&format!("{layer}.{gate}.input_transform.weight"), &[input, hidden]),
            (&format!("{layer}.{gate}.input_transform.bias"), &[hidden]),
            (&format!("{layer}.{gate}.hidden_transform.weight"), &[hidden, hidden]),
            (&format!("{layer}.{gate}.hidden_transform.bias"), &[hidden]),
        ])
    };
    gates.iter().flat_map(of_gate).collect()
}

const LSTM_GATES: [&str; 4] = ["input_gate", "forget_gate", "output_gate", "cell_gate"];
const GRU_GATES: [&str; 3] = ["update_gate", "reset_gate", "new_gate"];

/// Each kind of cell: the variables under odd names, the rule, and the parameters.
struct Case {
    variables: Vec<(&'static str, &'static str)>,
    rule: &'static str,
    parameters: Vec<Shapes>,
    how: &'static str,
}

fn cases() -> Vec<Case> {
    let mut both = pytorch("l", 4, 7, 11);
    both.extend(
        both.clone()
            .into_iter()
            .map(|(path, dims)| (format!("{path}_reverse"), dims)),
    );
    let mut bi = burn("l.forward", &LSTM_GATES, 7, 11);
    bi.extend(burn("l.reverse", &LSTM_GATES, 7, 11));
    vec![
        Case {
            variables: vec![
                ("lstm/lstm_cell/kernel", "enc/Wx"),
                ("lstm/lstm_cell/recurrent_kernel", "enc/Wh"),
                ("lstm/lstm_cell/bias", "enc/b"),
            ],
            rule: r#"{ "path": "l", "layer": "lstm", "variables": { "kernel": "enc/Wx", "recurrent_kernel": "enc/Wh", "bias": "enc/b" } }"#,
            parameters: vec![pytorch("l", 4, 7, 11), burn("l", &LSTM_GATES, 7, 11)],
            how: "as the LSTM of Keras, gates i, f, c, o",
        },
        Case {
            variables: vec![
                ("square_basic_lstm/basic_lstm_cell/kernel", "W"),
                ("square_basic_lstm/basic_lstm_cell/bias", "b"),
            ],
            rule: r#"{ "path": "l", "layer": "lstm", "cell": "basic_lstm_cell", "variables": { "kernel": "W", "bias": "b" } }"#,
            parameters: vec![pytorch("l", 4, 8, 8), burn("l", &LSTM_GATES, 8, 8)],
            how: "as BasicLSTMCell, gates i, c, f, o, forget bias 1",
        },
        Case {
            variables: vec![
                ("half_lstm/lstm_cell/kernel", "x/W"),
                ("half_lstm/lstm_cell/bias", "x/b"),
            ],
            rule: r#"{ "path": "l", "layer": "lstm", "cell": "block_lstm", "forget_bias": 0.5, "variables": { "kernel": "x/W", "bias": "x/b" } }"#,
            parameters: vec![pytorch("l", 4, 7, 11), burn("l", &LSTM_GATES, 7, 11)],
            how: "forget bias 0.5",
        },
        Case {
            variables: vec![
                ("gru/gru_cell/kernel", "g/0"),
                ("gru/gru_cell/recurrent_kernel", "g/1"),
                ("gru/gru_cell/bias", "g/2"),
            ],
            rule: r#"{ "path": "l", "layer": "gru", "reset_after": true, "variables": { "kernel": "g/0", "recurrent_kernel": "g/1", "bias": "g/2" } }"#,
            parameters: vec![pytorch("l", 3, 7, 11), burn("l", &GRU_GATES, 7, 11)],
            how: "as the GRU of Keras with reset_after, gates z, r, h",
        },
        Case {
            variables: vec![
                ("old_gru_cell/gru_cell/gates/kernel", "g/a"),
                ("old_gru_cell/gru_cell/gates/bias", "g/b"),
                ("old_gru_cell/gru_cell/candidate/kernel", "g/c"),
                ("old_gru_cell/gru_cell/candidate/bias", "g/d"),
            ],
            rule: r#"{ "path": "l", "layer": "gru", "cell": "gru_cell", "variables": {
                "gates/kernel": "g/a", "gates/bias": "g/b", "candidate/kernel": "g/c", "candidate/bias": "g/d" } }"#,
            parameters: vec![burn("l", &GRU_GATES, 7, 11)],
            how: "as GRUCell, gates r, z and h",
        },
        Case {
            variables: vec![
                ("rnn/simple_rnn_cell/kernel", "r/k"),
                ("rnn/simple_rnn_cell/recurrent_kernel", "r/r"),
                ("rnn/simple_rnn_cell/bias", "r/b"),
            ],
            rule: r#"{ "path": "l", "layer": "simple_rnn", "variables": { "kernel": "r/k", "recurrent_kernel": "r/r", "bias": "r/b" } }"#,
            parameters: vec![burn("l", &["gate"], 7, 11), pytorch("l", 1, 7, 11)],
            how: "as the SimpleRNN of Keras",
        },
        Case {
            variables: vec![
                ("bi_lstm/forward_lstm/lstm_cell/kernel", "f/k"),
                ("bi_lstm/forward_lstm/lstm_cell/recurrent_kernel", "f/r"),
                ("bi_lstm/forward_lstm/lstm_cell/bias", "f/b"),
                ("bi_lstm/backward_lstm/lstm_cell/kernel", "b/k"),
                ("bi_lstm/backward_lstm/lstm_cell/recurrent_kernel", "b/r"),
                ("bi_lstm/backward_lstm/lstm_cell/bias", "b/b"),
            ],
            rule: r#"{ "path": "l", "layer": "lstm", "variables": {
                "forward/kernel": "f/k", "forward/recurrent_kernel": "f/r", "forward/bias": "f/b",
                "backward/kernel": "b/k", "backward/recurrent_kernel": "b/r", "backward/bias": "b/b" } }"#,
            parameters: vec![both, bi],
            how: "as the LSTM of Keras, gates i, f, c, o",
        },
    ]
}

#[test]
fn layers_under_any_names_come_and_go_byte_for_byte() {
    for case in cases() {
        let dir = tempfile::tempdir().unwrap();
        let original = renamed(dir.path(), &case.variables);
        let text = format!("{{ \"rules\": [{}] }}", case.rule);
        let mapping = Mapping::from_json(&text).unwrap();
        assert_eq!(Mapping::from_json(&mapping.to_json()).unwrap(), mapping);
        let names = NameMap::from(mapping);
        for parameters in &case.parameters {
            let (values, report) = loaded(&names, &original, parameters, DType::Float32).unwrap();
            assert!(
                report.contains(case.how) && report.contains("0 missing, 0 mismatched"),
                "{report}"
            );
            let back = tempfile::tempdir().unwrap();
            let again = saved(&names, back.path(), parameters, &values).unwrap();
            assert_eq!(contents(&again), contents(&original), "{}", case.rule);

            // Two biases that moved are kept beside their sum, and read again.
            let mut moved = values.clone();
            let second = parameters
                .iter()
                .map(|(path, _)| path)
                .find(|path| path.contains("bias_hh") || path.ends_with("hidden_transform.bias"));
            let (_, bytes) = moved.get_mut(second.unwrap()).unwrap();
            bytes[..4].copy_from_slice(&2.5f32.to_le_bytes());
            let back = tempfile::tempdir().unwrap();
            let again = saved(&names, back.path(), parameters, &moved).unwrap();
            assert_eq!(loaded(&names, &again, parameters, DType::Float32).unwrap().0, moved);
        }
    }
}

#[test]
fn what_the_preset_takes_and_what_a_mapping_takes_is_the_same() {
    let parameters = pytorch("square_basic_lstm", 4, 8, 8);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/layers/model");
    let model = Checkpoint::open(root).unwrap();
    let cell = tfckpt::map::LstmCell::Basic(tfckpt::map::ForgetBias::new(1.0));
    let preset = NameMap::keras().with_layer("square_basic_lstm", Layer::Lstm { cell });
    let (right, _) = loaded(&preset, &model, &parameters, DType::Float32).unwrap();
    let rule = r#"{ "rules": [{ "path": "{l:*}", "layer": "lstm", "cell": "basic_lstm_cell",
        "variables": { "kernel": "{l}/basic_lstm_cell/kernel", "bias": "{l}/basic_lstm_cell/bias" } }] }"#;
    let names = NameMap::from(Mapping::from_json(rule).unwrap());
    assert_eq!(loaded(&names, &model, &parameters, DType::Float32).unwrap().0, right);
    // In the scope of the whole, and without the scope of the model.
    let rule = r#"{ "scope": "square_basic_lstm", "model_scope": "m", "rules": [{ "path": "l", "layer": "lstm",
        "cell": "basic_lstm_cell", "variables": { "kernel": "basic_lstm_cell/kernel", "bias": "basic_lstm_cell/bias" } }] }"#;
    let names = NameMap::from(Mapping::from_json(rule).unwrap());
    let (values, _) = loaded(&names, &model, &pytorch("m.l", 4, 8, 8), DType::Float32).unwrap();
    let values: Vec<_> = values.into_values().collect();
    assert_eq!(values, right.into_values().collect::<Vec<_>>());
}

#[test]
fn parameters_of_a_cell_may_be_named_one_by_one_instead() {
    let dir = tempfile::tempdir().unwrap();
    let original = renamed(
        dir.path(),
        &[
            ("lstm/lstm_cell/kernel", "k"),
            ("lstm/lstm_cell/recurrent_kernel", "r"),
            ("lstm/lstm_cell/bias", "b"),
        ],
    );
    let rules = r#"{ "rules": [
        { "path": "l.weight_ih_l0", "variable": "k", "transpose": [1, 0] },
        { "path": "l.weight_hh_l0", "variable": "r", "transpose": [1, 0] },
        { "path": "l.bias_ih_l0", "variable": "b", "transpose": [0] },
        { "path": "l.bias_hh_l0", "constant": 0 }
    ] }"#;
    let names = NameMap::from(Mapping::from_json(rules).unwrap());
    let parameters = pytorch("l", 4, 7, 11);
    let (values, report) = loaded(&names, &original, &parameters, DType::Float32).unwrap();
    assert!(
        report.contains("`l.bias_hh_l0` from no variable, 0 everywhere"),
        "{report}"
    );
    let back = tempfile::tempdir().unwrap();
    let again = saved(&names, back.path(), &parameters, &values).unwrap();
    assert_eq!(contents(&again), contents(&original));
}

#[test]
fn what_a_rule_for_a_layer_lacks_is_told() {
    let faults = |rules: &str, parameters: &Shapes| {
        let mapping = Mapping::from_json(&format!("{{ \"rules\": [{rules}] }}")).unwrap();
        let kinds: Vec<(&str, Layer)> = parameters
            .iter()
            .map(|(path, _)| (path.as_str(), Layer::Other))
            .collect();
        match mapping.check(&kinds) {
            Ok(()) => Vec::new(),
            Err(Error::Mapping { faults }) => faults,
            Err(error) => panic!("{error}"),
        }
    };
    let attention: Shapes = ["query", "key", "value", "output"]
        .iter()
        .flat_map(|part| {
            shapes(&[
                (&format!("a.{part}.weight"), &[6, 6]),
                (&format!("a.{part}.bias"), &[6]),
            ])
        })
        .collect();
    let leaves = ["query", "key", "value", "attention_output"];
    let named: Vec<String> = leaves
        .iter()
        .flat_map(|part| ["kernel", "bias"].map(|leaf| format!(r#""{part}/{leaf}": "{part}_{leaf}""#)))
        .collect();
    let rule = |named: &[String]| {
        let named = named.join(", ");
        format!(r#"{{ "path": "a", "layer": "multi_head_attention", "heads": 2, "variables": {{ {named} }} }}"#)
    };
    assert!(faults(&rule(&named), &attention).is_empty());
    assert!(matches!(
        faults(&rule(&named[1..]), &attention).as_slice(),
        [MappingFault::Unnamed { variable, .. }] if variable == "a.query.weight"
    ));
    let names = NameMap::from(Mapping::from_json(&format!("{{ \"rules\": [{}] }}", rule(&named))).unwrap());
    assert_eq!(
        names.names("a.output.weight", Layer::Dense),
        ["attention_output_kernel"]
    );
    assert_eq!(
        names
            .layout("a.query.weight", Layer::Dense, DenseOrder::InOut)
            .stored_shape(&[6, 6])
            .unwrap()
            .dims(),
        [6, 2, 3]
    );
    // Of no use: another layer is called so.
    let lstm =
        r#"{ "path": "m", "layer": "lstm", "variables": { "kernel": "k", "recurrent_kernel": "r", "bias": "b" } }"#;
    assert!(matches!(
        faults(lstm, &pytorch("l", 4, 2, 3)).as_slice(),
        [MappingFault::Unused { rule }] if rule.contains("\"m\"")
    ));
    // A layer that is on top of another one has its number in its path.
    let mut stacked = pytorch("l", 4, 2, 3);
    stacked.extend(
        pytorch("l", 4, 3, 3)
            .into_iter()
            .map(|(path, dims)| (path.replace("_l0", "_l1"), dims)),
    );
    let second = lstm.replace("\"m\"", "\"l_1\"");
    assert!(faults(&second, &stacked).is_empty());
    let twice = format!("{second}, {}", second.replace("l_1", "l"));
    assert!(matches!(
        faults(&twice, &stacked).first(),
        Some(MappingFault::Collision { variable, .. }) if variable == "k" || variable == "b"
    ));
}
