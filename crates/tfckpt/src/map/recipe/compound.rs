//! Layers whose parameters are not variables one by one.

use super::Ingredient;
use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::layout::Recipe;
use crate::tensor::Variable;

/// What the parameters of a layer are made of, out of variables, and what its variables are made of, out of parameters.
/// [`NameMap::recurrent`](crate::map::NameMap::recurrent) makes one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Compound {
    /// The path of the layer.
    pub module: String,
    /// The parameters, and what each is made of on loading.
    pub members: Vec<Member>,
    /// The variables, and what each is made of on saving. Sources are the paths of parameters.
    pub made: Vec<Made>,
    /// Variables that the layer does not have. With one of them in the checkpoint it would compute something else.
    pub refused: Vec<Refusal>,
}

/// A parameter of a [`Compound`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Member {
    /// Its path.
    pub path: String,
    /// What it is made of: see [`Target::recipes`](crate::map::Target::recipes).
    pub recipes: Vec<Recipe>,
    /// The same for the slots that an optimizer keeps for it. Nothing is added to them, and of parameters whose sum is
    /// a variable, which have the same gradient, each has the slot of the sum.
    pub of_slots: Vec<Recipe>,
}

/// A variable of a [`Compound`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Made {
    /// Its name.
    pub name: String,
    /// What it is made of.
    pub recipe: Recipe,
    /// The same for its slots; of several parameters whose sum the variable is, that of the first.
    pub of_slots: Recipe,
    /// Of one that is written only if it holds something: it is left out where this is zero everywhere.
    pub unless_zero: Option<Recipe>,
}

/// A variable that must not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Its names.
    pub names: Vec<String>,
    /// The shape in which it is refused; `None` for any.
    pub dims: Option<Vec<usize>>,
    /// Why, and what to do.
    pub reason: String,
}

impl Compound {
    /// The parameter at `path`.
    pub fn member(&self, path: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.path == path)
    }

    /// Whether the checkpoint can fill the layer, as far as its names and shapes tell. Reads nothing.
    ///
    /// # Errors
    /// [`Error::Unrepresentable`] if it has a variable that the layer has no use for, so that it would compute something
    /// else.
    pub fn check(&self, checkpoint: &Bundle) -> Result<()> {
        for refusal in &self.refused {
            let there = refusal
                .names
                .iter()
                .find_map(|name| checkpoint.lookup(name.as_bytes()).ok().flatten());
            if let Some(info) = there
                && refusal.dims.as_ref().is_none_or(|dims| info.shape().dims() == dims)
            {
                let found = format!(
                    "the checkpoint has `{}` {}, but {}",
                    info.name(),
                    info.shape(),
                    refusal.reason
                );
                return Err(Error::unrepresentable(&self.module, found));
            }
        }
        Ok(())
    }

    /// The same for the slots that an optimizer keeps: `slot` gives the name of a variable's slot, and `path` that of a
    /// parameter's.
    #[must_use]
    pub fn slots(&self, slot: &dyn Fn(&str) -> String, path: &dyn Fn(&str) -> String) -> Compound {
        let renamed = |recipe: &Recipe, name: &dyn Fn(&str) -> String| recipe.renamed(&mut |own| name(own));
        let member = |member: &Member| {
            let recipes: Vec<Recipe> = member.of_slots.iter().map(|recipe| renamed(recipe, slot)).collect();
            Member {
                path: path(&member.path),
                of_slots: recipes.clone(),
                recipes,
            }
        };
        let made = |made: &Made| {
            let recipe = renamed(&made.of_slots, path);
            Made {
                name: slot(&made.name),
                of_slots: recipe.clone(),
                recipe,
                unless_zero: None,
            }
        };
        // What is written only now and then has no slots.
        let always = self.made.iter().filter(|made| made.unless_zero.is_none());
        Compound {
            module: self.module.clone(),
            members: self.members.iter().map(member).collect(),
            made: always.map(made).collect(),
            refused: Vec::new(),
        }
    }

    /// The variables, made of parameters that `find` gives by their paths.
    ///
    /// # Errors
    /// As [`Recipe::variable`]; [`Error::Source`] if parameters have to be looked at and cannot.
    pub fn variables<'a>(&self, find: &dyn Fn(&str) -> Option<Ingredient<'a>>) -> Result<Vec<Variable<'a>>> {
        let mut variables = Vec::new();
        for made in &self.made {
            if let Some(recipe) = &made.unless_zero
                && recipe.is_zero(&made.name, find)?
            {
                continue;
            }
            variables.push(made.recipe.variable(made.name.as_str(), find)?);
        }
        Ok(variables)
    }
}

impl Error {
    pub(in crate::map) fn unrepresentable(module: &str, reason: impl Into<String>) -> Self {
        Error::Unrepresentable {
            module: module.to_owned(),
            reason: reason.into(),
        }
    }
}
