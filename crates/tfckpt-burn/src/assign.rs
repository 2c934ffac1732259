//! Fine-tuning: a part of a module begins with values of another one's checkpoint.

use burn::module::Module;
use tfckpt::Checkpoint;
use tfckpt::map::{Assign, LoadReport, ModelVariable, NameMap, Purpose};

use crate::error::Result;
use crate::module;
use crate::schema::Schema;

/// Fills the parameters that `map` names, an [`AssignmentMap`](tfckpt::map::AssignmentMap) or a
/// [`WarmStart`](tfckpt::map::WarmStart), from the tensors of `checkpoint` that it names; all others stay as they are. What
/// `tf.compat.v1.train.init_from_checkpoint` and `warm_start` do, but at once.
///
/// Parameters are called by the names that `names` gives them, `encoder/fc/kernel`, or by their paths,
/// `encoder.fc.weight`.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::Device;
/// use tfckpt::map::{AssignmentMap, NameMap};
///
/// let mut pooler: Linear = LinearConfig::new(768, 768).init(&Device::flex());
/// let checkpoint = tfckpt::Checkpoint::open("bert/bert_model.ckpt")?;
/// let map = AssignmentMap::from([("bert/pooler/dense/", "/")]);
/// let report = tfckpt_burn::init_from_checkpoint(&mut pooler, &checkpoint, &NameMap::keras(), &map)?;
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::UnsupportedDtype`](crate::Error::UnsupportedDtype); [`tfckpt::Error::Assignment`] with all that is wrong with the
/// map; those of reading tensors. The module is then as it was.
#[doc(alias = "warm_start")]
pub fn init_from_checkpoint<M: Module>(
    module: &mut M,
    checkpoint: &Checkpoint,
    names: &NameMap,
    map: &impl Assign,
) -> Result<LoadReport> {
    let schema = Schema::of(module);
    schema.check(names, checkpoint)?;
    let targets = schema.targets(names)?.into_iter().zip(&schema.parameters);
    let variables: Vec<ModelVariable> = targets
        .map(|(target, parameter)| ModelVariable {
            target,
            purpose: match parameter.is_trained() {
                true => Purpose::Trained,
                false => Purpose::Untrained,
            },
        })
        .collect();
    let plan = map.plan(checkpoint, &variables)?;
    module::carry_out(module, &schema, plan, checkpoint)
}
