//! A plan in the making: what fits, and what does not.

use std::collections::BTreeSet;

use super::{Plan, Step, Target};
use crate::bundle::{Bundle, VariableInfo};
use crate::dtype::DType;
use crate::layout::Transform;
use crate::map::convert::Conversion;
use crate::map::hint::hint;
use crate::map::recipe::{Kitchen, Refused};
use crate::map::report::{LoadReport, Loaded, Mismatched};
use crate::objects::OBJECT_GRAPH_KEY;
use crate::shape::Shape;
use crate::suggest::nearest;

/// A plan in the making.
#[derive(Debug, Default)]
pub(in crate::map) struct Draft<'c> {
    steps: Vec<Step>,
    kitchen: Kitchen<'c>,
    pub(super) report: LoadReport,
    used: BTreeSet<&'c [u8]>,
}

impl<'c> Draft<'c> {
    /// This variable is meant to fill this target, the one of number `index`.
    pub(in crate::map) fn fill(
        &mut self,
        checkpoint: &'c Bundle,
        index: usize,
        target: &Target,
        info: &'c VariableInfo,
    ) {
        self.used.insert(info.key());
        match fit(info, target) {
            Ok((transform, conversion)) => {
                self.report.loaded.push(Loaded {
                    path: target.path.clone(),
                    name: checkpoint.display_name(info),
                    transposed: !transform.is_identity(),
                    cast: conversion,
                    instead_of: first_choice(checkpoint, target, info),
                    variables: 1,
                    how: None,
                });
                self.steps.push(Step {
                    target: index,
                    info: info.clone(),
                    transform,
                    conversion,
                });
            }
            Err(mismatched) => self.report.mismatched.push(mismatched),
        }
    }

    /// Recipes are meant to fill this target, the one of number `index`.
    pub(in crate::map) fn cook(&mut self, checkpoint: &'c Bundle, index: usize, target: &Target) {
        match self.kitchen.order(checkpoint, index, target) {
            Ok(uses) => {
                self.used.extend(uses.variables.iter().map(|info| info.key()));
                let mut names: Vec<String> = Vec::new();
                for name in uses.variables.iter().map(|info| checkpoint.display_name(info)) {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
                self.report.loaded.push(Loaded {
                    path: target.path.clone(),
                    name: names.join(" + "),
                    transposed: uses.moves,
                    cast: uses.conversion,
                    variables: uses.variables.len(),
                    how: target.how.clone(),
                    ..Loaded::default()
                });
            }
            Err(Refused::Missing(missing)) => self.report.missing.push(missing),
            Err(Refused::Mismatched(mismatched)) => self.report.mismatched.push(mismatched),
        }
    }

    pub(in crate::map) fn finish(self, checkpoint: &Bundle) -> Plan {
        let Draft {
            mut steps,
            kitchen,
            mut report,
            used,
        } = self;
        // The object graph is no variable of any model.
        let is_unused = |info: &&VariableInfo| !used.contains(info.key()) && info.key() != OBJECT_GRAPH_KEY.as_bytes();
        let unused = checkpoint.variables().filter(is_unused);
        report.unused = unused.map(|info| checkpoint.display_name(info)).collect();
        for missing in report
            .missing
            .iter_mut()
            .filter(|missing| missing.candidates.is_empty())
        {
            let wanted = missing.names.first().map_or("", String::as_str);
            missing.candidates = nearest(wanted, report.unused.iter().map(String::as_str), 3);
        }
        steps.sort_by_key(|step| (step.info.shard(), step.info.offset()));
        let cooked = kitchen.finish();
        Plan { steps, cooked, report }
    }
}

/// The name that was looked for first, if this is the variable of another one.
fn first_choice(checkpoint: &Bundle, target: &Target, info: &VariableInfo) -> Option<String> {
    let first = target.names.first()?;
    let is_it = |name: &String| {
        let found = checkpoint.lookup(name.as_bytes()).ok().flatten();
        found.is_some_and(|found| found.key() == info.key())
    };
    let is_other = !is_it(first) && target.names.iter().skip(1).any(is_it);
    is_other.then(|| first.clone())
}

/// The transform and the conversion, if the variable has a dtype and shape that the target takes.
fn fit(info: &VariableInfo, target: &Target) -> Result<(Transform, Option<Conversion>), Mismatched> {
    let transform = target.layout.accepts(info.shape(), &target.shape);
    let transform = transform.then(|| target.layout.to_model(&target.shape)).flatten();
    match (transform, conversion(info.dtype(), &target.dtypes)) {
        (Some(transform), Some(conversion)) => Ok((transform, Some(conversion).filter(|way| way.from() != way.to()))),
        (transform, conversion) => {
            let dtype = target.dtypes.first().map_or("no dtype", |dtype| dtype.name());
            let model = Shape::from(target.shape.clone());
            let expected = match target.layout.stored_shape(&target.shape) {
                Some(shape) if shape == model => format!("{dtype} {shape}"),
                Some(shape) => format!("{dtype} {shape} (in the model {model})"),
                None => format!("{dtype} in a layout that {model} cannot have"),
            };
            Err(Mismatched {
                path: target.path.clone(),
                name: info.name().into_owned(),
                expected,
                found: format!("{} {}", info.dtype(), info.shape()),
                hint: hint(target, info, transform.is_some(), conversion.is_some()),
            })
        }
    }
}

/// The way from the dtype of a variable to the first of these, if it is one of them.
fn conversion(stored: DType, dtypes: &[DType]) -> Option<Conversion> {
    let wanted = dtypes.first()?;
    let conversion = Conversion::new(stored, *wanted)?;
    dtypes.contains(&stored).then_some(conversion)
}
