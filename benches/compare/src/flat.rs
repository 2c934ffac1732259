//! Variables of one size without a framework: 64 of 16 MiB, 100,000 of 1 KiB.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use tfckpt::io::Durability;
use tfckpt::{Checkpoint, Saver, Variable};

use crate::digest::values;
use crate::{Answer, timed};

pub(crate) struct Flat {
    variables: Vec<(String, Vec<f32>)>,
}

impl Flat {
    pub(crate) fn new(count: usize, elements: usize) -> Self {
        let variable = |i| (format!("variable_{i:06}"), values(i, elements));
        Flat {
            variables: (0..count).map(variable).collect(),
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.slices().iter().map(|slice| slice.len() as u64).sum()
    }

    /// The bytes of all variables, in order.
    pub(crate) fn slices(&self) -> Vec<&[u8]> {
        self.variables
            .iter()
            .map(|(_, values)| bytemuck::cast_slice(values))
            .collect()
    }

    pub(crate) fn save(&self, directory: PathBuf, durability: Durability) -> Result<Answer> {
        let (seconds, saved) = timed(|| {
            let variables = self.variables.iter();
            let variables = variables.map(|(name, values)| Variable::new(name.as_str(), [values.len()], values));
            let mut saver = Saver::new(directory)
                .overwrite(true)
                .write_meta_graph(false)
                .durability(durability);
            Ok(saver.save(variables, 1)?)
        })?;
        Ok(Answer::time(seconds, saved.data_bytes))
    }

    /// Everything into memory that was not there before.
    pub(crate) fn restore(&self, prefix: PathBuf) -> Result<Answer> {
        let (seconds, _restored) = timed(|| read_all(&Checkpoint::open(prefix)?, &self.names()))?;
        Ok(Answer::time(seconds, self.bytes()))
    }

    /// That the checkpoint, which TensorFlow may have written, holds exactly these variables.
    pub(crate) fn check(&self, prefix: PathBuf) -> Result<Answer> {
        let restored = read_all(&Checkpoint::open(prefix)?, &self.names())?;
        ensure!(restored.len() == self.variables.len(), "variables are missing");
        for ((name, values), restored) in self.variables.iter().zip(&restored) {
            let (ours, theirs): (&[u8], &[u8]) = (bytemuck::cast_slice(values), bytemuck::cast_slice(restored));
            ensure!(ours == theirs, "{name} has other bytes");
        }
        Ok(Answer::size(self.bytes()))
    }

    fn names(&self) -> Vec<&str> {
        self.variables.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// Opens a checkpoint and reads one of its variables.
pub(crate) fn one(prefix: PathBuf, name: &str) -> Result<Answer> {
    let (seconds, values) = timed(|| Ok(Checkpoint::open(prefix)?.read::<f32>(name)?))?;
    Ok(Answer::time(seconds, values.len() as u64 * 4))
}

/// Opens a checkpoint and lists names, dtypes and shapes.
pub(crate) fn list(prefix: PathBuf) -> Result<Answer> {
    let (seconds, (checkpoint, listed)) = timed(|| {
        let checkpoint = Checkpoint::open(prefix)?;
        let described = |info: &tfckpt::VariableInfo| (info.name().into_owned(), info.dtype(), info.shape().clone());
        let listed: Vec<_> = checkpoint.variables().map(described).collect();
        Ok((checkpoint, listed))
    })?;
    ensure!(listed.len() == checkpoint.variables().len(), "variables are missing");
    Ok(Answer::time(seconds, 0))
}

/// The one place that says how many variables are read at once.
fn read_all(checkpoint: &Checkpoint, names: &[&str]) -> Result<Vec<Vec<f32>>> {
    Ok(checkpoint.read_many::<f32>(names)?)
}
