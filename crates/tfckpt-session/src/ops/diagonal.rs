//! Diagonals of matrices.

use candle_core::{Device, Tensor};

use super::masks::mask;
use super::shape::signed;
use super::table::{Args, Ops, one};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
    for name in ["Diag", "MatrixDiag"] {
        ops.pure(name, |_| {
            one(|args, context| {
                let x = args.tensor(0)?;
                let len = x.dims().last().copied().unwrap_or(1);
                matrix(x, (0, 0), len, len, None, true, context)
            })
        });
    }
    for name in ["DiagPart", "MatrixDiagPart"] {
        ops.pure(name, |_| {
            one(|args, context| part(args.tensor(0)?, (0, 0), None, true, context))
        });
    }
    for name in ["MatrixDiagV2", "MatrixDiagV3"] {
        ops.pure(name, move |attrs| {
            let left = is_left(name, attrs.text("align", "RIGHT_LEFT")?);
            one(move |args, context| {
                let x = args.tensor(0)?;
                let bands = bands(args, 1)?;
                let longest = x.dims().last().copied().unwrap_or(0);
                let (rows, columns) = sizes(args, bands, longest)?;
                matrix(x, bands, rows, columns, Some(args.tensor(4)?), left, context)
            })
        });
    }
    for name in ["MatrixDiagPartV2", "MatrixDiagPartV3"] {
        ops.pure(name, move |attrs| {
            let left = is_left(name, attrs.text("align", "RIGHT_LEFT")?);
            one(move |args, context| part(args.tensor(0)?, bands(args, 1)?, Some(args.tensor(2)?), left, context))
        });
    }
    for name in ["MatrixSetDiag", "MatrixSetDiagV2", "MatrixSetDiagV3"] {
        ops.pure(name, move |attrs| {
            let left = is_left(name, attrs.text("align", "RIGHT_LEFT")?);
            one(move |args, context| {
                let (x, diagonal) = (args.tensor(0)?, args.tensor(1)?);
                let bands = if args.len() > 2 { bands(args, 2)? } else { (0, 0) };
                let Some((_, [rows, columns])) = x.dims().split_last_chunk::<2>() else {
                    return Err(Error::operand(format!("{:?} is no matrix", x.dims())));
                };
                let set = matrix(diagonal, bands, *rows, *columns, None, left, context)?;
                let mask = mask(x, |row, column| (bands.0..=bands.1).contains(&(column - row)))?;
                Ok(x.with(mask.where_cond(&set.tensor.contiguous()?, &x.tensor.contiguous()?)?))
            })
        });
    }
}

/// Whether shorter diagonals begin at the left. `RIGHT_LEFT` aligns those above the main one to the right, and the others to
/// the left; the second version aligns all to the left.
fn is_left(op: &str, align: &str) -> bool {
    op.ends_with("V2") || align.starts_with("LEFT_LEFT")
}

/// The lowest and the highest diagonal.
fn bands(args: &Args, place: usize) -> Result<(i64, i64)> {
    match args.ints(place)?.as_slice() {
        [band] => Ok((*band, *band)),
        [low, high] if low <= high => Ok((*low, *high)),
        other => Err(Error::operand(format!("diagonals {other:?}"))),
    }
}

/// Rows and columns: as they are given, or as small as they can be.
fn sizes(args: &Args, (low, high): (i64, i64), longest: usize) -> Result<(usize, usize)> {
    let (rows, columns) = (args.int(2)?, args.int(3)?);
    let longest = signed(longest);
    let least_rows = longest + (-high).max(0);
    let least_columns = longest + low.max(0);
    let (rows, columns) = match (rows, columns) {
        (-1, -1) => {
            let side = least_rows.max(least_columns);
            (side, side)
        }
        (-1, columns) => (least_rows, columns),
        (rows, -1) => (rows, least_columns),
        both => both,
    };
    let size =
        |value: i64| usize::try_from(value).map_err(|_| Error::operand(format!("a matrix of {rows} by {columns}")));
    Ok((size(rows)?, size(columns)?))
}

/// Where the diagonals of a matrix lie: for each, from the highest, the places of its elements, `None` where a shorter one is
/// filled up.
fn places((low, high): (i64, i64), rows: usize, columns: usize, left: bool) -> Result<Vec<Vec<Option<i64>>>> {
    let (rows, columns) = (signed(rows), signed(columns));
    if low <= -rows.max(1) || high >= columns.max(1) {
        return Err(Error::operand(format!(
            "diagonals {low} to {high} of {rows} by {columns}"
        )));
    }
    let len = |band: i64| (rows + band.min(0)).min(columns - band.max(0)).max(0);
    let longest = (low..=high).map(len).max().unwrap_or(0);
    let diagonal = |band: i64| {
        // Those above the main one end at the right.
        let shift = if !left && band > 0 { longest - len(band) } else { 0 };
        let place = move |at: i64| {
            let at = at - shift;
            let within = (0..len(band)).contains(&at);
            within.then(|| (at + (-band).max(0)) * columns + at + band.max(0))
        };
        (0..longest).map(place).collect()
    };
    Ok((low..=high).rev().map(diagonal).collect())
}

/// Matrices with these diagonals, `padding` elsewhere.
fn matrix(
    x: &TfTensor,
    bands: (i64, i64),
    rows: usize,
    columns: usize,
    padding: Option<&TfTensor>,
    left: bool,
    context: &Context<'_>,
) -> Result<TfTensor> {
    let all = places(bands, rows, columns, left)?;
    let longest = all.first().map_or(0, Vec::len);
    let own = if all.len() > 1 { 2 } else { 1 };
    let outer = x.dims().len().checked_sub(own).and_then(|outer| x.dims().get(..outer));
    let outer = outer.ok_or_else(|| Error::operand(format!("diagonals of shape {:?}", x.dims())))?;
    let batch: usize = outer.iter().product();
    let count = all.len() * longest;
    if x.tensor.elem_count() != batch * count {
        return Err(Error::operand(format!(
            "diagonals of shape {:?} in {rows} by {columns}",
            x.dims()
        )));
    }
    let mut dims = outer.to_vec();
    dims.extend([rows, columns]);
    context.elements(&dims, 8)?;
    // Each element takes its diagonal's, or the padding behind all of them.
    let mut from = vec![signed(count); rows * columns];
    for (entry, place) in all.iter().flatten().enumerate() {
        let slot = place.and_then(|place| from.get_mut(usize::try_from(place).ok()?));
        if let Some(slot) = slot {
            *slot = signed(entry);
        }
    }
    let table = x.tensor.contiguous()?.reshape((batch, count))?;
    picked_with(&table, padding, from, x, dims)
}

fn part(
    x: &TfTensor,
    bands: (i64, i64),
    padding: Option<&TfTensor>,
    left: bool,
    context: &Context<'_>,
) -> Result<TfTensor> {
    let Some((outer, [rows, columns])) = x.dims().split_last_chunk::<2>() else {
        return Err(Error::operand(format!("{:?} is no matrix", x.dims())));
    };
    let all = places(bands, *rows, *columns, left)?;
    let longest = all.first().map_or(0, Vec::len);
    let mut dims = outer.to_vec();
    if all.len() > 1 {
        dims.push(all.len());
    }
    dims.push(longest);
    context.elements(&dims, 8)?;
    let count = rows * columns;
    let from = all
        .iter()
        .flatten()
        .map(|place| place.unwrap_or(signed(count)))
        .collect();
    let batch: usize = outer.iter().product();
    let table = x.tensor.contiguous()?.reshape((batch, count))?;
    picked_with(&table, padding, from, x, dims)
}

/// Columns of a table, with the padding as one more.
fn picked_with(
    table: &Tensor,
    padding: Option<&TfTensor>,
    from: Vec<i64>,
    like: &TfTensor,
    dims: Vec<usize>,
) -> Result<TfTensor> {
    let batch = table.dim(0)?;
    let padding = match padding {
        Some(padding) => padding.tensor.reshape((1, 1))?,
        None => Tensor::zeros((1, 1), table.dtype(), table.device())?,
    };
    let table = Tensor::cat(&[table, &padding.broadcast_as((batch, 1))?.contiguous()?], 1)?;
    let count = from.len();
    let from = Tensor::from_vec(from, count, &Device::Cpu)?.to_device(table.device())?;
    let taken = match count * batch {
        0 => Tensor::zeros((batch, count), table.dtype(), table.device())?,
        _ => table.index_select(&from, 1)?,
    };
    Ok(like.with(taken.reshape(dims)?))
}
