//! `warm_start`: variables by regular expressions, from tensors of the same names.

use std::collections::BTreeMap;

use super::pattern::Pattern;
use super::wish::{Wish, fulfil};
use super::{Assign, ModelVariable, Purpose};
use crate::bundle::Bundle;
use crate::error::{AssignmentFault, Result};
use crate::layout::Recipe;
use crate::map::plan::Plan;
use crate::suggest::nearest;

/// Which variables of a model begin with the values of a checkpoint that has them under the same names, but for those
/// that are told: TensorFlow's `tf.compat.v1.train.warm_start`, and the `WarmStartSettings` of its Estimators.
///
/// ```
/// use tfckpt::map::WarmStart;
///
/// let warm_start = WarmStart::trained(".*").except("head/").prev_name("stem/kernel", "conv1/kernel");
/// ```
///
/// Patterns have the meaning of Python's `re.match`: they match at the start of a name, and need not reach its end, where
/// `:0` may be written as in TensorFlow. Their syntax is that of the [`regex`](https://docs.rs/regex) crate, without
/// look-arounds, for which there is [`except`](Self::except). All variables that are selected must be in the checkpoint.
///
/// # Where TensorFlow is silent
/// A pattern that selects nothing is an error here, as a name that is not used is there. A variable may be selected by
/// several patterns. State of optimizers is left alone unless [`optimizer_state`](Self::optimizer_state) asks for it; to
/// TensorFlow it is among all variables. Vocabularies are not remapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmStart {
    patterns: Vec<String>,
    untrained: bool,
    optimizer_state: bool,
    except: Vec<String>,
    prev_names: BTreeMap<String, String>,
}

impl WarmStart {
    /// The trained variables that `pattern` matches: `vars_to_warm_start` as a string, `.*` by default there.
    pub fn trained(pattern: impl Into<String>) -> Self {
        WarmStart {
            patterns: vec![pattern.into()],
            untrained: false,
            optimizer_state: false,
            except: Vec::new(),
            prev_names: BTreeMap::new(),
        }
    }

    /// All variables that any of `patterns` matches, moving averages included: `vars_to_warm_start` as a list.
    pub fn all<P: Into<String>>(patterns: impl IntoIterator<Item = P>) -> Self {
        WarmStart {
            patterns: patterns.into_iter().map(Into::into).collect(),
            untrained: true,
            ..Self::trained("")
        }
    }

    /// But not the variables that this pattern matches.
    #[must_use]
    pub fn except(mut self, pattern: impl Into<String>) -> Self {
        self.except.push(pattern.into());
        self
    }

    /// The variable of this name, or at this path, is called `tensor` in the checkpoint: an entry of
    /// `var_name_to_prev_var_name`. It does not select the variable, and must be of use.
    #[must_use]
    pub fn prev_name(mut self, variable: impl Into<String>, tensor: impl Into<String>) -> Self {
        self.prev_names.insert(variable.into(), tensor.into());
        self
    }

    /// Whether slots and counters of optimizers are among the variables to select from. Default: false.
    #[must_use]
    pub fn optimizer_state(mut self, fill: bool) -> Self {
        self.optimizer_state = fill;
        self
    }

    fn is_offered(&self, variable: &ModelVariable) -> bool {
        match variable.purpose {
            Purpose::Trained => true,
            Purpose::Untrained => self.untrained,
            Purpose::Optimizer => self.optimizer_state,
        }
    }

    /// The numbers of the variables that are selected.
    fn selected(&self, variables: &[ModelVariable], faults: &mut Vec<AssignmentFault>) -> Vec<usize> {
        let offered = variables.iter().enumerate().filter(|(_, found)| self.is_offered(found));
        let offered: Vec<(usize, &ModelVariable)> = offered.collect();
        let mut counts = vec![0; offered.len()];
        for pattern in &self.patterns {
            matching(pattern, &offered, &mut counts, faults);
        }
        let mut exceptions = vec![0; offered.len()];
        for pattern in &self.except {
            matching(pattern, &offered, &mut exceptions, faults);
        }
        let counts = counts.into_iter().zip(exceptions).zip(offered);
        counts
            .filter(|((count, exceptions), _)| *count > 0 && *exceptions == 0)
            .map(|(_, (number, _))| number)
            .collect()
    }
}

/// Counts for each variable the patterns that match it.
fn matching(
    pattern: &str,
    variables: &[(usize, &ModelVariable)],
    counts: &mut [usize],
    faults: &mut Vec<AssignmentFault>,
) {
    let compiled = match Pattern::new(pattern) {
        Ok(compiled) => compiled,
        Err(fault) => return faults.push(fault),
    };
    let mut is_used = false;
    for ((_, variable), count) in variables.iter().zip(counts) {
        if variable.target.names.iter().any(|name| compiled.selects(name)) {
            is_used = true;
            *count += 1;
        }
    }
    if !is_used {
        faults.push(AssignmentFault::Unused {
            entry: pattern.to_owned(),
            reason: "no variable that may be selected matches",
            candidates: Vec::new(),
        });
    }
}

impl Assign for WarmStart {
    fn plan(&self, checkpoint: &Bundle, variables: &[ModelVariable]) -> Result<Plan> {
        let mut faults = Vec::new();
        let selected = self.selected(variables, &mut faults);
        let mut prev_names = self.prev_names.clone();
        let mut wishes = Vec::new();
        for number in selected {
            let Some(variable) = variables.get(number) else {
                continue;
            };
            // What a variable is made of may have been called otherwise, each by itself.
            let made_of = variable.target.recipes.iter().map(|recipe| {
                recipe.renamed(&mut |own| vec![self.prev_names.get(own).cloned().unwrap_or_else(|| own.to_owned())])
            });
            let recipes: Vec<Recipe> = made_of.collect();
            if !recipes.is_empty() {
                variable
                    .target
                    .names
                    .iter()
                    .for_each(|name| drop(prev_names.remove(name)));
            }
            let known = self.prev_names.iter().find(|(name, _)| variable.is_called(name));
            let (tensors, entry) = match known {
                Some((name, tensor)) => {
                    prev_names.remove(name);
                    (vec![tensor.clone()], format!("{name} from {tensor}"))
                }
                None => (variable.target.names.clone(), self.patterns.join(", ")),
            };
            wishes.push(Wish {
                variable: number,
                tensors,
                recipes,
                entry,
            });
        }
        let names: Vec<&str> = wishes
            .iter()
            .filter_map(|wish| variables.get(wish.variable)?.target.names.first())
            .map(String::as_str)
            .collect();
        faults.extend(prev_names.into_iter().map(|(name, tensor)| AssignmentFault::Unused {
            candidates: nearest(&name, names.iter().copied(), 3),
            entry: format!("{name} from {tensor}"),
            reason: "no variable of that name is selected",
        }));
        fulfil(checkpoint, variables, wishes, faults)
    }
}
