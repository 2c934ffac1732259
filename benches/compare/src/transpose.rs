//! One square Dense kernel, transposed on its way into Candle.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use tfckpt::io::Durability;
use tfckpt::map::{Layout, NameMap};
use tfckpt::{Checkpoint, Saver, Variable};

use crate::digest::values;
use crate::{Answer, timed};

pub(crate) struct Kernel {
    edge: usize,
    stored: Vec<f32>,
    tensor: Tensor,
}

impl Kernel {
    /// Saves the kernel in TensorFlow's layout into `directory`.
    pub(crate) fn new(directory: PathBuf, edge: usize) -> Result<Self> {
        let stored = values(0, edge * edge);
        let mut saver = Saver::new(directory).durability(Durability::Buffered);
        saver.save([Variable::new("dense/kernel", [edge, edge], &stored)], 1)?;
        let tensor = Tensor::from_slice(&stored, (edge, edge), &Device::Cpu)?;
        Ok(Kernel { edge, stored, tensor })
    }

    /// From the file into a layer of Candle: read, checked and transposed.
    pub(crate) fn import(&self, prefix: PathBuf) -> Result<Answer> {
        let (seconds, linear) = timed(|| {
            let vb = tfckpt_candle::var_builder(Checkpoint::open(prefix)?, NameMap::keras(), DType::F32, &Device::Cpu)?;
            Ok(candle_nn::linear_no_bias(self.edge, self.edge, vb.pp("dense"))?)
        })?;
        self.compare(linear.weight())?;
        Ok(self.time(seconds))
    }

    /// The transpose alone, from memory into new memory.
    pub(crate) fn in_memory(&self) -> Result<Answer> {
        let shape = [self.edge, self.edge];
        let transform = Layout::Permuted(&[1, 0])
            .to_model(&shape)
            .context("a kernel has two axes")?;
        let (seconds, transposed) = timed(|| {
            let mut transposed = vec![0f32; self.stored.len()];
            let bytes = bytemuck::cast_slice_mut(&mut transposed);
            transform.apply(size_of::<f32>(), bytemuck::cast_slice(&self.stored), bytes);
            Ok(transposed)
        })?;
        self.compare(&Tensor::from_vec(transposed, &shape, &Device::Cpu)?)?;
        Ok(self.time(seconds))
    }

    /// The transpose alone, as Candle does it.
    pub(crate) fn candle(&self) -> Result<Answer> {
        let (seconds, transposed) = timed(|| Ok(self.tensor.t()?.contiguous()?))?;
        self.compare(&transposed)?;
        Ok(self.time(seconds))
    }

    fn compare(&self, transposed: &Tensor) -> Result<()> {
        // A few of the elements: the comparison is not what is measured, and reading all of them through Candle takes
        // longer than that.
        for row in (0..self.edge).step_by(self.edge.div_ceil(7)) {
            let ours: Vec<f32> = transposed.get(row)?.to_vec1()?;
            let expected = (0..self.edge).map(|column| self.stored.get(column * self.edge + row).copied());
            ensure!(ours.into_iter().map(Some).eq(expected), "row {row} differs");
        }
        Ok(())
    }

    fn time(&self, seconds: f64) -> Answer {
        Answer::time(seconds, self.stored.len() as u64 * 4)
    }
}
