//! Whether a mapping says one thing of each parameter, and nothing in vain.

use std::collections::BTreeMap;

use super::Mapping;
use super::entry::Entry;
use super::kind::{From, Kind};
use crate::error::{Error, MappingFault, Result};
use crate::map::layer::{DenseOrder, Layer};
use crate::map::names::{EqualPart, NameMap, Template};
use crate::map::recipe::{required_variables, stacked};

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
    /// variables that two parameters are, and variables of a layer that have no name.
    pub fn check<P: AsRef<str>>(&self, parameters: &[(P, Layer)]) -> Result<()> {
        let mut rules = Vec::new();
        for entry in &self.rules {
            match entry.to_kind() {
                Ok(kind) => rules.push(Numbered { entry, kind }),
                Err(reason) => return Err(Error::invalid(format!("the rule {entry}: {reason}"))),
            }
        }
        let mut checking = Checking {
            names: NameMap::from(self),
            used: vec![false; rules.len()],
            rules: &rules,
            claims: BTreeMap::new(),
            layers: BTreeMap::new(),
            faults: Vec::new(),
        };
        for (path, layer) in parameters {
            checking.parameter(path.as_ref(), *layer);
        }
        checking.finish()
    }
}

/// What a parameter or a layer takes of a variable: all of it, or a part.
struct Claim {
    path: String,
    part: Option<EqualPart>,
}

struct Checking<'m> {
    names: NameMap,
    rules: &'m [Numbered<'m>],
    used: Vec<bool>,
    claims: BTreeMap<String, Vec<Claim>>,
    /// Recurrent layers whose variables have names of their own, by the number of the rule and the path; their parameters.
    layers: BTreeMap<(usize, String), Vec<String>>,
    faults: Vec<MappingFault>,
}

impl Checking<'_> {
    fn parameter(&mut self, path: &str, layer: Layer) {
        let inner = self.names.inner(path);
        let inner = match stacked(&inner) {
            Some(stacked) if !self.names.is_named(path) => stacked,
            _ => inner,
        };
        let chosen = self.choose(path, &inner);
        let rules = self.rules;
        let chosen = chosen.and_then(|number| Some((number, rules.get(number)?)));
        let variable = self.names.names(path, layer).into_iter().next();
        match chosen {
            Some((_, rule)) if rule.entry.shared => {}
            Some((
                _,
                Numbered {
                    kind: Kind::Skip(_), ..
                },
            )) => {}
            Some((
                _,
                Numbered {
                    kind: Kind::Made(made), ..
                },
            )) => {
                let Some(found) = made.pattern.matches(&inner) else {
                    return;
                };
                let name = |template: &Template| template.fill(&found).map(|name| self.names.scoped(&name));
                let claimed: Vec<(Option<String>, Option<EqualPart>)> = match &made.from {
                    From::Whole(template, _) => vec![(name(template), None)],
                    From::Part(template, part) => vec![(name(template), Some(*part))],
                    From::Several { variables, .. } => {
                        variables.iter().map(|template| (name(template), None)).collect()
                    }
                    From::Constant(_) => Vec::new(),
                };
                for (variable, part) in claimed {
                    self.claim(variable, path, part);
                }
            }
            Some((
                number,
                Numbered {
                    kind: Kind::Rule(rule),
                    entry,
                },
            )) => {
                let module = inner.rsplit_once('.').map_or("", |(module, _)| module);
                match rule.named_layer(module) {
                    Some((_, layer)) if rule.is_recurrent() => {
                        let key = (number, layer.to_owned());
                        self.layers.entry(key).or_default().push(inner.clone());
                    }
                    Some((kind, _)) if !self.names.has_name_in(rule, path, layer) => {
                        self.faults.push(MappingFault::Unnamed {
                            variable: path.to_owned(),
                            layer: format!("{kind:?}"),
                            rule: entry.to_string(),
                        })
                    }
                    _ if rule.equal_part().is_none() && self.is_made(path, layer) => {}
                    _ => self.claim(variable, path, rule.equal_part()),
                }
            }
            None if self.is_made(path, layer) => {}
            None => self.claim(variable, path, None),
        }
    }

    /// Whether it is no variable by itself: that which is made of parts says itself what it shares.
    fn is_made(&self, path: &str, layer: Layer) -> bool {
        self.names.compound(path, &[], layer, DenseOrder::OutIn).is_some()
    }

    /// A parameter, or a layer, takes a variable, or a part of it.
    fn claim(&mut self, variable: Option<String>, path: &str, part: Option<EqualPart>) {
        let Some(variable) = variable else { return };
        let claims = self.claims.entry(variable.clone()).or_default();
        let collides = |claim: &&Claim| match (claim.part, part) {
            (Some(own), Some(other)) => own == other || (own.axis, own.of) != (other.axis, other.of),
            _ => true,
        };
        if let Some(first) = claims.iter().find(collides) {
            self.faults.push(MappingFault::Collision {
                variable,
                first: first.path.clone(),
                second: path.to_owned(),
            });
        }
        let path = path.to_owned();
        claims.push(Claim { path, part });
    }

    /// The rule that says what the parameter is; all that say something of its layer are of use.
    fn choose(&mut self, path: &str, inner: &str) -> Option<usize> {
        let module = inner.rsplit_once('.').map_or("", |(module, _)| module);
        let mut says: Vec<(usize, bool)> = Vec::new();
        let mut scope = None;
        for (number, rule) in self.rules.iter().enumerate() {
            let (is_named, is_exact) = match &rule.kind {
                Kind::Rule(rule) if rule.is_name() => (rule.is_for(inner), rule.is_exact()),
                Kind::Rule(rule) if rule.is_scope() => {
                    if scope.is_none() && rule.scopes(module).is_some() {
                        scope = Some(number);
                    }
                    continue;
                }
                Kind::Rule(rule) => {
                    if rule.is_kind_for(module) {
                        mark(&mut self.used, number);
                    }
                    continue;
                }
                Kind::Made(made) => (made.pattern.matches(inner).is_some(), made.pattern.is_exact()),
                Kind::Skip(pattern) => (pattern.matches(inner).is_some(), pattern.is_exact()),
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
            self.faults.push(MappingFault::Ambiguous {
                path: path.to_owned(),
                first: self.text(*first),
                second: self.text(*second),
            });
        }
        found.iter().for_each(|number| mark(&mut self.used, *number));
        let chosen = found.first().copied().or(scope);
        if let Some(number) = chosen {
            mark(&mut self.used, number);
        }
        chosen
    }

    fn text(&self, number: usize) -> String {
        let rule = self.rules.get(number);
        rule.map(|rule| rule.entry.to_string()).unwrap_or_default()
    }

    fn finish(mut self) -> Result<()> {
        for ((number, module), paths) in std::mem::take(&mut self.layers) {
            self.layer(number, &module, &paths);
        }
        for number in (0..self.used.len()).filter(|number| self.used.get(*number) == Some(&false)) {
            self.faults.push(MappingFault::Unused {
                rule: self.text(number),
            });
        }
        match self.faults.is_empty() {
            true => Ok(()),
            false => Err(Error::Mapping { faults: self.faults }),
        }
    }

    /// A recurrent layer: all that it has needs a name, and these are nobody else's.
    fn layer(&mut self, number: usize, module: &str, paths: &[String]) {
        let rules = self.rules;
        let Some(Numbered {
            kind: Kind::Rule(rule),
            entry,
        }) = rules.get(number)
        else {
            return;
        };
        let Some((kind, _)) = rule.named_layer(module) else {
            return;
        };
        let named = rule.named_variables(module);
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let required = required_variables(kind, &paths);
        for leaf in required.iter().filter(|leaf| named.iter().all(|(own, _)| own != leaf)) {
            self.faults.push(MappingFault::Unnamed {
                variable: leaf.clone(),
                layer: module.to_owned(),
                rule: entry.to_string(),
            });
        }
        for (leaf, name) in named {
            if !required.is_empty() && required.iter().all(|required| required != leaf) {
                self.faults.push(MappingFault::Superfluous {
                    variable: leaf.to_owned(),
                    layer: module.to_owned(),
                    rule: entry.to_string(),
                });
            }
            self.claim(Some(self.names.scoped(&name)), module, None);
        }
    }
}

fn mark(used: &mut [bool], number: usize) {
    if let Some(used) = used.get_mut(number) {
        *used = true;
    }
}
