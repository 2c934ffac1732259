//! Why a variable does not fill a parameter of another dtype.

use super::{Conversion, Fidelity};
use crate::dtype::DType;

/// Why a parameter of dtype `to` cannot be filled from a variable of dtype `from`, if nothing but the dtype is at fault.
pub(in crate::map) fn why_not(from: DType, to: DType) -> String {
    use DType::*;
    match from {
        Complex64 | Complex128 => {
            "complex numbers are no numbers of a model: read them with `Bundle::read_bytes`".into()
        }
        Qint8 | Quint8 | Qint16 | Quint16 | Qint32 => {
            format!(
                "a {from} means nothing without its scale, which the checkpoint does not have: read it with `Bundle::read_bytes`"
            )
        }
        String | Resource | Variant => format!("a {from} is no number"),
        _ => match Conversion::new(from, to).map(|conversion| conversion.fidelity()) {
            None => format!("there is no cast from {from} to {to}"),
            Some(Fidelity::Lossy) => "ask for a cast that rounds, with `NameMap::cast(Casts::Lossy)`".into(),
            Some(Fidelity::Checked) => {
                "ask for a cast that fails where a value does not fit, with `NameMap::cast(Casts::Lossy)`".into()
            }
            Some(_) => "ask for the cast, which keeps every value, with `NameMap::cast(Casts::Exact)`".into(),
        },
    }
}
