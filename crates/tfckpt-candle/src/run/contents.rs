//! What makes up a checkpoint of a run.

use candle_core::DType;
use tfckpt::optimizers::{self, Convention};
use tfckpt::{Checkpoint, Variable};

use super::Run;
use crate::entries::{self, Entry};
use crate::error::{Error, Result};
use crate::optim::{Absent, Counter, OptimizerState, Slot};

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
            let mut entry = Entry::plain(counter.name(), &counter.value);
            entry.way.names.clone_from(&counter.names);
            entries.push(entry);
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

    /// Counters that checkpoints may do without: those of steps then follow from `global_step`.
    pub(super) fn optional_counters(&self) -> Vec<&Counter> {
        let counters = self.optimizers.iter().flat_map(|optimizer| &optimizer.counters);
        let is_optional = |counter: &&Counter| match counter.absent {
            Absent::GlobalStep => counter.value.dtype() == DType::I64,
            Absent::Kept => true,
            Absent::Missing => false,
        };
        counters.filter(is_optional).collect()
    }

    /// The steps that an optimizer of Keras has made, for checkpoints without a `global_step`.
    pub(super) fn steps_of_keras(&self, checkpoint: &Checkpoint) -> Result<Option<i64>> {
        for names in self.optimizers.iter().filter_map(OptimizerState::known_names) {
            if names.convention() == Convention::V1 {
                continue;
            }
            for name in names.counter(optimizers::Counter::Iterations) {
                if checkpoint.contains(&name) {
                    return Ok(checkpoint.read::<i64>(&name)?.first().copied());
                }
            }
        }
        Ok(None)
    }

    /// That the slots there are those of these optimizers, as far as names can tell.
    pub(super) fn check_slots(&self, checkpoint: &Checkpoint, entries: &[Entry]) -> Result<()> {
        for optimizer in &self.optimizers {
            let (Some(names), Some(slot)) = (optimizer.known_names(), optimizer.slots.first()) else {
                continue;
            };
            // All variables have the same slots, and looking for names takes time.
            let variable = entries.iter().find(|entry| entry.path == slot.variable);
            for name in variable.iter().flat_map(|entry| &entry.way.names) {
                if let Some(found) = names.of_another(name, |name| checkpoint.contains(name)) {
                    return Err(Error::OtherOptimizer {
                        prefix: checkpoint.prefix(),
                        optimizer: format!("{:?} of {:?}", names.kind(), names.convention()),
                        found,
                    });
                }
            }
        }
        Ok(())
    }
}

/// A slot is called after its variable and laid out like it.
fn slot_entry(slot: &Slot, variables: &[Entry]) -> Result<Entry> {
    let at = variables.binary_search_by(|entry| entry.path.as_str().cmp(&slot.variable));
    let Some(variable) = at.ok().and_then(|at| variables.get(at)) else {
        let (slot, variable) = (slot.name(), slot.variable.clone());
        return Err(Error::UnknownVariable { slot, variable });
    };
    let path = |variable: &str| format!("{} of {variable}", slot.name());
    let name = |variable: &str| slot.names(variable);
    Ok(Entry {
        path: path(&slot.variable),
        way: variable.way.of_slot(&name, &path),
        var: slot.value.clone(),
        trained: false,
        casts: variable.casts,
        stored: None,
    })
}
