//! The variables of a cell, of the parameters of a recurrent layer.

use super::RecurrentPart::{Bias, RecurrentBias};
use super::cell::Stored;
use super::{Gate, Layers, Of, RecurrentPart};
use crate::error::{Error, Result};
use crate::layout::Recipe;
use crate::map::layer::DenseOrder;
use crate::map::recipe::Made;

impl Layers<'_> {
    pub(super) fn made(&self) -> Result<Vec<Made>> {
        let mut all = Vec::new();
        for stored in self
            .cell
            .variables
            .iter()
            .filter(|stored| stored.parts.iter().all(|part| self.is_there(*part)))
        {
            all.push(Made {
                name: self.written(stored.leaf)?,
                recipe: self.variable(stored, Of::Values)?,
                of_slots: self.variable(stored, Of::Slots)?,
                unless_zero: None,
                slots_unless_zero: None,
            });
            if stored.parts == [Bias] && self.sums() {
                let recurrent = self.part_of(stored, RecurrentBias)?;
                let differs = self.without_forget_bias(stored, recurrent.clone());
                let input = self.part_of(stored, Bias)?;
                let width = self.sizes.hidden * stored.gates.len();
                // Zero if the slots are the same, as they are unless sums were made in another order.
                let zero = Recipe::constant([width], 0.0);
                let differs_in_slots = zero.if_equal(input.clone(), recurrent.clone(), Recipe::constant([width], 1.0));
                let [input_leaf, recurrent_leaf] = Self::kept_leaves(stored);
                let both = [
                    (input_leaf, input, None),
                    (recurrent_leaf, recurrent, Some(differs_in_slots)),
                ];
                for (leaf, recipe, slots_unless_zero) in both {
                    all.push(Made {
                        name: self.written(&leaf)?,
                        of_slots: recipe.clone(),
                        recipe,
                        unless_zero: Some(differs.clone()),
                        slots_unless_zero,
                    });
                }
            }
        }
        Ok(all)
    }

    fn written(&self, leaf: &str) -> Result<String> {
        let none = || Error::invalid(format!("`{}` has no name for its `{leaf}`", self.module));
        self.names_of(leaf).into_iter().next().ok_or_else(none)
    }

    /// A variable, of the gates of parameters.
    fn variable(&self, stored: &Stored, of: Of) -> Result<Recipe> {
        let parts = stored.parts.iter().map(|&part| {
            let all = self.part_of(stored, part)?;
            Ok(match (stored.parts, of) {
                ([Bias], Of::Values) if self.sums() => {
                    let recurrent = self.part_of(stored, RecurrentBias)?;
                    Recipe::sum([all, self.without_forget_bias(stored, recurrent)])
                }
                ([Bias, RecurrentBias], _) => all.reshape([1, self.sizes.hidden * stored.gates.len()]),
                _ => all,
            })
        });
        Ok(Recipe::concat(0, parts.collect::<Result<Vec<_>>>()?))
    }

    /// One part of all gates of a variable, of parameters.
    fn part_of(&self, stored: &Stored, part: RecurrentPart) -> Result<Recipe> {
        let hidden = self.sizes.hidden;
        let is_bias = matches!(part, Bias | RecurrentBias);
        let gate = |&gate: &Gate| {
            let missing =
                || Error::unrepresentable(self.module, format!("it has no {gate:?} gate, which the cell has"));
            let (parameter, place) = self.holder(part, gate).ok_or_else(missing)?;
            let source = Recipe::source(parameter.path.as_str()).of_shape(parameter.dims.clone());
            let range = place * hidden..(place + 1) * hidden;
            Ok(match (is_bias, parameter.order) {
                (true, _) => source.slice(0, range),
                (false, DenseOrder::InOut) => source.slice(1, range),
                (false, DenseOrder::OutIn) => source.slice(0, range).permute([1, 0]),
            })
        };
        let gates = stored.gates.iter().map(gate).collect::<Result<Vec<_>>>()?;
        Ok(Recipe::concat(usize::from(!is_bias), gates))
    }
}
