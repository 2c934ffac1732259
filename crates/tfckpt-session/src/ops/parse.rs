//! `tf.train.Example`s taken apart into tensors: how an Estimator's export takes its requests.

use std::collections::HashMap;
use std::ops::Range;

use tfckpt::{AttrValue, DType};

use super::arithmetic::ints;
use super::example::{Feature, features};
use super::gathered::Gathered;
use super::shape::signed;
use super::table::{Args, Ops, many};
use crate::attrs::Attrs;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::Value;

pub(super) fn add(ops: &mut Ops) {
    ops.pure("ParseExample", |attrs| {
        let wanted = Wanted::of(attrs, "sparse_types")?;
        many(move |args, context| {
            let (sparse, dense) = (wanted.sparse.len(), wanted.dense.len());
            let key = |place: usize| args.strings(place)?.elements.first().cloned().ok_or_else(no_key);
            let keys = (2..2 + sparse + dense).map(key).collect::<Result<Vec<Vec<u8>>>>()?;
            let defaults = 2 + sparse + dense..2 + sparse + 2 * dense;
            wanted.parse(args, &keys, defaults, context)
        })
    });
    ops.pure("ParseExampleV2", |attrs| {
        let mut wanted = Wanted::of(attrs, "sparse_types")?;
        wanted.ragged = dtypes(attrs, "ragged_value_types")?
            .into_iter()
            .zip(dtypes(attrs, "ragged_split_types")?)
            .collect();
        many(move |args, context| {
            let mut keys = Vec::new();
            for (place, count) in [
                (2, wanted.sparse.len()),
                (3, wanted.dense.len()),
                (4, wanted.ragged.len()),
            ] {
                let given = args.strings(place)?;
                if given.elements.len() != count {
                    return Err(no_key());
                }
                keys.extend(given.elements.iter().cloned());
            }
            wanted.parse(args, &keys, 5..5 + wanted.dense.len(), context)
        })
    });
    ops.pure("ParseSingleExample", |attrs| {
        let wanted = Wanted::of(attrs, "sparse_types")?;
        let mut keys = texts(attrs, "sparse_keys")?;
        keys.extend(texts(attrs, "dense_keys")?);
        many(move |args, context| wanted.parse(args, &keys, 1..1 + wanted.dense.len(), context))
    });
}

fn no_key() -> Error {
    Error::operand("there are more features than keys for them")
}

fn list<'g>(attrs: &Attrs<'g>, key: &str) -> Result<Vec<AttrValue<'g>>> {
    match attrs.get(key) {
        None => Ok(Vec::new()),
        Some(AttrValue::List(list)) => Ok(list),
        Some(_) => Err(Error::graph(format!("attribute `{key}` is no list"))),
    }
}

fn dtypes(attrs: &Attrs<'_>, key: &str) -> Result<Vec<DType>> {
    let dtype = |value: AttrValue<'_>| match value {
        AttrValue::Type(number) => AttrValue::dtype_of(number),
        _ => None,
    };
    let all = list(attrs, key)?.into_iter().map(dtype).collect::<Option<Vec<DType>>>();
    all.ok_or_else(|| Error::graph(format!("attribute `{key}` is no list of dtypes")))
}

fn texts(attrs: &Attrs<'_>, key: &str) -> Result<Vec<Vec<u8>>> {
    let text = |value: AttrValue<'_>| match value {
        AttrValue::Bytes(bytes) => Some(bytes.to_vec()),
        _ => None,
    };
    let all = list(attrs, key)?.into_iter().map(text).collect::<Option<Vec<_>>>();
    all.ok_or_else(|| Error::graph(format!("attribute `{key}` is no list of texts")))
}

/// What is to come out of the examples.
struct Wanted {
    sparse: Vec<DType>,
    dense: Vec<Dense>,
    /// Dtypes of values and of where rows end.
    ragged: Vec<(DType, DType)>,
}

/// A feature with so many values in each example, or with as many as the longest has.
#[derive(Debug, Clone)]
struct Dense {
    dtype: DType,
    /// The dimensions of one example; the first one may be open.
    shape: Vec<Option<usize>>,
}

impl Dense {
    /// The elements of one example, or of one row of it if the number of rows is open.
    fn elements(&self) -> usize {
        self.shape.iter().flatten().product()
    }

    fn is_open(&self) -> bool {
        self.shape.first().is_some_and(Option::is_none)
    }
}

impl Wanted {
    fn of(attrs: &Attrs<'_>, sparse: &str) -> Result<Self> {
        let shape = |value: AttrValue<'_>| match value {
            AttrValue::Shape(Some(dims)) => {
                let dim = |dim: Option<u64>| dim.map(usize::try_from).transpose().ok();
                dims.into_iter().map(dim).collect::<Option<Vec<_>>>()
            }
            _ => None,
        };
        let shapes = list(attrs, "dense_shapes")?.into_iter().map(shape);
        let shapes = shapes.collect::<Option<Vec<_>>>();
        let shapes = shapes.ok_or_else(|| Error::graph("attribute `dense_shapes` is no list of shapes"))?;
        let dtypes_of_dense = dtypes(attrs, "Tdense")?;
        let closed = |shape: &Vec<Option<usize>>| shape.iter().skip(1).all(Option::is_some);
        let fits = |shape: &Vec<Option<usize>>| {
            let mut known = shape.iter().flatten();
            closed(shape) && known.try_fold(1usize, |all, dim| all.checked_mul(*dim)).is_some()
        };
        if shapes.len() != dtypes_of_dense.len() || !shapes.iter().all(fits) {
            return Err(Error::graph("the shapes of features do not fit them"));
        }
        let dense = dtypes_of_dense.into_iter().zip(shapes);
        Ok(Wanted {
            sparse: dtypes(attrs, sparse)?,
            dense: dense.map(|(dtype, shape)| Dense { dtype, shape }).collect(),
            ragged: Vec::new(),
        })
    }

    /// The outputs, one list after the other. The examples are the first operand: a vector, or a single one.
    fn parse(
        &self,
        args: &Args,
        keys: &[Vec<u8>],
        defaults: Range<usize>,
        context: &Context<'_>,
    ) -> Result<Vec<Value>> {
        let serialized = args.strings(0)?;
        let batch = match serialized.dims.as_slice() {
            [] => None,
            [rows] => Some(*rows),
            dims => return Err(Error::operand(format!("examples of shape {dims:?}"))),
        };
        let examples = serialized.elements.iter().map(|text| features(text));
        let examples = examples.collect::<Result<Vec<HashMap<&[u8], Feature<'_>>>>>()?;
        let column = |key: &[u8]| -> Vec<&Feature<'_>> {
            let feature = |example| HashMap::get(example, key).unwrap_or(&Feature::Nothing);
            examples.iter().map(feature).collect()
        };
        let mut keys = keys.iter();
        let mut next = || keys.next().map(Vec::as_slice).ok_or_else(no_key);
        let (mut indices, mut values, mut shapes) = (Vec::new(), Vec::new(), Vec::new());
        for dtype in &self.sparse {
            let key = next()?;
            let found = column(key);
            indices.push(sparse_indices(&found, batch)?);
            let gathered = Gathered::of(&found, key, *dtype)?;
            shapes.push(sparse_shape(&found, batch)?);
            values.push(gathered.into_value(None, context)?);
        }
        let mut outputs: Vec<Value> = [indices, values, shapes].concat();
        for (dense, default) in self.dense.iter().zip(defaults) {
            let key = next()?;
            outputs.push(dense_values(
                &column(key),
                key,
                dense,
                args.value(default)?,
                batch,
                context,
            )?);
        }
        let mut splits = Vec::new();
        for (dtype, split_dtype) in &self.ragged {
            let key = next()?;
            let found = column(key);
            outputs.push(Gathered::of(&found, key, *dtype)?.into_value(None, context)?);
            let mut ends = vec![0i64];
            for feature in &found {
                ends.push(ends.last().copied().unwrap_or(0) + signed(count(feature)));
            }
            let rows = ends.len();
            splits.push(match batch {
                Some(_) => ints(ends, &[rows], *split_dtype)?.into(),
                // A single example is a row, which needs no ends.
                None => ints(Vec::new(), &[0], *split_dtype)?.into(),
            });
        }
        outputs.extend(splits);
        Ok(outputs)
    }
}

fn count(feature: &Feature<'_>) -> usize {
    match feature {
        Feature::Bytes(values) => values.len(),
        Feature::Floats(values) => values.len(),
        Feature::Ints(values) => values.len(),
        Feature::Nothing => 0,
    }
}

/// The place of each value: example and number in it, or the number alone.
fn sparse_indices(found: &[&Feature<'_>], batch: Option<usize>) -> Result<Value> {
    let mut places = Vec::new();
    for (row, feature) in found.iter().enumerate() {
        for place in 0..count(feature) {
            if batch.is_some() {
                places.push(signed(row));
            }
            places.push(signed(place));
        }
    }
    let width = if batch.is_some() { 2 } else { 1 };
    let rows = places.len() / width;
    Ok(ints(places, &[rows, width], DType::Int64)?.into())
}

fn sparse_shape(found: &[&Feature<'_>], batch: Option<usize>) -> Result<Value> {
    let longest = found.iter().map(|feature| count(feature)).max().unwrap_or(0);
    let dims: Vec<i64> = batch.into_iter().chain([longest]).map(signed).collect();
    let rank = dims.len();
    Ok(ints(dims, &[rank], DType::Int64)?.into())
}

fn dense_values(
    found: &[&Feature<'_>],
    key: &[u8],
    dense: &Dense,
    default: &Value,
    batch: Option<usize>,
    context: &Context<'_>,
) -> Result<Value> {
    let name = String::from_utf8_lossy(key);
    let width = dense.elements();
    let default = Gathered::from_value(default, dense.dtype)?;
    let rows = match dense.is_open() {
        true => {
            let longest = found.iter().map(|feature| count(feature)).max().unwrap_or(0);
            Some(longest.checked_div(width).unwrap_or(0))
        }
        false => None,
    };
    let wanted = rows.map_or(Some(width), |rows| rows.checked_mul(width));
    let wanted = wanted.ok_or_else(|| Error::operand(format!("feature `{name}` is too large")))?;
    context.elements(&[found.len(), wanted], size_of::<Vec<u8>>() + default.longest_text())?;
    let mut all = Gathered::empty(dense.dtype)?;
    for feature in found {
        let given = count(feature);
        match rows {
            // What is shorter than the longest is filled up.
            Some(_) if !given.is_multiple_of(width.max(1)) => {
                return Err(Error::operand(format!(
                    "feature `{name}` has {given} values, which are no rows of {width}"
                )));
            }
            Some(_) => {
                all.extend(&Gathered::of(&[feature], key, dense.dtype)?);
                (given..wanted).for_each(|_| all.repeat(&default));
            }
            None if given == 0 && default.len() == wanted => all.extend(&default),
            None if given == 0 && default.len() == 1 && wanted > 1 => {
                (0..wanted).for_each(|_| all.repeat(&default));
            }
            None if given == 0 && wanted > 0 => {
                return Err(Error::operand(format!(
                    "feature `{name}` is missing in an example, and has no default"
                )));
            }
            None if given != wanted => {
                return Err(Error::operand(format!(
                    "feature `{name}` has {given} values, expected {wanted}"
                )));
            }
            None => all.extend(&Gathered::of(&[feature], key, dense.dtype)?),
        }
    }
    let dims = dense.shape.iter().map(|dim| dim.or(rows).unwrap_or(0));
    let dims: Vec<usize> = batch.into_iter().chain(dims).collect();
    all.into_value(Some(&dims), context)
}
