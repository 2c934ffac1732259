//! Deciding everything before anything is read.

mod draft;
mod filling;

use super::convert::{Conversion, Fidelity};
use super::recipe::{Cooked, Part};
use super::report::{LoadReport, Mismatched, Missing};
use crate::bundle::{Bundle, Reading, VariableInfo};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::io::Work;
use crate::layout::{Layout, Recipe, Transform};
use crate::parallel::for_each;
use crate::tensor::Element;
pub(super) use draft::Draft;
pub use filling::Filling;
use filling::Origin;

/// One parameter that wants to be filled.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// Its path in the model, for reports.
    pub path: String,
    /// Names to look for in the checkpoint; the first one that is there counts. Without names or recipes it is left as it
    /// is.
    pub names: Vec<String>,
    /// The dtype of its elements in the model, and then those of variables that fill it all the same: they are converted
    /// as a [`Conversion`] does it. [`NameMap::accepts`](super::NameMap::accepts) says which.
    pub dtypes: Vec<DType>,
    /// Its shape in the model.
    pub shape: Vec<usize>,
    /// How the variable is laid out.
    pub layout: Layout,
    /// Of a parameter that is no variable by itself: ways to make it of variables. The first whose sources are all there
    /// counts; names and layout do not, then. Default: none.
    pub recipes: Vec<Recipe>,
    /// How recipes make it, for the report: [`Member::how`](super::Member::how). Default: nothing.
    pub how: Option<String>,
}

/// Which variable fills which target. Steps are in the order of the data files, so that carrying them out reads
/// each file once from front to back.
#[derive(Debug)]
pub struct Plan {
    steps: Vec<Step>,
    cooked: Vec<Cooked>,
    report: LoadReport,
}

/// One variable into one target.
#[derive(Debug, Clone)]
pub struct Step {
    target: usize,
    info: VariableInfo,
    transform: Transform,
    conversion: Option<Conversion>,
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
        let mut draft = Draft::default();
        for (index, target) in targets.iter().enumerate() {
            // A mapping leaves it as it is.
            if target.names.is_empty() && target.recipes.is_empty() {
                continue;
            }
            if !target.recipes.is_empty() {
                draft.cook(checkpoint, index, target);
                continue;
            }
            match find(checkpoint, &target.names) {
                Ok(info) => draft.fill(checkpoint, index, target, info),
                Err(candidates) => draft.report.missing.push(Missing {
                    path: target.path.clone(),
                    names: target.names.clone(),
                    candidates,
                }),
            }
        }
        draft.finish(checkpoint)
    }

    /// The steps that take one variable to one target, in the order of the data files.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The targets that are filled, by their numbers, and the dtypes of what fills them: those of the steps and those
    /// that recipes make, in the order in which [`carry_out`](Self::carry_out) gives results.
    pub fn filled(&self) -> impl Iterator<Item = (usize, DType)> {
        let steps = self.steps.iter().map(|step| (step.target, step.dtype()));
        let parts = self.cooked.iter().flat_map(|cooked| &cooked.parts);
        steps.chain(parts.map(|part| (part.target, part.dtype)))
    }

    /// All variables that are read.
    fn variables(&self) -> Vec<&VariableInfo> {
        let of_recipes = self.cooked.iter().flat_map(|cooked| &cooked.sources);
        self.steps.iter().map(Step::variable).chain(of_recipes).collect()
    }

    /// What fits and what does not.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// The report, as the result of the load.
    pub fn into_report(self) -> LoadReport {
        self.report
    }

    /// What does not fit, taken out of the report.
    pub(super) fn take_mismatched(&mut self) -> Vec<Mismatched> {
        std::mem::take(&mut self.report.mismatched)
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
        let infos = self.variables();
        checkpoint.watch(Work::Verify, &infos, || checkpoint.verify_all(&infos))?;
        self.check_values(checkpoint)
    }

    /// Looks whether the values that are to be converted fit, so that carrying the plan out cannot fail half-way for one
    /// that does not. Reads the variables that this can happen with, and keeps nothing.
    ///
    /// # Errors
    /// [`Error::ValueMisfit`]; as [`Bundle::read_into`].
    pub fn check_values(&self, checkpoint: &Bundle) -> Result<()> {
        // Integers are checked even where floats would be rounded.
        let is_checked =
            |conversion: Option<Conversion>| conversion.is_some_and(|way| way.fidelity() == Fidelity::Checked);
        let steps: Vec<&Step> = self.steps.iter().filter(|step| is_checked(step.conversion)).collect();
        let infos: Vec<&VariableInfo> = steps.iter().map(|step| step.variable()).collect();
        let check = |number: usize, reading: &Reading<'_>| match steps.get(number) {
            Some(step) => Filling(Origin::Variable { step, reading }).read::<u8>().map(drop),
            None => Ok(()),
        };
        checkpoint.read_each(&infos, check)?;
        for cooked in &self.cooked {
            let parts: Vec<&Part> = cooked.parts.iter().filter(|part| part.is_checked()).collect();
            if !parts.is_empty() {
                let variables = cooked.read(checkpoint, checkpoint.threads().max(1))?;
                parts.iter().try_for_each(|part| part.cook(&variables).map(drop))?;
            }
        }
        Ok(())
    }

    /// Carries the plan out on all cores: `work` is called once for each target, by several threads at once, and decides
    /// where the values go. Gives what it gave, in the order of [`filled`](Self::filled).
    ///
    /// The variables that recipes share are read once, and are then in memory together: for an LSTM the kernel and its
    /// four gates.
    ///
    /// # Errors
    /// Those of `work`, to which those of reading are passed on: see [`Bundle::read_each`].
    pub fn carry_out<T: Send, E: From<Error> + Send>(
        &self,
        checkpoint: &Bundle,
        work: impl Fn(&Filling<'_>) -> Result<T, E> + Sync,
    ) -> Result<Vec<T>, E> {
        let infos: Vec<&VariableInfo> = self.steps.iter().map(Step::variable).collect();
        checkpoint.watch(Work::Restore, &self.variables(), || {
            let mut done = checkpoint.read_each(&infos, |number, reading| match self.steps.get(number) {
                Some(step) => work(&Filling(Origin::Variable { step, reading })),
                None => Err(Error::invalid("a step that is not in the plan").into()),
            })?;
            let threads = checkpoint.threads().max(1);
            let each = if self.cooked.len() < threads { threads } else { 1 };
            let cook = |(): &mut (), number: usize| -> Result<Vec<T>, E> {
                let Some(cooked) = self.cooked.get(number) else {
                    return Ok(Vec::new());
                };
                let variables = cooked.read(checkpoint, each)?;
                let variables = variables.as_slice();
                let fill = |part| work(&Filling(Origin::Recipe { part, variables }));
                cooked.parts.iter().map(fill).collect()
            };
            done.extend(for_each(self.cooked.len(), threads, || (), cook)?.into_iter().flatten());
            Ok(done)
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

    /// The dtype of what it fills.
    pub fn dtype(&self) -> DType {
        self.conversion.map_or(self.info.dtype(), |conversion| conversion.to())
    }

    /// How its dtype becomes that of the model; `None` if it is that.
    pub fn conversion(&self) -> Option<Conversion> {
        self.conversion
    }

    /// The same, if it changes any byte.
    fn work(&self) -> Option<Conversion> {
        self.conversion
            .filter(|conversion| conversion.fidelity() != Fidelity::Same)
    }

    /// Carries out this step alone, as [`Filling::read`], on all cores.
    ///
    /// # Errors
    /// As [`Filling::read`].
    pub fn read<T: Element>(&self, checkpoint: &Bundle) -> Result<Vec<T>> {
        let read = |_, reading: &Reading<'_>| Filling(Origin::Variable { step: self, reading }).read();
        let values = checkpoint.read_each(&[&self.info], read)?;
        Ok(values.into_iter().next().unwrap_or_default())
    }
}

/// The variable, or those that an ambiguous name may mean.
pub(super) fn find<'a>(checkpoint: &'a Bundle, names: &[String]) -> Result<&'a VariableInfo, Vec<String>> {
    let mut ambiguous = Vec::new();
    for name in names {
        match checkpoint.lookup(name.as_bytes()) {
            Ok(Some(info)) => return Ok(info),
            Err(Error::AmbiguousName { candidates, .. }) => ambiguous.extend(candidates),
            Ok(None) | Err(_) => {}
        }
    }
    Err(ambiguous)
}
