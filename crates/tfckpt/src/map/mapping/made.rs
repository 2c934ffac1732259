//! What a mapping makes parameters of, and variables of parameters.

use super::Mapping;
use super::entry::{From, Kind, MadeRule};
use crate::dtype::DType;
use crate::layout::Recipe;
use crate::map::names::{Match, Pattern};
use crate::map::recipe::{Compound, Made, Member};

/// A mapping, and those of its rules that a name alone does not carry out.
#[derive(Debug, Clone)]
pub(in crate::map) struct Making {
    pub(in crate::map) mapping: Mapping,
    made: Vec<MadeRule>,
    skipped: Vec<Pattern>,
    ignored: Vec<Pattern>,
    stored: Vec<(Pattern, DType)>,
}

/// The rules follow from the mapping.
impl PartialEq for Making {
    fn eq(&self, other: &Self) -> bool {
        self.mapping == other.mapping
    }
}

impl Eq for Making {}

impl Making {
    pub(super) fn new(mapping: Mapping) -> Self {
        let (mut made, mut skipped, mut stored) = (Vec::new(), Vec::new(), Vec::new());
        for entry in &mapping.rules {
            match entry.to_kind() {
                Ok(Kind::Made(rule)) => made.push(rule),
                Ok(Kind::Skip(pattern)) => skipped.push(pattern),
                _ => {}
            }
            let pattern = entry.path.as_deref().and_then(|path| Pattern::new(path).ok());
            stored.extend(pattern.zip(entry.stored()));
        }
        // Those without captures come first.
        made.sort_by_key(|rule| !rule.pattern.is_exact());
        Making {
            ignored: mapping
                .ignore
                .iter()
                .filter_map(|text| Pattern::new(text).ok())
                .collect(),
            mapping,
            made,
            skipped,
            stored,
        }
    }

    pub(in crate::map) fn skips(&self, path: &str) -> bool {
        self.skipped.iter().any(|pattern| pattern.matches(path).is_some())
    }

    pub(in crate::map) fn ignores(&self, name: &str) -> bool {
        self.ignored.iter().any(|pattern| pattern.matches(name).is_some())
    }

    pub(in crate::map) fn stored_dtype(&self, path: &str) -> Option<DType> {
        let found = self.stored.iter().find(|(pattern, _)| pattern.matches(path).is_some());
        found.map(|(_, dtype)| *dtype)
    }

    /// What the parameter at `path` is made of; `None` if it is a variable as its layer says. `scope` goes before names.
    pub(in crate::map) fn compound(&self, path: &str, dims: &[usize], scope: &str) -> Option<Compound> {
        let (rule, found) = self
            .made
            .iter()
            .find_map(|rule| Some((rule, rule.pattern.matches(path)?)))?;
        let made = self.made_by(rule, &found, path, dims, scope);
        Some(made.unwrap_or_else(|| impossible(path, dims)))
    }

    /// `None` if the rule does not fit the shape.
    fn made_by(&self, rule: &MadeRule, found: &Match<'_>, path: &str, dims: &[usize], scope: &str) -> Option<Compound> {
        let name = |template: &crate::map::names::Template| Some(format!("{scope}{}", template.fill(found)?));
        let before = rule.before(dims)?;
        let whole = |recipe: Recipe, of_slots: Recipe| member(path.to_owned(), recipe, of_slots);
        let (members, made, fixed) = match &rule.from {
            From::Whole(template, shape) => {
                let (name, shape) = (name(template)?, shape.as_ref().unwrap_or(&before));
                let permuted = rule.permuted(shape)?;
                let recipe = rule.to_parameter(Recipe::source(&*name).of_shape(shape.as_slice()));
                let recipe = if permuted == dims { recipe } else { recipe.reshape(dims) };
                let parameter = Recipe::source(path).of_shape(dims);
                let parameter = if permuted == dims {
                    parameter
                } else {
                    parameter.reshape(permuted)
                };
                let made = vec![variable(name, rule.to_variable(parameter))];
                (vec![whole(recipe.clone(), recipe)], made, Vec::new())
            }
            From::Part {
                variable: template,
                axis,
                part: own,
                of,
            } => {
                let (name, len) = (name(template)?, *before.get(*axis)?);
                let part = |path: String, number: usize| {
                    let slice = Recipe::source(&*name).slice(*axis, number * len..(number + 1) * len);
                    let recipe = rule.to_parameter(slice);
                    member(path, recipe.clone(), recipe)
                };
                let siblings: Vec<Option<String>> = (0..*of)
                    .map(|number| match number == *own {
                        true => Some(path.to_owned()),
                        false => self.sibling(rule, found, number, &name, scope),
                    })
                    .collect();
                let members = siblings.iter().enumerate();
                let members = members.filter_map(|(number, path)| Some(part(path.clone()?, number)));
                let parts = siblings.iter().enumerate().map(|(number, path)| {
                    // Shows in the error of a save that cannot be.
                    let none = || format!("part {number} of {of}, for which there is no rule");
                    rule.to_variable(Recipe::source(path.clone().unwrap_or_else(none)))
                });
                let made = vec![variable(name.clone(), Recipe::concat(*axis, parts))];
                (members.collect(), made, Vec::new())
            }
            From::Several { variables, axis, stack } => {
                let names: Vec<String> = variables.iter().map(name).collect::<Option<_>>()?;
                let all = *before.get(*axis)?;
                let len = all.checked_div(names.len()).filter(|len| len * names.len() == all)?;
                if *stack && len != 1 {
                    return None;
                }
                let mut one = before.clone();
                *one.get_mut(*axis)? = len;
                let mut inner = before.clone();
                inner.remove(*axis);
                let parts = names.iter().map(|name| match stack {
                    true => Recipe::source(&**name)
                        .of_shape(inner.as_slice())
                        .reshape(one.as_slice()),
                    false => Recipe::source(&**name),
                });
                let recipe = rule.to_parameter(Recipe::concat(*axis, parts));
                let made = names.iter().enumerate().map(|(number, name)| {
                    let slice = rule.to_variable(Recipe::source(path).of_shape(dims));
                    let slice = slice.slice(*axis, number * len..(number + 1) * len);
                    variable(
                        name.clone(),
                        if *stack { slice.reshape(inner.as_slice()) } else { slice },
                    )
                });
                let made = made.collect();
                (vec![whole(recipe.clone(), recipe)], made, Vec::new())
            }
            From::Constant(value) => {
                let recipe = Recipe::constant(dims, *value);
                let member = whole(recipe, Recipe::constant(dims, 0.0));
                (vec![member], Vec::new(), vec![(path.to_owned(), *value)])
            }
        };
        let module = path.rsplit_once('.').map_or("", |(module, _)| module).to_owned();
        Some(Compound {
            module,
            members,
            made,
            fixed,
            refused: Vec::new(),
        })
    }

    /// The parameter that is another part of the same variable.
    fn sibling(
        &self,
        rule: &MadeRule,
        found: &Match<'_>,
        number: usize,
        variable: &str,
        scope: &str,
    ) -> Option<String> {
        let From::Part {
            axis: own_axis,
            of: own_of,
            ..
        } = &rule.from
        else {
            return None;
        };
        self.made.iter().find_map(|other| match &other.from {
            From::Part {
                variable: template,
                axis,
                part,
                of,
            } if *part == number && axis == own_axis && of == own_of => {
                let path = other.pattern.fill(found)?;
                let name = template.fill(&other.pattern.matches(&path)?)?;
                (format!("{scope}{name}") == variable).then_some(path)
            }
            _ => None,
        })
    }
}

impl MadeRule {
    /// The shape of what the parameter is made of, before it is transposed.
    fn before(&self, dims: &[usize]) -> Option<Vec<usize>> {
        let Some(axes) = &self.transpose else {
            return Some(dims.to_vec());
        };
        match &self.from {
            // Its own shape is known.
            From::Whole(_, Some(shape)) => Some(shape.clone()),
            _ if axes.len() != dims.len() => None,
            _ => {
                let place = |axis| axes.iter().position(|&own| own == axis);
                (0..axes.len()).map(|axis| dims.get(place(axis)?).copied()).collect()
            }
        }
    }

    /// The shape after it is transposed.
    fn permuted(&self, shape: &[usize]) -> Option<Vec<usize>> {
        match &self.transpose {
            None => Some(shape.to_vec()),
            Some(axes) if axes.len() == shape.len() => axes.iter().map(|&axis| shape.get(axis).copied()).collect(),
            Some(_) => None,
        }
    }

    fn to_parameter(&self, recipe: Recipe) -> Recipe {
        match &self.transpose {
            None => recipe,
            Some(axes) => recipe.permute(axes.as_slice()),
        }
    }

    fn to_variable(&self, recipe: Recipe) -> Recipe {
        match &self.transpose {
            None => recipe,
            Some(axes) => {
                let place = |axis| axes.iter().position(|&own| own == axis).unwrap_or_default();
                recipe.permute((0..axes.len()).map(place).collect::<Vec<_>>())
            }
        }
    }
}

/// What a rule makes of a parameter that it does not fit: neither loaded nor saved, and told in the error.
fn impossible(path: &str, dims: &[usize]) -> Compound {
    let nothing = Recipe::source(format!("what the rule says, which does not fit the shape {dims:?}"));
    let member = member(path.to_owned(), nothing.clone(), nothing.clone());
    Compound {
        module: path.to_owned(),
        members: vec![member],
        made: vec![variable(path.to_owned(), nothing)],
        fixed: Vec::new(),
        refused: Vec::new(),
    }
}

fn member(path: String, recipe: Recipe, of_slots: Recipe) -> Member {
    Member {
        path,
        names: recipe.sources().flat_map(|source| source.names.clone()).collect(),
        recipes: vec![recipe],
        of_slots: vec![of_slots],
    }
}

fn variable(name: String, recipe: Recipe) -> Made {
    Made {
        name,
        of_slots: recipe.clone(),
        recipe,
        unless_zero: None,
        slots_unless_zero: None,
    }
}
