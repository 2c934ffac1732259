//! Parameters of a recurrent layer, of the variables of its cell.

use super::Gate::Forget;
use super::RecurrentPart::{Bias, RecurrentBias};
use super::cell::Stored;
use super::{Gate, Layers, Of, RecurrentParameter};
use crate::layout::Recipe;
use crate::map::layer::DenseOrder;
use crate::map::recipe::Member;

impl Layers<'_> {
    pub(super) fn member(&self, parameter: &RecurrentParameter) -> Member {
        let own = (!parameter.own_names.is_empty())
            .then(|| Recipe::any_of(parameter.own_names.clone()).of_shape(parameter.dims.clone()));
        let recipes = |of: Of| -> Vec<Recipe> {
            let kept = self.kept(parameter, of);
            let recipe = self.gates(parameter, of, &|stored| self.source(stored));
            kept.into_iter().chain([recipe]).chain(own.clone()).collect()
        };
        let main = self.gates(parameter, Of::Values, &|stored| self.source(stored));
        let mut names: Vec<String> = Vec::new();
        for name in main
            .sources()
            .chain(own.iter().flat_map(Recipe::sources))
            .flat_map(|source| &source.names)
        {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        Member {
            path: parameter.path.clone(),
            names,
            recipes: recipes(Of::Values),
            of_slots: recipes(Of::Slots),
            how: self.described.clone(),
        }
    }

    /// The parameter, of the gates of variables.
    fn gates(&self, parameter: &RecurrentParameter, of: Of, source: &dyn Fn(&Stored) -> Recipe) -> Recipe {
        let part = match parameter.part {
            // The only bias, or the slots of one of two: those of the sum.
            RecurrentBias if !self.cell.two_biases && (of == Of::Slots || !self.has(Bias)) => Bias,
            part => part,
        };
        let hidden = self.sizes.hidden;
        let gate = |gate: &Gate| {
            let holds = |stored: &&Stored| stored.parts.contains(&part) && stored.gates.contains(gate);
            let Some(stored) = self.cell.variables.iter().find(holds) else {
                return Recipe::constant([hidden], self.added_to(*gate));
            };
            let place = stored.gates.iter().position(|own| own == gate).unwrap_or_default();
            let columns = place * hidden..(place + 1) * hidden;
            if stored.parts == [Bias] {
                return source(stored).slice(0, columns);
            }
            let before = stored
                .parts
                .iter()
                .take_while(|own| **own != part)
                .map(|own| self.rows(*own))
                .sum();
            let rows = source(stored)
                .slice(0, before..before + self.rows(part))
                .slice(1, columns);
            match part {
                Bias | RecurrentBias => rows.reshape([hidden]),
                _ => rows,
            }
        };
        let is_bias = matches!(part, Bias | RecurrentBias);
        let all = Recipe::concat(usize::from(!is_bias), parameter.gates.iter().map(gate));
        if all.sources().next().is_none() {
            // A constant counts only where the other bias is, which it is added to.
            let biases = self.cell.variables.iter().filter(|stored| stored.parts == [Bias]);
            let there = biases.map(&source).next();
            return there
                .into_iter()
                .fold(all, |all, bias| all.clone().if_equal(bias.clone(), bias, all));
        }
        match parameter.order {
            DenseOrder::OutIn if !is_bias => all.permute([1, 0]),
            _ => all,
        }
    }

    /// What the second of two biases has that is added when the cell runs.
    fn added_to(&self, gate: Gate) -> f64 {
        match (gate, self.cell.forget_bias) {
            (Forget, Some(bias)) => bias.value(),
            _ => 0.0,
        }
    }

    /// Which leaves hold two biases whose sum is the variable, in the order of its gates.
    pub(super) fn kept_leaves(stored: &Stored) -> [String; 2] {
        ["input", "recurrent"].map(|which| format!("{}/{which}", stored.leaf))
    }

    /// Whether two biases become one.
    pub(super) fn sums(&self) -> bool {
        !self.cell.two_biases && self.has(Bias) && self.has(RecurrentBias)
    }

    /// One of two biases as it was when their sum was saved, if the sum is still what is there; of the slots that of the
    /// second.
    fn kept(&self, parameter: &RecurrentParameter, of: Of) -> Option<Recipe> {
        let which = match (parameter.part, of) {
            (Bias, Of::Values) => 0,
            (RecurrentBias, _) => 1,
            _ => return None,
        };
        self.sums().then_some(())?;
        let source = |stored: &Stored, leaf: &str| Recipe::any_of(self.names_of(leaf)).of_shape(self.dims(stored));
        let hidden = self.sizes.hidden;
        let gates = parameter.gates.iter().map(|gate| {
            let holds = |stored: &&Stored| stored.parts == [Bias] && stored.gates.contains(gate);
            let stored = self.cell.variables.iter().find(holds)?;
            let leaves = Self::kept_leaves(stored);
            let place = stored.gates.iter().position(|own| own == gate).unwrap_or_default();
            let columns = place * hidden..(place + 1) * hidden;
            let kept = source(stored, leaves.get(which)?).slice(0, columns.clone());
            if of == Of::Slots {
                return Some(kept);
            }
            let [input, recurrent] = leaves.each_ref().map(|leaf| source(stored, leaf));
            let otherwise = match which {
                0 => self.source(stored).slice(0, columns),
                _ => Recipe::constant([hidden], self.added_to(*gate)),
            };
            let sum = Recipe::sum([input, self.without_forget_bias(stored, recurrent)]);
            Some(kept.if_equal(sum, self.source(stored), otherwise))
        });
        Some(Recipe::concat(0, gates.collect::<Option<Vec<_>>>()?))
    }

    /// The second bias of all gates of a variable, without what is added when the cell runs.
    pub(super) fn without_forget_bias(&self, stored: &Stored, bias: Recipe) -> Recipe {
        let hidden = self.sizes.hidden;
        if self.cell.forget_bias.is_none() {
            return bias;
        }
        let gates = stored.gates.iter().enumerate().map(|(place, gate)| {
            let gate_bias = bias.clone().slice(0, place * hidden..(place + 1) * hidden);
            match self.added_to(*gate) {
                0.0 => gate_bias,
                added => gate_bias.plus(-added),
            }
        });
        Recipe::concat(0, gates)
    }
}
