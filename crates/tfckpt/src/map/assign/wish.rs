//! From what is wished for to a plan that is checked.

use std::collections::BTreeMap;

use super::ModelVariable;
use crate::bundle::{Bundle, VariableInfo};
use crate::error::{AssignmentFault, Error, Result};
use crate::layout::Recipe;
use crate::map::plan::{Draft, Plan, Target};
use crate::suggest::nearest;

/// A variable that is to be filled.
#[derive(Debug)]
pub(super) struct Wish {
    /// Its number among the variables of the model.
    pub(super) variable: usize,
    /// Names to look for in the checkpoint; the first one that is there counts.
    pub(super) tensors: Vec<String>,
    /// Of a variable that is made of others: the ways to do so from the tensors that are wished for.
    pub(super) recipes: Vec<Recipe>,
    /// What wishes it, for errors.
    pub(super) entry: String,
}

/// Faults for which near names are looked up: each is compared with all names of the checkpoint.
const SUGGESTIONS: usize = 20;

/// The plan that fulfils all wishes; the error has all `faults` that were found before as well.
pub(super) fn fulfil(
    checkpoint: &Bundle,
    variables: &[ModelVariable],
    wishes: Vec<Wish>,
    mut faults: Vec<AssignmentFault>,
) -> Result<Plan> {
    let mut draft = Draft::default();
    let mut first_entries: BTreeMap<usize, &str> = BTreeMap::new();
    let mut missing = 0;
    for wish in &wishes {
        let Some(ModelVariable { target, .. }) = variables.get(wish.variable) else {
            continue;
        };
        if let Some(first) = first_entries.insert(wish.variable, &wish.entry) {
            faults.push(AssignmentFault::FilledTwice {
                variable: target.path.clone(),
                first: first.to_owned(),
                second: wish.entry.clone(),
            });
            continue;
        }
        let found = match wish.recipes.is_empty() {
            true => find(checkpoint, &wish.tensors)?.map(|info| draft.fill(checkpoint, wish.variable, target, info)),
            false => first_there(checkpoint, &wish.recipes)?.map(|recipe| {
                let recipes = vec![recipe.clone()];
                draft.cook(
                    checkpoint,
                    wish.variable,
                    &Target {
                        recipes,
                        ..target.clone()
                    },
                );
            }),
        };
        match found {
            Ok(()) => {}
            Err(mut candidates) => {
                if candidates.is_empty() && missing < SUGGESTIONS {
                    candidates = near(checkpoint, &wish.tensors);
                }
                missing += 1;
                faults.push(AssignmentFault::TensorNotFound {
                    entry: wish.entry.clone(),
                    variable: target.path.clone(),
                    tensors: wish.tensors.clone(),
                    candidates,
                });
            }
        }
    }
    let mut plan = draft.finish(checkpoint);
    faults.extend(plan.take_mismatched().into_iter().map(AssignmentFault::Mismatched));
    match faults.is_empty() {
        true => Ok(plan),
        false => Err(Error::Assignment {
            prefix: checkpoint.prefix(),
            faults,
        }),
    }
}

/// The tensor of the first of these names that is there, or names that may be meant instead.
///
/// A name is a key or, in an object-based checkpoint, what people call the tensor. The ends of names, by which variables
/// are found elsewhere, will not do: `/kernel` at the root is no other kernel.
fn find<'c>(checkpoint: &'c Bundle, names: &[String]) -> Result<Result<&'c VariableInfo, Vec<String>>> {
    let mut candidates = Vec::new();
    for name in names {
        match checkpoint.lookup(name.as_bytes()) {
            Ok(None) => {}
            Ok(Some(info)) if info.key() == name.as_bytes() => return Ok(Ok(info)),
            Ok(Some(info)) => match checkpoint.display_name(info) {
                full if full == *name => return Ok(Ok(info)),
                full => candidates.push(full),
            },
            Err(Error::AmbiguousName { candidates: may_be, .. }) => candidates.extend(may_be),
            Err(error) => return Err(error),
        }
    }
    Ok(Err(candidates))
}

/// The first recipe all of whose sources are there, or names that may be meant instead of those that are not.
fn first_there<'r>(checkpoint: &Bundle, recipes: &'r [Recipe]) -> Result<Result<&'r Recipe, Vec<String>>> {
    let mut candidates = Vec::new();
    'recipes: for recipe in recipes {
        for source in recipe.sources() {
            if let Err(may_be) = find(checkpoint, &source.names)? {
                candidates.extend(may_be);
                continue 'recipes;
            }
        }
        return Ok(Ok(recipe));
    }
    Ok(Err(candidates))
}

fn near(checkpoint: &Bundle, names: &[String]) -> Vec<String> {
    let all: Vec<String> = checkpoint
        .variables()
        .map(|info| checkpoint.display_name(info))
        .collect();
    let wanted = names.first().map_or("", String::as_str);
    nearest(wanted, all.iter().map(String::as_str), 3)
}
