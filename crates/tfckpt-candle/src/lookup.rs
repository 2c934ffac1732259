//! Which variable of a checkpoint a parameter means.

use candle_core::{DType, Error};
use candle_nn::Init;
use tfckpt::map::{Conversion, DenseOrder, Layer, Layout, NameMap, Plan, Target, Transform};
use tfckpt::{Checkpoint, VariableInfo};

use crate::bridge::stored_dtype;
use crate::kinds::{Known, Params, certain_kind, kinds, kinds_with, split};
use crate::recurrent;
use crate::ways::{Way, ways};

/// What a layer asks for.
#[derive(Debug)]
pub(crate) struct Need<'a> {
    pub(crate) path: &'a str,
    /// `None` if any shape will do.
    pub(crate) dims: Option<&'a [usize]>,
    pub(crate) hint: Option<Init>,
    /// That of the builder.
    pub(crate) dtype: DType,
}

/// What a lookup needs to know.
pub(crate) struct Lookup<'a, 'p> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) names: &'a NameMap,
    /// What was asked for so far, this parameter included.
    pub(crate) params: &'p Params,
}

/// What came of it.
pub(crate) enum Outcome<'a> {
    Found(Found<'a>),
    /// It is made of others, which are there and fit.
    Made(Target),
    Missing {
        target: Target,
        error: Error,
    },
    /// It is there, but of another shape, or cannot be told from another one.
    Wrong(Error),
}

/// A variable that fits.
pub(crate) struct Found<'a> {
    pub(crate) info: &'a VariableInfo,
    /// The names that it was looked for by.
    pub(crate) names: Vec<String>,
    /// The kind of layer that the variable's name tells.
    pub(crate) kind: Layer,
    pub(crate) layout: Layout,
    pub(crate) transform: Transform,
    /// The shape in the model.
    pub(crate) dims: Vec<usize>,
}

impl<'a> Lookup<'a, '_> {
    pub(crate) fn find(&self, need: &Need<'_>) -> Outcome<'a> {
        let (module, field) = split(need.path);
        if let Some(outcome) = self.find_made(need) {
            return outcome;
        }
        let ways = match need.hint {
            Some(_) => ways(self.names, need.path, &kinds(self.params, module, Known::SoFar)),
            None => ways(self.names, need.path, kinds_with(field)),
        };
        let there: Vec<(&VariableInfo, &Way)> = ways.iter().filter_map(|way| Some((self.first(way)?, way))).collect();
        let Some(&(first, _)) = there.first() else {
            return self.missing(need, &ways);
        };
        if there.iter().any(|(info, _)| info.key() != first.key()) {
            return Outcome::Wrong(ambiguous(need.path, there.iter().map(|(info, _)| info.name())));
        }
        // One variable; perhaps several layouts.
        let mut fitting: Vec<Found<'a>> = Vec::new();
        for &(info, way) in &there {
            match fit(info, way, need.dims) {
                Some(found) if fitting.iter().all(|other| other.transform != found.transform) => fitting.push(found),
                _ => {}
            }
        }
        match (fitting.pop(), fitting.is_empty()) {
            (Some(found), true) => Outcome::Found(found),
            (Some(_), false) => Outcome::Wrong(ambiguous(need.path, [first.name()])),
            (None, _) => Outcome::Wrong(misfit(need, &there)),
        }
    }

    /// What a parameter is made of that is no variable by itself; `None` if it may be one, or nothing of it is there.
    fn find_made(&self, need: &Need<'_>) -> Option<Outcome<'a>> {
        let dims = need.dims?;
        let wrong = |error: tfckpt::Error| Some(Outcome::Wrong(Error::wrap(error)));
        let module = split(need.path).0;
        let found = certain_kind(self.params, module, Known::SoFar);
        let one_by_one = self.names.compound(need.path, dims, found, DenseOrder::OutIn);
        let recurrent = match recurrent::candidates(self.names, self.params, need.path, dims) {
            Ok(compounds) => compounds,
            Err(error) => return wrong(error),
        };
        let own = self.names.names(need.path, Layer::Other);
        // What a rule says a parameter is made of is not looked for as anything else.
        let is_said = one_by_one.is_some() || (own.is_empty() && !self.names.skips(need.path));
        let (mut misfit, mut made, mut absent) = (None, None, None);
        for compound in one_by_one.into_iter().chain(recurrent) {
            let Some(member) = compound.member(need.path) else {
                continue;
            };
            let target = Target {
                path: need.path.to_owned(),
                names: member.names.clone(),
                dtypes: filling(need.dtype),
                shape: dims.to_vec(),
                recipes: member.recipes.clone(),
                how: member.how.clone(),
                ..Target::default()
            };
            let plan = Plan::partial(self.checkpoint, std::slice::from_ref(&target));
            match (plan.report().is_complete(), plan.report().mismatched.is_empty()) {
                (true, _) => {
                    if let Err(error) = compound.check(self.checkpoint) {
                        return wrong(error);
                    }
                    let loaded = plan.into_report().loaded.into_iter().map(|loaded| loaded.name);
                    let from: Vec<String> = loaded.collect();
                    if from.iter().any(|name| own.contains(name)) {
                        return Some(Outcome::Made(target));
                    }
                    // Without a cell in the names, a kernel may be that of an LSTM or of a GRU.
                    if made.replace(target).is_some() {
                        return Some(Outcome::Wrong(ambiguous(need.path, from)));
                    }
                }
                (_, false) => {
                    let refused = compound.check(self.checkpoint).err();
                    let told = Plan::new(self.checkpoint, &[target]).err();
                    misfit = misfit.or(refused.or(told));
                }
                _ => absent = absent.or(Some(target)),
            }
        }
        match (made, misfit, absent) {
            (Some(target), ..) => Some(Outcome::Made(target)),
            (None, Some(error), _) => wrong(error),
            (None, None, Some(target)) if is_said => Some(self.absent(need, target)),
            _ => None,
        }
    }

    /// Whether some kind of layer would find a parameter at `path`. Looks at the index alone.
    pub(crate) fn contains(&self, path: &str) -> bool {
        let ways = ways(self.names, path, kinds_with(split(path).1));
        ways.iter().any(|way| self.first(way).is_some())
    }

    fn first(&self, way: &Way) -> Option<&'a VariableInfo> {
        way.names.iter().find_map(|name| self.checkpoint.get(name))
    }

    fn missing(&self, need: &Need<'_>, ways: &[Way]) -> Outcome<'a> {
        let names: Vec<String> = ways.iter().flat_map(|way| way.names.clone()).collect();
        let target = Target {
            path: need.path.to_owned(),
            names,
            dtypes: Vec::new(),
            shape: need.dims.unwrap_or_default().to_vec(),
            layout: Layout::Same,
            ..Target::default()
        };
        self.absent(need, target)
    }

    fn absent(&self, need: &Need<'_>, target: Target) -> Outcome<'a> {
        let first = target.names.first().map_or(need.path, String::as_str);
        // An entry that is damaged is there and yet not; its own error says so, and otherwise which names are near.
        let error = match self.checkpoint.variable(first) {
            Err(error @ tfckpt::Error::CorruptEntry { .. }) => return Outcome::Wrong(Error::wrap(error)),
            Err(tfckpt::Error::VariableNotFound { candidates, .. }) if !candidates.is_empty() => {
                format!(
                    "{} (looked for as `{}`; nearest: `{}`)",
                    need.path,
                    target.names.join("` or `"),
                    candidates.join("`, `")
                )
            }
            _ => format!("{} (looked for as `{}`)", need.path, target.names.join("` or `")),
        };
        Outcome::Missing {
            target,
            error: Error::CannotFindTensor { path: error }.bt(),
        }
    }
}

impl Found<'_> {
    /// What a builder of this dtype wants.
    pub(crate) fn target(&self, path: &str, dtype: DType) -> Target {
        let stored = self.info.dtype();
        let wanted = stored_dtype(dtype).filter(|wanted| Conversion::new(stored, *wanted).is_some());
        Target {
            path: path.to_owned(),
            names: self.names.clone(),
            dtypes: wanted.into_iter().chain([stored]).collect(),
            shape: self.dims.clone(),
            layout: self.layout,
            ..Target::default()
        }
    }
}

/// The dtypes of variables that fill a parameter of a builder of this dtype, which they are cast to.
fn filling(dtype: DType) -> Vec<tfckpt::DType> {
    let wanted = stored_dtype(dtype).unwrap_or(tfckpt::DType::Float32);
    let others = tfckpt::DType::all().filter(|stored| *stored != wanted && Conversion::new(*stored, wanted).is_some());
    std::iter::once(wanted).chain(others).collect()
}

/// The variable in this layout, if it has the shape that is needed.
fn fit<'a>(info: &'a VariableInfo, way: &Way, dims: Option<&[usize]>) -> Option<Found<'a>> {
    let layout = way.layout;
    let dims = match dims {
        Some(dims) => dims.to_vec(),
        None => layout.model_shape(info.shape().dims())?,
    };
    let fits = layout.accepts(info.shape(), &dims);
    let transform = fits.then(|| layout.to_model(&dims)).flatten()?;
    Some(Found {
        info,
        names: way.names.clone(),
        kind: way.kind,
        layout,
        transform,
        dims,
    })
}

fn ambiguous<N: std::fmt::Display>(path: &str, names: impl IntoIterator<Item = N>) -> Error {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    let what = format!(
        "`{path}` can be more than one of the checkpoint's variables or layouts ({}): declare the layer with `NameMap::with_layer`",
        names.join(", ")
    );
    Error::Msg(what).bt()
}

fn misfit(need: &Need<'_>, there: &[(&VariableInfo, &Way)]) -> Error {
    let dims = need.dims.unwrap_or_default();
    let Some((info, way)) = there.first() else {
        return Error::CannotFindTensor {
            path: need.path.to_owned(),
        }
        .bt();
    };
    let hint = match dims {
        [_, 1, _, ..] => "; if it is a depthwise convolution, declare it with `NameMap::with_layer`",
        _ => "",
    };
    let expected = way.layout.stored_shape(dims).unwrap_or_else(|| dims.to_vec().into());
    Error::UnexpectedShape {
        msg: format!(
            "shape mismatch for `{}`, `{}` in the checkpoint{hint}",
            need.path,
            info.name()
        ),
        expected: expected.dims().into(),
        got: info.shape().dims().into(),
    }
    .bt()
}
