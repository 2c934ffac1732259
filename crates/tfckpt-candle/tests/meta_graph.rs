//! Variables of graphs that TensorFlow wrote, without the code of their networks.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use tfckpt_candle::{Error, import_meta_graph};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

#[test]
fn every_variable_of_a_foreign_graph_is_named_shaped_and_restored() {
    let path = repository("data/tf-digits/saver/model.ckpt-360.meta");
    let imported = import_meta_graph(&path, &Device::Cpu).unwrap();
    let checkpoint = tfckpt::Checkpoint::open(&path).unwrap();
    assert_eq!(imported.variables.len(), checkpoint.variables().len());
    let vars = imported.varmap.data().lock().unwrap();
    for variable in &imported.variables {
        assert!(variable.left_out.is_none(), "{variable}");
        let info = checkpoint.variable(&variable.name).unwrap();
        let var = &vars[&variable.name];
        assert_eq!(
            (var.dims(), Some(info.shape())),
            (info.shape().dims(), variable.shape.as_ref())
        );
        if var.dtype() == DType::F32 {
            let values = var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(values, checkpoint.read::<f32>(&variable.name).unwrap(), "{variable}");
        }
    }
    assert_eq!(
        imported.variables.iter().filter(|variable| variable.trainable).count(),
        6
    );
    assert_eq!(vars["global_step"].to_scalar::<i64>().unwrap(), 360);
}

#[test]
fn slices_of_a_partitioned_variable_are_variables_of_the_graph() {
    let imported = import_meta_graph(repository("tests/fixtures/tf1_partitioned_adam/m.meta"), &Device::Cpu).unwrap();
    let vars = imported.varmap.data().lock().unwrap();
    assert_eq!(
        (vars["emb/part_0"].dims(), vars["emb/part_1"].dims()),
        (&[3, 2][..], &[2, 2][..])
    );
    assert!(imported.variables.iter().all(|variable| variable.left_out.is_none()));
}

#[test]
fn what_cannot_be_restored_is_listed_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (text, wide) = ([&b"a"[..]], [1u64]);
    let complex = vec![0; 8];
    let variables = [
        tfckpt::Variable::strings("words", [1], text),
        tfckpt::Variable::new("wide", [1], &wide),
        tfckpt::Variable::from_bytes("waves", tfckpt::DType::Complex64, [1], complex),
        tfckpt::Variable::scalar("x", 1f32),
    ];
    let saved = tfckpt::Saver::new(dir.path()).save(variables, 1).unwrap();
    let path = format!("{}.meta", saved.prefix.display());
    let imported = import_meta_graph(&path, &Device::Cpu).unwrap();
    let listed: Vec<String> = imported.variables.iter().map(ToString::to_string).collect();
    let expected = [
        "global_step int64 []: restored",
        "waves complex64 [1]: left out, Candle has no dtype for complex64",
        "wide uint64 [1]: restored",
        "words string [1]: left out, Candle has no dtype for string",
        "x float32 []: restored",
    ];
    assert_eq!(listed, expected);
    std::fs::write(&path, b"\xff\xff\xff").unwrap();
    let damaged = import_meta_graph(&path, &Device::Cpu).unwrap_err();
    assert!(
        matches!(damaged, Error::Checkpoint(tfckpt::Error::CorruptMetaGraph { .. })),
        "{damaged}"
    );
}

#[test]
fn a_saved_model_is_imported_by_its_directory() {
    let imported = import_meta_graph(repository("tests/fixtures/savedmodel"), &Device::Cpu).unwrap();
    let listed: Vec<String> = imported.variables.iter().map(ToString::to_string).collect();
    assert_eq!(listed, ["b float32 [2]: restored", "w float32 [2, 2]: restored"]);
}
