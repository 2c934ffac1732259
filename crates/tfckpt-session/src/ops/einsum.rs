//! Sums of products by letters: `bqhd,bkhd->bhqk`.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::arithmetic::same_dtype;
use super::linear::matmul;
use super::shape::signed;
use super::table::{Args, Ops, one};
use super::turns::picked;
use crate::context::Context;
use crate::dtype::is_float;
use crate::error::{Error, Result};
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
    ops.pure("Einsum", |attrs| {
        let equation = Equation::parse(attrs.text("equation", "")?)?;
        one(move |args, context| equation.apply(args, context))
    });
}

/// An equation of Einstein's: `bqhd,bkhd->bhqk`. Dots stand for any number of dimensions.
struct Equation {
    inputs: Vec<Vec<Label>>,
    output: Vec<Label>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Letter(char),
    Dots,
    /// One of the dimensions that dots stand for, counted from the last.
    Dot(usize),
}

impl Equation {
    fn parse(text: &str) -> Result<Self> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let labels = |text: &str| -> Result<Vec<Label>> {
            let text = text.replace("...", "\u{2026}");
            let label = |c: char| match c {
                '\u{2026}' => Ok(Label::Dots),
                c if c.is_ascii_alphabetic() => Ok(Label::Letter(c)),
                c => Err(Error::graph(format!("`{c}` in an equation"))),
            };
            text.chars().map(label).collect()
        };
        let (left, right) = text
            .split_once("->")
            .ok_or_else(|| Error::graph(format!("equation `{text}`")))?;
        Ok(Equation {
            inputs: left.split(',').map(labels).collect::<Result<_>>()?,
            output: labels(right)?,
        })
    }

    fn apply(&self, args: &Args, context: &Context<'_>) -> Result<TfTensor> {
        if args.len() != self.inputs.len() || args.is_empty() || args.len() > 2 {
            return Err(Error::operand(format!(
                "{} operands for {} terms",
                args.len(),
                self.inputs.len()
            )));
        }
        let first = args.tensor(0)?;
        if !is_float(first.dtype) {
            return Err(Error::dtype("an operand", first.dtype));
        }
        let mut terms = Vec::new();
        let mut dots = 0;
        for (place, labels) in self.inputs.iter().enumerate() {
            let x = args.tensor(place)?;
            same_dtype(first, x)?;
            let letters = labels.iter().filter(|label| **label != Label::Dots).count();
            let spare = x.dims().len().checked_sub(letters);
            let spare = spare.filter(|spare| *spare == 0 || labels.contains(&Label::Dots));
            let spare = spare.ok_or_else(|| Error::operand(format!("{:?} for {letters} letters", x.dims())))?;
            dots = dots.max(spare);
            let tensor = match x.tensor.dtype() {
                candle_core::DType::F16 | candle_core::DType::BF16 => x.tensor.to_dtype(candle_core::DType::F32)?,
                _ => x.tensor.clone(),
            };
            terms.push(Term {
                labels: spelled(labels, spare),
                tensor,
            });
        }
        let output = spelled(&self.output, dots);
        let sizes = sizes(&terms)?;
        let dims = output.iter().map(|label| sizes.get(label).copied().unwrap_or(1));
        context.elements(&dims.collect::<Vec<usize>>(), 8)?;
        let mut terms = terms.into_iter();
        let mut result = terms
            .next()
            .ok_or_else(|| Error::graph("an equation of nothing"))?
            .without_repeats()?;
        match terms.next() {
            None => result = result.summed(&output)?,
            Some(second) => result = contract(result, second.without_repeats()?, &output, &sizes)?,
        }
        let tensor = result.arranged(&output, &sizes)?;
        Ok(first.with(tensor.to_dtype(first.tensor.dtype())?))
    }
}

/// Labels with dots spelled out.
fn spelled(labels: &[Label], count: usize) -> Vec<Label> {
    let spell = |label: &Label| match label {
        Label::Dots => (0..count).rev().map(Label::Dot).collect(),
        label => vec![*label],
    };
    labels.iter().flat_map(spell).collect()
}

/// The size that each label stands for; sizes of dots are stretched.
fn sizes(terms: &[Term]) -> Result<BTreeMap<Label, usize>> {
    let mut sizes: BTreeMap<Label, usize> = BTreeMap::new();
    for term in terms {
        for (&label, &dim) in term.labels.iter().zip(term.tensor.dims()) {
            let held = sizes.entry(label).or_insert(dim);
            match (*held, dim) {
                (held, dim) if held == dim => {}
                (1, dim) if matches!(label, Label::Dot(_)) => *held = dim,
                (_, 1) if matches!(label, Label::Dot(_)) => {}
                (held, dim) => return Err(Error::operand(format!("{label:?} is {held} and {dim}"))),
            }
        }
    }
    Ok(sizes)
}

/// A tensor whose dimensions have labels.
struct Term {
    labels: Vec<Label>,
    tensor: Tensor,
}

impl Term {
    /// With each label once: of repeated ones the diagonal.
    fn without_repeats(mut self) -> Result<Self> {
        loop {
            let twice = (0..self.labels.len()).find_map(|first| {
                let label = self.labels.get(first)?;
                let second = self.labels.iter().skip(first + 1).position(|other| other == label)?;
                Some((first, first + 1 + second))
            });
            let Some((first, second)) = twice else { return Ok(self) };
            let rank = self.labels.len();
            let others = (0..rank).filter(|axis| *axis != first && *axis != second);
            let mut order: Vec<usize> = others.collect();
            let len = self.tensor.dim(first)?;
            let mut dims: Vec<usize> = order
                .iter()
                .map(|axis| self.tensor.dims().get(*axis).copied().unwrap_or(1))
                .collect();
            let mut labels: Vec<Label> = order
                .iter()
                .filter_map(|axis| self.labels.get(*axis).copied())
                .collect();
            labels.extend(self.labels.get(first));
            order.extend([first, second]);
            dims.push(len * len);
            let flat = self.tensor.permute(order)?.contiguous()?.reshape(dims)?;
            let places = (0..len).map(|place| signed(place * (len + 1)));
            self.tensor = picked(&flat, rank - 2, places.collect())?;
            self.labels = labels;
        }
    }

    /// Summed over all labels that are not in `kept`.
    fn summed(self, kept: &[Label]) -> Result<Self> {
        let axes = self
            .labels
            .iter()
            .enumerate()
            .filter(|(_, label)| !kept.contains(label));
        let axes: Vec<usize> = axes.map(|(axis, _)| axis).collect();
        Ok(Term {
            tensor: match axes.is_empty() {
                true => self.tensor,
                false => self.tensor.sum(axes)?,
            },
            labels: self.labels.into_iter().filter(|label| kept.contains(label)).collect(),
        })
    }

    /// With the labels in this order, as `[.., ..]` of grouped sizes.
    fn grouped(&self, groups: [&[Label]; 3], sizes: &BTreeMap<Label, usize>, stretch: &[Label]) -> Result<Tensor> {
        let mut order = Vec::new();
        let mut missing = Vec::new();
        for label in groups.into_iter().flatten() {
            match self.labels.iter().position(|own| own == label) {
                Some(axis) => order.push(axis),
                None => missing.push(order.len() + missing.len()),
            }
        }
        let mut tensor = self.tensor.permute(order)?;
        for axis in missing {
            tensor = tensor.unsqueeze(axis)?;
        }
        let all: Vec<&Label> = groups.into_iter().flatten().collect();
        let dims = all
            .iter()
            .zip(tensor.dims())
            .map(|(label, dim)| match stretch.contains(label) {
                true => sizes.get(label).copied().unwrap_or(*dim),
                false => *dim,
            });
        let dims: Vec<usize> = dims.collect();
        let tensor = match tensor.dims() == dims {
            true => tensor,
            false => tensor.broadcast_as(dims.clone())?,
        };
        let mut rest = dims.as_slice();
        let mut grouped = Vec::new();
        for group in groups {
            let (own, next) = rest.split_at_checked(group.len()).unwrap_or((rest, &[]));
            grouped.push(own.iter().product::<usize>());
            rest = next;
        }
        Ok(tensor.contiguous()?.reshape(grouped)?)
    }

    /// With the labels of the output in their order; those that appear again are set on the diagonal.
    fn arranged(self, output: &[Label], sizes: &BTreeMap<Label, usize>) -> Result<Tensor> {
        let mut distinct: Vec<Label> = Vec::new();
        for label in output {
            if !distinct.contains(label) {
                distinct.push(*label);
            }
        }
        let mut order = Vec::new();
        for label in &distinct {
            let axis = self.labels.iter().position(|own| own == label);
            order.push(axis.ok_or_else(|| Error::operand(format!("{label:?} is in no operand")))?);
        }
        let dims = distinct.iter().map(|label| sizes.get(label).copied().unwrap_or(1));
        let mut tensor = self.tensor.permute(order)?.contiguous()?;
        let dims: Vec<usize> = dims.collect();
        if tensor.dims() != dims {
            tensor = tensor.broadcast_as(dims)?.contiguous()?;
        }
        for (place, label) in output.iter().enumerate() {
            let earlier = output.iter().take(place).position(|other| other == label);
            let Some(earlier) = earlier else { continue };
            let len = tensor.dim(earlier)?;
            let rank = tensor.rank() + 1;
            let stretched = tensor.unsqueeze(place)?;
            let mut dims = stretched.dims().to_vec();
            if let Some(dim) = dims.get_mut(place) {
                *dim = len;
            }
            let eye = Tensor::eye(len, tensor.dtype(), tensor.device())?;
            let mut shape = vec![1; rank];
            for axis in [earlier, place] {
                if let Some(dim) = shape.get_mut(axis) {
                    *dim = len;
                }
            }
            tensor = (stretched
                .broadcast_as(dims)?
                .contiguous()?
                .broadcast_mul(&eye.reshape(shape)?))?;
        }
        Ok(tensor)
    }
}

/// The product of two terms, summed over what the output does not have.
fn contract(x: Term, y: Term, output: &[Label], sizes: &BTreeMap<Label, usize>) -> Result<Term> {
    let kept = |term: &Term, other: &Term| -> Vec<Label> {
        let wanted = |label: &&Label| output.contains(label) || other.labels.contains(label);
        term.labels.iter().filter(wanted).copied().collect()
    };
    let (keep_x, keep_y) = (kept(&x, &y), kept(&y, &x));
    let (x, y) = (x.summed(&keep_x)?, y.summed(&keep_y)?);
    let both = |label: &&Label| y.labels.contains(label);
    let shared: Vec<Label> = x.labels.iter().filter(both).copied().collect();
    let batch: Vec<Label> = shared.iter().filter(|label| output.contains(label)).copied().collect();
    let inner: Vec<Label> = shared.iter().filter(|label| !output.contains(label)).copied().collect();
    let free = |term: &Term| -> Vec<Label> {
        term.labels
            .iter()
            .filter(|label| !shared.contains(label))
            .copied()
            .collect()
    };
    let (free_x, free_y) = (free(&x), free(&y));
    let left = x.grouped([&batch, &free_x, &inner], sizes, &shared)?;
    let right = y.grouped([&batch, &inner, &free_y], sizes, &shared)?;
    let (b, m, k) = left.dims3()?;
    let n = right.dim(2)?;
    let result = matmul(&left, &right, &[b, m, n], k)?;
    let labels: Vec<Label> = batch.into_iter().chain(free_x).chain(free_y).collect();
    // Sizes of 1 that dots stand for may be stretched only now.
    let size = |label: &Label| {
        let of = |term: &Term| {
            term.labels
                .iter()
                .position(|own| own == label)
                .and_then(|axis| term.tensor.dims().get(axis).copied())
        };
        match shared.contains(label) {
            true => sizes.get(label).copied().unwrap_or(1),
            false => of(&x).or(of(&y)).unwrap_or(1),
        }
    };
    let dims: Vec<usize> = labels.iter().map(size).collect();
    Ok(Term {
        tensor: result.reshape(dims)?,
        labels,
    })
}
