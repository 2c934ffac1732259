//! safetensors to TensorFlow.

use safetensors::tensor::TensorInfo;
use tfckpt::{DType, Variable};

use super::source::Source;
use super::target::Target;
use super::{Args, Unsupported, dtypes};
use crate::failure::Failure;
use crate::output;

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let source = Source::open(&args.source)?;
    let (mut variables, mut unsupported) = (Vec::new(), Vec::new());
    for (name, info) in source.tensors() {
        match counterpart(&name, info) {
            Ok(dtype) => variables.push((name, dtype, info)),
            Err(reason) => unsupported.push(Unsupported { name, reason }),
        }
    }
    args.settle("a TensorFlow checkpoint", &unsupported)?;
    let target = Target::prefix(&args.destination, args.force)?;

    let len = |info: &TensorInfo| (info.data_offsets.1 - info.data_offsets.0) as u64;
    let bar = output::progress(variables.iter().map(|(.., info)| len(info)).sum());
    // Dropped on any error, the unfinished checkpoint vanishes.
    let mut writer = args.writer(&target)?;
    for (name, dtype, info) in &variables {
        let variable = Variable::deferred(name.as_str(), *dtype, info.shape.clone(), |sink| {
            source.stream(info, &mut |piece| {
                sink(piece)?;
                bar.inc(piece.len() as u64);
                Ok(())
            })
        });
        writer.add(variable)?;
    }
    let written = writer.finish()?;
    target.remove_old_shards(written.num_shards)?;
    bar.finish_and_clear();

    let keys = source.metadata_keys();
    if !keys.is_empty() {
        let text = format!(
            "`__metadata__` of `{}` left out ({}): a checkpoint has no place for it",
            args.source.display(),
            keys.join(", ")
        );
        output::note(&crate::text::printable(&text));
    }
    args.done(written.variables, written.data_bytes);
    Ok(())
}

/// The dtype in TensorFlow, or why there is none.
pub(super) fn counterpart(name: &str, info: &TensorInfo) -> Result<DType, String> {
    if name.is_empty() {
        return Err("it has no name".to_owned());
    }
    if info.shape.len() > MAX_RANK {
        return Err(format!(
            "it has {} dimensions, TensorFlow allows {MAX_RANK}",
            info.shape.len()
        ));
    }
    dtypes::to_tensorflow(info.dtype).ok_or_else(|| format!("there is no dtype {}", info.dtype))
}

/// The most dimensions that TensorFlow allows.
const MAX_RANK: usize = 254;
