//! Named variables on their way to and from a checkpoint: those of the model, slots and counters alike.

use candle_core::Var;
use tfckpt::map::{Layer, Layout, LoadReport, Plan, Target};
use tfckpt::{Bundle, Variable};

use crate::bridge;
use crate::error::{Error, Result};
use crate::ways::Way;

/// A live variable, and how it is called and laid out in a checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Its path in the model, for reports.
    pub(crate) path: String,
    pub(crate) way: Way,
    pub(crate) var: Var,
    /// Whether an optimizer trains it.
    pub(crate) trained: bool,
}

impl Entry {
    /// A variable outside the model, which has one name and keeps its layout.
    pub(crate) fn plain(name: &str, var: &Var) -> Self {
        let way = Way {
            kind: Layer::Other,
            names: vec![name.to_owned()],
            layout: Layout::Same,
        };
        Entry {
            path: name.to_owned(),
            way,
            var: var.clone(),
            trained: false,
        }
    }

    /// The variable to be saved; its bytes are taken from the live one while they are written.
    fn to_variable(&self) -> Result<Variable<'static>> {
        let dtypes = self.stored_dtypes()?;
        let dims = self.var.dims();
        let misfit = || candle_core::Error::Msg(format!("layer kind and shape {dims:?} of `{}` do not fit", self.path));
        let shape = self.way.layout.stored_shape(dims).ok_or_else(misfit)?;
        let transform = self.way.layout.to_stored(dims).ok_or_else(misfit)?;
        let name = self.way.names.first().unwrap_or(&self.path).clone();
        let dtype = dtypes.first().copied().unwrap_or(tfckpt::DType::Float32);
        let var = self.var.clone();
        let variable = match bridge::is_lendable(&var) {
            true => Variable::lent(name, dtype, shape, move |sink| bridge::lend(&var, sink)).laid_out(transform),
            false => Variable::deferred(name, dtype, shape, move |sink| bridge::produce(&var, &transform, sink)),
        };
        Ok(if self.trained {
            variable
        } else {
            variable.non_trainable()
        })
    }

    pub(crate) fn to_target(&self) -> Result<Target> {
        if !self.var.is_contiguous() {
            let msg = "cannot restore into a variable that is not contiguous";
            return Err(candle_core::Error::CannotSetVar { msg }.bt().into());
        }
        Ok(Target {
            path: self.path.clone(),
            names: self.way.names.clone(),
            dtypes: self.stored_dtypes()?.to_vec(),
            shape: self.var.dims().to_vec(),
            layout: self.way.layout,
            ..Target::default()
        })
    }

    fn stored_dtypes(&self) -> Result<&'static [tfckpt::DType]> {
        bridge::stored_dtypes(self.var.dtype()).ok_or_else(|| Error::UnsupportedDtype {
            variable: self.path.clone(),
            dtype: self.var.dtype(),
        })
    }
}

/// The variables to be saved. Copies nothing.
pub(crate) fn to_variables(entries: &[Entry]) -> Result<Vec<Variable<'static>>> {
    let mut names: Vec<&String> = entries.iter().filter_map(|entry| entry.way.names.first()).collect();
    names.sort();
    if let Some([name, _]) = names.array_windows().find(|[a, b]| a == b) {
        return Err(tfckpt::Error::DuplicateName { name: (*name).clone() }.into());
    }
    entries.iter().map(Entry::to_variable).collect()
}

/// Fills all entries from the checkpoint, or none: names, dtypes and shapes of all, and then, unless that is not wanted,
/// the checksums of all are checked before the first is written. What else of the checkpoint is used counts in the report.
pub(crate) fn restore(
    entries: &[Entry],
    checkpoint: &Bundle,
    verify_first: bool,
    is_used: impl Fn(&str) -> bool,
) -> Result<LoadReport> {
    let targets: Vec<Target> = entries.iter().map(Entry::to_target).collect::<Result<_>>()?;
    let mut plan = Plan::new(checkpoint, &targets)?;
    plan.mark_used(is_used);
    carry_out(entries, plan, checkpoint, verify_first)
}

/// Fills the entries that the plan has steps for, after it was verified, if that is wanted.
pub(crate) fn carry_out(entries: &[Entry], plan: Plan, checkpoint: &Bundle, verify_first: bool) -> Result<LoadReport> {
    if verify_first {
        plan.verify(checkpoint)?;
    }
    plan.carry_out(checkpoint, |filling| match entries.get(filling.target()) {
        Some(entry) => bridge::fill(&entry.var, &mut |bytes| filling.read_into(bytes)),
        None => Ok(()),
    })?;
    Ok(plan.into_report())
}
