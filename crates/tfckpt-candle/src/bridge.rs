//! Where bytes meet Candle's storage. The other files of this crate see tensors only as names, shapes and dtypes.

use std::cell::RefCell;

use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout as Strides, Storage, Tensor, Var, WithDType};
use half::{bf16, f16};
use tfckpt::io::zeroed;
use tfckpt::map::{Conversion, Filling, Ingredient, Layout, Transform};
use tfckpt::{BoxError, Bundle, Element, Reading, Sink, Slice, VariableInfo};

use crate::error::Result;

/// What Candle has no dtype for, and holds in a wider one.
pub(crate) const LACKS: &[tfckpt::DType] = {
    use tfckpt::DType::*;
    &[
        Bool,
        Int8,
        Uint16,
        Uint64,
        Int4,
        Uint4,
        Int2,
        Uint2,
        Float8E5m2,
        Float8E4m3fnuz,
        Float8E4m3b11fnuz,
        Float8E5m2fnuz,
        Float4E2m1fn,
        // Candle has it, but few of its operations.
        Float8E4m3fn,
    ]
};

/// The dtype in TensorFlow whose elements are those of this one, bit for bit; `None` if there is none.
pub(crate) fn stored_dtype(dtype: DType) -> Option<tfckpt::DType> {
    use tfckpt::DType as Stored;
    Some(match dtype {
        DType::F32 => Stored::Float32,
        DType::F64 => Stored::Float64,
        DType::F16 => Stored::Float16,
        DType::BF16 => Stored::Bfloat16,
        DType::F8E4M3 => Stored::Float8E4m3fn,
        DType::U8 => Stored::Uint8,
        DType::U32 => Stored::Uint32,
        DType::I16 => Stored::Int16,
        DType::I32 => Stored::Int32,
        DType::I64 => Stored::Int64,
        _ => return None,
    })
}

/// The dtype in TensorFlow of the elements in which Candle holds a variable of this one: the same, or the narrowest that
/// has all its values. `None` if there is none.
pub(crate) fn held_in(stored: tfckpt::DType) -> Option<tfckpt::DType> {
    use tfckpt::DType::*;
    Some(match stored {
        Float32 | Float64 | Float16 | Bfloat16 | Float8E4m3fn | Uint8 | Uint32 | Int16 | Int32 | Int64 => stored,
        Bool | Uint4 | Uint2 => Uint8,
        Int8 | Int4 | Int2 => Int16,
        Uint16 => Uint32,
        // One that is too large is an error.
        Uint64 => Int64,
        Float8E5m2 | Float8E4m3fnuz | Float8E4m3b11fnuz | Float8E5m2fnuz | Float4E2m1fn => Float16,
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
    if !var.device().is_cpu() || var.dtype() == DType::F8E4M3 {
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
    if let CpuStorage::F8E4M3(elements) = storage {
        let bytes = elements.get(start..end).unwrap_or_default().iter();
        return sink(&bytes.map(|element| element.to_bits()).collect::<Vec<u8>>());
    }
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

/// Reads a variable into a new tensor of `dims` on the CPU, in the dtype that it is stored in, or in the one that holds
/// it. One copy from the file into the tensor's own storage, transposed on the way.
pub(crate) fn read(reading: &Reading<'_>, transform: &Transform, dims: &[usize]) -> Result<Tensor> {
    use tfckpt::DType as Stored;
    let info = reading.variable();
    match info.dtype() {
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
        _ => {
            let bytes: Vec<u8> = reading.read_laid_out(transform)?;
            held(info, &bytes, dims)
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
        Stored::Uint8 => values!(u8),
        Stored::Uint32 => values!(u32),
        Stored::Int16 => values!(i16),
        Stored::Int32 => values!(i32),
        Stored::Int64 => values!(i64),
        dtype => {
            let what = format!("what is made of several variables is not made as {dtype}");
            Err(candle_core::Error::Msg(what).bt().into())
        }
    }
}

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

/// A tensor of the bytes of a variable whose dtype Candle has not, or not quite.
fn held(info: &VariableInfo, bytes: &[u8], dims: &[usize]) -> Result<Tensor> {
    use tfckpt::DType as Stored;
    let (name, dtype) = (info.name(), info.dtype());
    let conversion = held_in(dtype).and_then(|held| Conversion::new(dtype, held));
    let Some(conversion) = conversion else {
        let what = format!("variable `{name}` is {dtype}, for which Candle has no dtype");
        return Err(candle_core::Error::Msg(what).bt().into());
    };
    macro_rules! values {
        ($element:ty) => {{
            let mut values = conversion.converted::<$element>(&name, true, bytes)?;
            native(bytemuck::cast_slice_mut(&mut values), size_of::<$element>());
            Tensor::from_vec(values, dims, &Device::Cpu)?
        }};
    }
    Ok(match conversion.to() {
        Stored::Uint8 => values!(u8),
        Stored::Uint32 => values!(u32),
        Stored::Int16 => values!(i16),
        Stored::Int64 => values!(i64),
        Stored::Float16 => values!(f16),
        _ => Tensor::from_raw_buffer(bytes, DType::F8E4M3, dims, &Device::Cpu)?,
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
        dtype if held_in(dtype).is_none() => return Ok(None),
        _ => return held(info, &bundle.read_slice_bytes(info.key(), part)?, dims).map(Some),
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
