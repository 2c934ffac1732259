//! The examples that only read run, and say what they should. Those that train have tests of their own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// An example of this package, which `cargo test` has built beside the tests.
fn example(name: &str) -> Command {
    let tests = std::env::current_exe().expect("a test knows its own path");
    let debug: PathBuf = tests.ancestors().nth(2).expect("target/debug/deps/test").to_owned();
    let mut command = Command::new(debug.join("examples").join(name));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    command
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn inspect_lists_a_checkpoint_and_prints_a_variable() {
    let list = text(example("inspect").arg("data/tf-digits/saver").output().unwrap());
    assert!(list.contains("data/tf-digits/saver/model.ckpt-360"), "{list}");
    assert!(
        list.lines()
            .any(|line| line.split_whitespace().eq(["dense/kernel", "float32", "[64,", "10]"])),
        "{list}"
    );
    assert!(list.contains("global_step 360"), "{list}");
    let step = text(
        example("inspect")
            .args(["data/tf-digits/saver", "global_step"])
            .output()
            .unwrap(),
    );
    assert!(step.contains("[360]"), "{step}");
}

#[test]
fn inspect_tells_what_a_prefix_is() {
    let output = example("inspect")
        .arg("data/tf-digits/saver/model.ckpt")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        error.contains("named by its prefix") && error.contains("model.ckpt-360"),
        "{error}"
    );
}

#[cfg(feature = "candle")]
#[test]
fn import_bert_tells_what_it_loaded_and_what_it_left() {
    let output = example("import_bert").args(["--heads", "4"]).output().unwrap();
    let report = text(output);
    let lines = [
        "BERT: 2 layers of width 16 with 4 heads, 30 words, 12 positions",
        "37 variables loaded, 0 missing",
        "left in the checkpoint: slots of an optimizer 92, moving averages 0, counters 1, others 9",
        "  `bert/pooler/dense/kernel`",
        "  `cls/seq_relationship/output_weights`",
    ];
    for line in lines {
        assert!(report.lines().any(|own| own == line), "{line}\n{report}");
    }
    assert_eq!(
        report.lines().filter(|line| line.starts_with("norms of ")).count(),
        3,
        "{report}"
    );
    assert!(
        report.contains("output [1, 8, 16] of the first 8 words has norm "),
        "{report}"
    );
}

#[cfg(all(feature = "burn", feature = "candle"))]
#[test]
fn networks_that_tensorflow_trained_compute_the_same_in_burn_and_candle() {
    // The example fails by itself where the logits or the accuracy differ from TensorFlow's.
    let report = text(example("import_digits").output().unwrap());
    assert_eq!(report.lines().count(), 4, "{report}");
    assert_eq!(
        report.lines().filter(|line| line.contains("255 of 297 right")).count(),
        2,
        "{report}"
    );
    assert_eq!(
        report.lines().filter(|line| line.contains("270 of 297 right")).count(),
        2,
        "{report}"
    );
}

#[cfg(feature = "candle")]
#[test]
fn a_network_without_its_code_trains_on_and_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    let report = text(
        example("import_meta_graph")
            .arg("--save")
            .arg(dir.path())
            .output()
            .unwrap(),
    );
    assert!(report.contains("21 variables restored"), "{report}");
    assert!(report.contains("training goes on with Adam"), "{report}");
    assert!(report.contains("255 of 297 right"), "{report}");
    let saved = tfckpt::Checkpoint::open(dir.path().join("model.ckpt-360")).unwrap();
    assert_eq!(saved.global_step().unwrap(), Some(360));
}
