//! TensorFlow to safetensors.

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use tfckpt::io::Durability;
use tfckpt::{Checkpoint, VariableInfo};

use super::source::{LENGTH, MAX_HEADER};
use super::target::Target;
use super::{Args, Unsupported, dtypes};
use crate::failure::{Exit, Failure};
use crate::output;

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let checkpoint = Checkpoint::open(&args.source)?;
    refuse_faults(&checkpoint)?;
    let (mut tensors, mut unsupported) = (Vec::new(), Vec::new());
    for info in checkpoint.variables() {
        match counterpart(info) {
            Ok((name, dtype)) => tensors.push((name, dtype, info)),
            Err(reason) => unsupported.push(Unsupported {
                name: info.name().into_owned(),
                reason,
            }),
        }
    }
    args.settle("safetensors", &unsupported)?;
    // The order of the safetensors crate itself: the widest elements first, so that all are aligned.
    tensors.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let infos: Vec<&VariableInfo> = tensors.iter().map(|(.., info)| *info).collect();
    let tensor = |(name, dtype, info): &(&str, Dtype, &VariableInfo)| Tensor {
        name: (*name).to_owned(),
        dtype: *dtype,
        dims: info.shape().dims().to_vec(),
        size: info.size(),
    };
    let tensors: Vec<Tensor> = tensors.iter().map(tensor).collect();
    write(args, &tensors, |put| {
        checkpoint.read_each(&infos, |number, reading| {
            let values: Vec<u8> = reading.read()?;
            put(number, &values)
        })?;
        Ok(())
    })
}

/// A tensor to be written.
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) dims: Vec<usize>,
    /// Bytes.
    pub(super) size: u64,
}

/// Takes the bytes of a tensor, by its number.
type Put<'p> = dyn Fn(usize, &[u8]) -> Result<(), Failure> + Sync + 'p;

/// Writes the file, whose tensors lie in this order; `fill` gives the bytes of each.
pub(super) fn write(
    args: &Args,
    tensors: &[Tensor],
    fill: impl FnOnce(&Put<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let target = Target::file(&args.destination, args.force)?;
    let header = header(tensors)?;
    let bytes = tensors.iter().map(|tensor| tensor.size).sum();
    let bar = output::progress(bytes);
    let io = |action| move |error| Failure::io(action, &args.destination, error);
    // Dropped on any error, the unpublished file vanishes.
    let file = target.storage.create(&target.name).map_err(io("create"))?;
    let len = header.len() as u64;
    file.allocate(len + bytes).map_err(io("make room for"))?;
    file.write_all_at(&header, 0).map_err(io("write"))?;
    let starts = tensors.iter().scan(len, |next, tensor| {
        *next += tensor.size;
        Some(*next - tensor.size)
    });
    let starts: Vec<u64> = starts.collect();
    fill(&|number, values| {
        let start = starts.get(number).copied().unwrap_or(0);
        file.write_all_at(values, start).map_err(io("write"))?;
        bar.inc(values.len() as u64);
        Ok(())
    })?;
    file.publish(Durability::Synced)
        .and_then(|()| target.storage.sync())
        .map_err(io("write"))?;
    bar.finish_and_clear();
    args.done(tensors.len(), bytes);
    Ok(())
}

/// A damaged index must not pass for a smaller checkpoint.
pub(super) fn refuse_faults(checkpoint: &Checkpoint) -> Result<(), Failure> {
    let lines: String = checkpoint
        .faults()
        .map(|(key, fault)| format!("\n  {}: {fault}", String::from_utf8_lossy(key)))
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    let text = format!("`{}` has invalid entries:{lines}", checkpoint.index_path().display());
    Err(Failure::new(Exit::Corrupt, text))
}

/// Name and dtype in safetensors, or why there are none.
fn counterpart(info: &VariableInfo) -> Result<(&str, Dtype), String> {
    let name = std::str::from_utf8(info.key()).map_err(|_| "its name is not UTF-8".to_owned())?;
    if name == "__metadata__" {
        return Err("safetensors reserves this name".to_owned());
    }
    let dtype = dtypes::to_safetensors(info.dtype());
    dtype
        .map(|dtype| (name, dtype))
        .ok_or_else(|| format!("there is no dtype {}", info.dtype()))
}

/// Everything before the first tensor: a length, and JSON padded to a multiple of 8 bytes. The safetensors crate
/// writes the same, but cannot stop when a variable turns out to be corrupt: its `View::data` cannot fail.
fn header(tensors: &[Tensor]) -> Result<Vec<u8>, Failure> {
    let too_large = || {
        let text = "the header would have more than 100 MB, which readers of safetensors refuse";
        Failure::new(Exit::Unsupported, text)
    };
    let mut start = 0usize;
    let mut infos = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let size = usize::try_from(tensor.size).map_err(|_| too_large())?;
        let end = start.checked_add(size).ok_or_else(too_large)?;
        let info = TensorInfo {
            dtype: tensor.dtype,
            shape: tensor.dims.clone(),
            data_offsets: (start, end),
        };
        infos.push((tensor.name.clone(), info));
        start = end;
    }
    let refused = |error: anyhow::Error| Failure::caused(Exit::Unsupported, "no safetensors header can be made", error);
    let metadata = Metadata::new(None, infos).map_err(|error| refused(error.into()))?;
    let mut json = serde_json::to_vec(&metadata).map_err(|error| refused(error.into()))?;
    json.resize(json.len().next_multiple_of(LENGTH as usize), b' ');
    if json.len() as u64 > MAX_HEADER {
        return Err(too_large());
    }
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.append(&mut json);
    Ok(header)
}
