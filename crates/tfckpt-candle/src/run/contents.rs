//! What makes up a checkpoint of a run.

use candle_core::DType;
use tfckpt::Variable;

use super::Run;
use crate::entries::{self, Entry};
use crate::error::{Error, Result};
use crate::optim::{Counter, Slot};

impl Run {
    /// All that is a live variable: those of the model, slots, counters, and those that are tracked.
    pub(super) fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = self.variables.entries()?;
        let mut slots = Vec::new();
        for slot in self.optimizers.iter().flat_map(|optimizer| &optimizer.slots) {
            slots.push(slot_entry(slot, &entries)?);
        }
        entries.extend(slots);
        for counter in self.optimizers.iter().flat_map(|optimizer| &optimizer.counters) {
            entries.push(Entry::plain(&counter.name, &counter.value));
        }
        entries.extend(self.tracked.iter().map(|(name, value)| Entry::plain(name, value)));
        Ok(entries)
    }

    /// Everything but `global_step`, to be saved. `others` are no live variables.
    pub(super) fn to_variables(&self, others: Vec<Variable<'static>>) -> Result<Vec<Variable<'static>>> {
        let mut variables = entries::to_variables(&self.entries()?)?;
        for other in others {
            if variables.iter().any(|variable| variable.key() == other.key()) {
                let name = other.name().into_owned();
                return Err(tfckpt::Error::DuplicateName { name }.into());
            }
            variables.push(other);
        }
        Ok(variables)
    }

    /// Counters of steps, which follow from `global_step` in checkpoints without them.
    pub(super) fn step_counters(&self) -> Vec<&Counter> {
        let counters = self.optimizers.iter().flat_map(|optimizer| &optimizer.counters);
        counters
            .filter(|counter| counter.counts_steps && counter.value.dtype() == DType::I64)
            .collect()
    }
}

/// A slot is called after its variable and laid out like it.
fn slot_entry(slot: &Slot, variables: &[Entry]) -> Result<Entry> {
    let at = variables.binary_search_by(|entry| entry.path.as_str().cmp(&slot.variable));
    let Some(variable) = at.ok().and_then(|at| variables.get(at)) else {
        let (slot, variable) = (slot.name.clone(), slot.variable.clone());
        return Err(Error::UnknownVariable { slot, variable });
    };
    let path = |variable: &str| format!("{} of {variable}", slot.name);
    let name = |variable: &str| vec![format!("{variable}/{}", slot.name)];
    Ok(Entry {
        path: path(&slot.variable),
        way: variable.way.of_slot(&name, &path),
        var: slot.value.clone(),
        trained: false,
        casts: variable.casts,
        stored: None,
    })
}
