//! The network and its Adam state in Candle, saved and restored by us and by safetensors.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::PoisonError;

use anyhow::Result;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarMap;
use tfckpt::io::Durability;
use tfckpt::map::NameMap;
use tfckpt::{Checkpoint, Saver, Variable};
use tfckpt_candle::{CheckpointedOptimizer, Layers, OptimizerState, Run, Variables};

use crate::bert::{CandleBert, Size};
use crate::digest::{Digest, values};
use crate::{Answer, timed};

pub(crate) struct CandleState {
    size: Size,
    weights: VarMap,
    layers: Layers,
    adam: Adam,
    /// Weights and moments: Candle's own optimizers keep their moments to themselves, so that whoever wants them saved
    /// puts them into a `VarMap`.
    everything: VarMap,
}

impl CandleState {
    pub(crate) fn new(size: Size) -> Result<Self> {
        let weights = VarMap::new();
        let (vb, layers) = tfckpt_candle::recording(&weights, DType::F32, &Device::Cpu);
        CandleBert::new(size, &vb)?;
        for (seed, var) in named(&weights).values().enumerate() {
            let values = values(seed, var.elem_count());
            var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu)?)?;
        }
        let adam = Adam::new(&weights)?;
        let everything = VarMap::new();
        let mut all = everything.data().lock().unwrap_or_else(PoisonError::into_inner);
        for (path, [weight, first, second]) in &adam.moments {
            all.insert(path.clone(), weight.clone());
            all.insert(format!("{path}.first_moment"), first.clone());
            all.insert(format!("{path}.second_moment"), second.clone());
        }
        drop(all);
        Ok(CandleState {
            size,
            weights,
            layers,
            adam,
            everything,
        })
    }

    /// Of weights and moments.
    pub(crate) fn bytes(&self) -> u64 {
        let elements = named(&self.everything)
            .values()
            .map(|var| var.elem_count() as u64)
            .sum::<u64>();
        elements * 4
    }

    /// The weights alone, for the imports.
    pub(crate) fn save_weights(&self, directory: PathBuf) -> Result<Answer> {
        let variables = Variables::new(&self.weights).layers(&self.layers);
        let mut saver = Saver::new(directory).overwrite(true).durability(Durability::Buffered);
        saver.save(variables.to_save()?, 1)?;
        let mut digest = Digest::default();
        named(&self.weights)
            .values()
            .try_for_each(|var| add(&mut digest, var.as_tensor()))?;
        Ok(Answer::digest(digest))
    }

    /// A new network from a checkpoint: every Dense kernel is transposed.
    pub(crate) fn import(&self, prefix: PathBuf) -> Result<Answer> {
        let (seconds, bert) = timed(|| {
            let checkpoint = Checkpoint::open(prefix)?;
            let vb = tfckpt_candle::var_builder(checkpoint, NameMap::keras(), DType::F32, &Device::Cpu)?;
            Ok(CandleBert::new(self.size, &vb)?)
        })?;
        let mut digest = Digest::default();
        bert.parameters()
            .try_for_each(|parameter| add(&mut digest, parameter))?;
        Ok(Answer {
            seconds: Some(seconds),
            ..Answer::digest(digest)
        })
    }

    /// Changes weights and moments.
    pub(crate) fn step(&mut self) -> Result<Answer> {
        self.train()?;
        Ok(Answer::default())
    }

    pub(crate) fn digest(&self) -> Result<Answer> {
        let mut digest = Digest::default();
        named(&self.everything)
            .values()
            .try_for_each(|var| add(&mut digest, var.as_tensor()))?;
        Ok(Answer::digest(digest))
    }

    /// Weights in TensorFlow's layout, moments as they are: what a training loop hands to the saver in the background.
    pub(crate) fn variables(&self) -> Result<Vec<Variable<'static>>> {
        let mut variables = Variables::new(&self.weights).layers(&self.layers).to_save()?;
        let moments = Variables::new(&self.moments()).names(NameMap::identity());
        variables.extend(moments.to_save()?);
        Ok(variables)
    }

    fn moments(&self) -> VarMap {
        let moments = VarMap::new();
        let mut all = moments.data().lock().unwrap_or_else(PoisonError::into_inner);
        for (path, [_, first, second]) in &self.adam.moments {
            all.insert(format!("{path}.first_moment"), first.clone());
            all.insert(format!("{path}.second_moment"), second.clone());
        }
        drop(all);
        moments
    }

    /// All tensors of the state.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let vars = self.adam.moments.values().flatten();
        vars.map(|var| var.as_tensor())
    }

    /// As a training loop does while its state is being saved.
    pub(crate) fn train(&self) -> Result<()> {
        Ok(self.adam.step()?)
    }

    /// `identity`: under Candle's own names and in its own layouts, as safetensors stores it; otherwise in TensorFlow's,
    /// for which kernels and their moments are transposed.
    pub(crate) fn save(&self, directory: PathBuf, durability: Durability, identity: bool) -> Result<Answer> {
        // A new run for each save: one that has saved this step already would not do it again.
        let names = if identity {
            NameMap::identity()
        } else {
            NameMap::keras()
        };
        let mut run = Run::new(directory, &self.weights, &self.adam)
            .layers(&self.layers)
            .names(names)
            .saver(|saver| saver.durability(durability));
        let (seconds, _saved) = timed(|| Ok(run.save()?))?;
        Ok(Answer::time(seconds, self.bytes()))
    }

    pub(crate) fn restore(&self, prefix: PathBuf, verify_first: bool) -> Result<Answer> {
        let mut run = Run::new("", &self.weights, &self.adam)
            .layers(&self.layers)
            .verify_first(verify_first);
        let (seconds, _report) = timed(|| Ok(run.restore(&Checkpoint::open(prefix)?)?))?;
        Ok(Answer::time(seconds, self.bytes()))
    }

    pub(crate) fn save_safetensors(&self, file: PathBuf) -> Result<Answer> {
        let (seconds, ()) = timed(|| Ok(self.everything.save(file)?))?;
        Ok(Answer::time(seconds, self.bytes()))
    }

    /// The same file by the crate itself, from the memory of the variables: without the copy that `VarMap::save` makes
    /// of each tensor.
    pub(crate) fn save_safetensors_borrowed(&self, file: PathBuf) -> Result<Answer> {
        let vars = named(&self.everything);
        let (seconds, ()) = timed(|| {
            let held: Vec<_> = vars
                .iter()
                .map(|(name, var)| (name, var.storage_and_layout()))
                .collect();
            let mut views = Vec::new();
            for (name, (storage, layout)) in &held {
                let candle_core::Storage::Cpu(storage) = &**storage else {
                    anyhow::bail!("{name} is not on the CPU");
                };
                let bytes = bytemuck::cast_slice(storage.as_slice::<f32>()?);
                let shape = layout.dims().to_vec();
                views.push((
                    name,
                    safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, bytes)?,
                ));
            }
            Ok(safetensors::serialize_to_file(views, None, &file)?)
        })?;
        Ok(Answer::time(seconds, self.bytes()))
    }

    pub(crate) fn load_safetensors(&mut self, file: PathBuf) -> Result<Answer> {
        let (seconds, ()) = timed(|| Ok(self.everything.load(file)?))?;
        Ok(Answer::time(seconds, self.bytes()))
    }
}

/// Adam whose moments can be reached: the comparison saves them in other ways than ours, too.
struct Adam {
    /// By path: the weight and its two moments.
    moments: BTreeMap<String, [Var; 3]>,
    beta1_power: Var,
    beta2_power: Var,
    iterations: Var,
}

impl Adam {
    fn new(weights: &VarMap) -> Result<Self> {
        let zeros = |var: &Var| Var::zeros(var.shape(), DType::F32, &Device::Cpu);
        let state = |(path, var): (String, Var)| Ok((path, [var.clone(), zeros(&var)?, zeros(&var)?]));
        Ok(Adam {
            moments: named(weights).into_iter().map(state).collect::<Result<_>>()?,
            beta1_power: Var::new(0.9f32, &Device::Cpu)?,
            beta2_power: Var::new(0.999f32, &Device::Cpu)?,
            iterations: Var::new(0i64, &Device::Cpu)?,
        })
    }

    /// One step down the sum of the squares of all weights.
    fn step(&self) -> candle_core::Result<()> {
        for [weight, first, second] in self.moments.values() {
            let gradient = (weight.as_tensor() * 2.0)?;
            first.set(&((first.as_tensor() * 0.9)? + (&gradient * 0.1)?)?)?;
            second.set(&((second.as_tensor() * 0.999)? + (gradient.sqr()? * 0.001)?)?)?;
            let change = (first.as_tensor() / (second.sqrt()? + 1e-8)?)?;
            weight.set(&(weight.as_tensor() - (change * 1e-3)?)?)?;
        }
        self.iterations.set(&(self.iterations.as_tensor() + 1.0)?)
    }
}

impl CheckpointedOptimizer for Adam {
    fn state(&self) -> OptimizerState {
        let counters = OptimizerState::default()
            .counter("beta1_power", &self.beta1_power)
            .counter("beta2_power", &self.beta2_power)
            .steps("Adam/iterations", &self.iterations);
        self.moments.iter().fold(counters, |state, (path, [_, first, second])| {
            state.slot(path, "Adam", first).slot(path, "Adam_1", second)
        })
    }
}

/// Sorted, because a `VarMap` is in another order each time.
fn named(varmap: &VarMap) -> BTreeMap<String, Var> {
    let vars = varmap.data().lock().unwrap_or_else(PoisonError::into_inner);
    vars.iter().map(|(path, var)| (path.clone(), var.clone())).collect()
}

fn add(digest: &mut Digest, tensor: &Tensor) -> Result<()> {
    digest.add(&tensor.flatten_all()?.to_vec1::<f32>()?);
    Ok(())
}
