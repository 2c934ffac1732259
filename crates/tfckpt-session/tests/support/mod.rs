//! What the tests share: files of the repository, the digits, comparisons in which NaN fails.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Images `[n, 8, 8, 1]` and labels of all digits.
pub(crate) fn digits() -> (Tensor, Tensor) {
    let file = std::fs::File::open(repository("data/digits.csv.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut numbers: Vec<f32> = line.split(',').map(|number| number.parse().unwrap()).collect();
        labels.push(numbers.pop().unwrap() as i64);
        pixels.extend(numbers.into_iter().map(|pixel| pixel / 16.0));
    }
    let count = labels.len();
    let images = Tensor::from_vec(pixels, (count, 8, 8, 1), &Device::Cpu).unwrap();
    (images, Tensor::from_vec(labels, count, &Device::Cpu).unwrap())
}

/// The largest relative difference, of numbers above 1, and absolute difference of others. NaN matches NaN alone.
pub(crate) fn difference(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let mut largest = 0f64;
    for (a, b) in ours.iter().zip(theirs) {
        let difference = match (a, b) {
            (a, b) if a.is_nan() && b.is_nan() => 0.0,
            (a, b) if a == b => 0.0,
            (a, b) => (a - b).abs() / b.abs().max(1.0),
        };
        // NaN is larger than anything.
        largest = if difference.is_nan() {
            f64::INFINITY
        } else {
            largest.max(difference)
        };
    }
    largest
}
