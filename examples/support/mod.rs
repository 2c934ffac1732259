//! The digits, for the examples and the tests that train on them.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Images and labels, in the order of the file.
#[derive(Debug, Clone)]
pub(crate) struct Digits {
    /// `[n, 8, 8]` pixels in 0..=1, row-major.
    pub(crate) pixels: Vec<f32>,
    /// `n` labels in 0..10.
    pub(crate) labels: Vec<u8>,
}

/// Pixels of an image.
pub(crate) const PIXELS: usize = 64;

/// Rows that train; the others test.
const TRAIN: usize = 1500;

impl Digits {
    /// The training and the test images of `data/digits.csv.gz`.
    pub(crate) fn load() -> Result<(Digits, Digits)> {
        let path = data("digits.csv.gz");
        let file = std::fs::File::open(&path).with_context(|| format!("cannot open `{}`", path.display()))?;
        let mut text = String::new();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text)?;
        let (mut train, mut test) = (Digits::empty(), Digits::empty());
        let mut rows = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(text.as_bytes());
        for (i, row) in rows.records().enumerate() {
            let row = row?;
            ensure!(
                row.len() == PIXELS + 1,
                "row {i} has {} columns, not {}",
                row.len(),
                PIXELS + 1
            );
            let part = if i < TRAIN { &mut train } else { &mut test };
            for pixel in row.iter().take(PIXELS) {
                part.pixels.push(pixel.parse::<f32>()? / 16.0);
            }
            part.labels.push(row[PIXELS].parse::<f32>()? as u8);
        }
        Ok((train, test))
    }

    /// The number of images.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Images `range` and their labels.
    #[allow(dead_code, reason = "not every example goes through the images in batches")]
    pub(crate) fn slice(&self, range: std::ops::Range<usize>) -> (&[f32], &[u8]) {
        (
            &self.pixels[range.start * PIXELS..range.end * PIXELS],
            &self.labels[range],
        )
    }

    fn empty() -> Self {
        Digits {
            pixels: Vec::new(),
            labels: Vec::new(),
        }
    }
}

/// A file of the repository's `data` folder.
pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}
