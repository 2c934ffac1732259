//! Reading what TensorFlow wrote, bit for bit, and writing it again, byte for byte.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use serde_json::Value;
use support::{expected, fixture, sha256};
use tfckpt::io::{LocalDir, MemoryDir};
use tfckpt::{
    BundleWriter, Checkpoint, DType, Endianness, Error, Format, Slice, Variable, VariableInfo, checkpoint_state,
};

/// Every fixture case with checkpoints in the V2 format.
const CASES: [&str; 24] = [
    "all_dtypes",
    "crafted_aligned_gaps",
    "crafted_big_endian",
    "crafted_multiblock",
    "crafted_snappy",
    "crafted_unknown_fields",
    "many_vars_2600",
    "meta_dense_ref",
    "meta_dense_resource",
    "savedmodel",
    "shapes",
    "sharded3",
    "simple_float",
    "sliced_1d",
    "sliced_2d",
    "strings",
    "tf1_adam_keep2",
    "tf1_partitioned_adam",
    "tf2_keras2_legacy_adam",
    "tf2_keras2_save_weights",
    "tf2_keras3",
    "tf2_max_shard_size",
    "tf2_misc_trackables",
    "tf2_module_slots",
];

/// The checkpoints of a case: prefix, and what is in it.
fn checkpoints(case: &str) -> BTreeMap<String, Value> {
    let expected = expected(case);
    let Some(checkpoints) = expected["checkpoints"].as_object() else {
        return [("a".to_owned(), expected["sample"].clone())].into();
    };
    checkpoints
        .iter()
        .map(|(prefix, variables)| (prefix.clone(), variables.clone()))
        .collect()
}

fn check(case: &str, checkpoint: &Checkpoint, name: &str, expected: &Value) {
    let at = format!("{case}: {name}");
    let info = checkpoint
        .variable(name)
        .unwrap_or_else(|error| panic!("{at}: {error}"));
    let shape: Vec<usize> = serde_json::from_value(expected["shape"].clone()).unwrap();
    assert_eq!(info.dtype().name(), expected["dtype"], "{at}");
    assert_eq!(info.dtype().number(), expected["dtype_enum"], "{at}");
    assert_eq!(info.shape().dims(), shape, "{at}");
    checkpoint.verify(info).unwrap_or_else(|error| panic!("{at}: {error}"));
    match info.dtype() {
        DType::String => {
            let strings = checkpoint.read_strings(name).unwrap();
            if let Some(hashes) = expected["sha256_each"].as_array() {
                assert!(
                    strings
                        .iter()
                        .map(sha256)
                        .eq(hashes.iter().map(|hash| hash.as_str().unwrap().to_owned())),
                    "{at}"
                );
            } else {
                let values = expected["values_hex"].as_array().unwrap();
                assert!(
                    strings
                        .iter()
                        .map(hex::encode)
                        .eq(values.iter().map(|v| v.as_str().unwrap().to_owned())),
                    "{at}"
                );
            }
        }
        DType::Variant => {}
        _ => {
            let bytes = checkpoint.read_bytes(name).unwrap();
            assert_eq!(bytes.len(), expected["nbytes"], "{at}");
            assert_eq!(sha256(&bytes), expected["sha256"].as_str().unwrap(), "{at}");
        }
    }
}

#[test]
fn every_variable_that_tensorflow_wrote_is_read_bit_for_bit() {
    for case in CASES.into_iter().chain(["variant"]) {
        for (prefix, variables) in checkpoints(case) {
            let checkpoint = Checkpoint::open(fixture(case).join(prefix)).unwrap();
            let variables = variables.as_object().unwrap();
            for (name, expected) in variables {
                check(case, &checkpoint, name, expected);
            }
            assert_eq!(checkpoint.faults().count(), 0, "{case}");
            if case == "many_vars_2600" {
                assert_eq!(checkpoint.variables().len(), 2600);
                checkpoint.variables().for_each(|info| checkpoint.verify(info).unwrap());
            } else {
                assert_eq!(
                    checkpoint.variables().len(),
                    variables.len(),
                    "{case}: nothing else is listed"
                );
            }
        }
    }
}

#[test]
fn files_of_the_v1_format_are_read_bit_for_bit() {
    for (case, num_shards) in [("v1", 1), ("v1_sharded", 2)] {
        let expected = expected(case);
        let path = fixture(case).join(expected["path"].as_str().unwrap());
        let checkpoint = Checkpoint::open(&path).unwrap();
        assert_eq!((checkpoint.format(), checkpoint.num_shards()), (Format::V1, num_shards));
        let tensors = expected["tensors"].as_object().unwrap();
        for (name, expected) in tensors {
            check(case, &checkpoint, name, expected);
        }
        assert_eq!(checkpoint.variables().len(), tensors.len(), "{case}");
        // The directory's state file names it, and any of the files will do.
        for path in [fixture(case), path.with_file_name("model.ckpt-3-00001-of-00002")] {
            if path.exists() {
                let again = Checkpoint::open(&path).unwrap();
                assert_eq!(again.variables().len(), tensors.len(), "{}", path.display());
            }
        }
    }
}

#[test]
fn parts_of_variables_are_read_as_restorev2_reads_them() {
    for case in ["sliced_1d", "sliced_2d", "sliced_half"] {
        let checkpoint = Checkpoint::open(fixture(case).join("a")).unwrap();
        let expected = expected(case);
        for read in expected["slice_reads"].as_array().unwrap() {
            let name = read["name"].as_str().unwrap();
            let text = read["shape_and_slice"].as_str().unwrap();
            let shape = checkpoint.variable(name).unwrap().shape().clone();
            let slice = match text {
                "" => Slice::full(shape.rank()),
                text => {
                    let (whole, slice) = Slice::parse_shape_and_slice(text).unwrap();
                    assert_eq!(whole, shape);
                    slice
                }
            };
            let bytes = checkpoint.read_slice_bytes(name, &slice).unwrap();
            assert_eq!(sha256(&bytes), read["result"]["sha256"], "{case}: {name} {text}");
        }
        if let Some(whole) = expected.get("assembled") {
            check(case, &checkpoint, "h", whole);
        }
    }
}

#[test]
fn slices_are_listed_with_their_variable_alone() {
    let checkpoint = Checkpoint::open(fixture("sliced_2d/a")).unwrap();
    let info = checkpoint.variable("w").unwrap();
    let slices: Vec<String> = info.slices().map(Slice::to_string).collect();
    assert!(
        slices.len() > 1 && slices.iter().all(|slice| slice.contains(':')),
        "{slices:?}"
    );
    assert_eq!((info.size(), info.crc32c()), (120, None));
    assert_eq!(checkpoint.variables().len(), 1);
    let outside = Slice::new([Some(3..6), None]);
    let error = checkpoint.read_slice::<f32>("w", &outside).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
}

#[test]
fn big_endian_files_are_read_as_little_endian_bytes() {
    let checkpoint = Checkpoint::open(fixture("crafted_big_endian/a")).unwrap();
    assert_eq!(checkpoint.endianness(), Endianness::Big);
}

#[test]
fn typed_reads_give_the_values() {
    let checkpoint = Checkpoint::open(fixture("simple_float/a")).unwrap();
    assert_eq!(checkpoint.read::<f32>("x0").unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let error = checkpoint.read::<i32>("x0").unwrap_err();
    let right = matches!(
        error,
        Error::DtypeMismatch {
            stored: DType::Float32,
            requested: DType::Int32,
            ..
        }
    );
    assert!(right, "nothing is cast: {error}");
    let all = Checkpoint::open(fixture("all_dtypes/a")).unwrap();
    assert_eq!(all.read::<half::f16>("f/half").unwrap().len(), 8);
    assert_eq!(all.read::<half::bf16>("f/bfloat16").unwrap().len(), 8);
    assert_eq!(all.read::<i64>("i/int64").unwrap().len(), 5);
    assert_eq!(all.read_bytes("bool").unwrap(), [1, 0, 1]);
}

/// A variable on its way from one checkpoint into another, slice by slice if it is partitioned; with the place of its
/// bytes.
fn copies(from: &Checkpoint, info: &VariableInfo) -> Vec<((u64, u64), Variable<'static>)> {
    let variable = |shape: tfckpt::Shape, bytes: Vec<u8>| Variable::from_bytes(info.key(), info.dtype(), shape, bytes);
    let whole = info.shape();
    if info.slices().len() == 0 {
        let copy = variable(whole.clone(), from.read_bytes(info.key()).unwrap());
        return vec![((info.offset(), info.size()), copy)];
    }
    let part = |slice: &Slice| {
        let bytes = from.read_slice_bytes(info.key(), slice).unwrap();
        let part = variable(slice.shape_in(whole).unwrap(), bytes).slice_of(whole.clone(), slice.clone());
        // TensorFlow wrote the slices of the fixtures in their order, between other variables: see `order`.
        ((u64::MAX, 0), part)
    };
    info.slices().map(part).collect()
}

#[test]
fn what_tensorflow_wrote_is_written_again_byte_for_byte() {
    let crafted_or_sharded =
        |case: &str| case.starts_with("crafted") || case == "sharded3" || case == "tf2_max_shard_size";
    let mut rewritten = 0;
    for case in CASES.into_iter().filter(|case| !crafted_or_sharded(case)) {
        for prefix in checkpoints(case).into_keys() {
            let original = fixture(case).join(&prefix);
            let checkpoint = Checkpoint::open(&original).unwrap();
            let memory = MemoryDir::new();
            let mut writer = BundleWriter::create(Arc::new(memory.clone()), "copy").unwrap();
            let mut in_file_order: Vec<_> = checkpoint
                .variables()
                .flat_map(|info| copies(&checkpoint, info))
                .collect();
            if order(case).is_empty() {
                in_file_order.sort_by_key(|(place, _)| *place);
            } else {
                in_file_order.sort_by_key(|(_, copy)| order(case).iter().position(|name| *name == copy.name()));
            }
            in_file_order
                .into_iter()
                .for_each(|(_, copy)| writer.add(copy).unwrap());
            writer.finish().unwrap();
            for suffix in [".index", ".data-00000-of-00001"] {
                let theirs = fs::read(format!("{}{suffix}", original.display())).unwrap();
                let ours = memory.get(&format!("copy{suffix}")).unwrap();
                assert!(*ours == *theirs, "{case}: {prefix}{suffix} differs");
            }
            rewritten += 1;
        }
    }
    assert_eq!(rewritten, 19, "no case may drop out unnoticed");
}

/// The variables of a case with partitioned ones, in the order of its data file.
fn order(case: &str) -> &'static [&'static str] {
    match case {
        "sliced_1d" => &["emb", "u", "plain"],
        "sliced_2d" => &["w"],
        "tf1_partitioned_adam" => &[
            "beta1_power",
            "beta2_power",
            "emb",
            "emb/Adam",
            "emb/Adam_1",
            "global_step",
        ],
        _ => &[],
    }
}

#[test]
fn a_checkpoint_is_found_by_prefix_file_directory_or_saved_model() {
    let saver = fixture("tf1_adam_keep2");
    let prefix = |path: &str| Checkpoint::open(saver.join(path)).unwrap().prefix();
    assert_eq!(prefix("model.ckpt-2"), saver.join("model.ckpt-2"));
    assert_eq!(prefix("model.ckpt-2.index"), saver.join("model.ckpt-2"));
    assert_eq!(prefix("model.ckpt-2.data-00000-of-00001"), saver.join("model.ckpt-2"));
    assert_eq!(prefix("model.ckpt-2.meta"), saver.join("model.ckpt-2"));
    assert_eq!(prefix(""), saver.join("model.ckpt-3"), "the latest of the directory");
    assert_eq!(prefix("checkpoint"), saver.join("model.ckpt-3"));
    assert_eq!(Checkpoint::open(&saver).unwrap().global_step().unwrap(), Some(3));

    let saved_model = fixture("savedmodel");
    for path in [
        saved_model.clone(),
        saved_model.join("saved_model.pb"),
        saved_model.join("variables/variables"),
    ] {
        assert_eq!(
            Checkpoint::open(path).unwrap().prefix(),
            saved_model.join("variables/variables")
        );
    }
}

#[test]
fn a_mistaken_path_is_told_what_a_prefix_is_and_which_are_near() {
    let error = Checkpoint::open(fixture("tf1_adam_keep2/model.ckpt")).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::NoCheckpoint { .. }));
    assert!(
        text.contains("named by its prefix") && text.contains("model.ckpt-3"),
        "{text}"
    );

    let error = Checkpoint::open(fixture("simple_float")).unwrap_err();
    assert!(error.to_string().contains("has no file `checkpoint`"), "{error}");
    assert!(error.to_string().contains("did you mean"), "{error}");

    let error = Checkpoint::open(fixture("simple_float/expected.json")).unwrap_err();
    assert!(error.to_string().contains("none of a checkpoint's"), "{error}");

    let checkpoint = Checkpoint::open(fixture("tf1_adam_keep2")).unwrap();
    let error = checkpoint.read::<f32>("layer/kernels").unwrap_err();
    assert!(error.to_string().contains("did you mean `layer/kernel`"), "{error}");
}

#[test]
fn state_files_parse_as_in_tensorflow() {
    let cases = expected("state_files");
    for (case, expected) in cases["cases"].as_object().unwrap() {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(
            fixture("state_files").join(format!("{case}.checkpoint")),
            dir.path().join("checkpoint"),
        )
        .unwrap();
        let found = checkpoint_state(dir.path());
        let Some(state) = expected["state"].as_object() else {
            // TensorFlow raises, or warns and answers None; a run must not start again from nothing for either.
            assert!(matches!(found, Err(Error::StateFile { .. })), "{case}: {found:?}");
            continue;
        };
        // The expectations were taken in a folder called `t`.
        let here = |path: &Value| {
            dir.path().join(
                path.as_str()
                    .unwrap()
                    .strip_prefix("t/")
                    .unwrap_or(path.as_str().unwrap()),
            )
        };
        let found = found.unwrap().unwrap();
        assert_eq!(
            found.model_checkpoint_path,
            here(&state["model_checkpoint_path"]),
            "{case}"
        );
        assert!(
            found.all_model_checkpoint_paths.iter().eq(&state["all"]
                .as_array()
                .unwrap()
                .iter()
                .map(here)
                .collect::<Vec<_>>()),
            "{case}"
        );
        let timestamps: Vec<f64> = serde_json::from_value(state["timestamps"].clone()).unwrap();
        assert_eq!(found.all_model_checkpoint_timestamps, timestamps, "{case}");
        let preserved: f64 = state["last_preserved"].as_str().unwrap().parse().unwrap();
        assert_eq!(found.last_preserved_timestamp.unwrap_or(0.0), preserved, "{case}");
    }
    let nowhere = tempfile::tempdir().unwrap();
    assert!(checkpoint_state(nowhere.path()).unwrap().is_none());
}

#[test]
fn reading_one_variable_opens_only_its_own_data_file() {
    let dir = tempfile::tempdir().unwrap();
    let case = fixture("sharded3");
    let whole = Checkpoint::open(case.join("m")).unwrap();
    let wanted = whole
        .variables()
        .find(|info| info.shard() == 1)
        .expect("something is in shard 1")
        .clone();
    for file in ["m.index", "m.data-00001-of-00003"] {
        fs::copy(case.join(file), dir.path().join(file)).unwrap();
    }
    let storage = Arc::new(LocalDir::new(dir.path()));
    let partial = tfckpt::Bundle::open(storage, "m", &tfckpt::Limits::default()).unwrap();
    assert_eq!(
        partial.read_bytes(wanted.key()).unwrap(),
        whole.read_bytes(wanted.key()).unwrap()
    );
    let other = whole.variables().find(|info| info.shard() != 1).unwrap();
    assert!(matches!(
        partial.read_bytes(other.key()),
        Err(Error::ShardMissing { .. })
    ));
}
