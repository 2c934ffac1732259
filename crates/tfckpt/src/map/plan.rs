//! Deciding everything before anything is read.

use std::collections::BTreeSet;

use super::layout::{Layout, Transform};
use super::report::{LoadReport, Loaded, Mismatched, Missing};
use crate::bundle::{Bundle, VariableInfo};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::objects::OBJECT_GRAPH_KEY;
use crate::shape::Shape;
use crate::suggest::nearest;

/// One parameter that wants to be filled.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its path in the model, for reports.
    pub path: String,
    /// Names to look for in the checkpoint; the first one that is there counts.
    pub names: Vec<String>,
    /// The dtypes that it takes, the preferred one first.
    pub dtypes: Vec<DType>,
    /// Its shape in the model.
    pub shape: Vec<usize>,
    /// How the variable is laid out.
    pub layout: Layout,
}

/// Which variable fills which target. Steps are in the order of the data files, so that carrying them out reads
/// each file once from front to back.
#[derive(Debug)]
pub struct Plan {
    steps: Vec<Step>,
    report: LoadReport,
}

/// One variable into one target.
#[derive(Debug, Clone)]
pub struct Step {
    target: usize,
    info: VariableInfo,
    transform: Transform,
}

impl Plan {
    /// Looks up every target in the index of `checkpoint`. Reads no variable.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with the whole report if a target is missing or does not fit.
    pub fn new(checkpoint: &Bundle, targets: &[Target]) -> Result<Plan> {
        let plan = Self::partial(checkpoint, targets);
        match plan.report.is_complete() {
            true => Ok(plan),
            false => Err(Error::Mismatch {
                prefix: checkpoint.prefix(),
                report: Box::new(plan.report),
            }),
        }
    }

    /// Like [`new`](Self::new), but targets that are missing or do not fit are left out and reported.
    pub fn partial(checkpoint: &Bundle, targets: &[Target]) -> Plan {
        let mut report = LoadReport::default();
        let mut steps = Vec::new();
        let mut used = BTreeSet::new();
        for (index, target) in targets.iter().enumerate() {
            match find(checkpoint, target) {
                Err(candidates) => report.missing.push(Missing {
                    path: target.path.clone(),
                    names: target.names.clone(),
                    candidates,
                }),
                Ok(info) => {
                    used.insert(info.key());
                    match fit(info, target) {
                        Ok(transform) => {
                            report.loaded.push(Loaded {
                                path: target.path.clone(),
                                name: checkpoint.display_name(info),
                                transposed: !transform.is_identity(),
                            });
                            steps.push(Step {
                                target: index,
                                info: info.clone(),
                                transform,
                            });
                        }
                        Err(mismatched) => report.mismatched.push(mismatched),
                    }
                }
            }
        }
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
        Plan { steps, report }
    }

    /// The steps, in the order of the data files.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What fits and what does not.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// The report, as the result of the load.
    pub fn into_report(self) -> LoadReport {
        self.report
    }

    /// Takes variables off the list of unused ones: those that the caller reads by itself.
    pub fn mark_used(&mut self, is_used: impl Fn(&str) -> bool) {
        self.report.unused.retain(|name| !is_used(name));
    }

    /// Checks the bytes of every variable of the plan, so that carrying it out cannot fail half-way for a damaged
    /// file. Reads everything once and keeps nothing.
    ///
    /// # Errors
    /// As [`Bundle::verify`].
    pub fn verify(&self, checkpoint: &Bundle) -> Result<()> {
        self.steps.iter().try_for_each(|step| checkpoint.verify(&step.info))
    }
}

impl Step {
    /// Which of the targets it fills.
    pub fn target(&self) -> usize {
        self.target
    }

    /// The variable.
    pub fn variable(&self) -> &VariableInfo {
        &self.info
    }

    /// Reads the variable into `destination`, little-endian and in the layout of the model. Without a transpose this
    /// is one copy from the file; with one, `scratch` holds the variable in between and is reused from step to step.
    ///
    /// # Errors
    /// As [`Bundle::read_into`].
    pub fn read_into(&self, checkpoint: &Bundle, destination: &mut [u8], scratch: &mut Vec<u8>) -> Result<()> {
        if self.transform.is_identity() {
            return checkpoint.read_into(&self.info, destination);
        }
        // `read_into` compares lengths with the size in the index, which the plan has compared with the shape; the
        // scratch buffer gets the same length, so that a wrong destination is an error there and no panic below.
        scratch.resize(destination.len(), 0);
        checkpoint.read_into(&self.info, scratch)?;
        self.transform
            .apply(self.info.dtype().size().unwrap_or(1), scratch, destination);
        Ok(())
    }
}

/// The variable, or those that an ambiguous name may mean.
fn find<'a>(checkpoint: &'a Bundle, target: &Target) -> Result<&'a VariableInfo, Vec<String>> {
    let mut ambiguous = Vec::new();
    for name in &target.names {
        match checkpoint.lookup(name.as_bytes()) {
            Ok(Some(info)) => return Ok(info),
            Err(Error::AmbiguousName { candidates, .. }) => ambiguous.extend(candidates),
            Ok(None) | Err(_) => {}
        }
    }
    Err(ambiguous)
}

/// The transform, if the variable has the dtype and shape that the target needs.
fn fit(info: &VariableInfo, target: &Target) -> Result<Transform, Mismatched> {
    let fits = target.dtypes.contains(&info.dtype()) && target.layout.accepts(info.shape(), &target.shape);
    fits.then(|| target.layout.to_model(&target.shape))
        .flatten()
        .ok_or_else(|| {
            let dtype = target.dtypes.first().map_or("no dtype", |dtype| dtype.name());
            let expected = match target.layout.stored_shape(&target.shape) {
                Some(shape) if shape.dims() == target.shape => format!("{dtype} {shape}"),
                Some(shape) => format!("{dtype} {shape} (in the model {})", Shape::from(target.shape.clone())),
                None => format!(
                    "{dtype} in a layout that {} cannot have",
                    Shape::from(target.shape.clone())
                ),
            };
            Mismatched {
                path: target.path.clone(),
                name: info.name().into_owned(),
                expected,
                found: format!("{} {}", info.dtype(), info.shape()),
            }
        })
}
