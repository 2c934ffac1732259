//! Named variables on their way to and from a checkpoint: those of the model, slots and counters alike.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Var;
use tfckpt::map::{Casts, Conversion, Ingredient, Layer, Layout, LoadReport, Member, Plan, Recipe, Target, Tied};
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
    /// Which casts are made when it is read.
    pub(crate) casts: Casts,
    /// The dtype that it is saved in, if that is not its own.
    pub(crate) stored: Option<tfckpt::DType>,
}

impl Entry {
    /// A variable outside the model, which has one name and keeps its layout.
    pub(crate) fn plain(name: &str, var: &Var) -> Self {
        let way = Way {
            kind: Layer::Other,
            names: vec![name.to_owned()],
            layout: Layout::Same,
            compound: None,
        };
        Entry {
            path: name.to_owned(),
            way,
            var: var.clone(),
            trained: false,
            casts: Casts::Never,
            stored: None,
        }
    }

    /// The variable to be saved; its bytes are taken from the live one while they are written.
    fn to_variable(&self) -> Result<Variable<'static>> {
        let own = self.stored_dtype()?;
        let dtype = self.stored.unwrap_or(own);
        let dims = self.var.dims();
        let misfit = || candle_core::Error::Msg(format!("layer kind and shape {dims:?} of `{}` do not fit", self.path));
        let shape = self.way.layout.stored_shape(dims).ok_or_else(misfit)?;
        let transform = self.way.layout.to_stored(dims).ok_or_else(misfit)?;
        let name = self.way.names.first().unwrap_or(&self.path).clone();
        let var = self.var.clone();
        let variable = match bridge::is_lendable(&var) {
            true => Variable::lent(name, own, shape, move |sink| bridge::lend(&var, sink)).laid_out(transform),
            false => Variable::deferred(name, own, shape, move |sink| bridge::produce(&var, &transform, sink)),
        };
        let impossible = || tfckpt::Error::InvalidArgument {
            what: format!("variable `{}` is {own} and cannot be stored as {dtype}", self.path),
        };
        let variable = variable.converted(Conversion::new(own, dtype).ok_or_else(impossible)?);
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
        let (own, recipes) = (self.stored_dtype()?, self.recipes());
        Ok(Target {
            path: self.path.clone(),
            names: self.way.names.clone(),
            dtypes: self.casts.accepts(own, bridge::LACKS),
            shape: self.var.dims().to_vec(),
            layout: self.way.layout,
            recipes,
            how: self.member().and_then(|member| member.how.clone()),
        })
    }

    /// What it is made of, if it is no variable by itself.
    fn recipes(&self) -> Vec<Recipe> {
        self.member().map(|member| member.recipes.clone()).unwrap_or_default()
    }

    fn member(&self) -> Option<&Member> {
        self.way.compound.as_ref()?.member(&self.path)
    }

    /// Two parameters that one variable fills have to have the same values, laid out as in the variable.
    fn must_equal(&self, first: &Entry, name: &str) -> Result<()> {
        let (own, other) = (self.ingredient()?, first.ingredient()?);
        let first = Tied {
            path: &first.path,
            layout: first.way.layout,
            ingredient: &other,
        };
        let own = Tied {
            path: &self.path,
            layout: self.way.layout,
            ingredient: &own,
        };
        Ok(own.must_equal(&first, name)?)
    }

    fn ingredient(&self) -> Result<Ingredient<'static>> {
        Ok(bridge::ingredient(&self.var, self.stored_dtype()?))
    }

    /// The same for a variable that is made of it.
    fn ingredient_as_stored(&self) -> Result<Ingredient<'static>> {
        let ingredient = self.ingredient()?;
        Ok(match self.stored {
            Some(dtype) => ingredient.stored_as(dtype),
            None => ingredient,
        })
    }

    fn stored_dtype(&self) -> Result<tfckpt::DType> {
        bridge::stored_dtype(self.var.dtype()).ok_or_else(|| Error::UnsupportedDtype {
            variable: self.path.clone(),
            dtype: self.var.dtype(),
        })
    }
}

/// The variables to be saved. Copies nothing but what is compared: parameters that share a variable, and the second biases
/// of recurrent layers.
pub(crate) fn to_variables(entries: &[Entry]) -> Result<Vec<Variable<'static>>> {
    // Parameters may share a variable; nothing is there twice, such as a slot of two optimizers of one name.
    let mut seen: BTreeSet<(&str, Option<&String>)> = BTreeSet::new();
    for entry in entries {
        let name = entry.way.names.first();
        if !seen.insert((&entry.path, name)) {
            let name = name.unwrap_or(&entry.path).clone();
            return Err(tfckpt::Error::DuplicateName { name }.into());
        }
    }
    let mut variables = Vec::with_capacity(entries.len());
    let mut tied: BTreeMap<&str, &Entry> = BTreeMap::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for entry in entries {
        let Some(compound) = &entry.way.compound else {
            let name = entry.way.names.first().unwrap_or(&entry.path);
            match tied.insert(name, entry) {
                Some(first) => entry.must_equal(first, name)?,
                None => variables.push(entry.to_variable()?),
            }
            continue;
        };
        let first = compound.members.first().map_or("", |member| member.path.as_str());
        if !done.insert(first) {
            continue;
        }
        let parts = entries.iter().filter(|entry| compound.member(&entry.path).is_some());
        let parts = parts.map(|entry| Ok((entry.path.as_str(), entry.ingredient_as_stored()?)));
        let parts: BTreeMap<&str, Ingredient<'static>> = parts.collect::<Result<_>>()?;
        let made = compound.variables(&|path| parts.get(path).cloned())?;
        variables.extend(made.into_iter().map(|variable| match entry.trained {
            true => variable,
            false => variable.non_trainable(),
        }));
    }
    let mut keys: Vec<&[u8]> = variables.iter().map(Variable::key).collect();
    keys.sort_unstable();
    if let Some([key, _]) = keys.array_windows().find(|[a, b]| a == b) {
        let name = String::from_utf8_lossy(key).into_owned();
        return Err(tfckpt::Error::DuplicateName { name }.into());
    }
    Ok(variables)
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
    for compound in entries.iter().filter_map(|entry| entry.way.compound.as_ref()) {
        compound.check(checkpoint)?;
    }
    let mut plan = Plan::new(checkpoint, &targets)?;
    plan.mark_used(is_used);
    carry_out(entries, plan, checkpoint, verify_first)
}

/// Fills the entries that the plan has steps for, after it was verified, if that is wanted.
pub(crate) fn carry_out(entries: &[Entry], plan: Plan, checkpoint: &Bundle, verify_first: bool) -> Result<LoadReport> {
    match verify_first {
        true => plan.verify(checkpoint)?,
        false => plan.check_values(checkpoint)?,
    }
    plan.carry_out(checkpoint, |filling| match entries.get(filling.target()) {
        Some(entry) => bridge::fill(&entry.var, &mut |bytes| filling.read_into(bytes)),
        None => Ok(()),
    })?;
    Ok(plan.into_report())
}
