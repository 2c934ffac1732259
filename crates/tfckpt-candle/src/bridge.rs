//! Where bytes meet Candle's storage. The other files of this crate see tensors only as names, shapes and dtypes.

use std::cell::RefCell;

use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout as Strides, Storage, Tensor, Var, WithDType};
use half::{bf16, f16};
use tfckpt::io::zeroed;
use tfckpt::map::{Filling, Ingredient, Layout, Transform};
use tfckpt::{BoxError, Bundle, Element, Reading, Sink, Slice, VariableInfo};

use crate::error::Result;

/// The dtypes in a checkpoint that fill a variable of this dtype; the first is the one that is written. `None` if
/// TensorFlow has none.
pub(crate) fn stored_dtypes(dtype: DType) -> Option<&'static [tfckpt::DType]> {
    use tfckpt::DType as Stored;
    Some(match dtype {
        DType::F32 => &[Stored::Float32],
        DType::F64 => &[Stored::Float64],
        DType::F16 => &[Stored::Float16],
        DType::BF16 => &[Stored::Bfloat16],
        DType::U8 => &[Stored::Uint8, Stored::Bool],
        DType::U32 => &[Stored::Uint32],
        DType::I16 => &[Stored::Int16],
        DType::I32 => &[Stored::Int32],
        DType::I64 => &[Stored::Int64],
        _ => return None,
    })
}

/// Does `$do` with `$elements` bound to the elements of a storage, whatever their type; `None` for the types that no
/// checkpoint has.
macro_rules! with_elements {
    ($storage:expr, $elements:ident => $do:expr) => {
        match $storage {
            CpuStorage::F32($elements) => Some($do),
            CpuStorage::F64($elements) => Some($do),
            CpuStorage::F16($elements) => Some($do),
            CpuStorage::BF16($elements) => Some($do),
            CpuStorage::U8($elements) => Some($do),
            CpuStorage::U32($elements) => Some($do),
            CpuStorage::I16($elements) => Some($do),
            CpuStorage::I32($elements) => Some($do),
            CpuStorage::I64($elements) => Some($do),
            _ => None,
        }
    };
}

/// Puts the bytes of a variable where they are wanted.
type Read<'r> = dyn FnMut(&mut [u8]) -> tfckpt::Result<()> + 'r;

/// Overwrites a variable in place with what `read` puts into its bytes, little-endian and row-major. On the CPU
/// these are the bytes of the variable itself; on other devices they are uploaded. Everything that shares the
/// variable's storage, the model above all, sees the new values.
pub(crate) fn fill(var: &Var, read: &mut Read<'_>) -> Result<()> {
    if !var.device().is_cpu() {
        let mut bytes = vec![0; var.elem_count() * var.dtype().size_in_bytes()];
        read(&mut bytes)?;
        native(&mut bytes, var.dtype().size_in_bytes());
        let tensor = Tensor::from_raw_buffer(&bytes, var.dtype(), var.dims(), var.device())?;
        return Ok(var.set(&tensor)?);
    }
    let fill = Fill {
        read: RefCell::new(read),
        result: RefCell::new(Ok(())),
    };
    var.inplace_op1(&fill)?;
    Ok(fill.result.into_inner()?)
}

struct Fill<'a> {
    read: RefCell<&'a mut Read<'a>>,
    /// Kept here, because Candle's error type would take away its variant.
    result: RefCell<tfckpt::Result<()>>,
}

impl InplaceOp1 for Fill<'_> {
    fn name(&self) -> &'static str {
        "restore"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, strides: &Strides) -> candle_core::Result<()> {
        let msg = "cannot restore into a variable that is not contiguous";
        let (start, end) = strides
            .contiguous_offsets()
            .ok_or(candle_core::Error::CannotSetVar { msg })?;
        let dtype = candle_core::backend::BackendStorage::dtype(storage);
        with_elements!(storage, elements => {
            let elements = elements.get_mut(start..end).unwrap_or_default();
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(elements);
            let result = (self.read.borrow_mut())(bytes);
            native(bytes, dtype.size_in_bytes());
            *self.result.borrow_mut() = result;
        })
        .ok_or(candle_core::Error::UnsupportedDTypeForOp(dtype, "restore"))
    }
}

/// Whether the bytes of a tensor can be looked at where they are.
pub(crate) fn is_lendable(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.is_contiguous() && cfg!(target_endian = "little")
}

/// Passes all bytes of a tensor to `sink`, without copying them. Several threads may do so at once.
pub(crate) fn lend(tensor: &Tensor, sink: &mut Sink<'_>) -> Result<(), BoxError> {
    let (storage, strides) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        return Err("the tensor is not on the CPU".into());
    };
    let (start, end) = strides
        .contiguous_offsets()
        .ok_or("a contiguous tensor is not contiguous")?;
    with_elements!(storage, elements => sink(bytemuck::cast_slice(elements.get(start..end).unwrap_or_default())))
        .unwrap_or_else(|| Err(format!("{:?} cannot be stored", tensor.dtype()).into()))
}

/// Passes the bytes of a tensor to `sink`, little-endian and in the layout of the checkpoint, after they were brought to
/// the CPU and put in order.
pub(crate) fn produce(tensor: &Tensor, transform: &Transform, sink: &mut Sink<'_>) -> Result<(), BoxError> {
    let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
    let size = tensor.dtype().size_in_bytes();
    lend(&tensor, &mut |bytes| {
        if cfg!(target_endian = "little") {
            return transform.stream(size, bytes, sink);
        }
        let mut bytes = bytes.to_vec();
        native(&mut bytes, size);
        transform.stream(size, &bytes, sink)
    })
}

/// Reads a variable into a new tensor of `dims` on the CPU, in the dtype that it is stored in. One copy from the
/// file into the tensor's own storage, transposed on the way.
pub(crate) fn read(reading: &Reading<'_>, transform: &Transform, dims: &[usize]) -> Result<Tensor> {
    use tfckpt::DType as Stored;
    match reading.variable().dtype() {
        Stored::Float32 => read_as::<f32>(reading, transform, dims),
        Stored::Float64 => read_as::<f64>(reading, transform, dims),
        Stored::Float16 => read_as::<f16>(reading, transform, dims),
        Stored::Bfloat16 => read_as::<bf16>(reading, transform, dims),
        Stored::Uint8 => read_as::<u8>(reading, transform, dims),
        Stored::Uint32 => read_as::<u32>(reading, transform, dims),
        Stored::Int16 => read_as::<i16>(reading, transform, dims),
        Stored::Int32 => read_as::<i32>(reading, transform, dims),
        Stored::Int64 => read_as::<i64>(reading, transform, dims),
        Stored::Bool => {
            let mut values: Vec<u8> = zeroed(reading.size()?);
            reading.read_laid_out_into(transform, &mut values)?;
            Ok(Tensor::from_vec(values, dims, &Device::Cpu)?)
        }
        dtype => {
            let name = reading.variable().name();
            let what = format!("variable `{name}` is {dtype}, for which Candle has no dtype");
            Err(candle_core::Error::Msg(what).bt().into())
        }
    }
}

/// What a recipe makes, as a new tensor of `dims` on the CPU.
pub(crate) fn made(filling: &Filling<'_>, dims: &[usize]) -> Result<Tensor> {
    use tfckpt::DType as Stored;
    macro_rules! values {
        ($element:ty) => {{
            let mut values: Vec<$element> = filling.read()?;
            native(bytemuck::cast_slice_mut(&mut values), size_of::<$element>());
            Ok(Tensor::from_vec(values, dims, &Device::Cpu)?)
        }};
    }
    match filling.dtype() {
        Stored::Float32 => values!(f32),
        Stored::Float64 => values!(f64),
        Stored::Float16 => values!(f16),
        Stored::Bfloat16 => values!(bf16),
        dtype => {
            let what = format!("recurrent layers are of floating point, not {dtype}");
            Err(candle_core::Error::Msg(what).bt().into())
        }
    }
}

/// The dtypes of [`made`].
pub(crate) const FLOATS: [tfckpt::DType; 4] = [
    tfckpt::DType::Float32,
    tfckpt::DType::Float64,
    tfckpt::DType::Float16,
    tfckpt::DType::Bfloat16,
];

/// A live variable, out of which variables of a checkpoint are made while they are written.
pub(crate) fn ingredient(tensor: &Tensor, dtype: tfckpt::DType) -> Ingredient<'static> {
    let (tensor, dims) = (tensor.clone(), tensor.dims().to_vec());
    Ingredient::new(dtype, dims, move |sink| match is_lendable(&tensor) {
        true => lend(&tensor, sink),
        false => {
            let plain = Layout::Same
                .to_stored(tensor.dims())
                .ok_or("every shape has a layout")?;
            produce(&tensor, &plain, sink)
        }
    })
}

/// Reads a part of a variable into a new tensor of `dims` on the CPU; `None` if Candle has no dtype for it.
pub(crate) fn read_part(bundle: &Bundle, info: &VariableInfo, part: &Slice, dims: &[usize]) -> Result<Option<Tensor>> {
    use tfckpt::DType as Stored;
    macro_rules! values {
        ($element:ty) => {
            Tensor::from_vec(
                bundle.read_slice::<$element>(info.key(), part)?,
                dims,
                &Device::Cpu,
            )
        };
    }
    Ok(Some(match info.dtype() {
        Stored::Float32 => values!(f32),
        Stored::Float64 => values!(f64),
        Stored::Float16 => values!(f16),
        Stored::Bfloat16 => values!(bf16),
        Stored::Uint8 => values!(u8),
        Stored::Uint32 => values!(u32),
        Stored::Int16 => values!(i16),
        Stored::Int32 => values!(i32),
        Stored::Int64 => values!(i64),
        Stored::Bool => Tensor::from_vec(bundle.read_slice_bytes(info.key(), part)?, dims, &Device::Cpu),
        _ => return Ok(None),
    }?))
}

fn read_as<T: Element + WithDType>(reading: &Reading<'_>, transform: &Transform, dims: &[usize]) -> Result<Tensor> {
    let mut values: Vec<T> = reading.read_laid_out(transform)?;
    native(bytemuck::cast_slice_mut(&mut values), size_of::<T>());
    Ok(Tensor::from_vec(values, dims, &Device::Cpu)?)
}

/// Between little-endian bytes and those of this machine, either way.
fn native(bytes: &mut [u8], element_size: usize) {
    if cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(element_size).for_each(<[u8]>::reverse);
    }
}
