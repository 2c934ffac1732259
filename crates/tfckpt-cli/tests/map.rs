//! `tfckpt map`: a draft from a model and a checkpoint, which is then checked.

mod support;

use std::fs;

use support::{fixture, in_dir, tfckpt};

const MODEL: &str = r#"{
    "conv.weight": [5, 4, 3, 3],
    "bn.weight": [5], "bn.bias": [5], "bn.running_mean": [5], "bn.running_var": [5],
    "conv.bias": [5],
    "block.0.fc.weight": [7, 5], "block.0.fc.bias": [7],
    "block.1.fc.weight": [3, 7], "block.1.fc.bias": [3]
}"#;

#[test]
fn a_draft_is_a_mapping_that_fits() {
    let dir = tempfile::tempdir().unwrap();
    let (model, map) = (in_dir(&dir, "model.json"), in_dir(&dir, "map.json"));
    fs::write(&model, MODEL).unwrap();
    let checkpoint = fixture("names/scopes");
    let draft = tfckpt(&["map", "draft", &model, &checkpoint]).exits(0);
    fs::write(&map, &draft.stdout).unwrap();
    let report = tfckpt(&["map", "check", &map, &checkpoint, &model]).exits(0);
    assert!(report.stdout.starts_with("10 loaded"), "{}", report.stdout);
    assert!(
        report.stdout.contains("`conv.weight` from `conv/kernel`, transposed"),
        "{}",
        report.stdout
    );
    assert!(
        report.stdout.contains("`block.1.fc.weight` from `block_1/fc/kernel`"),
        "{}",
        report.stdout
    );

    // Of another checkpoint it is none.
    let other = tfckpt(&["map", "check", &map, &fixture("names/slim"), &model, "--json"]).exits(1);
    assert_eq!(other.json()["missing"].as_array().map(Vec::len), Some(10));
}

#[test]
fn mistakes_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let (model, map) = (in_dir(&dir, "model.json"), in_dir(&dir, "map.json"));
    fs::write(&model, MODEL).unwrap();
    let checkpoint = fixture("names/scopes");
    fs::write(&map, r#"{ "rules": [{ "path": "head", "scope": "x" }] }"#).unwrap();
    tfckpt(&["map", "check", &map, &checkpoint, &model])
        .exits(2)
        .says(&["head", "of no use"]);
    fs::write(&map, "{").unwrap();
    tfckpt(&["map", "check", &map, &checkpoint, &model])
        .exits(2)
        .says(&["no mapping"]);
    fs::write(&model, "[]").unwrap();
    tfckpt(&["map", "draft", &model, &checkpoint])
        .exits(2)
        .says(&["names and shapes"]);
}

#[test]
fn a_mapping_may_be_toml_and_have_recurrent_layers() {
    let dir = tempfile::tempdir().unwrap();
    let (model, map) = (in_dir(&dir, "model.json"), in_dir(&dir, "map.toml"));
    let shapes = r#"{ "gru.weight_ih_l0": [33, 7], "gru.weight_hh_l0": [33, 11], "gru.bias_ih_l0": [33], "gru.bias_hh_l0": [33],
        "dense.weight": [5, 7], "dense.bias": [5] }"#;
    fs::write(&model, shapes).unwrap();
    let checkpoint = fixture("layers/model");
    let draft = tfckpt(&["map", "draft", &model, &checkpoint, "--toml"]).exits(0);
    assert!(
        draft.stdout.contains("[[rules]]") && draft.stdout.contains("layer = \"gru\""),
        "{draft:?}"
    );
    let draft = draft.says(&["`gru` as", "order of its gates"]);
    fs::write(&map, &draft.stdout).unwrap();
    let report = tfckpt(&["map", "check", &map, &checkpoint, &model]).exits(1);
    assert!(
        report
            .stdout
            .contains("`gru.weight_ih_l0` from `gru/gru_cell/kernel`, as the GRU of Keras with reset_after"),
        "{}",
        report.stdout
    );
    // Of another cell it is refused, and a mistake has its place.
    let other = draft.stdout.replace("layer = \"gru\"", "layer = \"lstm\"");
    fs::write(&map, other).unwrap();
    tfckpt(&["map", "check", &map, &checkpoint, &model]).exits(2);
    fs::write(&map, "names = \"keras\"\nrules = 3").unwrap();
    tfckpt(&["map", "check", &map, &checkpoint, &model])
        .exits(2)
        .says(&["map.toml", "line 2 column 9"]);
}
