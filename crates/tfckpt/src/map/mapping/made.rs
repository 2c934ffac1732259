//! What a mapping makes parameters of, and variables of parameters.

use super::Mapping;
use super::kind::{From, Kind, MadeRule};
use crate::dtype::DType;
use crate::layout::Recipe;
use crate::map::names::{EqualPart, Match, NameMap, Pattern, Template};
use crate::map::recipe::{Compound, Made, Member, nearest_path};

/// A mapping, and those of its rules that a name alone does not carry out. Patterns are matched against paths as rules of
/// a [`NameMap`] see them, without the scope of the model.
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

    pub(in crate::map) fn skips(&self, inner: &str) -> bool {
        self.skipped.iter().any(|pattern| pattern.matches(inner).is_some())
    }

    /// Whether a rule says what the parameter is made of.
    pub(in crate::map) fn makes(&self, inner: &str) -> bool {
        self.made.iter().any(|rule| rule.pattern.matches(inner).is_some())
    }

    pub(in crate::map) fn ignores(&self, name: &str) -> bool {
        self.ignored.iter().any(|pattern| pattern.matches(name).is_some())
    }

    /// What the parameter is saved in, by a rule for itself, or for the layer that it is in.
    pub(in crate::map) fn stored_dtype(&self, inner: &str) -> Option<DType> {
        let is_for = |pattern: &Pattern| pattern.matches_start(inner).is_some();
        let found = self.stored.iter().find(|(pattern, _)| is_for(pattern));
        found.map(|(_, dtype)| *dtype)
    }

    /// What the parameter at `path` is made of; `None` if it is a variable as its layer says.
    pub(in crate::map) fn compound(&self, names: &NameMap, path: &str, dims: &[usize]) -> Option<Compound> {
        let inner = names.inner(path);
        let (rule, found) = self
            .made
            .iter()
            .find_map(|rule| Some((rule, rule.pattern.matches(&inner)?)))?;
        let parameter = Parameter {
            making: self,
            names,
            rule,
            found: &found,
            path,
            dims,
        };
        Some(parameter.made().unwrap_or_else(|| Compound::impossible(path, dims)))
    }
}

/// A parameter, and the rule for it.
struct Parameter<'p> {
    making: &'p Making,
    names: &'p NameMap,
    rule: &'p MadeRule,
    found: &'p Match<'p>,
    path: &'p str,
    dims: &'p [usize],
}

impl Parameter<'_> {
    /// `None` if the rule does not fit the shape.
    fn made(&self) -> Option<Compound> {
        match &self.rule.from {
            From::Whole(template, shape) => self.whole(template, shape.as_deref()),
            From::Part(template, part) => self.part(template, *part),
            From::Several { variables, axis, stack } => self.several(variables, *axis, *stack),
            From::Constant(value) => {
                let recipe = Recipe::constant(self.dims, *value);
                let member = Member::made(self.path.to_owned(), recipe, Recipe::constant(self.dims, 0.0));
                let member = member.told(format!("{value} everywhere"));
                let fixed = vec![(self.path.to_owned(), *value)];
                let compound = Compound::made(self.path, vec![member], Vec::new());
                Some(Compound { fixed, ..compound })
            }
        }
    }

    fn whole(&self, template: &Template, shape: Option<&[usize]>) -> Option<Compound> {
        let before = self.rule.before(self.dims)?;
        let (name, shape) = (self.name(template)?, shape.unwrap_or(&before));
        let permuted = self.rule.permuted(shape)?;
        let recipe = self.rule.to_parameter(self.read(&name).of_shape(shape));
        let parameter = Recipe::source(self.path).of_shape(self.dims);
        let (recipe, parameter) = match permuted == self.dims {
            true => (recipe, parameter),
            false => (recipe.reshape(self.dims), parameter.reshape(permuted)),
        };
        Some(self.alone(recipe, vec![self.written(name, self.rule.to_variable(parameter))]))
    }

    fn part(&self, template: &Template, EqualPart { axis, part: own, of }: EqualPart) -> Option<Compound> {
        let mut whole = self.rule.before(self.dims)?;
        let (name, len) = (self.name(template)?, *whole.get(axis)?);
        *whole.get_mut(axis)? = len.checked_mul(of)?;
        let variable = self.read(&name).of_shape(whole);
        let part = |path: String, number: usize| {
            let slice = variable.clone().slice(axis, number * len..(number + 1) * len);
            let recipe = self.rule.to_parameter(slice);
            Member::made(path, recipe.clone(), recipe).told(EqualPart { axis, part: number, of }.to_string())
        };
        let all: Vec<Option<String>> = (0..of)
            .map(|number| match number == own {
                true => Some(self.path.to_owned()),
                false => self.other_part(EqualPart { axis, part: number, of }, &name),
            })
            .collect();
        let members = all.iter().enumerate();
        let members = members.filter_map(|(number, path)| Some(part(path.clone()?, number)));
        let members = members.collect();
        let parts = all.into_iter().enumerate().map(|(number, path)| {
            let source = path.unwrap_or_else(|| Compound::no_part(number, of));
            self.rule.to_variable(Recipe::source(source).of_shape(self.dims))
        });
        let made = self.written(name, Recipe::concat(axis, parts));
        Some(Compound::made(self.path, members, vec![made]))
    }

    fn several(&self, variables: &[Template], axis: usize, stack: bool) -> Option<Compound> {
        let before = self.rule.before(self.dims)?;
        let names: Vec<String> = variables.iter().map(|name| self.name(name)).collect::<Option<_>>()?;
        let all = *before.get(axis)?;
        let len = all.checked_div(names.len()).filter(|len| len * names.len() == all)?;
        if stack && len != 1 {
            return None;
        }
        let mut one = before.clone();
        *one.get_mut(axis)? = len;
        let mut inner = before.clone();
        inner.remove(axis);
        let parts = names.iter().map(|name| match stack {
            true => self.read(name).of_shape(inner.as_slice()).reshape(one.as_slice()),
            false => self.read(name).of_shape(one.as_slice()),
        });
        let recipe = self.rule.to_parameter(Recipe::concat(axis, parts));
        let made = names.iter().enumerate().map(|(number, name)| {
            let slice = self.rule.to_variable(Recipe::source(self.path).of_shape(self.dims));
            let slice = slice.slice(axis, number * len..(number + 1) * len);
            let recipe = if stack { slice.reshape(inner.as_slice()) } else { slice };
            self.written(name.clone(), recipe)
        });
        Some(self.alone(recipe, made.collect()))
    }

    fn alone(&self, recipe: Recipe, made: Vec<Made>) -> Compound {
        let member = Member::made(self.path.to_owned(), recipe.clone(), recipe);
        Compound::made(self.path, vec![member], made)
    }

    fn name(&self, template: &Template) -> Option<String> {
        Some(self.names.scoped(&template.fill(self.found)?))
    }

    /// The variable of this name, or its average.
    fn read(&self, name: &str) -> Recipe {
        Recipe::any_of(self.names.averaged(self.path, vec![name.to_owned()]))
    }

    fn written(&self, name: String, recipe: Recipe) -> Made {
        let mut names = self.names.averaged(self.path, vec![name.clone()]).into_iter();
        Made::of(names.next().unwrap_or(name), recipe)
    }

    /// The parameter that is this other part of the same variable.
    fn other_part(&self, part: EqualPart, variable: &str) -> Option<String> {
        let paths = self.making.made.iter().filter_map(|other| match &other.from {
            From::Part(template, own) if *own == part => {
                let inner = other.pattern.fill(self.found)?;
                let name = self.names.scoped(&template.fill(&other.pattern.matches(&inner)?)?);
                (name == variable).then(|| self.names.outer(&inner, self.path))?
            }
            _ => None,
        });
        nearest_path(self.path, paths)
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
