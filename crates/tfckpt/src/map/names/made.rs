//! Parameters that are no variables by themselves, and what a mapping says.

use std::sync::Arc;

use super::rule::EqualPart;
use super::{NameMap, split};
use crate::layout::Recipe;
use crate::map::layer::{DenseOrder, Layer};
use crate::map::mapping::Making;
use crate::map::recipe::{Compound, Made, Member, nearest_path};

/// # Parameters that are made of variables
impl NameMap {
    /// What a parameter of this shape, a field of a layer of kind `found`, is made of, and what is made of it, if it is no
    /// variable as its layer says: as a mapping or a [`Rule::part`](super::Rule::part) has it, or as one of a
    /// [`Layer::PartialNorm`] that TensorFlow does not have. `order` is how the framework stores the weight of a dense
    /// layer.
    ///
    /// Recurrent layers are not among them: see [`recurrent`](Self::recurrent).
    pub fn compound(&self, path: &str, dims: &[usize], found: Layer, order: DenseOrder) -> Option<Compound> {
        let mapped = self
            .mapping
            .as_ref()
            .and_then(|mapping| mapping.compound(self, path, dims));
        mapped
            .or_else(|| self.part(path, dims, found, order))
            .or_else(|| self.partial_norm(split(path).0, &[(path.to_owned(), dims.to_vec())]))
    }

    /// A parameter that a rule says is a part of a variable.
    fn part(&self, path: &str, dims: &[usize], found: Layer, order: DenseOrder) -> Option<Compound> {
        let part = self.rule_of(path)?.part?;
        let made = self.part_of(part, path, dims, found, order);
        Some(made.unwrap_or_else(|| Compound::impossible(path, dims)))
    }

    /// `None` if the rule does not fit the shape.
    fn part_of(
        &self,
        EqualPart { axis, part: own, of }: EqualPart,
        path: &str,
        dims: &[usize],
        found: Layer,
        order: DenseOrder,
    ) -> Option<Compound> {
        let names = self.names(path, found);
        let layout = self.layout(path, found, order);
        let mut whole = layout.stored_shape(dims)?.dims().to_vec();
        let len = *whole.get(axis)?;
        *whole.get_mut(axis)? = len.checked_mul(of)?;
        let variable = Recipe::any_of(names.iter().cloned()).of_shape(whole);
        let parts: Vec<Option<String>> = (0..of)
            .map(|number| match number == own {
                true => Some(path.to_owned()),
                false => self.other_part(EqualPart { axis, part: number, of }, path, &names, found),
            })
            .collect();
        let members = parts.iter().enumerate().filter_map(|(number, path)| {
            let slice = variable.clone().slice(axis, number * len..(number + 1) * len);
            let recipe = slice.into_model(layout, dims)?;
            let member = Member::made(path.clone()?, recipe.clone(), recipe);
            Some(member.told(EqualPart { axis, part: number, of }.to_string()))
        });
        let members = members.collect();
        let stored = parts.iter().enumerate().map(|(number, path)| {
            let source = match path {
                Some(path) => Recipe::source(path.as_str()),
                None => Recipe::source(Compound::no_part(number, of)),
            };
            source.of_shape(dims).into_stored(layout, dims)
        });
        let stored: Vec<Recipe> = stored.collect::<Option<_>>()?;
        let made = Made::of(names.first()?.clone(), Recipe::concat(axis, stored));
        Some(Compound::made(path, members, vec![made]))
    }

    /// The parameter that is this part of the variable of these names, of which the one at `path` is another part.
    fn other_part(&self, part: EqualPart, path: &str, names: &[String], found: Layer) -> Option<String> {
        let inner = self.inner(path);
        let own = self.rule_of(path)?;
        let others = self.rules.iter().filter(|rule| rule.part == Some(part));
        let paths = others.filter_map(|rule| {
            let other = self.outer(&own.beside(&inner, rule)?, path)?;
            let is_it = self.rule_of(&other)? == rule && self.names(&other, found) == names;
            is_it.then_some(other)
        });
        nearest_path(path, paths)
    }
}

/// # What a mapping says
impl NameMap {
    pub(in crate::map) fn with_mapping(mut self, mapping: Arc<Making>) -> Self {
        self.mapping = Some(mapping);
        self
    }

    /// Whether a parameter is left out: neither loaded nor saved.
    pub fn skips(&self, path: &str) -> bool {
        let mapping = self.mapping.as_ref();
        mapping.is_some_and(|mapping| mapping.skips(&self.inner(path)))
    }

    /// Whether nobody misses this variable of the checkpoint.
    pub fn ignores(&self, variable: &str) -> bool {
        self.mapping.as_ref().is_some_and(|mapping| mapping.ignores(variable))
    }

    /// Checks the [mapping](crate::map::Mapping), if this was made of one, for the parameters of a model.
    ///
    /// # Errors
    /// As [`Mapping::check`](crate::map::Mapping::check).
    pub fn check<P: AsRef<str>>(&self, parameters: &[(P, Layer)]) -> crate::Result<()> {
        match &self.mapping {
            Some(mapping) => mapping.mapping.check(parameters),
            None => Ok(()),
        }
    }
}
