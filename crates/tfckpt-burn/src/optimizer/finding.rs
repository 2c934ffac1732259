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

/// What there is of TensorFlow's slots for a variable.
enum Found {
    /// Some or all of them.
    Slots(OptimizerNames),
    /// A slot of such an optimizer where its state means something else, and what.
    Different(String, &'static str),
    Nothing,
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
        match self.names_of(&variable, traits, &slots) {
            Found::Slots(names) => self.slots(parameter, &variable, traits, &slots, &names),
            Found::Different(name, reason) => Err(another(parameter, &name, traits.family.name, Some(reason))),
            Found::Nothing => match self.foreign(&variable) {
                Some(name) => Err(another(parameter, &name, traits.family.name, None)),
                None => Ok(()),
            },
        }
    }

    /// What the slots of a variable are called: the names of a convention in which all of them are there, or else of one in
    /// which some are.
    fn names_of(&self, variable: &str, traits: &Traits, slots: &[(&str, Slot)]) -> Found {
        let slots: Vec<Slot> = slots.iter().map(|(_, slot)| *slot).collect();
        let is_there = |name: &String| self.checkpoint.contains(name);
        let (mut whole, mut partly, mut different) = (None, None, None);
        for convention in self.naming.conventions() {
            let difference = traits.family.differs(convention, traits);
            for names in traits.family.names(self.naming, convention, &slots) {
                let all: Vec<Option<String>> = names
                    .slots()
                    .iter()
                    .map(|slot| names.slot(variable, *slot).into_iter().find(is_there))
                    .collect();
                let Some(first) = all.iter().flatten().next() else {
                    continue;
                };
                let is_whole = all.iter().all(Option::is_some) && self.of_another(variable, &names).is_none();
                match difference {
                    None if is_whole => {
                        // Conventions that call slots the same do not call the numbers the same.
                        let counters = [Counter::Iterations, Counter::Beta2Power].map(|counter| names.counter(counter));
                        if counters.iter().flatten().any(is_there) {
                            return Found::Slots(names);
                        }
                        whole = whole.or(Some(names));
                    }
                    None => partly = partly.or(Some(names)),
                    Some(reason) if is_whole => different = different.or(Some((first.clone(), reason))),
                    Some(_) => {}
                }
            }
        }
        match (whole, different, partly) {
            (Some(names), _, _) => Found::Slots(names),
            (None, Some((name, reason)), _) => Found::Different(name, reason),
            // What is missing, or too much, is said when it is looked for.
            (None, None, Some(names)) => Found::Slots(names),
            (None, None, None) => Found::Nothing,
        }
    }

    /// What is stored under names of our own, if there is any: all fields of the state, or the numbers of one that is behind
    /// the others.
    fn own(&mut self, parameter: &Parameter, variable: &str, traits: Option<&Traits>) -> Result<bool> {
        let prefix = own_name(variable, "");
        let mut fields = Vec::new();
        let mut has_tensors = false;
        for info in self.checkpoint.beginning_with(&prefix) {
            let scalar = scalars::read(self.checkpoint, info)?;
            has_tensors |= scalar.is_none();
            let field = info.name().strip_prefix(&prefix).unwrap_or_default().to_owned();
            fields.push((field, info, scalar));
        }
        if let Some(traits) = traits
            && has_tensors
        {
            let parts = traits.family.parts.iter().map(|(field, _)| *field);
            // The learning rate is not needed, and not kept apart.
            let is_needed = |field: &&str| traits.keeps(field) && traits.family.part(field) != Some(Part::Rate);
            let kept: Vec<&str> = parts.filter(is_needed).collect();
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
        let absent = |slot: Slot| {
            let all = names.slot(variable, slot);
            let is_there = all.iter().any(|name| checkpoint.contains(name));
            all.into_iter().next().filter(|_| !is_there)
        };
        // All that TensorFlow has, also what this optimizer does not use: the momentum of RMSProp of TensorFlow 1, which is
        // there without one as well, and is the last step then.
        for slot in names.slots() {
            if let Some(missing) = absent(*slot) {
                return Err(missing_slot(parameter, &missing, variable));
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
                Part::Time | Part::Power1 | Part::Power2 | Part::Product | Part::Rate if !is_kept_apart => {
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
        let find = |name: &str| self.checkpoint.get(name).map(VariableInfo::key);
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
            .beginning_with(own)
            .next()
            .map(|info| info.name().into_owned());
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
