//! How many steps an optimizer has made, and what follows from it.

use std::collections::BTreeMap;

use burn::store::burn_pack::Scalar;
use tfckpt::optimizers::{Convention, Counter, OptimizerNames};
use tfckpt::{Checkpoint, DType, GLOBAL_STEP, Variable};

use super::families::{Family, Part};
use super::traits::{AllTraits, Traits};
use super::{Naming, own_name};
use crate::error::{Error, Result};
use crate::scalars;

/// The numbers of one parameter's state.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) variable: String,
    pub(super) names: OptimizerNames,
    /// Of the optimizer's family.
    pub(super) parts: &'static [(&'static str, Part)],
    pub(super) betas: Option<(f32, f32)>,
    pub(super) scalars: Vec<(String, Scalar)>,
}

impl Counted {
    fn scalar(&self, part: Part) -> Option<Scalar> {
        let field = self.parts.iter().find(|(_, own)| *own == part)?.0;
        let scalar = self.scalars.iter().find(|(name, _)| name == field);
        scalar.map(|(_, scalar)| *scalar)
    }

    fn time(&self) -> Option<u64> {
        self.scalar(Part::Time).and_then(|time| u64::try_from(time).ok())
    }

    fn float(&self, part: Part) -> Option<f32> {
        let value = f64::try_from(self.scalar(part)?).ok()?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a float32 that Burn keeps in double precision"
        )]
        Some(value as f32)
    }
}

/// The numbers of optimizers as TensorFlow has them, one for all parameters: those of the parameter that has seen most
/// steps. With them those of parameters that have seen fewer, by names of our own.
pub(super) fn numbers(counted: Vec<Counted>, global_step: i64) -> (Vec<Variable<'static>>, BTreeMap<String, Scalar>) {
    let mut variables = BTreeMap::new();
    let mut by_optimizer: BTreeMap<String, Vec<Counted>> = BTreeMap::new();
    for one in counted {
        let key = one.names.counter(Counter::Iterations).into_iter().next();
        by_optimizer.entry(key.unwrap_or_default()).or_default().push(one);
    }
    let mut apart = BTreeMap::new();
    for all in by_optimizer.into_values() {
        let Some(latest) = all.iter().max_by_key(|one| one.time()) else {
            continue;
        };
        let time = latest.time();
        for counter in latest.names.counters() {
            let Some(name) = latest.names.counter(counter).into_iter().next() else {
                continue;
            };
            let variable = match counter {
                Counter::Iterations => iterations(latest, global_step)
                    // Counters are int64 in TensorFlow.
                    .map(|steps| Variable::scalar(name.clone(), steps)),
                Counter::Beta1Power => power(latest, Part::Power1, |betas| betas.0)
                    .map(|power| Variable::scalar(name.clone(), power).non_trainable()),
                Counter::Beta2Power => power(latest, Part::Power2, |betas| betas.1)
                    .map(|power| Variable::scalar(name.clone(), power).non_trainable()),
                Counter::LearningRate => latest
                    .float(Part::Rate)
                    .map(|rate| Variable::scalar(name.clone(), rate).non_trainable()),
                Counter::MomentumProduct => latest
                    .float(Part::Product)
                    .map(|product| Variable::scalar(name.clone(), product).non_trainable()),
                _ => None,
            };
            if let Some(variable) = variable {
                variables.insert(name, variable);
            }
        }
        let behind = all.iter().filter(|one| one.time() != time);
        let scalars = behind.flat_map(|one| {
            let named = |(field, scalar): &(String, Scalar)| (own_name(&one.variable, field), *scalar);
            one.scalars.iter().map(named)
        });
        apart.extend(scalars);
    }
    (variables.into_values().collect(), apart)
}

/// V1 does not count, so that there is nothing to be said if Burn does not count either.
fn iterations(latest: &Counted, global_step: i64) -> Option<i64> {
    match (latest.time(), latest.names.convention()) {
        (Some(time), _) => Some(i64::try_from(time).unwrap_or(i64::MAX)),
        (None, Convention::V1) => None,
        (None, _) => Some(global_step),
    }
}

/// A beta to the power of the next step.
fn power(latest: &Counted, part: Part, beta: impl Fn((f32, f32)) -> f32) -> Option<f32> {
    if let Some(power) = latest.float(part) {
        return Some(power);
    }
    Some(power_of(beta(latest.betas?), latest.time()?))
}

/// As TensorFlow 1 comes to it: multiplied after each step in float32, starting from the beta.
fn power_of(beta: f32, steps: u64) -> f32 {
    let mut power = beta;
    for _ in 0..steps {
        power *= beta;
        if power == 0.0 {
            break;
        }
    }
    power
}

/// A number that the state of a parameter needs; `None` if it needs none, because it follows from the others.
pub(super) fn restored(
    checkpoint: &Checkpoint,
    names: &OptimizerNames,
    part: Part,
    traits: &Traits,
    betas: Option<(f32, f32)>,
    path: &str,
) -> Result<Option<Scalar>> {
    let float = |counter| -> Result<Option<f32>> {
        let present = names
            .counter(counter)
            .into_iter()
            .find(|name| checkpoint.contains(name));
        Ok(match present {
            Some(name) => checkpoint.read::<f32>(&name)?.first().copied(),
            None => None,
        })
    };
    let scalar = |value: f32| Scalar::Float(f64::from(value));
    Ok(match part {
        Part::Time => Some(Scalar::UInt(steps(checkpoint, names, betas, path)?)),
        Part::Power1 | Part::Power2 => {
            let (counter, beta) = match part {
                Part::Power1 => (Counter::Beta1Power, betas.map(|betas| betas.0)),
                _ => (Counter::Beta2Power, betas.map(|betas| betas.1)),
            };
            match (float(counter)?, beta) {
                (Some(power), _) => Some(scalar(power)),
                (None, Some(beta)) => Some(scalar(power_of(beta, steps(checkpoint, names, betas, path)?))),
                (None, None) => None,
            }
        }
        Part::Product => match float(Counter::MomentumProduct)? {
            Some(product) => Some(scalar(product)),
            None => {
                let time = steps(checkpoint, names, betas, path)?;
                traits.betas.map(|(beta, _)| scalar(momentum_product(beta, time)))
            }
        },
        Part::Rate => learning_rate(checkpoint, names)?.map(scalar),
        Part::Slot(_) | Part::Own | Part::Derived => None,
    })
}

/// The learning rate that Keras keeps, if there is one. In another precision than Keras's own it is nothing that anybody
/// needs.
fn learning_rate(checkpoint: &Checkpoint, names: &OptimizerNames) -> Result<Option<f32>> {
    let all = names.counter(Counter::LearningRate);
    match all.iter().find_map(|name| checkpoint.get(name)) {
        Some(info) if info.dtype() == DType::Float32 => Ok(checkpoint.read::<f32>(info.key())?.first().copied()),
        _ => Ok(None),
    }
}

/// The product of the momenta of Nadam, as Keras has computed it in so many steps.
fn momentum_product(beta: f32, steps: u64) -> f32 {
    let mut product = 1.0f32;
    let mut step = 0.0f32;
    for _ in 0..steps {
        step += 1.0;
        product = product * beta * (1.0 - 0.5 * 0.96f32.powf(step));
        if product == 0.0 {
            break;
        }
    }
    product
}

/// How many steps an optimizer has made: its own count, or else what the powers of TensorFlow 1 say, which fine-tuning
/// begins anew while `global_step` may go on, or else `global_step`.
fn steps(checkpoint: &Checkpoint, names: &OptimizerNames, betas: Option<(f32, f32)>, path: &str) -> Result<u64> {
    if let Some(steps) = own_count(checkpoint, names)? {
        return Ok(steps);
    }
    let of_run = checkpoint.global_step()?.and_then(|step| u64::try_from(step).ok());
    match (by_power(checkpoint, names, betas)?, of_run) {
        (Some(own), Some(of_run)) if own.abs_diff(of_run) > 1 + of_run / 1000 => Ok(own),
        (Some(own), None) => Ok(own),
        (_, Some(of_run)) => Ok(of_run),
        (None, None) => {
            let power = names.counter(Counter::Beta2Power).into_iter();
            let expected: Vec<String> = names.counter(Counter::Iterations).into_iter().chain(power).collect();
            let expected = expected.join("`, `");
            Err(Error::IncompleteOptimizer {
                path: path.to_owned(),
                reason: format!("none of `{expected}` and `{GLOBAL_STEP}` is there to tell the number of steps"),
            })
        }
    }
}

/// How many steps an optimizer says that it has made.
fn own_count(checkpoint: &Checkpoint, names: &OptimizerNames) -> Result<Option<u64>> {
    for name in names.counter(Counter::Iterations) {
        let stored = checkpoint.get(&name).map(|info| scalars::read(checkpoint, info));
        match stored.transpose()?.flatten() {
            Some(Scalar::UInt(steps)) => return Ok(Some(steps)),
            Some(Scalar::Int(steps)) => return Ok(u64::try_from(steps).ok()),
            _ => {}
        }
    }
    Ok(None)
}

/// The step of a checkpoint without a `global_step`, as Keras saves it: how many an optimizer of the model has made.
pub(crate) fn step(checkpoint: &Checkpoint, naming: &Naming, traits: &AllTraits) -> Result<Option<i64>> {
    let mut families: Vec<&Family> = Vec::new();
    for traits in traits.values() {
        if !families.iter().any(|family| std::ptr::eq(*family, traits.family)) {
            families.push(traits.family);
        }
    }
    for (family, convention) in families
        .into_iter()
        .flat_map(|family| naming.conventions().map(move |convention| (family, convention)))
    {
        for names in family.names(naming, convention, &[]) {
            if let Some(steps) = own_count(checkpoint, &names)? {
                return Ok(i64::try_from(steps).ok());
            }
        }
    }
    Ok(None)
}

/// The number of steps that the second power tells, unless it has become too small.
fn by_power(checkpoint: &Checkpoint, names: &OptimizerNames, betas: Option<(f32, f32)>) -> Result<Option<u64>> {
    let name = names.counter(Counter::Beta2Power).into_iter().next();
    let (Some(name), Some((_, beta))) = (name.filter(|name| checkpoint.contains(name)), betas) else {
        return Ok(None);
    };
    let power = checkpoint.read::<f32>(&name)?.first().copied().unwrap_or(0.0);
    if !power.is_normal() {
        return Ok(None);
    }
    let steps = (f64::from(power).ln() / f64::from(beta).ln() - 1.0).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a finite number of steps, not negative, of the size that float32 powers of beta can tell"
    )]
    Ok((0.0..1e9).contains(&steps).then_some(steps as u64))
}
