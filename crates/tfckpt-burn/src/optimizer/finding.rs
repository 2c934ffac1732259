//! Which variables of a checkpoint are the state of which parameter.

use tfckpt::map::NameMap;
use tfckpt::optimizers::{Counter, OptimizerKind, OptimizerNames, Slot};
use tfckpt::{Checkpoint, VariableInfo};

use super::families::Part;
use super::traits::{AllTraits, Traits};
use super::wanted::Wanted;
use super::{Naming, counters, own_name};
use crate::error::{Error, Result};
use crate::scalars;
use crate::schema::{Parameter, Schema};

/// What the optimizers of a model are to be given of a checkpoint.
///
/// # Errors
/// [`Error::IncompleteOptimizer`] and [`Error::AnotherOptimizer`], before anything is read but numbers.
pub(super) fn wanted(
    checkpoint: &Checkpoint,
    schema: &Schema,
    names: &NameMap,
    naming: &Naming,
    traits: &AllTraits,
) -> Result<Wanted> {
    let mut finder = Finder {
        checkpoint,
        names,
        naming,
        wanted: Wanted::default(),
    };
    for parameter in schema.parameters.iter().filter(|parameter| parameter.is_trained()) {
        if !finder.wanted.paths.contains_key(&parameter.id.val()) {
            finder.find(parameter, traits.get(&parameter.id.val()))?;
        }
    }
    Ok(finder.wanted)
}

/// Looks up what the checkpoint has for each parameter.
struct Finder<'a> {
    checkpoint: &'a Checkpoint,
    names: &'a NameMap,
    naming: &'a Naming,
    wanted: Wanted,
}

impl Finder<'_> {
    fn find(&mut self, parameter: &Parameter, traits: Option<&Traits>) -> Result<()> {
        let variable = parameter.name(self.names);
        if self.own(parameter, &variable, traits)? {
            return Ok(());
        }
        let Some(traits) = traits else {
            return match self.foreign(&variable) {
                Some(name) => Err(another(parameter, &name, "the optimizer", None)),
                None => Ok(()),
            };
        };
        let fields = traits.family.parts.iter();
        let slots: Vec<(&str, Slot)> = fields
            .filter_map(|(field, part)| match part {
                Part::Slot(slot) if traits.keeps(field) => Some((*field, *slot)),
                _ => None,
            })
            .collect();
        let kinds: Vec<Slot> = slots.iter().map(|(_, slot)| *slot).collect();
        let checkpoint = self.checkpoint;
        let is_there = |name: &str| checkpoint.contains(name);
        let (mut whole, mut partly, mut different) = (None, None, None);
        for convention in self.naming.conventions() {
            let difference = traits.family.differs(convention, traits);
            for names in traits.family.names(self.naming, convention, &kinds) {
                let mut all = names.slots().iter().map(|slot| names.slot(&variable, *slot));
                let found: Vec<bool> = all
                    .clone()
                    .map(|names| names.iter().any(|name| is_there(name)))
                    .collect();
                let is_whole = !found.contains(&false) && self.of_another(&variable, &names).is_none();
                match difference {
                    None if is_whole && !found.is_empty() => {
                        // Conventions that call slots the same do not call the numbers the same.
                        let counters = [Counter::Iterations, Counter::Beta2Power].map(|counter| names.counter(counter));
                        if counters.iter().flatten().any(|name| is_there(name)) {
                            return self.slots(parameter, &variable, traits, &slots, &names);
                        }
                        whole = whole.or(Some(names));
                    }
                    None if found.contains(&true) => partly = partly.or(Some(names)),
                    Some(reason) if is_whole => {
                        let name = all.find_map(|names| names.into_iter().find(|name| is_there(name)));
                        different = different.or(name.map(|name| (name, reason)));
                    }
                    _ => {}
                }
            }
        }
        if let Some(names) = whole {
            return self.slots(parameter, &variable, traits, &slots, &names);
        }
        if let Some((name, reason)) = different {
            return Err(another(parameter, &name, traits.family.name, Some(reason)));
        }
        if let Some(names) = partly {
            // Says what is missing, or too much.
            return self.slots(parameter, &variable, traits, &slots, &names);
        }
        match self.foreign(&variable) {
            Some(name) => Err(another(parameter, &name, traits.family.name, None)),
            None => Ok(()),
        }
    }

    /// What is stored under names of our own, if there is any: all fields of the state, or the numbers of one that is behind
    /// the others.
    fn own(&mut self, parameter: &Parameter, variable: &str, traits: Option<&Traits>) -> Result<bool> {
        let prefix = own_name(variable, "");
        let mut fields = Vec::new();
        let mut has_tensors = false;
        for info in self.checkpoint.variables() {
            let name = info.name();
            if let Some(field) = name.strip_prefix(&prefix) {
                let scalar = scalars::read(self.checkpoint, info)?;
                has_tensors |= scalar.is_none();
                fields.push((field.to_owned(), info, scalar));
            }
        }
        if let Some(traits) = traits
            && has_tensors
        {
            let parts = traits.family.parts.iter().map(|(field, _)| *field);
            let kept: Vec<&str> = parts.filter(|field| traits.keeps(field)).collect();
            let stored = |field: &&&str| fields.iter().any(|(own, _, scalar)| own == **field && scalar.is_none());
            if !kept.iter().any(|field| stored(&field)) {
                // Those of another optimizer, which are complained of when there is nothing else.
                return Ok(false);
            }
            let is_there = |field: &str| fields.iter().any(|(own, ..)| own == field);
            if let Some(missing) = kept.into_iter().find(|field| !is_there(field)) {
                return Err(missing_slot(parameter, &own_name(variable, missing), &prefix));
            }
        }
        let is_own = has_tensors || (traits.is_none() && !fields.is_empty());
        for (field, info, scalar) in fields {
            match scalar {
                Some(scalar) => self.wanted.push_scalar(parameter, &field, scalar),
                None => self.wanted.push_stored(parameter, &field, info, self.names)?,
            }
        }
        Ok(is_own)
    }

    /// What is stored as TensorFlow's slots.
    fn slots(
        &mut self,
        parameter: &Parameter,
        variable: &str,
        traits: &Traits,
        slots: &[(&str, Slot)],
        names: &OptimizerNames,
    ) -> Result<()> {
        let checkpoint = self.checkpoint;
        if let Some(name) = self.of_another(variable, names) {
            return Err(another(parameter, &name, traits.family.name, None));
        }
        let present = |slot: Slot| {
            let all = names.slot(variable, slot);
            let found = all.iter().find(|name| checkpoint.contains(name.as_str())).cloned();
            found.ok_or_else(|| all.into_iter().next().unwrap_or_default())
        };
        for slot in names.slots() {
            let name = present(*slot).map_err(|missing| missing_slot(parameter, &missing, variable))?;
            // A slot that TensorFlow has in any case, and that this optimizer would not use.
            let is_used = slots.iter().any(|(_, own)| own == slot);
            if !is_used && checkpoint.read_bytes(&name)?.iter().any(|byte| *byte != 0) {
                let reason = "this optimizer has no momentum";
                return Err(another(parameter, &name, traits.family.name, Some(reason)));
            }
        }
        for (field, slot) in slots {
            let slot = |variable: &str| names.slot(variable, *slot);
            self.wanted.push(parameter, field, &slot, self.names)?;
        }
        self.wanted.push_parameter(parameter);
        let slot_field = slots.first().map(|(field, _)| *field);
        for (field, part) in traits.family.parts {
            let is_kept_apart = checkpoint.contains(own_name(variable, field));
            match part {
                Part::Derived => {
                    if let Some(original) = slot_field {
                        self.wanted.push_copy(parameter, field, original);
                    }
                }
                Part::Time | Part::Power1 | Part::Power2 | Part::Product if !is_kept_apart => {
                    let betas = self.naming.betas.or(traits.betas);
                    let number = counters::restored(checkpoint, names, *part, traits, betas, &parameter.path)?;
                    if let Some(number) = number {
                        self.wanted.push_scalar(parameter, field, number);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A variable that shows that the state is of another optimizer. In an object-based checkpoint a slot has several names,
    /// of which some could be another optimizer's.
    fn of_another(&self, variable: &str, names: &OptimizerNames) -> Option<String> {
        let find = |name: &str| self.checkpoint.variable(name).ok().map(VariableInfo::key);
        let slots = names.slots().iter();
        let own: Vec<&[u8]> = slots
            .flat_map(|slot| names.slot(variable, *slot))
            .filter_map(|name| find(&name))
            .collect();
        names.of_another(variable, |name| find(name).is_some_and(|key| !own.contains(&key)))
    }

    /// A variable that is the state of some optimizer for this one.
    fn foreign(&self, variable: &str) -> Option<String> {
        let own = own_name(variable, "");
        let own = self
            .checkpoint
            .variables()
            .map(|info| info.name().into_owned())
            .find(|name| name.starts_with(&own));
        own.or_else(|| {
            let all = OptimizerKind::ALL
                .into_iter()
                .flat_map(|kind| self.naming.conventions().map(move |convention| (kind, convention)));
            let mut names = all.flat_map(|(kind, convention)| {
                let names = self.naming.names(kind, convention).with_slots(OPTIONS);
                let slots = names.slots().to_vec();
                slots
                    .into_iter()
                    .flat_map(move |slot| names.slot(variable, slot))
                    .collect::<Vec<_>>()
            });
            names.find(|name| self.checkpoint.contains(name))
        })
    }
}

/// Slots that optimizers have by their options.
const OPTIONS: [Slot; 3] = [Slot::Momentum, Slot::MeanGradient, Slot::MaxSecondMoment];

fn missing_slot(parameter: &Parameter, name: &str, others: &str) -> Error {
    Error::IncompleteOptimizer {
        path: parameter.path.clone(),
        reason: format!("`{name}` is missing, though there is other state for `{others}`"),
    }
}

fn another(parameter: &Parameter, name: &str, optimizer: &'static str, reason: Option<&'static str>) -> Error {
    Error::AnotherOptimizer {
        path: parameter.path.clone(),
        name: name.to_owned(),
        optimizer,
        reason: reason.map(|reason| format!(" ({reason})")).unwrap_or_default(),
    }
}
