//! Random operations draw TensorFlow's numbers from TensorFlow's seeds, or at least numbers that are spread like them.

mod support;

use candle_core::{DType, Device};
use support::repository;
use tfckpt_session::{Session, import_meta_graph};

/// What TensorFlow drew, and what we do: least, greatest, mean, deviation.
fn both(name: &str) -> ([f64; 4], [f64; 4]) {
    let rows = std::fs::read(repository("tests/fixtures/ops/random.json")).unwrap();
    let rows: serde_json::Value = serde_json::from_slice(&rows).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
    let theirs = ["least", "greatest", "mean", "deviation"].map(|key| row[key].as_f64().unwrap());
    let graph = import_meta_graph(repository("tests/fixtures/ops/random.meta")).unwrap();
    let session = Session::new(&graph, &Device::Cpu).unwrap();
    let tensor = session.run(&[&format!("{name}/op:0")], &[]).unwrap().remove(0);
    let dims: Vec<usize> = row["shape"]
        .as_array()
        .unwrap()
        .iter()
        .map(|dim| dim.as_u64().unwrap() as usize)
        .collect();
    assert_eq!(tensor.dims(), dims, "{name}");
    let values = tensor
        .flatten_all()
        .unwrap()
        .to_dtype(DType::F64)
        .unwrap()
        .to_vec1::<f64>()
        .unwrap();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let deviation = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    ([least, greatest, mean, deviation], theirs)
}

#[test]
fn uniform_and_normal_numbers_are_tensorflows_own() {
    for name in [
        "RandomUniform/plain",
        "RandomStandardNormal/plain",
        "RandomUniformInt/plain",
    ] {
        let (ours, theirs) = both(name);
        println!("{name}: {ours:?} {theirs:?}");
        for (a, b) in ours.iter().zip(theirs) {
            assert!((a - b).abs() < 2e-6, "{name}: {ours:?}, not {theirs:?}");
        }
    }
}

#[test]
fn other_numbers_are_spread_like_tensorflows() {
    for (name, mean, deviation) in [
        ("TruncatedNormal/plain", 0.03f64, 0.03f64),
        ("Multinomial/plain", 0.03, 0.03),
        ("RandomShuffle/plain", 1e-6, 1e-6),
    ] {
        let (ours, theirs) = both(name);
        println!("{name}: {ours:?} {theirs:?}");
        assert!(
            (ours[2] - theirs[2]).abs() < mean.max(1e-6 * theirs[2]),
            "{name}: {ours:?}, not {theirs:?}"
        );
        assert!(
            (ours[3] - theirs[3]).abs() < deviation.max(1e-6 * theirs[3]),
            "{name}: {ours:?}, not {theirs:?}"
        );
    }
    let (ours, _) = both("TruncatedNormal/plain");
    assert!(ours[0] > -2.0 && ours[1] < 2.0, "{ours:?}");
}
