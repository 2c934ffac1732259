//! Recurrent layers taken for others. The checkpoint is TensorFlow's own: `tests/fixtures/layers/model`.

use std::path::Path;

use tfckpt::map::{
    ForgetBias, GruCell, Layer, LstmCell, Mapping, NameMap, Plan, RecurrentLayer, RnnCell, Rule, Target,
};
use tfckpt::{Checkpoint, DType};

use crate::refused;

const KERAS: LstmCell = LstmCell::Keras;

fn checkpoint() -> Checkpoint {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/layers/model");
    Checkpoint::open(root).unwrap()
}

/// A layer of so many gates, `l`, as Candle and PyTorch have it.
fn parameters(gates: usize, input: usize, hidden: usize, fields: &[&str]) -> Vec<(String, Vec<usize>)> {
    let width = gates * hidden;
    let dims = |field: &str| match field.split('_').nth(1) {
        _ if field.starts_with("bias") => vec![width],
        Some("ih") => vec![width, input],
        _ => vec![width, hidden],
    };
    let parameter = |field: &&str| (format!("l.{field}"), dims(field));
    fields.iter().map(parameter).collect()
}

const BIASED: [&str; 4] = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"];

/// What is said; the report, if all is well.
fn told(names: &NameMap, parameters: &[(String, Vec<usize>)]) -> String {
    let load = || -> tfckpt::Result<String> {
        let kinds: Vec<(&str, Layer)> = parameters
            .iter()
            .map(|(path, _)| (path.as_str(), Layer::Other))
            .collect();
        names.check(&kinds)?;
        let checkpoint = checkpoint();
        let mut targets = Vec::new();
        for layer in RecurrentLayer::all(parameters) {
            let Some(compound) = layer.compound(names)? else {
                continue;
            };
            compound.check(&checkpoint)?;
            targets.extend(
                compound
                    .members
                    .iter()
                    .zip(&layer.parameters)
                    .map(|(member, parameter)| Target {
                        path: member.path.clone(),
                        names: member.names.clone(),
                        dtypes: vec![DType::Float32],
                        shape: parameter.dims.clone(),
                        recipes: member.recipes.clone(),
                        how: member.how.clone(),
                        ..Target::default()
                    }),
            );
        }
        let plan = Plan::new(&checkpoint, &targets)?;
        plan.verify(&checkpoint)?;
        Ok(format!("{:#}", plan.report()))
    };
    load().unwrap_or_else(|error| format!("refused: {error}"))
}

/// An LSTM or GRU whose names are those of its layer and cell in a scope.
fn taken(layer: Layer, scope: &str, input: usize, hidden: usize) -> String {
    let names = NameMap::keras().rules([Rule::scope("l", scope).unwrap().layer(layer)]);
    let gates = match layer {
        Layer::Lstm { .. } => 4,
        Layer::Gru { .. } => 3,
        _ => 1,
    };
    told(&names, &parameters(gates, input, hidden, &BIASED))
}

fn lstm(cell: LstmCell) -> Layer {
    Layer::Lstm { cell }
}

fn gru(cell: GruCell) -> Layer {
    Layer::Gru { cell }
}

/// The same by a mapping, whose rules are these.
fn mapped(rules: &str, parameters: &[(String, Vec<usize>)]) -> String {
    match Mapping::from_json(&format!("{{ \"rules\": [{rules}] }}")) {
        Ok(mapping) => told(&NameMap::from(mapping), parameters),
        Err(error) => format!("refused: {error}"),
    }
}

#[test]
fn the_right_cells_are_taken_and_the_report_says_which() {
    let old = ForgetBias::default();
    let cases = [
        (lstm(KERAS), "square_lstm", "as the LSTM of Keras, gates i, f, c, o"),
        (
            lstm(LstmCell::Basic(old)),
            "square_basic_lstm",
            "as BasicLSTMCell, gates i, c, f, o, forget bias 1",
        ),
        (
            lstm(LstmCell::Tf1(old)),
            "square_block_lstm",
            "as LSTMCell or LSTMBlockCell, gates i, c, f, o, forget bias 1",
        ),
        (
            gru(GruCell::Keras),
            "square_gru",
            "as the GRU of Keras with reset_after, gates z, r, h",
        ),
    ];
    for (layer, scope, how) in cases {
        let told = taken(layer, scope, 8, 8);
        assert!(told.starts_with("4 loaded") && told.contains(how), "{told}");
    }
}

#[test]
fn another_order_of_gates_is_refused() {
    // 46 to 50. All kernels are of square layers, where as little as can be tells them apart.
    let old = ForgetBias::default();
    let told = taken(lstm(LstmCell::Tf1(old)), "square_lstm", 8, 8);
    refused(
        &told,
        &[
            "`square_lstm/lstm_cell/kernel` [8, 32]",
            "layer of Keras",
            "another order",
        ],
    );
    let told = taken(lstm(LstmCell::Basic(old)), "square_lstm", 8, 8);
    refused(
        &told,
        &[
            "`square_lstm/basic_lstm_cell/kernel`",
            "nearest: `square_lstm/lstm_cell/kernel`",
        ],
    );
    let told = taken(lstm(KERAS), "square_basic_lstm", 8, 8);
    refused(
        &told,
        &[
            "`square_basic_lstm/lstm_cell/kernel`",
            "nearest: `square_basic_lstm/basic_lstm_cell/kernel`",
        ],
    );
    let told = taken(lstm(KERAS), "square_block_lstm", 8, 8);
    refused(
        &told,
        &[
            "`square_block_lstm/lstm_cell/kernel` [16, 32]",
            "cell of TensorFlow 1",
            "another order",
        ],
    );
    let told = taken(lstm(LstmCell::Tf1(old)), "square_basic_lstm", 8, 8);
    refused(&told, &["nearest: `square_basic_lstm/basic_lstm_cell/kernel`"]);
}

#[test]
fn another_formula_is_refused() {
    // 51 to 58.
    refused(
        &taken(gru(GruCell::KerasBefore), "square_gru", 8, 8),
        &[
            "`square_gru/gru_cell/bias` [2, 24]",
            "reset_after=True",
            "GruCell::Keras`",
        ],
    );
    refused(
        &taken(gru(GruCell::Keras), "gru_before", 7, 11),
        &[
            "`gru_before/gru_cell/bias` [33]",
            "reset_after=False",
            "GruCell::KerasBefore",
        ],
    );
    refused(
        &taken(gru(GruCell::Keras), "old_gru_cell", 7, 11),
        &["`old_gru_cell/gru_cell/gates/kernel`", "cell of TensorFlow 1"],
    );
    refused(
        &taken(gru(GruCell::Tf1), "square_gru", 8, 8),
        &["`square_gru/gru_cell/kernel` [8, 24]", "layer of Keras"],
    );
    refused(
        &taken(gru(GruCell::Keras), "square_lstm", 8, 8),
        &["square_lstm/gru_cell/kernel", "square_lstm/lstm_cell"],
    );
    refused(
        &taken(Layer::Rnn { cell: RnnCell::Tf1 }, "rnn", 7, 11),
        &["rnn/basic_rnn_cell/kernel"],
    );
    // Fewer biases than the cell has.
    let names = |layer| NameMap::keras().rules([Rule::scope("l", "square_basic_lstm").unwrap().layer(layer)]);
    let old = lstm(LstmCell::Basic(ForgetBias::default()));
    refused(
        &told(&names(old), &parameters(4, 8, 8, &BIASED[..2])),
        &["needs both of its biases"],
    );
    let names = NameMap::keras().rules([Rule::scope("l", "square_lstm").unwrap()]);
    refused(
        &told(&names, &parameters(4, 8, 8, &BIASED[..2])),
        &["`square_lstm/lstm_cell/bias`", "no biases"],
    );
}

#[test]
fn rules_for_the_variables_of_a_layer_are_held_to_its_cell() {
    // 59 to 68.
    let four = parameters(4, 8, 8, &BIASED);
    let rule = |cell: &str, variables: &str| {
        format!(r#"{{ "path": "l", "layer": "lstm", "cell": "{cell}", "variables": {{ {variables} }} }}"#)
    };
    let keras =
        r#""kernel": "square_lstm/lstm_cell/kernel", "recurrent_kernel": "square_lstm/lstm_cell/recurrent_kernel""#;
    let bias = r#""bias": "square_lstm/lstm_cell/bias""#;
    let right = mapped(&rule("keras", &format!("{keras}, {bias}")), &four);
    assert!(right.starts_with("4 loaded"), "{right}");
    refused(
        &mapped(&rule("block_lstm", &format!("{keras}, {bias}")), &four),
        &["no such variable", "`kernel`, `bias`"],
    );
    let kernel = r#""kernel": "square_lstm/lstm_cell/kernel""#;
    refused(
        &mapped(&rule("block_lstm", &format!("{kernel}, {bias}")), &four),
        &["`square_lstm/lstm_cell/kernel` [8, 32]", "layer of Keras"],
    );
    let old = r#""kernel": "square_block_lstm/lstm_cell/kernel", "recurrent_kernel": "square_lstm/lstm_cell/recurrent_kernel""#;
    refused(
        &mapped(&rule("keras", &format!("{old}, {bias}")), &four),
        &["`square_block_lstm/lstm_cell/kernel` [16, 32]", "cell of TensorFlow 1"],
    );
    refused(&mapped(&rule("keras", keras), &four), &["no name for `bias` of `l`"]);
    refused(
        &mapped(&rule("keras", &format!("{keras}, {bias}")), &four[..2]),
        &["names `bias`", "`l` does not have"],
    );
    let same = keras.replace("recurrent_kernel\"\"", "");
    let same = same.replace("lstm_cell/recurrent_kernel", "lstm_cell/kernel");
    refused(
        &mapped(&rule("keras", &format!("{same}, {bias}")), &four),
        &["is another variable of the layer already"],
    );
    let other = r#"{ "path": "m", "variable": "square_lstm/lstm_cell/bias" }"#;
    let mut five = four.clone();
    five.push(("m".to_owned(), vec![32]));
    refused(
        &mapped(
            &format!("{}, {other}", rule("keras", &format!("{keras}, {bias}"))),
            &five,
        ),
        &["`m` and `l`", "`square_lstm/lstm_cell/bias`"],
    );
    refused(&mapped(&rule("peephole", kernel), &four), &["no cell `peephole`"]);
    refused(
        &mapped(
            r#"{ "path": "l.weight_ih_l0", "variable": "square_lstm/lstm_cell/kernel", "transpose": [1, 0] }"#,
            &four,
        ),
        &["`l.weight_ih_l0` has a name of its own", "`l.weight_hh_l0`"],
    );
    // One direction of two.
    let mut both = four.clone();
    both.extend(
        four.iter()
            .map(|(path, dims)| (format!("{path}_reverse"), dims.clone())),
    );
    let forward = format!("{keras}, {bias}").replace(r#""kernel":"#, r#""forward/kernel":"#);
    let forward = forward
        .replace(r#""recurrent_k"#, r#""forward/recurrent_k"#)
        .replace(r#""bias":"#, r#""forward/bias":"#);
    refused(
        &mapped(&rule("keras", &forward), &both),
        &["no name for `backward/kernel`", "`backward/bias`"],
    );
}

/// What no name and no shape tells; `docs/mapping.md` has this list.
#[test]
fn what_nobody_can_see_of_recurrent_layers() {
    // The forget bias is added when the cell runs, and nowhere in the file. The report says which was taken.
    let told = taken(lstm(LstmCell::Basic(ForgetBias::new(0.0))), "square_basic_lstm", 8, 8);
    assert!(told.starts_with("4 loaded") && told.contains("forget bias 0"), "{told}");

    // Gates that were stored in an order of their own, or are taken in another one by rules for parts: all have one shape.
    let gate = |part: usize, gate: &str| {
        format!(
            r#"{{ "path": "{gate}", "variable": "square_basic_lstm/basic_lstm_cell/bias", "axis": 0, "part": {part}, "of": 4 }}"#
        )
    };
    let swapped = [gate(0, "i"), gate(1, "f"), gate(2, "c"), gate(3, "o")].join(", ");
    let names = NameMap::from(Mapping::from_json(&format!("{{ \"rules\": [{swapped}] }}")).unwrap());
    let target = |path: &str| {
        let compound = names
            .compound(path, &[8], Layer::Other, tfckpt::map::DenseOrder::OutIn)
            .unwrap();
        let member = compound.member(path).unwrap().clone();
        Target {
            path: path.to_owned(),
            dtypes: vec![DType::Float32],
            shape: vec![8],
            recipes: member.recipes,
            how: member.how,
            ..Target::default()
        }
    };
    let plan = Plan::new(&checkpoint(), &["i", "f", "c", "o"].map(target)).unwrap();
    let told = format!("{:#}", plan.report());
    assert!(
        told.contains("`f` from `square_basic_lstm/basic_lstm_cell/bias`, part 1 of 4 along axis 0"),
        "{told}"
    );

    // Without biases a GRU has the same variables with `reset_after` and without.
    let kernels =
        r#""kernel": "square_gru/gru_cell/kernel", "recurrent_kernel": "square_gru/gru_cell/recurrent_kernel""#;
    let rule = |reset_after: bool| {
        format!(r#"{{ "path": "l", "layer": "gru", "reset_after": {reset_after}, "variables": {{ {kernels} }} }}"#)
    };
    let two = parameters(3, 8, 8, &BIASED[..2]);
    for (reset_after, word) in [(true, "with reset_after"), (false, "without reset_after")] {
        let told = mapped(&rule(reset_after), &two);
        assert!(told.starts_with("2 loaded") && told.contains(word), "{told}");
    }

    // Which direction is which, where a rule names them.
    let named = |scope: &str, direction: &str| {
        let leaves = ["kernel", "recurrent_kernel", "bias"];
        leaves
            .map(|leaf| format!(r#""{direction}/{leaf}": "bi_lstm/{scope}_lstm/lstm_cell/{leaf}""#))
            .join(", ")
    };
    let mut both = parameters(4, 7, 11, &BIASED);
    both.extend(
        both.clone()
            .into_iter()
            .map(|(path, dims)| (format!("{path}_reverse"), dims)),
    );
    let swapped = format!("{}, {}", named("backward", "forward"), named("forward", "backward"));
    let told = mapped(
        &format!(r#"{{ "path": "l", "layer": "lstm", "variables": {{ {swapped} }} }}"#),
        &both,
    );
    assert!(told.starts_with("8 loaded"), "{told}");
    assert!(
        told.contains("`l.weight_ih_l0` from `bi_lstm/backward_lstm/lstm_cell/kernel`"),
        "{told}"
    );
}
