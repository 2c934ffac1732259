//! Variables into states.

use burn::optim::ModuleOptimizer;
use burn::tensor::{Bytes, TensorData};
use tfckpt::Checkpoint;
use tfckpt::map::{NameMap, Plan};

use super::traits::AllTraits;
use super::{Naming, finding};
use crate::carrier::{self, State};
use crate::dtype::burn_dtype;
use crate::error::{Error, Result};
use crate::module;
use crate::schema::Schema;

/// An optimizer with the state that the checkpoint has for it; as it was if there is none. What the checkpoint has is
/// found in any of TensorFlow's conventions.
pub(crate) fn load(
    optimizer: ModuleOptimizer,
    checkpoint: &Checkpoint,
    schema: &Schema,
    names: &NameMap,
    naming: &Naming,
    traits: &AllTraits,
) -> Result<ModuleOptimizer> {
    let wanted = finding::wanted(checkpoint, schema, names, naming, traits)?;
    if wanted.paths.is_empty() {
        return Ok(optimizer);
    }
    let plan = Plan::new(checkpoint, &wanted.targets)?;
    // Burn leaves out what it cannot rebuild, without a word. A record of single elements shows what that is.
    let samples = wanted.states(plan.filled().filter_map(|(target, dtype)| {
        let dtype = burn_dtype(dtype)?;
        let one = Bytes::from_bytes_vec(vec![0; dtype.size()]);
        let rank = wanted.targets.get(target)?.shape.len();
        Some((target, TensorData::from_bytes(one, vec![1; rank], dtype)))
    }));
    let given = samples
        .iter()
        .map(|(id, state)| (*id, state.fields()))
        .collect::<Vec<_>>();
    let sample = optimizer.clone().load_record(carrier::record(samples, &wanted.paths)?);
    let kept = carrier::take(sample.to_record())?;
    for (id, given) in given {
        let kept = kept.get(&id).map(State::fields).unwrap_or_default();
        if let Some(field) = given.difference(&kept).next() {
            return Err(Error::IncompleteOptimizer {
                path: wanted.paths.get(&id).cloned().unwrap_or_default(),
                reason: format!("its optimizer does not take `{field}`, or lacks something beside it"),
            });
        }
    }
    let tensors = plan.carry_out(checkpoint, |filling| {
        let target = wanted.targets.get(filling.target());
        let shape_and_dtype = target
            .map(|target| target.shape.clone())
            .zip(burn_dtype(filling.dtype()));
        let tensor = match shape_and_dtype {
            Some((shape, dtype)) => Some(TensorData::from_bytes(module::read(filling)?, shape, dtype)),
            None => None,
        };
        Ok::<_, Error>((filling.target(), tensor))
    })?;
    let tensors = tensors
        .into_iter()
        .filter_map(|(target, tensor)| Some((target, tensor?)));
    let record = carrier::record(wanted.states(tensors), &wanted.paths)?;
    Ok(optimizer.load_record(record))
}
