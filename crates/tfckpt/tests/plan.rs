//! A load is decided before anything is read, and every problem is told at once.

use std::fs;

use tfckpt::map::{DenseOrder, Filling, Layer, Layout, NameMap, Plan, Target};
use tfckpt::{Checkpoint, DType, Error, Saver, Variable};

fn target(path: &str, layer: Layer, shape: &[usize]) -> Target {
    let names = NameMap::keras();
    Target {
        path: path.to_owned(),
        names: names.names(path, layer),
        dtypes: vec![DType::Float32],
        shape: shape.to_vec(),
        layout: names.layout(path, layer, DenseOrder::OutIn),
    }
}

fn checkpoint(dir: &std::path::Path) -> Checkpoint {
    let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let variables = [
        Variable::new("dense/kernel", [3, 4], &values),
        Variable::new("dense/bias", [4], &values[..4]),
        Variable::scalar("step", 7i32),
        Variable::new("norm/gamma", [4], &values[..4]),
    ];
    Saver::new(dir).save(variables, 1).unwrap();
    Checkpoint::open(dir).unwrap()
}

#[test]
fn what_fits_is_read_in_the_layout_of_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path());
    let targets = [
        target("dense.weight", Layer::Dense, &[4, 3]),
        target("dense.bias", Layer::Dense, &[4]),
    ];
    let plan = Plan::new(&checkpoint, &targets).unwrap();
    plan.verify(&checkpoint).unwrap();
    assert_eq!(plan.report().unused, ["global_step", "norm/gamma", "step"]);
    let read = |filling: &Filling<'_>| {
        let mut bytes = vec![0; filling.size()?];
        filling.read_into(&mut bytes)?;
        Ok::<_, Error>((filling.target(), bytes))
    };
    let filled = plan.carry_out(&checkpoint, read).unwrap();
    assert_eq!(filled.len(), 2);
    let (_, bytes) = filled.into_iter().find(|(target, _)| *target == 0).unwrap();
    let values: Vec<f32> = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|chunk| f32::from_le_bytes(*chunk))
        .collect();
    assert_eq!(values, [0., 4., 8., 1., 5., 9., 2., 6., 10., 3., 7., 11.]);
}

#[test]
fn every_problem_is_told_at_once_and_before_any_byte_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path());
    // Without its data file nothing could be read.
    fs::remove_file(dir.path().join("model.ckpt-1.data-00000-of-00001")).unwrap();
    let targets = [
        target("dense.weight", Layer::Dense, &[3, 4]),
        target("dense.bias", Layer::Dense, &[4]),
        target("denes.bias", Layer::Dense, &[4]),
        target("step", Layer::Other, &[]),
        target("norm.weight", Layer::LayerNorm, &[5]),
    ];
    let Err(Error::Mismatch { report, .. }) = Plan::new(&checkpoint, &targets) else {
        panic!("it does not fit")
    };
    assert_eq!(report.loaded.len(), 1);
    assert_eq!(report.missing.len(), 1);
    assert_eq!(report.missing[0].names, ["denes/bias"]);
    let wrong: Vec<&str> = report.mismatched.iter().map(|wrong| wrong.path.as_str()).collect();
    assert_eq!(wrong, ["dense.weight", "step", "norm.weight"]);
    let text = report.to_string();
    assert!(
        text.contains(
            "`dense.weight` needs float32 [4, 3] (in the model [3, 4]), but `dense/kernel` is float32 [3, 4]"
        ),
        "{text}"
    );
    assert!(
        text.contains("`step` needs float32 [], but `step` is int32 []"),
        "{text}"
    );

    let partial = Plan::partial(&checkpoint, &targets);
    assert_eq!(partial.steps().len(), 1);
    assert!(!partial.report().is_complete());
}

#[test]
fn the_nearest_unused_name_is_suggested() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path());
    let plan = Plan::partial(&checkpoint, &[target("model.dense.weight", Layer::Dense, &[4, 3])]);
    assert_eq!(plan.report().missing[0].candidates[0], "dense/kernel");
}

#[test]
fn a_square_kernel_is_transposed_because_of_its_layer_and_an_embedding_is_not() {
    assert_eq!(
        target("fc.weight", Layer::Dense, &[4, 4]).layout,
        Layout::Permuted(&[1, 0])
    );
    assert_eq!(target("emb.weight", Layer::Embedding, &[4, 4]).layout, Layout::Same);
}

#[test]
fn a_wrong_buffer_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(dir.path());
    let plan = Plan::new(&checkpoint, &[target("dense.weight", Layer::Dense, &[4, 3])]).unwrap();
    let result = plan.carry_out(&checkpoint, |filling| filling.read_into(&mut [0; 7]));
    assert!(matches!(
        result,
        Err(Error::WrongLength {
            expected: 48,
            got: 7,
            ..
        })
    ));
}
