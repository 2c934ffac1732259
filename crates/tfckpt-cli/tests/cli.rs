//! The command as scripts and people meet it: exit codes, stdout and stderr of everything that only reads.

mod support;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use support::{command, fixture, in_dir, names_in, tfckpt};

// ls

#[test]
fn ls_prints_the_golden_json_document_of_a_small_checkpoint() {
    let prefix = fixture("simple_float/a");
    let run = tfckpt(&["ls", &prefix, "--json"]).exits(0);
    let golden = json!({
        "schema_version": 1,
        "prefix": prefix,
        "format": "v2",
        "num_shards": 1,
        "endianness": "little",
        "global_step": null,
        "variables": [
            {"name": "x0", "full_name": null, "object_path": null, "dtype": "float32", "shape": [2, 3], "bytes": 24, "shard": 0, "offset": 0, "crc32c": "0x78743a5d"},
            {"name": "y0", "full_name": null, "object_path": null, "dtype": "float32", "shape": [3, 2], "bytes": 24, "shard": 0, "offset": 24, "crc32c": "0xd67f4938"},
        ],
    });
    assert_eq!(run.json(), golden);
    assert_eq!(run.stdout.lines().count(), 1, "one document on one line");
    assert_eq!(run.stderr, "");
}

#[test]
fn ls_describes_every_dtype_as_tensorflow_does() {
    let expected: Value = serde_json::from_slice(&fs::read(fixture("all_dtypes/expected.json")).unwrap()).unwrap();
    let expected = expected["checkpoints"]["a"].as_object().unwrap();
    let document = tfckpt(&["ls", &fixture("all_dtypes/a"), "--json"]).exits(0).json();
    let variables = document["variables"].as_array().unwrap();
    assert_eq!(variables.len(), expected.len());
    for variable in variables {
        let want = &expected[variable["name"].as_str().unwrap()];
        assert_eq!(variable["dtype"], want["dtype"]);
        assert_eq!(variable["shape"], want["shape"]);
        let crc = variable["crc32c"].as_str().unwrap();
        assert!(crc.starts_with("0x") && crc.len() == 10, "{crc}");
        let keys: Vec<_> = variable.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "bytes",
                "crc32c",
                "dtype",
                "full_name",
                "name",
                "object_path",
                "offset",
                "shape",
                "shard"
            ]
        );
    }
    let names: Vec<_> = variables
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert!(names.is_sorted());
}

#[test]
fn ls_prints_an_aligned_table_and_totals() {
    let run = tfckpt(&["ls", &fixture("simple_float/a")]).exits(0);
    let table = "name  dtype    shape  bytes\n\
                 x0    float32  [2,3]     24\n\
                 y0    float32  [3,2]     24\n\
                 2 variables, 12 parameters, 48 bytes, no global_step\n";
    assert_eq!(run.stdout, table);
    assert_eq!(run.stderr, "");
}

#[test]
fn ls_tells_what_people_call_the_variables_of_an_object_based_checkpoint() {
    let prefix = fixture("tf2_module_slots/ckpt-3");
    let document = tfckpt(&["ls", &prefix, "--json"]).exits(0).json();
    assert_eq!(document["schema_version"], 1);
    let variables = document["variables"].as_array().unwrap();
    let find = |name: &str| variables.iter().find(|variable| variable["name"] == name).unwrap();
    let kernel = find("model/layers/0/kernel/.ATTRIBUTES/VARIABLE_VALUE");
    assert_eq!(kernel["full_name"], "dense/kernel");
    assert_eq!(kernel["object_path"], "model/layers/0/kernel");
    let moment = find("model/layers/0/kernel/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE");
    assert_eq!(moment["full_name"], "dense/kernel/Adam");
    assert_eq!(moment["object_path"], "model/layers/0/kernel/m");
    let graph = find("_CHECKPOINTABLE_OBJECT_GRAPH");
    assert_eq!(
        (&graph["full_name"], &graph["object_path"]),
        (&Value::Null, &Value::Null)
    );

    let table = tfckpt(&["ls", &prefix]).exits(0).stdout;
    let line = |start: &str| table.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(line("name").ends_with("  known as"), "{table}");
    // Two variables are called `dense/kernel`.
    assert!(line("model/layers/0/kernel/.ATTR").ends_with("  model/layers/0/kernel"));
    assert!(line("model/layers/0/kernel/.OPTIMIZER_SLOT/optimizer/m").ends_with("  dense/kernel/Adam"));
}

#[test]
fn ls_reads_the_step_of_a_training_run_from_its_directory() {
    let document = tfckpt(&["ls", &fixture("tf1_adam_keep2"), "--json"]).exits(0).json();
    assert_eq!(document["global_step"], 3);
    assert!(document["prefix"].as_str().unwrap().ends_with("model.ckpt-3"));
    let run = tfckpt(&["ls", &fixture("tf1_adam_keep2/model.ckpt-2.index")]).exits(0);
    assert!(run.stdout.ends_with("global_step 2\n"), "{run:?}");
}

#[test]
fn ls_names_big_endian_and_sharded_checkpoints_as_such() {
    let document = tfckpt(&["ls", &fixture("crafted_big_endian/a"), "--json"])
        .exits(0)
        .json();
    assert_eq!(document["endianness"], "big");
    let document = tfckpt(&["ls", &fixture("sharded3/m"), "--json"]).exits(0).json();
    assert_eq!(document["num_shards"], 3);
    // A partitioned variable lies in several places: none is given rather than a wrong one.
    let variables = document["variables"].as_array().unwrap();
    let partitioned = variables.iter().find(|variable| variable["name"] == "v").unwrap();
    assert_eq!(partitioned["slices"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&partitioned["shard"], &partitioned["offset"], &partitioned["crc32c"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
}

#[test]
fn ls_lists_without_data_files_but_not_without_an_index() {
    let run = tfckpt(&["ls", &fixture("corrupt/data_missing/m")]).exits(0);
    assert!(run.stdout.contains("\nx "), "{run:?}");
    tfckpt(&["ls", &fixture("corrupt/index_missing/m")]).exits(3);
}

#[test]
fn ls_shows_what_is_sound_and_fails_if_entries_are_not() {
    let run = tfckpt(&["ls", &fixture("corrupt/entry_garbage/m"), "--json"])
        .exits(4)
        .says(&["1 entry", "tfckpt verify"]);
    let document = run.json();
    assert_eq!(document["faults"][0]["name"], "x");
    assert!(
        document["variables"]
            .as_array()
            .unwrap()
            .iter()
            .any(|variable| variable["name"] == "y")
    );
}

#[test]
fn names_that_are_not_text_are_given_in_hexadecimal_too() {
    let dir = tempfile::tempdir().unwrap();
    let storage = std::sync::Arc::new(tfckpt::io::LocalDir::new(dir.path()));
    let mut writer = tfckpt::BundleWriter::create(storage, "m").unwrap();
    writer.add(tfckpt::Variable::scalar(b"a\xff".to_vec(), 1f32)).unwrap();
    writer.add(tfckpt::Variable::scalar("b\u{1b}[2J", 1f32)).unwrap();
    writer.finish().unwrap();
    let document = tfckpt(&["ls", &in_dir(&dir, "m"), "--json"]).exits(0).json();
    assert_eq!(document["variables"][0]["name"], "a\u{fffd}");
    assert_eq!(document["variables"][0]["name_hex"], "61ff");
    assert_eq!(document["variables"][1]["name_hex"], Value::Null);
    let table = tfckpt(&["ls", &in_dir(&dir, "m")]).exits(0).stdout;
    assert!(table.contains("b\\u{1b}[2J") && !table.contains('\u{1b}'), "{table}");
    tfckpt(&["convert", &in_dir(&dir, "m"), &in_dir(&dir, "m.safetensors")])
        .exits(6)
        .says(&["its name is not UTF-8"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let prefix = fixture("many_vars_2600/a");
    for args in [
        vec!["ls", prefix.as_str()],
        vec!["ls", prefix.as_str(), "--json"],
        vec!["--help"],
    ] {
        let mut child = command(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut first = [0; 1];
        stdout.read_exact(&mut first).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_stdout_that_cannot_be_written_is_an_error() {
    let full = fs::File::create("/dev/full").unwrap();
    let output = command(&["ls", &fixture("simple_float/a")])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to stdout"));
}

// latest

#[test]
fn latest_prints_the_prefix_that_the_state_file_names() {
    let dir = fixture("tf1_adam_keep2");
    let run = tfckpt(&["latest", &dir]).exits(0);
    assert_eq!(run.stdout, format!("{dir}/model.ckpt-3\n"));
    assert_eq!(run.stderr, "");
}

#[test]
fn latest_says_why_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    tfckpt(&["latest", path]).exits(3).says(&["no file `checkpoint`"]);
    tfckpt(&["latest", &in_dir(&dir, "nowhere")])
        .exits(3)
        .says(&["no directory"]);

    let state = dir.path().join("checkpoint");
    fs::write(&state, "model_checkpoint_path: \"/elsewhere/m\"\n").unwrap();
    let run = tfckpt(&["latest", path])
        .exits(3)
        .says(&["`/elsewhere/m`, which is gone"]);
    assert_eq!(run.stdout, "");
    fs::copy(fixture("simple_float/a.index"), dir.path().join("m.index")).unwrap();
    tfckpt(&["latest", path])
        .exits(3)
        .says(&["which is gone", "did you mean", &in_dir(&dir, "m")]);

    fs::write(&state, "model_checkpoint_path: \"").unwrap();
    tfckpt(&["latest", path]).exits(4).says(&["line 1"]);
}

// verify

#[test]
fn verify_counts_what_it_checked() {
    let prefix = fixture("simple_float/a");
    let run = tfckpt(&["verify", &prefix]).exits(0);
    assert_eq!(
        run.stdout,
        format!("{prefix}: ok: 2 variables, 48 bytes in 1 data file\n")
    );
    assert_eq!(run.stderr, "");
    for sound in [
        "all_dtypes/a",
        "strings/a",
        "variant/a",
        "many_vars_2600/a",
        "corrupt/ok/m",
    ] {
        tfckpt(&["verify", &fixture(sound)]).exits(0);
    }
}

#[test]
fn verify_names_the_variable_and_the_bytes_that_are_corrupt() {
    let prefix = fixture("corrupt/data_flip/m");
    let run = tfckpt(&["verify", &prefix])
        .exits(4)
        .says(&["1 of 3 variables corrupt"]);
    let start = "x: bytes 0..24 of ";
    assert!(
        run.stdout.starts_with(start) && run.stdout.contains("m.data-00000-of-00001: crc32c 0x"),
        "{run:?}"
    );
    assert_eq!(run.stdout.lines().count(), 1);

    let document = tfckpt(&["verify", &prefix, "--json"]).exits(4).json();
    assert_eq!((&document["ok"], &document["variables"]), (&json!(false), &json!(3)));
    assert_eq!(document["faults"][0]["name"], "x");
    assert_eq!(document["faults"][0]["bytes"], 24);
}

#[test]
fn verify_names_every_bad_variable_not_only_the_first() {
    let run = tfckpt(&["verify", &fixture("corrupt/data_missing/m")]).exits(4);
    let names: Vec<_> = run.stdout.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(names, ["x", "y", "s"]);
    let run = tfckpt(&["verify", &fixture("corrupt/entry_garbage/m")]).exits(4);
    assert!(
        run.stdout.starts_with("x: ") && run.stdout.contains("m.index"),
        "{run:?}"
    );
}

#[test]
fn every_corrupt_fixture_is_found_without_a_panic() {
    // TensorFlow reads these too: the metaindex is never looked at, a table without variables is sound, and another
    // dtype of the same size cannot be told from the right one.
    let sound = ["ok", "metaindex_flip", "header_only", "entry_dtype_int32"];
    for case in names_in(Path::new(&fixture("corrupt"))) {
        if case == "expected.json" {
            continue;
        }
        let run = tfckpt(&["verify", &fixture(&format!("corrupt/{case}/m"))]);
        assert!(!run.stderr.contains("panicked"), "{case}: {run:?}");
        assert_eq!(run.code == 0, sound.contains(&case.as_str()), "{case}: {run:?}");
    }
}

#[test]
fn verify_explains_an_index_that_is_none() {
    let run =
        tfckpt(&["verify", &fixture("corrupt/magic_flip/m")])
            .exits(4)
            .says(&["tfckpt: ", "m.index", "magic number"]);
    assert_eq!(
        run.stderr.matches("magic number").count(),
        1,
        "the cause is told once: {run:?}"
    );
}

#[test]
fn a_path_without_a_checkpoint_explains_what_a_prefix_is() {
    for command in ["ls", "verify"] {
        let run = tfckpt(&[command, &fixture("simple_float/nothing")]).exits(3);
        let run = run.says(&["named by its prefix", "did you mean"]);
        assert_eq!(run.stdout, "");
    }
}

// usage

#[test]
fn wrong_usage_exits_with_2_and_helps() {
    tfckpt(&["list"]).exits(2).says(&["tfckpt: unrecognized subcommand"]);
    tfckpt(&["latst", "x"]).exits(2).says(&["latest"]);
    tfckpt(&["ls"]).exits(2).says(&["Usage: tfckpt ls"]);
    tfckpt::<&str>(&[]).exits(2).says(&["Examples:"]);
    tfckpt(&["convert", "a", "b"]).exits(3).says(&["no checkpoint at `a`"]);
    tfckpt(&["convert", "a.safetensors", "b.safetensors"])
        .exits(2)
        .says(&["both names"]);
}

#[test]
fn help_shows_examples_first_and_exit_codes() {
    for args in [vec!["--help"], vec!["-h"], vec!["ls", "--help"], vec!["convert", "-h"]] {
        let help = tfckpt(&args).exits(0).stdout;
        let position = |text| help.find(text).unwrap_or_else(|| panic!("{text} is not in {help}"));
        assert!(position("Examples:") < position("Usage:"), "{help}");
        assert!(position("Usage:") < position("130  interrupted"), "{help}");
    }
    let version = tfckpt(&["--version"]).exits(0).stdout;
    assert_eq!(version, format!("tfckpt {}\n", env!("CARGO_PKG_VERSION")));
}
