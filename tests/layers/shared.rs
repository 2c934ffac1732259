//! One of each kind of layer, as TensorFlow computed it: `tests/fixtures/layers`, made by `tests/fixtures/make/layers.py`.

use std::path::{Path, PathBuf};

use tfckpt::{Checkpoint, DType};

/// An array, row-major.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    pub(crate) dims: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// The checkpoint `model` with all variables, or `cases` with inputs and outputs.
pub(crate) fn prefix(name: &str) -> PathBuf {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut folders = above.map(|folder| folder.join("tests/fixtures/layers"));
    folders
        .find(|folder| folder.is_dir())
        .expect("they are in the repository")
        .join(name)
}

/// The input `NAME/x` or the output `NAME/y` of a case.
pub(crate) fn array(cases: &Checkpoint, name: &str) -> Values {
    let info = cases.variable(name).expect("every case has both");
    let dims = info.shape().dims().to_vec();
    let values = match info.dtype() {
        DType::Int32 => {
            let ids: Vec<i32> = cases.read(name).expect("it is int32");
            ids.into_iter().map(|id| id as f32).collect()
        }
        _ => cases.read(name).expect("all others are float32"),
    };
    Values { dims, values }
}

/// The largest difference, relative to the largest value. Infinite if anything is not a number, or lengths differ.
#[allow(dead_code, reason = "not everybody compares")]
pub(crate) fn difference(ours: &Values, theirs: &Values) -> f64 {
    let largest = theirs
        .values
        .iter()
        .fold(0f64, |most, value| most.max(f64::from(value.abs())));
    if ours.values.len() != theirs.values.len() || ours.dims != theirs.dims {
        return f64::INFINITY;
    }
    let pairs = ours.values.iter().zip(&theirs.values);
    let mut most = 0f64;
    for (ours, theirs) in pairs {
        let off = (f64::from(*ours) - f64::from(*theirs)).abs() / largest;
        if off.is_nan() {
            return f64::INFINITY;
        }
        most = most.max(off);
    }
    most
}

/// What a checkpoint holds in a scope: name, shape and bytes.
#[allow(dead_code, reason = "not everybody compares")]
pub(crate) fn in_scope(checkpoint: &Checkpoint, scope: &str) -> Vec<(String, Vec<usize>, Vec<u8>)> {
    let scope = format!("{scope}/");
    let infos = checkpoint.variables().filter(|info| info.name().starts_with(&scope));
    let read = |info: &tfckpt::VariableInfo| {
        let bytes = checkpoint.read_bytes(info.key()).expect("it is there");
        (info.name().into_owned(), info.shape().dims().to_vec(), bytes)
    };
    infos.map(read).collect()
}
