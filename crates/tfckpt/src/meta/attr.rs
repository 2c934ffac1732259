//! Attributes of nodes, and the constants among them.

use crate::dtype::DType;
use crate::proto::meta_graph::{self as proto, Attr, GraphShape};
use crate::shape::Shape;

/// The value of a node's attribute.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum AttrValue<'g> {
    /// Any bytes; often text.
    Bytes(&'g [u8]),
    /// A number.
    Int(i64),
    /// A number.
    Float(f32),
    /// A truth.
    Bool(bool),
    /// A dtype, by its number; references are 100 higher. See [`dtype_of`](Self::dtype_of).
    Type(i32),
    /// A shape, of which dimensions may be open; `None` if the rank is.
    Shape(Option<Vec<Option<u64>>>),
    /// A constant.
    Tensor(Tensor<'g>),
    /// A name that is filled in when a function is called.
    Placeholder(&'g str),
    /// The name of a function.
    Function(&'g str),
    /// Values of one kind. Lists of constants, which no operation has, are empty.
    List(Vec<AttrValue<'g>>),
}

impl<'g> AttrValue<'g> {
    /// The dtype with this number, which may be that of a reference.
    pub fn dtype_of(number: i32) -> Option<DType> {
        DType::from_number(if number > 100 { number - 100 } else { number })
    }

    pub(super) fn new(attr: &'g Attr) -> Self {
        match attr {
            Attr::List(list) => AttrValue::List(list_of(list)),
            Attr::S(bytes) => AttrValue::Bytes(bytes),
            Attr::I(value) => AttrValue::Int(*value),
            Attr::F(value) => AttrValue::Float(*value),
            Attr::B(value) => AttrValue::Bool(*value),
            Attr::Type(number) => AttrValue::Type(*number),
            Attr::Shape(shape) => AttrValue::Shape(dims(shape)),
            Attr::Tensor(tensor) => AttrValue::Tensor(Tensor { proto: tensor }),
            Attr::Placeholder(name) => AttrValue::Placeholder(name),
            Attr::Func(function) => AttrValue::Function(&function.name),
        }
    }
}

fn list_of(list: &proto::ListValue) -> Vec<AttrValue<'_>> {
    let mut values: Vec<AttrValue<'_>> = Vec::new();
    values.extend(list.s.iter().map(|value| AttrValue::Bytes(value)));
    values.extend(list.i.iter().map(|&value| AttrValue::Int(value)));
    values.extend(list.f.iter().map(|&value| AttrValue::Float(value)));
    values.extend(list.b.iter().map(|&value| AttrValue::Bool(value)));
    values.extend(list.types.iter().map(|&number| AttrValue::Type(number)));
    values.extend(list.shape.iter().map(|shape| AttrValue::Shape(dims(shape))));
    values.extend(list.func.iter().map(|function| AttrValue::Function(&function.name)));
    values
}

/// The dimensions; those that are negative are open.
pub(super) fn dims(shape: &GraphShape) -> Option<Vec<Option<u64>>> {
    let dims = shape.dim.iter().map(|dim| u64::try_from(dim.size).ok());
    (!shape.unknown_rank).then(|| dims.collect())
}

/// The shape, if no part of it is open.
pub(super) fn closed(shape: Option<&GraphShape>) -> Option<Shape> {
    let shape = shape?;
    let dims: Vec<i64> = shape.dim.iter().map(|dim| dim.size).collect();
    if shape.unknown_rank {
        return None;
    }
    Shape::from_file(&dims)
}

/// A constant tensor of a graph.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tensor<'g> {
    proto: &'g proto::TensorProto,
}

impl<'g> Tensor<'g> {
    /// The dtype; `None` for one that is not known.
    pub fn dtype(self) -> Option<DType> {
        AttrValue::dtype_of(self.proto.dtype)
    }

    /// The shape; `None` for one that cannot be.
    pub fn shape(self) -> Option<Shape> {
        match &self.proto.shape {
            None => Some(Shape::scalar()),
            shape => closed(shape.as_ref()),
        }
    }

    /// The elements of a `string` constant that are written down. If there are fewer than the shape has, the last one
    /// stands for the rest.
    pub fn strings(self) -> &'g [Vec<u8>] {
        &self.proto.string_val
    }

    /// The elements of any other constant, little-endian and row-major, if they take at most `max_bytes`: a graph can
    /// say with one number that a whole tensor is full of it. `None` for strings and whatever else has no bytes, and
    /// for a constant whose values do not fit its shape.
    pub fn to_bytes(self, max_bytes: u64) -> Option<Vec<u8>> {
        let size = self.dtype()?.size()?;
        let len = self.shape()?.element_count()?.checked_mul(size as u64)?;
        if len > max_bytes {
            return None;
        }
        let len = usize::try_from(len).ok()?;
        if !self.proto.content.is_empty() {
            return (self.proto.content.len() == len).then(|| self.proto.content.clone());
        }
        let mut bytes = self.values(size)?;
        if bytes.len() > len {
            return None;
        }
        // The last value stands for the rest; without any, all are 0.
        let last = bytes.last_chunk_of(size).unwrap_or_else(|| vec![0; size]);
        while bytes.len() < len {
            bytes.extend_from_slice(&last);
        }
        Some(bytes)
    }

    /// The values that are written down.
    fn values(self, size: usize) -> Option<Vec<u8>> {
        let proto = self.proto;
        let ints = |values: &[i32]| {
            let low = values
                .iter()
                .flat_map(|value| value.to_le_bytes().into_iter().take(size));
            low.collect::<Vec<u8>>()
        };
        Some(match self.dtype()? {
            DType::Float32 => proto.float_val.iter().flat_map(|value| value.to_le_bytes()).collect(),
            DType::Float64 => proto.double_val.iter().flat_map(|value| value.to_le_bytes()).collect(),
            DType::Complex64 => proto
                .scomplex_val
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            DType::Complex128 => proto
                .dcomplex_val
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            DType::Int64 => proto.int64_val.iter().flat_map(|value| value.to_le_bytes()).collect(),
            DType::Uint64 => proto.uint64_val.iter().flat_map(|value| value.to_le_bytes()).collect(),
            DType::Uint32 => proto.uint32_val.iter().flat_map(|value| value.to_le_bytes()).collect(),
            DType::Bool => proto.bool_val.iter().map(|&value| u8::from(value)).collect(),
            DType::Float16 | DType::Bfloat16 => ints(&proto.half_val),
            DType::Float8E5m2
            | DType::Float8E4m3fn
            | DType::Float8E4m3fnuz
            | DType::Float8E4m3b11fnuz
            | DType::Float8E5m2fnuz => proto.float8_val.clone(),
            _ => ints(&proto.int_val),
        })
    }
}

trait LastChunk {
    /// The last `size` bytes.
    fn last_chunk_of(&self, size: usize) -> Option<Vec<u8>>;
}

impl LastChunk for Vec<u8> {
    fn last_chunk_of(&self, size: usize) -> Option<Vec<u8>> {
        self.get(self.len().checked_sub(size)?..).map(<[u8]>::to_vec)
    }
}
