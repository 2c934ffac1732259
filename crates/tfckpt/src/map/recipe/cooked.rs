//! Parameters that recipes fill: which variables they share, and reading each of these once.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::convert::{Conversion, Fidelity, why_not};
use super::super::plan::Target;
use super::super::report::{Mismatched, Missing};
use crate::bundle::{Bundle, VariableInfo};
use crate::dtype::DType;
use crate::error::Result;
use crate::layout::{Given, Ready, Recipe, RecipeFault, Source};
use crate::shape::Shape;

/// Variables that are read together, because parameters are made of several of them or several parameters of one.
#[derive(Debug)]
pub(in crate::map) struct Cooked {
    pub(in crate::map) sources: Vec<VariableInfo>,
    pub(in crate::map) parts: Vec<Part>,
    /// How the variables are converted when they are read, if all parts want the same.
    conversion: Option<Conversion>,
}

/// When the dtype of variables becomes that of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Casting {
    Never,
    /// While they are read.
    Done,
    /// Before anything is made of them, so that it is computed in the dtype of the parameter: of conversions that keep every
    /// value.
    Before(Conversion),
    /// What was made is converted.
    After(Conversion),
}

/// A parameter, and what it is made of.
#[derive(Debug)]
pub(in crate::map) struct Part {
    /// The number of the target.
    pub(in crate::map) target: usize,
    /// That of the model.
    pub(in crate::map) dtype: DType,
    casting: Casting,
    /// The path, for errors.
    path: String,
    ready: Ready,
    /// Of each source of the recipe the number among the variables.
    sources: Vec<usize>,
}

/// Recipes while a plan is made.
#[derive(Debug, Default)]
pub(in crate::map) struct Kitchen<'c> {
    sources: Vec<&'c VariableInfo>,
    numbers: BTreeMap<&'c [u8], usize>,
    parts: Vec<Part>,
}

/// Why a recipe cannot be carried out.
#[derive(Debug)]
pub(in crate::map) enum Refused {
    Missing(Missing),
    Mismatched(Mismatched),
}

/// A recipe that can be carried out.
struct Checked {
    /// That of the variables.
    dtype: DType,
    conversion: Option<Conversion>,
    ready: Ready,
    sources: Vec<usize>,
}

/// What a recipe uses.
pub(in crate::map) struct Uses<'c> {
    pub(in crate::map) variables: Vec<&'c VariableInfo>,
    /// Whether elements change places.
    pub(in crate::map) moves: bool,
    /// How their dtype becomes that of the model; `None` if it is that.
    pub(in crate::map) conversion: Option<Conversion>,
}

impl Cooked {
    /// The bytes of all variables, each read once by so many threads.
    pub(in crate::map) fn read(&self, checkpoint: &Bundle, threads: usize) -> Result<Vec<Vec<u8>>> {
        let read = |info: &VariableInfo| {
            let bytes = checkpoint.reading(info, threads).read::<u8>()?;
            match self.conversion {
                None => Ok(bytes),
                Some(conversion) => conversion.converted(&info.name(), false, &bytes),
            }
        };
        self.sources.iter().map(read).collect()
    }
}

impl Part {
    /// Bytes of the parameter.
    pub(in crate::map) fn len(&self) -> Result<usize> {
        match self.casting {
            Casting::After(conversion) => conversion.size(self.ready.len(conversion.from())),
            _ => Ok(self.ready.len(self.dtype)),
        }
    }

    /// Whether a value may turn out to have no place in the dtype of the parameter.
    pub(in crate::map) fn is_checked(&self) -> bool {
        matches!(self.casting, Casting::After(conversion) if conversion.fidelity() == Fidelity::Checked)
    }

    /// The parameter, made of the bytes of the variables, and converted.
    ///
    /// # Errors
    /// [`Error::ValueMisfit`](crate::Error::ValueMisfit) if a value has no place in the dtype of the model.
    pub(in crate::map) fn cook<'b>(&self, variables: &'b [Vec<u8>]) -> Result<Cow<'b, [u8]>> {
        let bytes = |&number: &usize| variables.get(number).map_or(&[][..], Vec::as_slice);
        let sources: Vec<&'b [u8]> = self.sources.iter().map(bytes).collect();
        match self.casting {
            Casting::Never | Casting::Done => Ok(self.ready.bytes(self.dtype, &sources)),
            Casting::Before(conversion) => {
                let convert = |bytes: &&[u8]| conversion.converted::<u8>(&self.path, false, bytes);
                let sources: Vec<Vec<u8>> = sources.iter().map(convert).collect::<Result<_>>()?;
                let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
                Ok(Cow::Owned(self.ready.bytes(self.dtype, &sources).into_owned()))
            }
            Casting::After(conversion) => {
                let bytes = self.ready.bytes(conversion.from(), &sources);
                conversion.converted(&self.path, false, &bytes).map(Cow::Owned)
            }
        }
    }
}

impl<'c> Kitchen<'c> {
    /// The first of the target's recipes whose sources are all there is meant to fill it.
    pub(in crate::map) fn order(
        &mut self,
        checkpoint: &'c Bundle,
        index: usize,
        target: &Target,
    ) -> Result<Uses<'c>, Refused> {
        let mut missing = None;
        for recipe in &target.recipes {
            match self.check(checkpoint, target, recipe) {
                Ok(Checked {
                    dtype,
                    conversion,
                    ready,
                    sources,
                }) => {
                    let variables = sources.iter().filter_map(|&number| self.sources.get(number).copied());
                    let uses = Uses {
                        variables: variables.collect(),
                        moves: recipe.moves(),
                        conversion,
                    };
                    self.parts.push(Part {
                        target: index,
                        dtype: conversion.map_or(dtype, |conversion| conversion.to()),
                        casting: Casting::of(conversion),
                        path: target.path.clone(),
                        ready,
                        sources,
                    });
                    return Ok(uses);
                }
                Err(Refused::Missing(first)) => {
                    missing = missing.or(Some(Missing {
                        names: if target.names.is_empty() {
                            first.names
                        } else {
                            target.names.clone()
                        },
                        ..first
                    }));
                }
                Err(mismatched) => return Err(mismatched),
            }
        }
        Err(Refused::Missing(missing.unwrap_or_else(|| Missing {
            path: target.path.clone(),
            names: target.names.clone(),
            candidates: Vec::new(),
        })))
    }

    fn check(&mut self, checkpoint: &'c Bundle, target: &Target, recipe: &Recipe) -> Result<Checked, Refused> {
        let found = recipe.sources().map(|source| look_up(checkpoint, source));
        let found: Vec<&'c VariableInfo> = found.collect::<Result<_, _>>().map_err(|(names, candidates)| {
            let path = target.path.clone();
            Refused::Missing(Missing {
                path,
                names,
                candidates,
            })
        })?;
        let misfit = found.iter().find(|info| !target.dtypes.contains(&info.dtype()));
        let mismatched = |name: String, expected: String, given: String| {
            let path = target.path.clone();
            let wanted = target.dtypes.first();
            Refused::Mismatched(Mismatched {
                path,
                name,
                expected,
                found: given,
                hint: misfit.zip(wanted).map(|(info, wanted)| why_not(info.dtype(), *wanted)),
            })
        };
        let names = || {
            found
                .iter()
                .map(|info| info.name().into_owned())
                .collect::<Vec<_>>()
                .join(" + ")
        };
        let preferred = target.dtypes.first().copied().unwrap_or(DType::Float32);
        let dtype = found.first().map(|info| info.dtype());
        let dtype = dtype.filter(|dtype| target.dtypes.contains(dtype)).unwrap_or(preferred);
        let conversion = Conversion::new(dtype, preferred).filter(|way| way.from() != way.to());
        // What it is computed in.
        let computed = match Casting::of(conversion) {
            Casting::Before(conversion) => conversion.to(),
            _ => dtype,
        };

        // Bytes that are converted are all of one dtype.
        if let Some(other) = found.iter().find(|info| computed != dtype && info.dtype() != dtype) {
            let given = format!("{} {}", other.dtype(), other.shape());
            let expected = format!("{dtype}, as the other variables that it is made of");
            return Err(mismatched(checkpoint.display_name(other), expected, given));
        }

        let mut turn = 0;
        let mut find = |_: &Source| {
            let info = found.get(turn)?;
            turn += 1;
            Some(Given {
                number: turn - 1,
                name: checkpoint.display_name(info),
                dtype: if info.dtype() == dtype { computed } else { info.dtype() },
                dims: info.shape().dims().to_vec(),
            })
        };
        let wanted = format!("{dtype} {}", Shape::from(target.shape.clone()));
        let ready = recipe.check(computed, &mut find).map_err(|fault| match fault {
            RecipeFault::Source {
                name,
                expected,
                found: given,
            } => {
                // As it is stored.
                let info = found.iter().find(|info| checkpoint.display_name(info) == name);
                let given = info.map_or(given, |info| format!("{} {}", info.dtype(), info.shape()));
                mismatched(name, expected, given)
            }
            fault => mismatched(names(), wanted.clone(), format!("no such thing: {fault}")),
        })?;
        if ready.dims() != target.shape {
            let made = format!("{dtype} {}", Shape::from(ready.dims().to_vec()));
            return Err(mismatched(names(), wanted, made));
        }
        let sources = found.iter().map(|info| self.number(info)).collect();
        Ok(Checked {
            dtype,
            conversion,
            ready,
            sources,
        })
    }

    fn number(&mut self, info: &'c VariableInfo) -> usize {
        let next = self.sources.len();
        let number = *self.numbers.entry(info.key()).or_insert(next);
        if number == next {
            self.sources.push(info);
        }
        number
    }

    /// What is read together, in the order of the data files.
    pub(in crate::map) fn finish(self) -> Vec<Cooked> {
        // The variables of one part belong together; the lowest number stands for all of them.
        let mut leaders: Vec<usize> = (0..self.sources.len()).collect();
        for part in &self.parts {
            let Some(first) = part
                .sources
                .iter()
                .filter_map(|&number| leaders.get(number))
                .min()
                .copied()
            else {
                continue;
            };
            let others: Vec<usize> = part
                .sources
                .iter()
                .filter_map(|&number| leaders.get(number).copied())
                .collect();
            for leader in leaders.iter_mut().filter(|leader| others.contains(leader)) {
                *leader = first;
            }
        }
        let mut all: BTreeMap<usize, Cooked> = BTreeMap::new();
        let mut places = vec![0; self.sources.len()];
        for ((&leader, info), place) in leaders.iter().zip(&self.sources).zip(&mut places) {
            let cooked = all.entry(leader).or_insert_with(Cooked::empty);
            *place = cooked.sources.len();
            cooked.sources.push((*info).clone());
        }
        for mut part in self.parts {
            // A constant has no variables, and is with others of its kind.
            let leader = part.sources.first().and_then(|&number| leaders.get(number).copied());
            for number in &mut part.sources {
                *number = places.get(*number).copied().unwrap_or_default();
            }
            let cooked = all.entry(leader.unwrap_or(usize::MAX)).or_insert_with(Cooked::empty);
            cooked.parts.push(part);
        }
        let mut all: Vec<Cooked> = all.into_values().collect();
        all.iter_mut().for_each(Cooked::convert_when_read);
        let place = |info: &VariableInfo| (info.shard(), info.offset());
        all.sort_by_key(|cooked| cooked.sources.iter().map(place).min());
        all
    }
}

impl Cooked {
    fn empty() -> Self {
        Cooked {
            sources: Vec::new(),
            parts: Vec::new(),
            conversion: None,
        }
    }

    /// What all parts would convert is converted once.
    fn convert_when_read(&mut self) {
        let first = self.parts.first().map(|part| part.casting);
        let Some(Casting::Before(conversion)) = first else {
            return;
        };
        let is_same = |part: &Part| part.casting == Casting::Before(conversion);
        // Parts of one dtype may have variables of another one among them.
        let are_from = |info: &VariableInfo| info.dtype() == conversion.from();
        if self.parts.iter().all(is_same) && self.sources.iter().all(are_from) {
            self.conversion = Some(conversion);
            self.parts.iter_mut().for_each(|part| part.casting = Casting::Done);
        }
    }
}

impl Casting {
    fn of(conversion: Option<Conversion>) -> Self {
        match conversion {
            None => Casting::Never,
            Some(conversion) if conversion.fidelity() <= Fidelity::Exact => Casting::Before(conversion),
            Some(conversion) => Casting::After(conversion),
        }
    }
}

/// The variable, or the names that were looked for and those that may be meant.
fn look_up<'c>(checkpoint: &'c Bundle, source: &Source) -> Result<&'c VariableInfo, (Vec<String>, Vec<String>)> {
    super::super::plan::find(checkpoint, &source.names).map_err(|candidates| (source.names.clone(), candidates))
}
