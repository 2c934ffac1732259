//! Layers whose parameters are not variables one by one.

use super::Ingredient;
use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::layout::Recipe;
use crate::map::layer::{Layer, Role};
use crate::map::names::NameMap;
use crate::tensor::Variable;

/// What the parameters of a layer are made of, out of variables, and what its variables are made of, out of parameters.
/// [`NameMap::recurrent`](crate::map::NameMap::recurrent) and [`NameMap::partial_norm`](crate::map::NameMap::partial_norm)
/// make some.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Compound {
    /// The path of the layer.
    pub module: String,
    /// The parameters, and what each is made of on loading.
    pub members: Vec<Member>,
    /// The variables, and what each is made of on saving. Sources are the paths of parameters.
    pub made: Vec<Made>,
    /// Parameters that TensorFlow does not have, and the number that each of their elements has to be.
    pub fixed: Vec<(String, f64)>,
    /// Variables that the layer does not have. With one of them in the checkpoint it would compute something else.
    pub refused: Vec<Refusal>,
}

/// A parameter of a [`Compound`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Member {
    /// Its path.
    pub path: String,
    /// The names that it is looked for as, for reports.
    pub names: Vec<String>,
    /// What it is made of: see [`Target::recipes`](crate::map::Target::recipes).
    pub recipes: Vec<Recipe>,
    /// The same for the slots that an optimizer keeps for it. Nothing is added to them, and of parameters whose sum is
    /// a variable, which have the same gradient, each has the slot of the sum.
    pub of_slots: Vec<Recipe>,
    /// How it is made, for reports: what no checkpoint says.
    pub how: Option<String>,
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
    /// The same for its slots; without it such a variable has none.
    pub slots_unless_zero: Option<Recipe>,
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
    /// Of a parameter alone, or of one with others that are parts of the same variable.
    pub(in crate::map) fn made(path: &str, members: Vec<Member>, made: Vec<Made>) -> Self {
        Compound {
            module: path.rsplit_once('.').map_or("", |(module, _)| module).to_owned(),
            members,
            made,
            fixed: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Of a parameter whose shape does not fit what it is said to be made of: neither loaded nor saved, and told in the
    /// error.
    pub(in crate::map) fn impossible(path: &str, dims: &[usize]) -> Self {
        let nothing = Recipe::source(format!("what the rule says, which does not fit the shape {dims:?}"));
        let member = Member::made(path.to_owned(), nothing.clone(), nothing.clone());
        Compound::made(path, vec![member], vec![Made::of(path.to_owned(), nothing)])
    }

    /// Stands for a part that no parameter is: it shows in the error of a save that cannot be.
    pub(in crate::map) fn no_part(number: usize, of: usize) -> String {
        format!("part {number} of {of}, for which there is no rule")
    }

    /// The parameter at `path`.
    pub fn member(&self, path: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.path == path)
    }

    /// The name of the variable that the parameter at `path` is a part of; `None` if it is in none.
    pub fn variable_of(&self, path: &str) -> Option<&str> {
        let uses = |made: &&Made| made.recipe.sources().any(|source| source.name() == path);
        self.made.iter().find(uses).map(|made| made.name.as_str())
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

    /// The same for the slots that an optimizer keeps: `slot` gives the names of a variable's slot, the first of which is
    /// written, and `path` that of a parameter's.
    #[must_use]
    pub fn slots(&self, slot: &dyn Fn(&str) -> Vec<String>, path: &dyn Fn(&str) -> String) -> Compound {
        let renamed = |recipe: &Recipe, name: &dyn Fn(&str) -> Vec<String>| recipe.renamed(&mut |own| name(own));
        let member = |member: &Member| {
            let recipes: Vec<Recipe> = member.of_slots.iter().map(|recipe| renamed(recipe, slot)).collect();
            Member {
                path: path(&member.path),
                names: member.names.iter().flat_map(|name| slot(name)).collect(),
                of_slots: recipes.clone(),
                recipes,
                how: member.how.clone(),
            }
        };
        let made = |made: &Made| {
            let to_path = |own: &str| vec![path(own)];
            let recipe = renamed(&made.of_slots, &to_path);
            let unless_zero = made.slots_unless_zero.as_ref().map(|recipe| renamed(recipe, &to_path));
            Made {
                name: slot(&made.name).into_iter().next().unwrap_or_default(),
                of_slots: recipe.clone(),
                recipe,
                slots_unless_zero: unless_zero.clone(),
                unless_zero,
            }
        };
        let has_slots = |made: &&Made| made.unless_zero.is_none() || made.slots_unless_zero.is_some();
        let always = self.made.iter().filter(has_slots);
        Compound {
            module: self.module.clone(),
            members: self.members.iter().map(member).collect(),
            made: always.map(made).collect(),
            fixed: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// The variables, made of parameters that `find` gives by their paths.
    ///
    /// # Errors
    /// As [`Recipe::variable`]; [`Error::Unrepresentable`] if a parameter that TensorFlow does not have is not what it has to
    /// be; [`Error::Source`] if parameters have to be looked at and cannot.
    pub fn variables<'a>(&self, find: &dyn Fn(&str) -> Option<Ingredient<'a>>) -> Result<Vec<Variable<'a>>> {
        for (path, value) in &self.fixed {
            let Some(parameter) = find(path) else { continue };
            let wanted = Recipe::constant(parameter.dims(), *value);
            if !wanted.equals(path, parameter)? {
                let reason =
                    format!("`{path}` is not {value} everywhere, and was declared to be missing in TensorFlow");
                return Err(Error::unrepresentable(&self.module, reason));
            }
        }
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

impl Member {
    /// A parameter that there is one way to make.
    pub(in crate::map) fn made(path: String, recipe: Recipe, of_slots: Recipe) -> Self {
        Member {
            path,
            names: recipe.sources().flat_map(|source| source.names.clone()).collect(),
            recipes: vec![recipe],
            of_slots: vec![of_slots],
            how: None,
        }
    }

    /// The same, with how it is made.
    pub(in crate::map) fn told(self, how: impl Into<String>) -> Self {
        Member {
            how: Some(how.into()),
            ..self
        }
    }
}

impl Made {
    /// A variable whose slots are made as it is.
    pub(in crate::map) fn of(name: String, recipe: Recipe) -> Self {
        Made {
            name,
            of_slots: recipe.clone(),
            recipe,
            unless_zero: None,
            slots_unless_zero: None,
        }
    }
}

impl NameMap {
    /// Of a normalization at `module` that was declared as [`Layer::PartialNorm`] the parameters that TensorFlow does not
    /// have; `None` if it has all of `parameters`, paths and shapes.
    pub fn partial_norm(&self, module: &str, parameters: &[(String, Vec<usize>)]) -> Option<Compound> {
        let Layer::PartialNorm { scale, center } = self.layer(module, Layer::Other) else {
            return None;
        };
        let value = |path: &str| match Role::of_field(path.rsplit('.').next().unwrap_or(path)) {
            Role::Weight if !scale => Some(1.0),
            Role::Bias if !center => Some(0.0),
            _ => None,
        };
        let fixed = parameters
            .iter()
            .filter_map(|(path, dims)| Some((path, dims, value(path)?)));
        let members: Vec<(Member, f64)> = fixed
            .map(|(path, dims, value)| {
                let member = Member {
                    path: path.clone(),
                    names: Vec::new(),
                    recipes: vec![Recipe::constant(dims.as_slice(), value)],
                    of_slots: vec![Recipe::constant(dims.as_slice(), 0.0)],
                    how: Some(format!("{value} everywhere")),
                };
                (member, value)
            })
            .collect();
        (!members.is_empty()).then(|| Compound {
            module: module.to_owned(),
            fixed: members
                .iter()
                .map(|(member, value)| (member.path.clone(), *value))
                .collect(),
            members: members.into_iter().map(|(member, _)| member).collect(),
            made: Vec::new(),
            refused: Vec::new(),
        })
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

/// Of paths that may be the other part of a variable, that which has most in common with the path of the part: rules may be for
/// models of several kinds, and only one of them is there.
pub(in crate::map) fn nearest_path(path: &str, others: impl Iterator<Item = String>) -> Option<String> {
    let same =
        |a: &mut dyn Iterator<Item = u8>, b: &mut dyn Iterator<Item = u8>| a.zip(b).take_while(|(a, b)| a == b).count();
    let alike = |other: &String| {
        let before = same(&mut path.bytes(), &mut other.bytes());
        (before, same(&mut path.bytes().rev(), &mut other.bytes().rev()))
    };
    // Of equals the first.
    others.fold(None, |best, other| match best {
        Some(best) if alike(&best) >= alike(&other) => Some(best),
        _ => Some(other),
    })
}
