//! Whether a mapping says one thing of each parameter, and nothing in vain.

use std::collections::BTreeMap;

use super::Mapping;
use super::entry::{Entry, Kind};
use crate::error::{Error, MappingFault, Result};
use crate::map::layer::Layer;
use crate::map::names::NameMap;

/// A rule with its number.
struct Numbered<'m> {
    entry: &'m Entry,
    kind: Kind,
}

impl Mapping {
    /// Checks this for a model of these parameters, each with its path and the kind of its layer as the framework knows it.
    /// Adapters do so by themselves.
    ///
    /// # Errors
    /// [`Error::Mapping`] with all that is wrong: rules that are of no use, parameters for which two rules say something,
    /// and variables that two parameters are.
    pub fn check<P: AsRef<str>>(&self, parameters: &[(P, Layer)]) -> Result<()> {
        let names = NameMap::from(self);
        let mut faults = Vec::new();
        let mut rules = Vec::new();
        for entry in &self.rules {
            match entry.to_kind() {
                Ok(kind) => rules.push(Numbered { entry, kind }),
                Err(reason) => return Err(Error::invalid(format!("the rule {entry}: {reason}"))),
            }
        }
        let mut used = vec![false; rules.len()];
        let mut filled: BTreeMap<String, &str> = BTreeMap::new();
        for (path, layer) in parameters {
            let path = path.as_ref();
            let chosen = choose(&rules, &names, path, &mut used, &mut faults);
            let shares = chosen.is_some_and(|number| rules.get(number).is_some_and(|rule| rule.entry.shared));
            // What is made of parts says itself what it shares.
            let is_made = names.compound(path, &[]).is_some();
            let name = names.names(path, *layer).into_iter().next();
            if let Some(name) = name.filter(|_| !is_made && !shares)
                && let Some(first) = filled.insert(name.clone(), path)
            {
                faults.push(MappingFault::Collision {
                    variable: name,
                    first: first.to_owned(),
                    second: path.to_owned(),
                });
            }
        }
        for (rule, _) in rules.iter().zip(used).filter(|(_, used)| !used) {
            faults.push(MappingFault::Unused {
                rule: rule.entry.to_string(),
            });
        }
        match faults.is_empty() {
            true => Ok(()),
            false => Err(Error::Mapping { faults }),
        }
    }
}

/// The rule that says what the parameter is; all that say something of its layer are of use.
fn choose(
    rules: &[Numbered<'_>],
    names: &NameMap,
    path: &str,
    used: &mut [bool],
    faults: &mut Vec<MappingFault>,
) -> Option<usize> {
    let inner = names.inner(path);
    let module = inner.rsplit_once('.').map_or("", |(module, _)| module);
    let mut says: Vec<(usize, bool)> = Vec::new();
    let mut scope = None;
    for (number, rule) in rules.iter().enumerate() {
        let (is_named, is_exact) = match &rule.kind {
            Kind::Rule(rule) if rule.is_name() => (rule.is_for(&inner), rule.is_exact()),
            Kind::Rule(rule) if rule.is_scope() => {
                if scope.is_none() && rule.scopes(module).is_some() {
                    scope = Some(number);
                }
                continue;
            }
            Kind::Rule(rule) => {
                if rule.is_for(module)
                    && let Some(used) = used.get_mut(number)
                {
                    *used = true;
                }
                continue;
            }
            Kind::Made(made) => (made.pattern.matches(path).is_some(), made.pattern.is_exact()),
            Kind::Skip(pattern) => (pattern.matches(path).is_some(), pattern.is_exact()),
        };
        if is_named {
            says.push((number, is_exact));
        }
    }
    let exact: Vec<usize> = says
        .iter()
        .filter(|(_, exact)| *exact)
        .map(|(number, _)| *number)
        .collect();
    let others = says
        .iter()
        .filter(|(_, exact)| !exact)
        .map(|(number, _)| *number)
        .collect();
    let found = if exact.is_empty() { others } else { exact };
    if let [first, second, ..] = found.as_slice() {
        let text = |number: &usize| {
            rules
                .get(*number)
                .map(|rule| rule.entry.to_string())
                .unwrap_or_default()
        };
        faults.push(MappingFault::Ambiguous {
            path: path.to_owned(),
            first: text(first),
            second: text(second),
        });
    }
    for number in &found {
        if let Some(used) = used.get_mut(*number) {
            *used = true;
        }
    }
    let chosen = found.first().copied().or(scope);
    if let Some(used) = chosen.and_then(|number| used.get_mut(number)) {
        *used = true;
    }
    chosen
}
