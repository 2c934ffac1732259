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

/// A number that is smaller than this share of the largest one beside it is compared relative to that share: what rounding
/// leaves in a sum grows with what was summed, not with what is left of it.
const SHARE: f64 = 1.0 / 32.0;

/// The relative difference of each number: to its own magnitude, or to a [`SHARE`] of the largest magnitude of all. NaN matches NaN
/// alone, and from nothing but zeros nothing differs a little.
pub(crate) fn differences(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    relative(ours, theirs, SHARE)
}

/// The largest difference, relative to the largest magnitude of all: for what a whole network computes, in which single numbers
/// are what is left of long sums.
pub(crate) fn difference(ours: &[f64], theirs: &[f64]) -> f64 {
    relative(ours, theirs, 1.0).into_iter().fold(0.0, f64::max)
}

fn relative(ours: &[f64], theirs: &[f64], share: f64) -> Vec<f64> {
    assert_eq!(ours.len(), theirs.len());
    let finite = theirs.iter().filter(|value| value.is_finite());
    let least = finite.fold(0f64, |largest, value| largest.max(value.abs())) * share;
    let pairs = ours.iter().zip(theirs);
    pairs
        .map(|(a, b)| match (a, b) {
            (a, b) if a.is_nan() && b.is_nan() => 0.0,
            (a, b) if a == b => 0.0,
            // NaN is larger than anything.
            (a, b) => match (a - b).abs() / b.abs().max(least) {
                difference if difference.is_nan() => f64::INFINITY,
                difference => difference,
            },
        })
        .collect()
}
