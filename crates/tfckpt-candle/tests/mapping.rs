//! Mapping files in Candle: loaded, computed, saved back byte for byte, and refused.

#[path = "../../tfckpt/tests/support/mappings.rs"]
mod mappings;

use std::path::Path;

use candle_core::{DType, Device, Module, Tensor};
use candle_nn::{LSTMConfig, Linear, Optimizer, RNN, VarBuilder, VarMap};
use mappings::{contents, layers, names, renamed};
use tfckpt::map::{Casts, NameMap};
use tfckpt::{Checkpoint, Saver, Variable};
use tfckpt_candle::{Import, ParamsAdam, Run, Variables, recording};

type Test<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn saved(variables: &Variables) -> Test<(tempfile::TempDir, Checkpoint)> {
    let dir = tempfile::tempdir()?;
    Saver::new(dir.path()).save(variables.to_save()?, 1)?;
    let checkpoint = Checkpoint::open(dir.path())?;
    Ok((dir, checkpoint))
}

fn array(name: &str) -> Test<Tensor> {
    let cases = layers("cases");
    let dims = cases.variable(name)?.shape().dims().to_vec();
    Ok(Tensor::from_vec(cases.read::<f32>(name)?, dims, &Device::Cpu)?)
}

/// How far the outputs of an LSTM are from TensorFlow's, relative to the largest number of them.
fn difference(lstm: &candle_nn::LSTM, name: &str) -> Test<f64> {
    let states = lstm.seq(&array(&format!("{name}/x"))?)?;
    let outputs: Vec<Tensor> = states.iter().map(|state| state.h().clone()).collect();
    let (ours, theirs) = (Tensor::stack(&outputs, 1)?, array(&format!("{name}/y"))?);
    let largest = theirs.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
    let off = (ours.to_dtype(DType::F32)? - theirs)?
        .abs()?
        .flatten_all()?
        .max(0)?
        .to_scalar::<f32>()?;
    Ok(f64::from(off / largest))
}

const BASIC: [(&str, &str); 2] = [
    ("square_basic_lstm/basic_lstm_cell/kernel", "enc/W"),
    ("square_basic_lstm/basic_lstm_cell/bias", "enc/b"),
];

const RULE: &str = r#"{ "path": "rnn", "layer": "lstm", "cell": "basic_lstm_cell", "variables": { "kernel": "enc/W", "bias": "enc/b" } }"#;

fn lstm(vb: &VarBuilder<'_>) -> candle_core::Result<candle_nn::LSTM> {
    candle_nn::lstm(8, 8, LSTMConfig::default(), vb.pp("rnn"))
}

#[test]
fn an_lstm_under_any_names_computes_what_tensorflow_computed_and_comes_back() -> Test {
    let dir = tempfile::tempdir()?;
    let checkpoint = renamed(dir.path(), &BASIC);
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    let model = lstm(&vb)?;
    let before = difference(&model, "square_basic_lstm")?;
    assert!(before.is_nan() || before > 1e-3, "it is another layer before");
    let variables = Variables::new(&varmap).layers(&layers).names(names(RULE));
    let report = format!("{:#}", variables.restore(&checkpoint)?);
    assert!(
        report.contains("`rnn.weight_ih_l0` from `enc/W`, as BasicLSTMCell, gates i, c, f, o, forget bias 1"),
        "{report}"
    );
    assert!(difference(&model, "square_basic_lstm")? < 1e-5);
    assert_eq!(contents(&saved(&variables)?.1), contents(&checkpoint));

    // Built from the checkpoint it is the same.
    let path = dir.path().join("again");
    renamed(&path, &BASIC);
    let again = || Checkpoint::open(&path).unwrap();
    let import = Import::new(again(), names(RULE));
    let built = lstm(&import.var_builder(DType::F32, &Device::Cpu))?;
    assert!(difference(&built, "square_basic_lstm")? < 1e-5);
    import.check()?;
    assert_eq!(import.report().unused, [""; 0]);

    for (rule, words) in [
        (
            r#"{ "path": "rnn", "layer": "lstm", "variables": { "kernel": "enc/W", "recurrent_kernel": "enc/W2", "bias": "enc/b" } }"#,
            ["`enc/W` [16, 32]", "cell of TensorFlow 1"],
        ),
        (
            r#"{ "path": "rnn", "layer": "lstm", "cell": "basic_lstm_cell", "variables": { "kernel": "enc/W" } }"#,
            ["no name for `bias`", "`rnn`"],
        ),
        (
            r#"{ "path": "rnn.weight_ih_l0", "variable": "enc/W" }"#,
            ["`rnn.weight_ih_l0` has a name of its own", "Rule::variables"],
        ),
        (
            r#"{ "path": "rnn", "layer": "gru", "cell": "gru_cell", "variables": { "gates/kernel": "enc/W", "gates/bias": "enc/b",
                "candidate/kernel": "c", "candidate/bias": "d" } }"#,
            ["rnn", "resets the state"],
        ),
    ] {
        let error = variables
            .clone()
            .names(names(rule))
            .restore(&checkpoint)
            .unwrap_err()
            .to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        let import = Import::new(again(), names(rule));
        assert!(lstm(&import.var_builder(DType::F32, &Device::Cpu)).is_err(), "{rule}");
    }
    assert!(difference(&model, "square_basic_lstm")? < 1e-5, "nothing was loaded");
    Ok(())
}

#[test]
fn a_layer_on_top_of_another_one_is_named_by_its_number() -> Test {
    let dir = tempfile::tempdir()?;
    let all = [
        BASIC[0],
        BASIC[1],
        ("square_lstm/lstm_cell/kernel", "top/k"),
        ("square_lstm/lstm_cell/recurrent_kernel", "top/r"),
        ("square_lstm/lstm_cell/bias", "top/b"),
    ];
    let checkpoint = renamed(dir.path(), &all);
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    let config = LSTMConfig {
        layer_idx: 1,
        ..LSTMConfig::default()
    };
    let (first, second) = (lstm(&vb)?, candle_nn::lstm(8, 8, config, vb.pp("rnn"))?);
    let top = r#"{ "path": "rnn_1", "layer": "lstm", "variables": { "kernel": "top/k", "recurrent_kernel": "top/r", "bias": "top/b" } }"#;
    let variables = Variables::new(&varmap)
        .layers(&layers)
        .names(names(&format!("{RULE}, {top}")));
    variables.restore(&checkpoint)?;
    assert!(difference(&first, "square_basic_lstm")? < 1e-5 && difference(&second, "square_lstm")? < 1e-5);
    assert_eq!(contents(&saved(&variables)?.1), contents(&checkpoint));
    Ok(())
}

/// Parameters that are parts of variables, several side by side, stacked, and none.
struct Parts {
    q: Linear,
    k: Linear,
}

fn parts(vb: &VarBuilder<'_>) -> candle_core::Result<Parts> {
    candle_nn::embedding(6, 2, vb.pp("table"))?;
    vb.get_with_hints((2, 3), "stacked", candle_nn::Init::Const(0.))?;
    vb.get_with_hints(4, "scale", candle_nn::Init::Const(0.))?;
    Ok(Parts {
        q: candle_nn::linear(5, 2, vb.pp("q"))?,
        k: candle_nn::linear(5, 2, vb.pp("k"))?,
    })
}

const PARTS: &str = r#"
    { "path": "q.weight", "variable": "qk/w", "layer": "dense", "axis": 1, "part": 0, "of": 2 },
    { "path": "k.weight", "variable": "qk/w", "layer": "dense", "axis": 1, "part": 1, "of": 2 },
    { "path": "{p:q|k}.bias", "variable": "{p}_b" },
    { "path": "table.weight", "variables": ["t/part_0", "t/part_1"], "axis": 0 },
    { "path": "stacked", "variables": ["a", "b", "c"], "axis": 1, "stack": true },
    { "path": "scale", "constant": 1 }"#;

fn parts_in_tensorflow(dir: &Path) -> Checkpoint {
    let counted: Vec<f32> = (0..20).map(|i| i as f32).collect();
    let small: Vec<Vec<f32>> = (0..7u8)
        .map(|number| (0..6u8).map(|i| f32::from(number * 10 + i)).collect())
        .collect();
    let dims: [(&str, &[usize]); 7] = [
        ("q_b", &[2]),
        ("k_b", &[2]),
        ("t/part_0", &[3, 2]),
        ("t/part_1", &[3, 2]),
        ("a", &[2]),
        ("b", &[2]),
        ("c", &[2]),
    ];
    let variables = dims
        .iter()
        .zip(&small)
        .map(|((name, dims), values)| Variable::new(*name, *dims, &values[..dims.iter().product()]));
    let all: Vec<Variable<'_>> = variables.chain([Variable::new("qk/w", [5, 4], &counted)]).collect();
    Saver::new(dir).save(all, 1).unwrap();
    Checkpoint::open(dir).unwrap()
}

#[test]
fn parts_and_several_variables_come_and_go_byte_for_byte() -> Test {
    let dir = tempfile::tempdir()?;
    let checkpoint = parts_in_tensorflow(dir.path());
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    let model = parts(&vb)?;
    let variables = Variables::new(&varmap).layers(&layers).names(names(PARTS));
    let report = format!("{:#}", variables.restore(&checkpoint)?);
    assert!(
        report.contains("`k.weight` from `qk/w`, part 1 of 2 along axis 1, transposed")
            && report.contains("`scale` from no variable, 1 everywhere")
            && report.contains("`table.weight` from `t/part_0 + t/part_1`"),
        "{report}"
    );
    let weight = model.k.weight().to_vec2::<f32>()?;
    assert_eq!(weight, [[2., 6., 10., 14., 18.], [3., 7., 11., 15., 19.]]);
    assert_eq!(contents(&saved(&variables)?.1), contents(&checkpoint));

    // Built from the checkpoint.
    let import = Import::new(parts_in_tensorflow(dir.path().join("b").as_path()), names(PARTS));
    let built = parts(&import.var_builder(DType::F32, &Device::Cpu))?;
    assert_eq!(built.k.weight().to_vec2::<f32>()?, weight);
    import.check()?;

    // Without the other part it cannot be saved.
    let alone = PARTS.replace(
        r#""variable": "qk/w", "layer": "dense", "axis": 1, "part": 1, "of": 2"#,
        r#""skip": true"#,
    );
    let error = variables
        .clone()
        .names(names(&alone))
        .to_save()
        .err()
        .map(|error| error.to_string());
    assert!(error.is_some_and(|error| error.contains("qk/w") && error.contains("part 1 of 2")));
    let three = PARTS.replace("\"of\": 2", "\"of\": 3");
    let error = variables
        .clone()
        .names(names(&three))
        .restore(&checkpoint)
        .unwrap_err()
        .to_string();
    assert!(error.contains("`q.weight` needs float32 [5, 6]"), "{error}");
    Ok(())
}

/// Weights of the words that are those of the output, too, as they are and as a dense layer has them.
#[test]
fn a_variable_that_two_parameters_share_comes_and_goes_once() -> Test {
    let dir = tempfile::tempdir()?;
    let values: Vec<f32> = (0..12u8).map(f32::from).collect();
    Saver::new(dir.path()).save([Variable::new("table", [4, 3], &values)], 1)?;
    let checkpoint = Checkpoint::open(dir.path())?;
    let turned = [r#""layer": "dense", "#, r#""transpose": [1, 0], "#];
    for rule in ["", turned[0], turned[1]] {
        let rules = format!(
            r#"{{ "path": "words.weight", "variable": "table" }},
            {{ "path": "head.weight", {rule}"variable": "table", "shared": true }}"#
        );
        let varmap = VarMap::new();
        let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
        candle_nn::embedding(4, 3, vb.pp("words"))?;
        let head = match rule {
            "" => candle_nn::embedding(4, 3, vb.pp("head"))?.embeddings().clone(),
            _ => candle_nn::linear_no_bias(4, 3, vb.pp("head"))?.weight().clone(),
        };
        let variables = Variables::new(&varmap).layers(&layers).names(names(&rules));
        variables.restore(&checkpoint)?;
        let expected = Tensor::from_vec(values.clone(), (4, 3), &Device::Cpu)?;
        let expected = if rule.is_empty() { expected } else { expected.t()? };
        assert_eq!(head.to_vec2::<f32>()?, expected.to_vec2::<f32>()?);
        if rule == turned[1] {
            // What a rule transposes is made of the variable, and of one that is made of something nothing else is.
            let error = variables
                .to_save()
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            assert!(error.contains("table"), "{error}");
            continue;
        }
        assert_eq!(contents(&saved(&variables)?.1), contents(&checkpoint));
        // Trained apart, they are one variable no more.
        let data = varmap.data().lock().unwrap();
        let held = data.get("head.weight").expect("a variable");
        held.set(&(held.as_tensor() + 1.0)?)?;
        drop(data);
        let error = variables
            .to_save()
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains("table") && error.contains("head"), "{error}");
    }
    Ok(())
}

/// What a rule says a parameter is made of is not taken from where a preset would look.
#[test]
fn a_variable_that_a_rule_names_and_that_is_not_there_is_missing() -> Test {
    let dir = tempfile::tempdir()?;
    let (kernel, bias) = ([1f32; 10], [0f32; 2]);
    let variables = [
        Variable::new("q/kernel", [5, 2], &kernel),
        Variable::new("q/bias", [2], &bias),
    ];
    Saver::new(dir.path()).save(variables, 1)?;
    for rule in [
        r#"{ "path": "q.weight", "variable": "gone", "transpose": [1, 0] }"#,
        r#"{ "path": "q.weight", "variable": "gone", "layer": "dense", "axis": 1, "part": 0, "of": 2 }"#,
        r#"{ "path": "q.weight", "variable": "gone", "layer": "dense" }"#,
    ] {
        let import = Import::new(Checkpoint::open(dir.path())?, names(rule));
        let error = candle_nn::linear(5, 2, import.var_builder(DType::F32, &Device::Cpu).pp("q"));
        let error = error.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("gone"), "{rule}: {error}");
    }
    Ok(())
}

#[test]
fn slots_of_parts_are_parts_of_slots() -> Test {
    let dir = tempfile::tempdir()?;
    let (start, run_dir) = (dir.path().join("start"), dir.path().join("run"));
    let checkpoint = parts_in_tensorflow(&start);
    let step = |model: &Parts, optimizer: &mut tfckpt_candle::Adam| -> Test {
        let x = Tensor::arange(0f32, 5., &Device::Cpu)?.reshape((1, 5))?;
        let loss = (model.q.forward(&x)? * model.k.forward(&x)?)?.sqr()?.sum_all()?;
        optimizer.backward_step(&loss)?;
        Ok(())
    };
    let train = |steps: i64| -> Test<Vec<u8>> {
        let varmap = VarMap::new();
        let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
        let model = parts(&vb)?;
        Variables::new(&varmap)
            .layers(&layers)
            .names(names(PARTS))
            .restore(&checkpoint)?;
        let mut optimizer = tfckpt_candle::Adam::new(&varmap, ParamsAdam::default())?;
        let mut run = Run::new(&run_dir, &varmap, &optimizer)
            .layers(&layers)
            .names(names(PARTS));
        for _ in run.restore_or_initialize()?..steps {
            step(&model, &mut optimizer)?;
            run.after_step()?;
        }
        run.save()?;
        let weight = model.k.weight().flatten_all()?.to_vec1::<f32>()?;
        Ok(weight.into_iter().flat_map(f32::to_le_bytes).collect())
    };
    train(2)?;
    let stopped = Checkpoint::open(&run_dir)?;
    let slots: Vec<String> = stopped
        .variables()
        .map(|info| info.name().into_owned())
        .filter(|name| name.starts_with("qk/w"))
        .collect();
    assert_eq!(slots, ["qk/w", "qk/w/Adam", "qk/w/Adam_1"]);
    assert_eq!(stopped.variable("qk/w/Adam")?.shape().dims(), [5, 4]);
    let resumed = train(4)?;
    std::fs::remove_dir_all(&run_dir)?;
    assert_eq!(resumed, train(4)?, "as if it had not been stopped");
    Ok(())
}

#[test]
fn a_recurrent_layer_is_cast_on_request_and_stored_as_it_was() -> Test {
    let dir = tempfile::tempdir()?;
    let original = renamed(dir.path().join("f32").as_path(), &BASIC);
    let variables = BASIC.map(|(_, name)| {
        // Bits of float32 that are those of bfloat16, and so in it exactly.
        let bytes = original.read_bytes(name).unwrap();
        let half: Vec<u8> = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .flat_map(|bytes| [bytes[2], bytes[3]])
            .collect();
        let shape = original.variable(name).unwrap().shape().clone();
        Variable::from_bytes(name, tfckpt::DType::Bfloat16, shape, half)
    });
    Saver::new(dir.path().join("bf16")).save(variables, 1)?;
    let checkpoint = Checkpoint::open(dir.path().join("bf16"))?;
    let varmap = VarMap::new();
    let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
    lstm(&vb)?;
    let plain = Variables::new(&varmap).layers(&layers).names(names(RULE));
    let error = plain.restore(&checkpoint).unwrap_err().to_string();
    assert!(
        error.contains("needs float32 [16, 32], but `enc/W` is bfloat16 [16, 32]") && error.contains("Casts::Exact"),
        "{error}"
    );
    let stored = RULE.replace("\"cell\"", "\"dtype\": \"bfloat16\", \"cell\"");
    let cast = plain.clone().names(names(&stored).cast(Casts::Exact));
    let report = cast.restore(&checkpoint)?;
    assert_eq!((report.cast().count(), report.rounded().count()), (4, 0), "{report}");
    assert_eq!(contents(&saved(&cast)?.1), contents(&checkpoint));

    // A builder of another dtype casts, as it does for all others, and a wider one loses nothing.
    let import = Import::new(Checkpoint::open(dir.path().join("bf16"))?, names(RULE));
    let wide = lstm(&import.var_builder(DType::F64, &Device::Cpu))?;
    assert_eq!(wide.states_dtype(), DType::F64);
    Ok(())
}

trait StatesDtype {
    fn states_dtype(&self) -> DType;
}

impl StatesDtype for candle_nn::LSTM {
    fn states_dtype(&self) -> DType {
        self.zero_state(1).map(|state| state.h().dtype()).unwrap_or(DType::U8)
    }
}

/// What only a 64-bit number has.
#[test]
fn double_precision_stays_double_precision() -> Test {
    let dir = tempfile::tempdir()?;
    let kernel: Vec<f64> = (0..32).map(|i| 1.0 + f64::from(i) * 1e-12).collect();
    let bias = [0f64; 8];
    let variables = [
        Variable::new("rnn/lstm_cell/kernel", [2, 8], &kernel[..16]),
        Variable::new("rnn/lstm_cell/recurrent_kernel", [2, 8], &kernel[16..]),
        Variable::new("rnn/lstm_cell/bias", [8], &bias),
    ];
    Saver::new(dir.path()).save(variables, 1)?;
    let import = Import::new(Checkpoint::open(dir.path())?, NameMap::keras());
    let vb = import.var_builder(DType::F64, &Device::Cpu);
    candle_nn::lstm(2, 2, LSTMConfig::default(), vb.pp("rnn"))?;
    let weight = vb.pp("rnn").get((8, 2), "weight_ih_l0")?.to_vec2::<f64>()?;
    assert_eq!(weight[0], [1.0, 1.0 + 8e-12]);
    Ok(())
}
