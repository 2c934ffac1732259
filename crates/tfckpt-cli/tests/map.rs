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
