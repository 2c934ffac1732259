//! The state of an optimizer a few parameters at a time, so that all cores take part.
//!
//! A record is made by one thread, and Burn copies each tensor twice for it. Of a few parameters, the first of the two
//! is still in the cache when the second is made from it, in memory that the parameters before had.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use burn::module::{ParamGroup, ParamId};
use burn::optim::{ModuleOptimizer, SgdConfig};
use tfckpt::Limits;

use crate::carrier::{self, States};
use crate::error::Result;
use crate::schema::Schema;

/// Bytes of parameters whose state is taken at a time, unless a single one is larger.
const PART: usize = 4 << 20;

/// What `optimizer` keeps for the parameters of a model, taken on all cores.
///
/// # Errors
/// As [`carrier::take`].
pub(crate) fn states(optimizer: &ModuleOptimizer, schema: &Schema) -> Result<States> {
    let mut parameters: Vec<(ParamId, usize)> = Vec::with_capacity(schema.parameters.len());
    let mut seen = BTreeSet::new();
    for parameter in schema
        .parameters
        .iter()
        .filter(|parameter| seen.insert(parameter.id.val()))
    {
        let elements = parameter.shape.iter().product::<usize>();
        parameters.push((parameter.id, elements.saturating_mul(parameter.dtype.size())));
    }
    // The longest first, so that no thread begins with it when the others are done.
    parameters.sort_by_key(|&(_, bytes)| std::cmp::Reverse(bytes));
    let mut parts = Vec::new();
    divide(only(optimizer, &parameters), &parameters, &mut parts);

    let next = AtomicUsize::new(0);
    let take_part = || -> Result<States> {
        let mut states = States::new();
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            states.append(&mut carrier::take(part.to_record())?);
        }
        Ok(states)
    };
    thread::scope(|scope| {
        let start = |_| thread::Builder::new().spawn_scoped(scope, take_part).ok();
        let threads = Limits::default().threads().min(parts.len());
        let others: Vec<_> = (1..threads).filter_map(start).collect();
        let mut all = take_part()?;
        for other in others {
            match other.join() {
                Ok(states) => all.append(&mut states?),
                // What Burn says of a device that fails.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })
}

/// Divides an optimizer of these parameters into such of no more than [`PART`].
fn divide(optimizer: ModuleOptimizer, parameters: &[(ParamId, usize)], parts: &mut Vec<ModuleOptimizer>) {
    let bytes = parameters
        .iter()
        .fold(0usize, |sum, (_, bytes)| sum.saturating_add(*bytes));
    if parameters.len() < 2 || bytes <= PART {
        parts.push(optimizer);
        return;
    }
    let (first, second) = parameters.split_at(parameters.len() / 2);
    divide(only(&optimizer, first), first, parts);
    divide(only(&optimizer, second), second, parts);
}

/// The same optimizer, whose tensors it shares, with the state of these parameters alone: Burn drops that of a group
/// that another optimizer is given to.
fn only(optimizer: &ModuleOptimizer, parameters: &[(ParamId, usize)]) -> ModuleOptimizer {
    let kept = ParamGroup::from_ids(parameters.iter().map(|(id, _)| *id).collect());
    let others = ParamGroup::all().exclude(kept);
    optimizer.clone().with_group(others, SgdConfig::new().build(), None)
}
