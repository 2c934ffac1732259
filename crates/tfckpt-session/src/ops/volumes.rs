//! Convolutions and pools in three dimensions, of volumes and films, and their gradients.

use candle_core::Tensor;

use super::table::{Ops, one};
use super::volume_windows::{Axis, Size, Windows};
use crate::attrs::Attrs;
use crate::error::{Error, Result};
use crate::value::TfTensor;

pub(super) fn add(ops: &mut Ops) {
    ops.pure("Conv3D", |attrs| {
        let form = Form::of(attrs)?;
        one(move |args, context| {
            let (x, filter) = (form.channels_last(args.tensor(0)?)?, args.float(1)?);
            let windows = form.windows(x.dims(), filter_size(filter.dims())?)?;
            let y = windows.convolved(&x, filter, context)?;
            Ok(args.tensor(0)?.with(form.as_given(y)?))
        })
    });
    ops.pure("Conv3DBackpropInputV2", |attrs| {
        let form = Form::of(attrs)?;
        one(move |args, context| {
            let (filter, dy) = (args.float(1)?, form.channels_last(args.tensor(2)?)?);
            let dims = form.dims_last(&args.sizes(0)?)?;
            let windows = form.windows(&dims, filter_size(filter.dims())?)?;
            let dx = windows.spread(&dy, filter, context)?;
            Ok(args.tensor(2)?.with(form.as_given(dx)?))
        })
    });
    ops.pure("Conv3DBackpropFilterV2", |attrs| {
        let form = Form::of(attrs)?;
        one(move |args, context| {
            let (x, dy) = (
                form.channels_last(args.tensor(0)?)?,
                form.channels_last(args.tensor(2)?)?,
            );
            let filter = args.sizes(1)?;
            let windows = form.windows(x.dims(), filter_size(&filter)?)?;
            Ok(args.tensor(0)?.with(windows.correlated(&x, &dy, &filter, context)?))
        })
    });
    ops.pure("MaxPool3D", |attrs| {
        let (form, size) = (Form::of(attrs)?, pool_size(attrs)?);
        one(move |args, context| {
            let x = form.channels_last(args.tensor(0)?)?;
            let y = form.windows(x.dims(), size)?.maxima(&x, context)?;
            Ok(args.tensor(0)?.with(form.as_given(y)?))
        })
    });
    ops.pure("MaxPool3DGrad", |attrs| {
        let (form, size) = (Form::of(attrs)?, pool_size(attrs)?);
        one(move |args, context| {
            let (x, y) = (
                form.channels_last(args.tensor(0)?)?,
                form.channels_last(args.tensor(1)?)?,
            );
            let dy = form.channels_last(args.tensor(2)?)?;
            let windows = form.windows(x.dims(), size)?;
            let dx = windows.returned_to_maxima(&x, &y, &dy, context)?;
            Ok(args.tensor(0)?.with(form.as_given(dx)?))
        })
    });
    ops.pure("AvgPool3D", |attrs| {
        let (form, size) = (Form::of(attrs)?, pool_size(attrs)?);
        one(move |args, context| {
            let x = form.channels_last(args.tensor(0)?)?;
            let windows = form.windows(x.dims(), size)?;
            let y = windows.summed(&x, context)?.broadcast_div(&windows.counts(&x)?)?;
            Ok(args.tensor(0)?.with(form.as_given(y)?))
        })
    });
    ops.pure("AvgPool3DGrad", |attrs| {
        let (form, size) = (Form::of(attrs)?, pool_size(attrs)?);
        one(move |args, context| {
            let dy = form.channels_last(args.tensor(1)?)?;
            let windows = form.windows(&form.dims_last(&args.sizes(0)?)?, size)?;
            let shares = dy.broadcast_div(&windows.counts(&dy)?)?;
            let dx = windows.returned(&shares, context)?;
            Ok(args.tensor(1)?.with(form.as_given(dx)?))
        })
    });
}

fn three(values: &[usize]) -> Option<Size> {
    match values {
        [_, d, h, w, _] => Some([*d, *h, *w]),
        _ => None,
    }
}

fn filter_size(dims: &[usize]) -> Result<Size> {
    match dims {
        [d, h, w, _, _] => Ok([*d, *h, *w]),
        _ => Err(Error::operand(format!(
            "a filter of {dims:?}, expected five dimensions"
        ))),
    }
}

/// The attributes that all of them share.
#[derive(Debug, Clone, Copy)]
struct Form {
    strides: Size,
    dilations: Size,
    same: bool,
    channels_first: bool,
}

fn numbers(attrs: &Attrs<'_>, key: &str, channels_first: bool) -> Result<Size> {
    let given = attrs.ints(key)?;
    let given = given
        .into_iter()
        .map(usize::try_from)
        .collect::<Result<Vec<usize>, _>>();
    let mut given = given.map_err(|_| Error::graph(format!("attribute `{key}` has negative numbers")))?;
    if given.is_empty() {
        return Ok([1; 3]);
    }
    if channels_first && given.len() == 5 {
        let channels = given.remove(1);
        given.push(channels);
    }
    match (given.as_slice(), three(&given)) {
        ([1, .., 1], Some(size)) if !size.contains(&0) => Ok(size),
        _ => Err(Error::operand(format!(
            "attribute `{key}` is {given:?}: no steps of batch or channels"
        ))),
    }
}

fn is_channels_first(attrs: &Attrs<'_>) -> Result<bool> {
    Ok(attrs.text("data_format", "NDHWC")? == "NCDHW")
}

fn pool_size(attrs: &Attrs<'_>) -> Result<Size> {
    numbers(attrs, "ksize", is_channels_first(attrs)?)
}

impl Form {
    fn of(attrs: &Attrs<'_>) -> Result<Self> {
        let channels_first = is_channels_first(attrs)?;
        Ok(Form {
            strides: numbers(attrs, "strides", channels_first)?,
            dilations: numbers(attrs, "dilations", channels_first)?,
            same: match attrs.text("padding", "VALID")? {
                "SAME" => true,
                "VALID" => false,
                other => return Err(Error::graph(format!("padding `{other}`"))),
            },
            channels_first,
        })
    }

    fn channels_last(self, x: &TfTensor) -> Result<Tensor> {
        if x.dims().len() != 5 || !x.tensor.dtype().is_float() {
            return Err(Error::operand(format!("{} {:?} is no volume", x.dtype, x.dims())));
        }
        Ok(match self.channels_first {
            true => x.tensor.permute([0, 2, 3, 4, 1])?.contiguous()?,
            false => x.tensor.contiguous()?,
        })
    }

    fn dims_last(self, dims: &[usize]) -> Result<Vec<usize>> {
        match (self.channels_first, dims) {
            (false, [_, _, _, _, _]) => Ok(dims.to_vec()),
            (true, [n, c, d, h, w]) => Ok(vec![*n, *d, *h, *w, *c]),
            _ => Err(Error::operand(format!("{dims:?} are no dimensions of a volume"))),
        }
    }

    fn as_given(self, y: Tensor) -> Result<Tensor> {
        Ok(match self.channels_first {
            true => y.permute([0, 4, 1, 2, 3])?.contiguous()?,
            false => y,
        })
    }

    fn windows(self, dims: &[usize], size: Size) -> Result<Windows> {
        let space = three(dims).ok_or_else(|| Error::operand(format!("{dims:?} is no volume")))?;
        let mut axes = [Axis::default(); 3];
        for (place, axis) in axes.iter_mut().enumerate() {
            let of = |size: &Size| size.get(place).copied().unwrap_or(1);
            *axis = Axis::new(of(&space), of(&size), of(&self.strides), of(&self.dilations), self.same)?;
        }
        Ok(Windows { axes })
    }
}
