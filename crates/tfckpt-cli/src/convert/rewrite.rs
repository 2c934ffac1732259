//! TensorFlow to TensorFlow: whatever format, byte order and partition the source has, the destination is a V2
//! checkpoint of whole variables.

use tfckpt::{Checkpoint, Variable, VariableInfo};

use super::Args;
use super::target::Target;
use super::to_safetensors::refuse_faults;
use crate::failure::Failure;
use crate::output;

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let checkpoint = Checkpoint::open(&args.source)?;
    refuse_faults(&checkpoint)?;
    let target = Target::prefix(&args.destination, args.force)?;
    let bar = output::progress(checkpoint.variables().map(VariableInfo::size).sum());
    // Dropped on any error, the unfinished checkpoint vanishes.
    let mut writer = args.writer(&target)?;
    for info in checkpoint.variables() {
        let bytes = checkpoint.read_bytes(info.key())?;
        writer.add(Variable::from_bytes(
            info.key(),
            info.dtype(),
            info.shape().clone(),
            bytes,
        ))?;
        bar.inc(info.size());
    }
    let written = writer.finish()?;
    target.remove_old_shards(written.num_shards)?;
    bar.finish_and_clear();
    args.done(written.variables, written.data_bytes);
    Ok(())
}
