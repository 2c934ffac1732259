//! What would make a variable fit.

use super::convert::why_not;
use super::layer::{DenseOrder, Layer, Role};
use super::plan::Target;
use crate::bundle::VariableInfo;

/// What to do about a variable that does not fit its target, if that can be told.
pub(super) fn hint(target: &Target, info: &VariableInfo, shape_fits: bool, dtype_fits: bool) -> Option<String> {
    let of_dtype = || target.dtypes.first().map(|dtype| why_not(info.dtype(), *dtype));
    match (shape_fits, dtype_fits) {
        (true, false) => of_dtype(),
        (false, _) => of_shape(target, info),
        (true, true) => None,
    }
}

/// The kinds of layers whose kernel would fit.
fn of_shape(target: &Target, info: &VariableInfo) -> Option<String> {
    let (stored, model) = (info.shape(), target.shape.as_slice());
    let module = target.path.rsplit_once('.').map_or("", |(module, _)| module);
    let multiplier = stored.dims().last().copied().unwrap_or(1);
    use Layer::*;
    let candidates = [
        (Dense, "`Layer::Dense`".to_owned()),
        (Conv1d, "`Layer::Conv1d`".to_owned()),
        (Conv2d, "`Layer::Conv2d`".to_owned()),
        (Conv3d, "`Layer::Conv3d`".to_owned()),
        (
            DepthwiseConv1d { multiplier },
            format!("`Layer::DepthwiseConv1d {{ multiplier: {multiplier} }}`"),
        ),
        (
            DepthwiseConv2d { multiplier },
            format!("`Layer::DepthwiseConv2d {{ multiplier: {multiplier} }}`"),
        ),
        (Other, "`Layer::Embedding` or `Layer::Other`".to_owned()),
        (PRelu, "`Layer::PRelu`".to_owned()),
    ];
    for (layer, name) in candidates {
        let layout = layer.layout(Role::Weight, DenseOrder::OutIn);
        if layout == target.layout || !layout.accepts(stored, model) {
            continue;
        }
        return Some(match layer {
            Other => format!("it has that shape if it is not transposed: declare the layer `{module}` as {name}"),
            PRelu => format!("it has that shape but for dimensions of 1: declare the layer `{module}` as {name}"),
            _ => format!(
                "it has that shape if transposed, as that of a {name} is: declare the layer `{module}` with \
                 `NameMap::with_layer`, or the layout with a `Rule`"
            ),
        });
    }
    None
}
