//! A small training with everything that has to be resumed: dropout, running statistics, shuffled epochs whose last batch
//! is smaller than the others, metrics.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Module, ModuleT, Tensor};
use candle_nn::{Optimizer, VarMap};
use tfckpt::Checkpoint;
use tfckpt_candle::training::{CheckpointRng, Epochs};
use tfckpt_candle::{CheckpointedOptimizer, Dropout, Layers, Run, recording};

pub(crate) type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

pub(crate) const ROWS: usize = 23;
pub(crate) const BATCH: usize = 4;
/// Of which the last has 3 rows.
pub(crate) const BATCHES: usize = 6;

/// Two dense layers, dropout, and perhaps a batch norm, which start the same every time.
pub(crate) struct Net {
    first: candle_nn::Linear,
    norm: Option<candle_nn::BatchNorm>,
    dropout: Dropout,
    last: candle_nn::Linear,
    pub(crate) varmap: VarMap,
    pub(crate) layers: Layers,
    pub(crate) rng: CheckpointRng,
}

impl Net {
    pub(crate) fn new(with_norm: bool) -> Result<Net> {
        let varmap = VarMap::new();
        let (vb, layers) = recording(&varmap, DType::F32, &Device::Cpu);
        let rng = CheckpointRng::seed_from_u64(7);
        let norm = with_norm.then(|| candle_nn::batch_norm(5, 1e-3, vb.pp("norm")));
        let net = Net {
            first: candle_nn::linear(3, 5, vb.pp("first"))?,
            norm: norm.transpose()?,
            dropout: Dropout::new(0.2, &rng),
            last: candle_nn::linear(5, 3, vb.pp("last"))?,
            varmap: varmap.clone(),
            layers,
            rng,
        };
        let vars = varmap.data().lock().unwrap();
        for (i, (path, var)) in vars.iter().collect::<BTreeMap<_, _>>().into_iter().enumerate() {
            if path.ends_with("weight") || path.ends_with("bias") {
                let wave = Tensor::arange(0f32, var.elem_count() as f32, &Device::Cpu)?.reshape(var.shape())?;
                var.set(&((wave * 1.7)? + i as f64)?.sin()?)?;
            }
        }
        drop(vars);
        Ok(net)
    }

    pub(crate) fn loss(&self, rows: &[usize]) -> candle_core::Result<Tensor> {
        let pixels: Vec<f32> = rows
            .iter()
            .flat_map(|&row| (0..3).map(move |i| ((row * 3 + i) as f32).cos()))
            .collect();
        let labels: Vec<u32> = rows.iter().map(|&row| row as u32 % 3).collect();
        let x = Tensor::from_vec(pixels, (rows.len(), 3), &Device::Cpu)?;
        let mut x = self.first.forward(&x)?;
        if let Some(norm) = &self.norm {
            x = norm.forward_t(&x, true)?;
        }
        let x = self.last.forward(&self.dropout.forward_t(&x.relu()?, true)?)?;
        candle_nn::loss::cross_entropy(&x, &Tensor::from_vec(labels, rows.len(), &Device::Cpu)?)
    }

    pub(crate) fn run(&self, dir: &Path, optimizer: &impl CheckpointedOptimizer) -> Run {
        Run::new(dir, &self.varmap, optimizer)
            .layers(&self.layers)
            .epochs(epochs())
            .track_rng("dropout_rng", &self.rng)
    }

    /// The bits of all variables.
    pub(crate) fn bits(&self) -> Result<Vec<u32>> {
        let vars = self.varmap.data().lock().unwrap();
        let sorted: BTreeMap<_, _> = vars.iter().collect();
        let values = sorted.values().map(|var| var.flatten_all()?.to_vec1::<f32>());
        let values: Vec<Vec<f32>> = values.collect::<Result<_, _>>()?;
        Ok(values.concat().into_iter().map(f32::to_bits).collect())
    }
}

pub(crate) const EPOCHS: u64 = 12;

pub(crate) fn epochs() -> Epochs {
    Epochs::new(ROWS, BATCH).shuffle(3).stop_after(EPOCHS)
}

/// What a step saw and computed.
pub(crate) type Seen = BTreeMap<i64, (Vec<usize>, u32)>;

/// One step but for its end: forward, backward, update, metric.
pub(crate) fn step<O: Optimizer>(run: &mut Run, net: &Net, optimizer: &mut O, rows: &[usize]) -> Result<u32> {
    let loss = net.loss(rows)?;
    optimizer.backward_step(&loss)?;
    let value = loss.to_scalar::<f32>()?;
    run.metric("loss", value.into());
    Ok(value.to_bits())
}

/// Names and bytes of all variables of the latest checkpoint.
pub(crate) fn everything(directory: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let checkpoint = Checkpoint::open(directory)?;
    let read =
        |variable: &tfckpt::VariableInfo| Ok((variable.name().into_owned(), checkpoint.read_bytes(variable.key())?));
    checkpoint.variables().map(read).collect()
}

pub(crate) fn latest_step(directory: &Path) -> Option<i64> {
    Checkpoint::open(directory).ok()?.global_step().ok()?
}
