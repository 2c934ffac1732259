//! `tfckpt convert --map`: parameters into the variables of a mapping, and back.

mod support;

use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use support::{fixture, in_dir, names_in, tfckpt};
use tfckpt::{Checkpoint, Saver, Variable};

/// A model as PyTorch names it: an LSTM, attention and a convolution.
const MODEL: [(&str, &[usize]); 10] = [
    ("conv.weight", &[5, 4, 3, 3]),
    ("enc.bias_hh_l0", &[12]),
    ("enc.bias_ih_l0", &[12]),
    ("enc.weight_hh_l0", &[12, 3]),
    ("enc.weight_ih_l0", &[12, 2]),
    ("fc.bias", &[7]),
    ("fc.weight", &[7, 5]),
    ("h.0.k.weight", &[4, 6]),
    ("h.0.q.weight", &[4, 6]),
    ("half", &[3]),
];

const MAP: &str = r#"
scope = "net"
ignore = ["{x:**}global_step"]

[[rules]]
path = "conv"
layer = "conv2d"

[[rules]]
path = "fc"
scope = "head"
layer = "dense"

[[rules]]
path = "enc"
layer = "lstm"
cell = "basic_lstm_cell"
variables = { kernel = "rnn/W", bias = "rnn/b" }

[[rules]]
path = "h.{i}.q.weight"
variable = "h{i}/qk"
axis = 1
part = 0
of = 2
transpose = [1, 0]

[[rules]]
path = "h.{i}.k.weight"
variable = "h{i}/qk"
axis = 1
part = 1
of = 2
transpose = [1, 0]

[[rules]]
path = "half"
variable = "half"
dtype = "float16"
"#;

fn write_model(path: &str) {
    let values: Vec<(String, Vec<usize>, Vec<u8>)> = MODEL
        .iter()
        .map(|(name, dims)| {
            let count: usize = dims.iter().product();
            // Halves and their like, which have a place in float16; the second bias is the forget bias of the cell.
            let value = |i: usize| match *name {
                "enc.bias_hh_l0" => f32::from((3..6).contains(&i)),
                _ => i as f32 * 0.5 - 3.0,
            };
            let bytes = (0..count).flat_map(|i| value(i).to_le_bytes()).collect();
            ((*name).to_owned(), dims.to_vec(), bytes)
        })
        .collect();
    let views = values
        .iter()
        .map(|(name, dims, bytes)| (name.as_str(), TensorView::new(Dtype::F32, dims.clone(), bytes).unwrap()));
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn a_model_becomes_variables_and_comes_back_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let [model, map, prefix, back, again] =
        ["m.safetensors", "map.toml", "out", "back.safetensors", "again"].map(|name| in_dir(&dir, name));
    write_model(&model);
    fs::write(&map, MAP).unwrap();
    tfckpt(&["convert", &model, &prefix, "--map", &map]).exits(0);
    let checkpoint = Checkpoint::open(&prefix).unwrap();
    let told: Vec<(String, String)> = checkpoint
        .variables()
        .map(|info| (info.name().into_owned(), format!("{} {}", info.dtype(), info.shape())))
        .collect();
    let expected = [
        ("net/conv/kernel", "float32 [3, 3, 4, 5]"),
        ("net/h0/qk", "float32 [6, 8]"),
        ("net/half", "float16 [3]"),
        ("net/head/bias", "float32 [7]"),
        ("net/head/kernel", "float32 [5, 7]"),
        ("net/rnn/W", "float32 [5, 12]"),
        ("net/rnn/b", "float32 [12]"),
    ];
    assert_eq!(told, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    // Element [out, in] of a dense weight is [in, out] of its kernel.
    let kernel: Vec<f32> = checkpoint.read("net/head/kernel").unwrap();
    assert_eq!(kernel[..2], [-3.0, -0.5]);

    let cast = MAP.replacen("scope", "cast = \"exact\"\nscope", 1);
    fs::write(&map, cast).unwrap();
    tfckpt(&["convert", &prefix, &back, "--map", &map, "--model", &model]).exits(0);
    let read = |path: &str| fs::read(path).unwrap();
    let (old, new) = (read(&model), read(&back));
    let (old, new) = (
        SafeTensors::deserialize(&old).unwrap(),
        SafeTensors::deserialize(&new).unwrap(),
    );
    assert_eq!(new.len(), MODEL.len());
    for (name, _) in MODEL {
        let (old, new) = (old.tensor(name).unwrap(), new.tensor(name).unwrap());
        assert_eq!(old.shape(), new.shape(), "{name}");
        match name {
            // As it is stored.
            "half" => assert_eq!(new.dtype(), Dtype::F16),
            _ => assert_eq!(old.data(), new.data(), "{name}"),
        }
    }
    // And into a checkpoint, by the names of the parameters.
    tfckpt(&["convert", &prefix, &again, "--map", &map, "--model", &model]).exits(0);
    let parameters = Checkpoint::open(&again).unwrap();
    assert_eq!(parameters.variable("enc.weight_ih_l0").unwrap().shape().dims(), [12, 2]);
    assert_eq!(
        parameters.read_bytes("fc.weight").unwrap(),
        old.tensor("fc.weight").unwrap().data()
    );
}

#[test]
fn variables_are_renamed_split_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let [map, there, back, model] = ["map.json", "there", "back", "model.json"].map(|name| in_dir(&dir, name));
    let source = fixture("names/scopes");
    fs::write(
        &map,
        r#"{ "names": "identity", "rules": [
            { "path": "conv/{leaf:*}", "variable": "stem/{leaf}" },
            { "path": "block/fc/kernel", "variables": ["a", "b"], "axis": 0, "transpose": [1, 0] },
            { "path": "{x:**}/beta", "skip": true }
        ] }"#,
    )
    .unwrap();
    tfckpt(&["convert", &source, &there, "--map", &map])
        .exits(2)
        .says(&["block/fc/kernel", "does not fit the shape [5, 7]"]);
    let text = fs::read_to_string(&map).unwrap();
    let text = text
        .replace(r#""axis": 0"#, r#""axis": 1"#)
        .replace(r#"["a", "b"]"#, r#"["a", "b", "c", "d", "e", "f", "g"]"#);
    fs::write(&map, text.replace(r#", "transpose": [1, 0]"#, "")).unwrap();
    tfckpt(&["convert", &source, &there, "--map", &map]).exits(0);
    let (old, new) = (Checkpoint::open(&source).unwrap(), Checkpoint::open(&there).unwrap());
    assert_eq!(
        new.read_bytes("stem/kernel").unwrap(),
        old.read_bytes("conv/kernel").unwrap()
    );
    assert!(!new.contains("conv/kernel") && !new.contains("bn/beta") && new.contains("bn/gamma"));
    assert_eq!(new.variable("c").unwrap().shape().dims(), [5, 1]);
    // Back, which needs to know what there was.
    let shapes: serde_json::Map<String, serde_json::Value> = old
        .variables()
        .filter(|info| !info.name().ends_with("/beta"))
        .map(|info| (info.name().into_owned(), info.shape().dims().to_vec().into()))
        .collect();
    fs::write(&model, serde_json::Value::from(shapes.clone()).to_string()).unwrap();
    let text = fs::read_to_string(&map).unwrap();
    fs::write(
        &map,
        text.replace(
            r#",
            { "path": "{x:**}/beta", "skip": true }"#,
            "",
        ),
    )
    .unwrap();
    tfckpt(&["convert", &there, &back, "--map", &map, "--model", &model]).exits(0);
    let back = Checkpoint::open(&back).unwrap();
    for name in shapes.keys() {
        assert_eq!(back.read_bytes(name).unwrap(), old.read_bytes(name).unwrap(), "{name}");
    }
}

#[test]
fn what_cannot_be_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let [model, map, prefix] = ["m.safetensors", "map.toml", "out"].map(|name| in_dir(&dir, name));
    write_model(&model);
    let try_map = |text: &str| {
        fs::write(&map, text).unwrap();
        tfckpt(&["convert", &model, &prefix, "--map", &map])
    };
    try_map(&MAP.replace("path = \"half\"", "path = \"whole\""))
        .exits(2)
        .says(&["whole", "of no use"]);
    try_map(&MAP.replace("part = 0", "part = \"0\""))
        .exits(2)
        .says(&["map.toml", "line 24 column 8"]);
    try_map(&MAP.replace(", bias = \"rnn/b\"", ""))
        .exits(2)
        .says(&["no name for `bias` of `enc`"]);
    try_map(&MAP.replace("rnn/b", "half")).exits(2).says(&["`net/half`"]);
    try_map(&MAP.replace("conv2d", "embeding"))
        .exits(2)
        .says(&["rule 1", "no layer `embeding`"]);
    // One of the parts has no rule.
    try_map(&MAP.replace("h.{i}.k.weight", "h.{i}.x.weight"))
        .exits(2)
        .says(&["h.{i}.x.weight"]);
    fs::write(&map, MAP).unwrap();
    let other = in_dir(&dir, "b.safetensors");
    tfckpt(&["convert", &model, &other, "--map", &map])
        .exits(2)
        .says(&["prefix"]);
    tfckpt(&["convert", &model, &prefix, "--map", &map, "--model", &model])
        .exits(2)
        .says(&["--model"]);
    tfckpt(&["convert", &model, &prefix, "--model", &model])
        .exits(2)
        .says(&["--map"]);
    tfckpt(&["convert", &fixture("names/scopes"), &other, "--map", &map])
        .exits(2)
        .says(&["--model"]);
    // Variables that are not there.
    tfckpt(&[
        "convert",
        &fixture("names/scopes"),
        &other,
        "--map",
        &map,
        "--model",
        &model,
    ])
    .exits(2)
    .says(&["`fc.weight`", "net/head/kernel"]);
    assert_eq!(names_in(dir.path()), ["m.safetensors", "map.toml"]);
}

#[test]
fn what_no_rule_is_for_keeps_its_name() {
    // Slots of an optimizer go with a pattern that is for them, too; a dot in a name is none of a path.
    let dir = tempfile::tempdir().unwrap();
    let [map, there] = ["map.json", "there"].map(|name| in_dir(&dir, name));
    let values = [1f32, 2.];
    let names = ["fc/kernel", "fc/kernel/Adam", "v1.0/scale"];
    let variables = names.map(|name| Variable::new(name, [2], &values));
    Saver::new(dir.path().join("run")).save(variables, 7).unwrap();
    fs::write(
        &map,
        r#"{ "rules": [{ "path": "fc/{leaf:**}", "variable": "head/{leaf}" }] }"#,
    )
    .unwrap();
    let run = dir.path().join("run");
    tfckpt(&["convert", run.to_str().unwrap(), &there, "--map", &map]).exits(0);
    let new = Checkpoint::open(Path::new(&there)).unwrap();
    let found: Vec<String> = new.variables().map(|info| info.name().into_owned()).collect();
    assert_eq!(found, ["global_step", "head/kernel", "head/kernel/Adam", "v1.0/scale"]);
}
