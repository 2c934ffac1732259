//! `init_from_checkpoint`: pairs of a tensor and a variable, or of two scopes.

use super::wish::{Wish, fulfil};
use super::{Assign, ModelVariable, Purpose, near};
use crate::bundle::Bundle;
use crate::error::{AssignmentFault, Result};
use crate::layout::Recipe;
use crate::map::plan::Plan;

/// Which tensors of a checkpoint fill which variables of a model: what TensorFlow's
/// `tf.compat.v1.train.init_from_checkpoint` calls an assignment map.
///
/// | tensor | variable | fills |
/// |---|---|---|
/// | `old/fc/kernel` | `fc/kernel` | that variable |
/// | `old/` | `new/` | each variable of the model in scope `new/`, from the tensor of the same name in `old/` |
/// | `/` | `new/` | the same, from the root of the checkpoint |
/// | `old/` | `/` | each variable of the model |
///
/// ```
/// use tfckpt::map::AssignmentMap;
///
/// let map = AssignmentMap::from([("bert/encoder/", "encoder/"), ("bert/pooler/dense/kernel", "head/kernel")]);
/// let map = map.assign("bert/pooler/dense/bias", "head/bias");
/// ```
///
/// Variables are called what TensorFlow would call them, `fc/kernel`; their paths in the model, `fc.weight`, do as well,
/// but are in no scope. Tensors of object-based checkpoints are called by their full names, or by their keys. One tensor
/// may fill several variables. Variables that no entry mentions stay as they are.
///
/// # Where TensorFlow is silent
/// An entry that fills nothing is an error here, and so are two entries that fill one variable, of which TensorFlow takes
/// the last. `old/` maps to `new/` alone, not to `new/other`, which TensorFlow takes for `new/`. A dtype or, for scopes, a
/// shape that does not fit is found out before anything is read, not when an initializer runs. State of optimizers is
/// left alone unless [`optimizer_state`](Self::optimizer_state) asks for it; in TensorFlow a scope has the slots in it that
/// were made before the call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AssignmentMap {
    pairs: Vec<(String, String)>,
    replacements: Vec<(String, String)>,
    optimizer_state: bool,
}

impl AssignmentMap {
    /// No entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more entry: tensor and variable, or two scopes, which end in `/`.
    #[must_use]
    pub fn assign(mut self, tensor: impl Into<String>, variable: impl Into<String>) -> Self {
        self.pairs.push((tensor.into(), variable.into()));
        self
    }

    /// One more entry, which fills every variable whose name begins with what `pattern` matches (Python's `re.match`;
    /// a `$` at the end makes it the whole name): from the tensor whose name has `replacement` in place of that beginning.
    /// `${1}` and `${name}` in it stand for groups of the pattern.
    ///
    /// ```
    /// # use tfckpt::map::AssignmentMap;
    /// // `student/layer_3/fc/kernel` from `teacher/block_3/fc/kernel`
    /// let map = AssignmentMap::new().replace(r"student/layer_(\d+)/", "teacher/block_${1}/");
    /// ```
    ///
    /// The syntax is that of the [`regex`](https://docs.rs/regex) crate, which takes time in proportion to the name and
    /// a bounded amount of memory. TensorFlow has no such entries.
    #[cfg(feature = "regex")]
    #[must_use]
    pub fn replace(mut self, pattern: impl Into<String>, replacement: impl Into<String>) -> Self {
        self.replacements.push((pattern.into(), replacement.into()));
        self
    }

    /// Whether slots and counters of optimizers are among the variables that are filled. Default: false.
    #[must_use]
    pub fn optimizer_state(mut self, fill: bool) -> Self {
        self.optimizer_state = fill;
        self
    }
}

impl<T: Into<String>, V: Into<String>> FromIterator<(T, V)> for AssignmentMap {
    fn from_iter<I: IntoIterator<Item = (T, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        pairs.fold(Self::new(), |map, (tensor, variable)| map.assign(tensor, variable))
    }
}

impl<T: Into<String>, V: Into<String>, const N: usize> From<[(T, V); N]> for AssignmentMap {
    fn from(pairs: [(T, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl Assign for AssignmentMap {
    fn plan(&self, checkpoint: &Bundle, variables: &[ModelVariable]) -> Result<Plan> {
        let mut wishes = Wishes {
            variables,
            optimizer_state: self.optimizer_state,
            wishes: Vec::new(),
            faults: Vec::new(),
        };
        // TensorFlow goes by the names of tensors, and leaves entries of the same tensor in their order.
        let mut pairs: Vec<&(String, String)> = self.pairs.iter().collect();
        pairs.sort_by_key(|(tensor, _)| tensor);
        for (tensor, variable) in pairs {
            wishes.pair(tensor, variable);
        }
        #[cfg(feature = "regex")]
        for (pattern, replacement) in &self.replacements {
            wishes.replaced(pattern, replacement);
        }
        fulfil(checkpoint, variables, wishes.wishes, wishes.faults)
    }
}

/// What the entries so far wish for.
struct Wishes<'v> {
    variables: &'v [ModelVariable],
    optimizer_state: bool,
    wishes: Vec<Wish>,
    faults: Vec<AssignmentFault>,
}

impl Wishes<'_> {
    fn pair(&mut self, tensor: &str, target: &str) {
        let entry = format!("{tensor} -> {target}");
        let candidates = || near(target, self.variables);
        let called = self.called(target);
        if !called.is_empty() {
            let wish = |&variable: &usize| Wish {
                variable,
                tensors: vec![tensor.to_owned()],
                recipes: self.recipes(variable, &mut |own| {
                    Some(if own == target { tensor } else { own }.to_owned())
                }),
                entry: entry.clone(),
            };
            let wishes: Vec<Wish> = called.iter().map(wish).collect();
            return self.wishes.extend(wishes);
        }
        let fault = match (tensor.ends_with('/'), target.ends_with('/')) {
            (true, true) => return self.scope(tensor, target, entry),
            (true, false) => AssignmentFault::NotAScope {
                entry,
                target: target.to_owned(),
                candidates: candidates(),
            },
            (false, _) => AssignmentFault::UnknownVariable {
                entry,
                variable: target.to_owned(),
                candidates: candidates(),
            },
        };
        self.faults.push(fault);
    }

    /// All variables in one scope, from the tensors of the same names in another.
    fn scope(&mut self, from: &str, to: &str, entry: String) {
        let prefix = |scope| if scope == "/" { "" } else { scope };
        let (from, to) = (prefix(from), prefix(to));
        let tensor_of = |name: &str| name.strip_prefix(to).map(|tail| format!("{from}{tail}"));
        if !self.each(&entry, tensor_of) {
            self.faults.push(AssignmentFault::Unused {
                entry,
                reason: "no variable of the model is in that scope",
                candidates: near(to, self.variables),
            });
        }
    }

    #[cfg(feature = "regex")]
    fn replaced(&mut self, pattern: &str, replacement: &str) {
        let entry = format!("{pattern} -> {replacement}");
        match super::pattern::Replacement::new(pattern, replacement) {
            Err(fault) => self.faults.push(fault),
            Ok(replace) if self.each(&entry, |name| replace.apply(name)) => {}
            Ok(_) => self.faults.push(AssignmentFault::Unused {
                entry,
                reason: "no variable of the model matches",
                candidates: Vec::new(),
            }),
        }
    }

    /// Wishes for each variable the tensors that `tensor_of` gives for its names, if it gives any. Whether it did for any
    /// variable.
    fn each(&mut self, entry: &str, tensor_of: impl Fn(&str) -> Option<String>) -> bool {
        let tensors_of = |found: &ModelVariable| found.target.names.iter().filter_map(|name| tensor_of(name)).collect();
        let found: Vec<Wish> = self
            .offered()
            .map(|(variable, found)| Wish {
                variable,
                tensors: tensors_of(found),
                recipes: self.recipes(variable, &mut |own| tensor_of(own)),
                entry: entry.to_owned(),
            })
            .filter(|wish| !wish.tensors.is_empty())
            .collect();
        let is_used = !found.is_empty();
        self.wishes.extend(found);
        is_used
    }

    /// The ways to make a variable, from tensors that `tensor_of` gives for their sources. A way with a source that it
    /// gives none for is none.
    fn recipes(&self, variable: usize, tensor_of: &mut dyn FnMut(&str) -> Option<String>) -> Vec<Recipe> {
        let recipes = self
            .variables
            .get(variable)
            .map_or(&[][..], |variable| &variable.target.recipes);
        let renamed = recipes.iter().filter_map(|recipe| {
            let mut all = true;
            let renamed = recipe.renamed(&mut |own| {
                let tensor = tensor_of(own);
                all &= tensor.is_some();
                tensor.into_iter().collect()
            });
            all.then_some(renamed)
        });
        renamed.collect()
    }

    /// The variable of this name, or all that are made of one of this name; names as TensorFlow has them go before paths.
    fn called(&self, name: &str) -> Vec<usize> {
        let is_named = |variable: &ModelVariable| variable.target.names.iter().any(|own| own == name);
        let mut named: Vec<usize> = Vec::new();
        for (number, variable) in self.offered().filter(|(_, variable)| is_named(variable)) {
            if named.is_empty() || !variable.target.recipes.is_empty() {
                named.push(number);
            }
        }
        if named.is_empty() {
            named.extend(
                self.offered()
                    .find(|(_, variable)| variable.is_called(name))
                    .map(|(number, _)| number),
            );
        }
        named
    }

    fn offered(&self) -> impl Iterator<Item = (usize, &ModelVariable)> + Clone {
        let is_offered = |variable: &ModelVariable| self.optimizer_state || variable.purpose != Purpose::Optimizer;
        let all = self.variables.iter().enumerate();
        all.filter(move |(_, variable)| is_offered(variable))
    }
}
