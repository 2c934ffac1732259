//! What both frameworks train on here: the batches that Python put into a checkpoint.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Result;
use tfckpt::Checkpoint;

/// Images in a row.
pub(crate) const BATCH: usize = 50;
/// Pixels of an image.
pub(crate) const PIXELS: usize = 64;

/// The training images and their labels, in the order of the file.
pub(crate) struct Digits {
    images: Vec<f32>,
    labels: Vec<i32>,
}

impl Digits {
    pub(crate) fn read(prefix: &str) -> Result<Self> {
        let checkpoint = Checkpoint::open(prefix)?;
        Ok(Digits {
            images: checkpoint.read("images")?,
            labels: checkpoint.read("labels")?,
        })
    }

    /// Pixels `[BATCH, 8, 8]` and labels of the batch that a step, counted from 0, trains on.
    pub(crate) fn batch(&self, step: usize) -> (Vec<f32>, Vec<i32>) {
        let first = step * BATCH % self.labels.len();
        let rows = first..first + BATCH;
        let pixels = Range {
            start: rows.start * PIXELS,
            end: rows.end * PIXELS,
        };
        (self.images[pixels].to_vec(), self.labels[rows].to_vec())
    }
}

/// Prints the losses of a run, and the values that its model has in memory, as TensorFlow lays them out, little-endian.
pub(crate) fn print_run(losses: &[f32], values: BTreeMap<&str, Vec<f32>>) -> Result<()> {
    let hex: BTreeMap<&str, String> = values
        .into_iter()
        .map(|(name, values)| (name, values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>()))
        .map(|(name, bytes)| (name, hex::encode(bytes)))
        .collect();
    println!("{}", serde_json::json!({ "losses": losses, "live": hex }));
    Ok(())
}
