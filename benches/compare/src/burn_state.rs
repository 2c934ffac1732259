//! The network and its Adam state in Burn, saved and restored by us and as burnpack.

use std::path::PathBuf;

use anyhow::Result;
use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, OptimizerRecord};
use burn::store::burn_pack::Reader;
use burn::store::{BurnpackStore, ModuleSnapshot};
use burn::tensor::{Device, Tensor};
use tfckpt::io::Durability;
use tfckpt_burn::{TfCheckpointStore, TfCheckpoints};

use crate::bert::{BurnBert, Size};
use crate::digest::Digest;
use crate::{Answer, timed};

pub(crate) struct BurnState {
    size: Size,
    device: Device,
    model: BurnBert,
    optimizer: ModuleOptimizer,
    rate: ModuleLrScheduler,
}

impl BurnState {
    /// The weights of a checkpoint, and an optimizer that has seen no step.
    pub(crate) fn new(size: Size, prefix: PathBuf) -> Result<Self> {
        let device = Device::flex().autodiff();
        let mut model = BurnBert::new(size, &device);
        model.load_from(&mut TfCheckpointStore::from_file(prefix))?;
        Ok(BurnState {
            size,
            device,
            model,
            optimizer: AdamConfig::new().init(),
            rate: ConstantLr::from(1e-3).into(),
        })
    }

    /// A new network from a checkpoint. Burn keeps Dense kernels as TensorFlow does.
    pub(crate) fn import(&self, prefix: PathBuf) -> Result<Answer> {
        let (seconds, model) = timed(|| {
            let mut model = BurnBert::new(self.size, &self.device);
            model.load_from(&mut TfCheckpointStore::from_file(prefix))?;
            Ok(model)
        })?;
        Ok(Answer {
            seconds: Some(seconds),
            ..Answer::digest(weights(&model)?)
        })
    }

    /// One step down the sum of the squares of all weights. Changes weights and moments.
    pub(crate) fn step(&mut self) -> Result<Answer> {
        let mut squares = Squares(GradientsParams::new());
        self.model.visit(&mut squares);
        self.model = self.optimizer.step(self.rate.step(), self.model.clone(), squares.0);
        Ok(Answer::default())
    }

    pub(crate) fn digest(&self) -> Result<Answer> {
        let mut digest = weights(&self.model)?;
        let moments = Reader::from_bytes(self.optimizer.to_record().into_bytes()?)?;
        for tensor in moments.into_tensors()? {
            digest.add(&bytemuck::pod_collect_to_vec::<u8, f32>(&tensor.to_bytes()?));
        }
        Ok(Answer::digest(digest))
    }

    pub(crate) fn save(&self, directory: PathBuf, durability: Durability) -> Result<Answer> {
        // A new one for each save: one that has saved this step already would not do it again.
        let checkpoints = TfCheckpoints::new(directory).durability(durability);
        let (seconds, _saved) = timed(|| Ok(checkpoints.save(&self.model, &self.optimizer, &self.rate)?))?;
        Ok(Answer::time(seconds, 0))
    }

    /// Restores, and takes a step if that is to be timed, too: burnpack reads a tensor when it is first used.
    pub(crate) fn restore(&mut self, directory: PathBuf, step: bool) -> Result<Answer> {
        let checkpoints = TfCheckpoints::new(directory);
        let (seconds, ()) = timed(|| {
            checkpoints.restore_or_initialize(&mut self.model, &mut self.optimizer, &mut self.rate)?;
            self.step_if(step)
        })?;
        Ok(Answer::time(seconds, 0))
    }

    fn step_if(&mut self, wanted: bool) -> Result<()> {
        match wanted {
            true => self.step().map(drop),
            false => Ok(()),
        }
    }

    /// Into `directory`: the model through its store, the optimizer as its record.
    pub(crate) fn save_burnpack(&self, directory: PathBuf) -> Result<Answer> {
        let (model, optimizer) = (directory.join("model.bpk"), directory.join("optimizer.bpk"));
        let (seconds, ()) = timed(|| {
            self.model
                .save_into(&mut BurnpackStore::from_file(model).overwrite(true))?;
            Ok(self.optimizer.to_record().save(optimizer)?)
        })?;
        Ok(Answer::time(seconds, 0))
    }

    pub(crate) fn load_burnpack(&mut self, directory: PathBuf, step: bool) -> Result<Answer> {
        let (model, optimizer) = (directory.join("model.bpk"), directory.join("optimizer.bpk"));
        let (seconds, ()) = timed(|| {
            self.model.load_from(&mut BurnpackStore::from_file(model))?;
            self.optimizer = self.optimizer.clone().load_record(OptimizerRecord::load(optimizer)?);
            self.step_if(step)
        })?;
        Ok(Answer::time(seconds, 0))
    }
}

fn weights(model: &BurnBert) -> Result<Digest> {
    let mut weights = Weights(Ok(Digest::default()));
    model.visit(&mut weights);
    weights.0
}

struct Weights(Result<Digest>);

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        match (&mut self.0, param.val().into_data().try_to_vec::<f32>()) {
            (Ok(digest), Ok(values)) => digest.add(&values),
            (result @ Ok(_), Err(error)) => *result = Err(error.into()),
            (Err(_), _) => {}
        }
    }
}

/// The gradients of the sum of all squares.
struct Squares(GradientsParams);

impl ModuleVisitor for Squares {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.register(param.id, param.val().inner().mul_scalar(2.0));
    }
}
