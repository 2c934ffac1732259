//! `tfckpt graph`: what is in a graph.

mod support;

use support::{fixture, tfckpt};

/// The digits network of TensorFlow.
fn digits() -> String {
    format!(
        "{}/../../data/tf-digits/saver/model.ckpt-240.meta",
        env!("CARGO_MANIFEST_DIR")
    )
}

#[test]
fn graph_lists_variables_and_operations_of_a_meta_file() {
    let document = tfckpt(&["graph", &digits(), "--json"]).exits(0).json();
    assert_eq!(document["schema_version"], 1);
    let variables = document["variables"].as_array().unwrap();
    assert_eq!(variables.len(), 21);
    let kernel = variables
        .iter()
        .find(|variable| variable["name"] == "conv1/kernel")
        .unwrap();
    assert_eq!(kernel["shape"], serde_json::json!([3, 3, 1, 8]));
    assert_eq!(
        (&kernel["dtype"], &kernel["trainable"]),
        (&"float32".into(), &true.into())
    );
    let ops = document["ops"].as_array().unwrap();
    let conv = ops.iter().find(|op| op["op"] == "Conv2D").unwrap();
    assert_eq!((&conv["nodes"], &conv["supported"]), (&2.into(), &true.into()));
    let nodes: u64 = ops.iter().map(|op| op["nodes"].as_u64().unwrap()).sum();
    assert_eq!(nodes, document["nodes"].as_u64().unwrap());
}

#[test]
fn graph_shows_the_signatures_of_a_saved_model() {
    let run = tfckpt(&["graph", &fixture("networks/keras3_export")]).exits(0);
    assert!(run.stdout.contains("\nsignature serving_default\n"), "{}", run.stdout);
    assert!(run.stdout.contains("\noperations\n"), "{}", run.stdout);
}

#[test]
fn graph_draws_each_edge_once() {
    let run = tfckpt(&["graph", &digits(), "--dot"]).exits(0);
    assert!(run.stdout.starts_with("digraph {\n") && run.stdout.ends_with("}\n"));
    assert_eq!(run.stdout.matches("\"dense/MatMul\" -> \"dense/logits\"\n").count(), 1);
}

#[test]
fn graph_tells_a_frozen_graph_from_a_saved_model() {
    let run = tfckpt(&["graph", &fixture("networks/frozen/frozen.pb"), "--json"])
        .exits(0)
        .json();
    assert!(run["nodes"].as_u64().unwrap() > 10);
    assert_eq!(run["variables"], serde_json::json!([]));
}

#[test]
fn graph_of_what_is_no_graph_fails_as_corrupt() {
    tfckpt(&["graph", &fixture("simple_float/a.index")]).exits(4);
    tfckpt(&["graph", "nothing.meta"]).exits(3);
}
