//! Deciding everything before anything is read.

use std::collections::BTreeSet;

use super::report::{LoadReport, Loaded, Mismatched, Missing};
use crate::bundle::{Bundle, Reading, VariableInfo};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::io::Work;
use crate::layout::{Layout, Transform};
use crate::objects::OBJECT_GRAPH_KEY;
use crate::shape::Shape;
use crate::suggest::nearest;
use crate::tensor::Element;

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
    /// file. Reads everything once, on all cores, and keeps nothing.
    ///
    /// # Errors
    /// As [`Bundle::verify`].
    pub fn verify(&self, checkpoint: &Bundle) -> Result<()> {
        let infos: Vec<&VariableInfo> = self.steps.iter().map(Step::variable).collect();
        checkpoint.watch(Work::Verify, &infos, || checkpoint.verify_all(&infos))
    }

    /// Carries the plan out on all cores: `work` is called once for each step, by several threads at once, and decides
    /// where the variable goes. Gives what it gave, in the order of the steps.
    ///
    /// # Errors
    /// Those of `work`, to which those of reading are passed on: see [`Bundle::read_each`].
    pub fn carry_out<T: Send, E: From<Error> + Send>(
        &self,
        checkpoint: &Bundle,
        work: impl Fn(&Filling<'_>) -> Result<T, E> + Sync,
    ) -> Result<Vec<T>, E> {
        let infos: Vec<&VariableInfo> = self.steps.iter().map(Step::variable).collect();
        checkpoint.watch(Work::Restore, &infos, || {
            checkpoint.read_each(&infos, |number, reading| match self.steps.get(number) {
                Some(step) => work(&Filling { step, reading }),
                None => Err(Error::invalid("a step that is not in the plan").into()),
            })
        })
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

    /// Carries out this step alone, as [`Filling::read`], on all cores.
    ///
    /// # Errors
    /// As [`Filling::read`].
    pub fn read<T: Element>(&self, checkpoint: &Bundle) -> Result<Vec<T>> {
        let read = |_, reading: &Reading<'_>| reading.read_laid_out(&self.transform);
        let values = checkpoint.read_each(&[&self.info], read)?;
        Ok(values.into_iter().next().unwrap_or_default())
    }
}

/// A step whose turn has come: see [`Plan::carry_out`].
#[derive(Debug)]
pub struct Filling<'f> {
    step: &'f Step,
    reading: &'f Reading<'f>,
}

impl Filling<'_> {
    /// Which of the targets it fills.
    pub fn target(&self) -> usize {
        self.step.target
    }

    /// The variable.
    pub fn variable(&self) -> &VariableInfo {
        &self.step.info
    }

    /// The size in bytes of what it fills, safe to allocate: as [`Bundle::checked_size`].
    ///
    /// # Errors
    /// As [`Bundle::checked_size`].
    pub fn size(&self) -> Result<usize> {
        self.reading.size()
    }

    /// The bytes of the variable, little-endian and in the layout of the model, in a new vector; `T` only says how they
    /// are aligned.
    ///
    /// # Errors
    /// As [`Reading::read`].
    pub fn read<T: Element>(&self) -> Result<Vec<T>> {
        self.reading.read_laid_out(&self.step.transform)
    }

    /// Reads the variable into `destination`, little-endian and in the layout of the model: one copy from the file, with
    /// a transpose a band at a time.
    ///
    /// # Errors
    /// As [`Bundle::read_into`].
    pub fn read_into(&self, destination: &mut [u8]) -> Result<()> {
        match self.step.transform.is_identity() {
            true => self.reading.read_into(destination),
            false => self.reading.read_laid_out_into(&self.step.transform, destination),
        }
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
