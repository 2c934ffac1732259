//! Variables on their way into a checkpoint, and the Rust types that their elements map to.

use std::borrow::Cow;

use crate::dtype::DType;
use crate::error::BoxError;
use crate::layout::Transform;
use crate::shape::Shape;
use crate::slice::Slice;

/// A Rust type that is an element of a TensorFlow dtype, bit for bit.
///
/// Implemented for the integers, `f32`, `f64` and, with the feature `half`, for `half::f16` and `half::bf16`.
/// `bool` has no implementation, because a byte from a file need not be 0 or 1: read it as bytes.
pub trait Element: bytemuck::Pod + Send + Sync {
    /// The dtype in the file.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($rust:ty => $dtype:ident),* $(,)?) => {
        $(impl Element for $rust { const DTYPE: DType = DType::$dtype; })*
    };
}

elements! {
    f32 => Float32, f64 => Float64, i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    u8 => Uint8, u16 => Uint16, u32 => Uint32, u64 => Uint64,
}

#[cfg(feature = "half")]
elements! { half::f16 => Float16, half::bf16 => Bfloat16 }

/// Takes the bytes of a variable, in any number of pieces: little-endian elements in row-major order.
pub type Sink<'s> = dyn FnMut(&[u8]) -> Result<(), BoxError> + 's;

/// A variable to be saved: name, dtype, shape, and where its bytes come from.
///
/// The bytes may be borrowed, owned, or produced at the moment when they are written, so that a model never exists
/// twice in memory.
pub struct Variable<'a> {
    name: Vec<u8>,
    dtype: DType,
    shape: Shape,
    /// Of a partitioned variable: the shape of the whole, and which part this is. Most variables have neither this nor
    /// the next, and there may be many of them.
    part: Option<Box<(Shape, Slice)>>,
    trainable: bool,
    /// What brings the bytes into the layout of the checkpoint.
    pub(crate) transform: Option<Box<Transform>>,
    pub(crate) payload: Payload<'a>,
}

/// A [`Variable`], taken apart.
pub(crate) struct VariableParts<'a> {
    pub(crate) name: Vec<u8>,
    pub(crate) dtype: DType,
    pub(crate) shape: Shape,
    pub(crate) part: Option<Box<(Shape, Slice)>>,
    pub(crate) transform: Option<Box<Transform>>,
    pub(crate) payload: Payload<'a>,
}

pub(crate) enum Payload<'a> {
    /// The bytes of the elements, little-endian, row-major.
    Bytes(Cow<'a, [u8]>),
    /// The elements of a `string` variable.
    Strings(Vec<Cow<'a, [u8]>>),
    /// Shows the bytes, all at once, as often as it is called.
    Lent(Lent<'a>),
    /// Produces the bytes when called.
    Deferred(Deferred<'a>),
}

impl Payload<'_> {
    /// The number of bytes, where they are there.
    pub(crate) fn len(&self) -> Option<u64> {
        match self {
            Payload::Bytes(bytes) => Some(bytes.len() as u64),
            _ => None,
        }
    }
}

pub(crate) type Lent<'a> = Box<dyn Fn(&mut Sink<'_>) -> Result<(), BoxError> + Send + Sync + 'a>;
pub(crate) type Deferred<'a> = Box<dyn FnOnce(&mut Sink<'_>) -> Result<(), BoxError> + Send + 'a>;

impl<'a> Variable<'a> {
    /// A variable of borrowed elements. Costs nothing on little-endian machines.
    ///
    /// ```
    /// let kernel = [0.5f32, 1.5, 2.5, 3.5];
    /// let variable = tfckpt::Variable::new("dense/kernel", [2, 2], &kernel);
    /// assert_eq!(variable.dtype(), tfckpt::DType::Float32);
    /// ```
    pub fn new<T: Element>(name: impl Into<Vec<u8>>, shape: impl Into<Shape>, elements: &'a [T]) -> Self {
        let bytes = match cfg!(target_endian = "little") {
            true => Cow::Borrowed(bytemuck::cast_slice(elements)),
            false => Cow::Owned(crate::bytes::endian::swapped(bytemuck::cast_slice(elements), T::DTYPE)),
        };
        Self::from_bytes(name, T::DTYPE, shape, bytes)
    }

    /// A scalar.
    pub fn scalar<T: Element>(name: impl Into<Vec<u8>>, value: T) -> Self {
        let mut bytes = bytemuck::bytes_of(&value).to_vec();
        crate::bytes::endian::to_little(&mut bytes, T::DTYPE);
        Self::from_bytes(name, T::DTYPE, Shape::scalar(), bytes)
    }

    /// A variable of raw bytes: little-endian elements, row-major; for `string` and `variant` the payload as
    /// [`Bundle::read_bytes`](crate::Bundle::read_bytes) gives it. Saving fails unless the bytes fit dtype and shape.
    pub fn from_bytes(
        name: impl Into<Vec<u8>>,
        dtype: DType,
        shape: impl Into<Shape>,
        bytes: impl Into<Cow<'a, [u8]>>,
    ) -> Self {
        Self::with_payload(name.into(), dtype, shape.into(), Payload::Bytes(bytes.into()))
    }

    /// A `string` variable; each element is any bytes.
    pub fn strings<S: Into<Cow<'a, [u8]>>>(
        name: impl Into<Vec<u8>>,
        shape: impl Into<Shape>,
        elements: impl IntoIterator<Item = S>,
    ) -> Self {
        let elements = elements.into_iter().map(Into::into).collect();
        Self::with_payload(name.into(), DType::String, shape.into(), Payload::Strings(elements))
    }

    /// A variable whose bytes are in memory that somebody else guards: a lock, a device that shares it. `lend` passes
    /// all of them to the sink in one call, little-endian and row-major, and is called whenever some are written: by
    /// several threads at once, once for every few MiB.
    pub fn lent(
        name: impl Into<Vec<u8>>,
        dtype: DType,
        shape: impl Into<Shape>,
        lend: impl Fn(&mut Sink<'_>) -> Result<(), BoxError> + Send + Sync + 'a,
    ) -> Self {
        Self::with_payload(name.into(), dtype, shape.into(), Payload::Lent(Box::new(lend)))
    }

    /// A variable whose bytes are produced while it is written: `produce` passes them to the sink, little-endian
    /// and row-major, in pieces of any size. One variable is produced at a time on each thread, so that saving a model
    /// needs no more memory than these take.
    pub fn deferred(
        name: impl Into<Vec<u8>>,
        dtype: DType,
        shape: impl Into<Shape>,
        produce: impl FnOnce(&mut Sink<'_>) -> Result<(), BoxError> + Send + 'a,
    ) -> Self {
        Self::with_payload(name.into(), dtype, shape.into(), Payload::Deferred(Box::new(produce)))
    }

    pub(crate) fn with_payload(name: Vec<u8>, dtype: DType, shape: Shape, payload: Payload<'a>) -> Self {
        Variable {
            name,
            dtype,
            shape,
            part: None,
            trainable: true,
            transform: None,
            payload,
        }
    }

    /// This with bytes that are still in the layout of a model: `transform` brings them into that of the checkpoint while
    /// they are written. Those in memory are moved a piece at a time, those of a deferred variable when all are there. The
    /// shape is that in the checkpoint.
    #[must_use]
    pub fn laid_out(mut self, transform: Transform) -> Self {
        if transform.is_identity() {
            return self;
        }
        let len = self.byte_len().and_then(|len| usize::try_from(len).ok());
        let size = self.dtype.size();
        match self.payload {
            Payload::Deferred(produce) => {
                self.payload = Payload::Deferred(Box::new(move |sink| {
                    let mut all = Vec::with_capacity(len.unwrap_or(0));
                    produce(&mut |bytes| {
                        all.extend_from_slice(bytes);
                        Ok(())
                    })?;
                    match size.filter(|&size| transform.fits(size, all.len())) {
                        Some(size) => transform.stream(size, &all, sink),
                        None => Err(
                            format!("{} bytes were produced, the layout is that of another shape", all.len()).into(),
                        ),
                    }
                }));
            }
            _ => self.transform = Some(Box::new(transform)),
        }
        self
    }

    /// All that a variable is made of, but whether it is trained.
    pub(crate) fn into_parts(self) -> VariableParts<'a> {
        VariableParts {
            name: self.name,
            dtype: self.dtype,
            shape: self.shape,
            part: self.part,
            transform: self.transform,
            payload: self.payload,
        }
    }

    /// The bytes, and everything else.
    pub(crate) fn split(self) -> (Payload<'a>, Variable<'static>) {
        let rest = Variable {
            name: self.name,
            dtype: self.dtype,
            shape: self.shape,
            part: self.part,
            trainable: self.trainable,
            transform: self.transform,
            payload: Payload::Bytes(Cow::Borrowed(&[])),
        };
        (self.payload, rest)
    }

    /// The same variable with other bytes.
    pub(crate) fn with(self, payload: Payload<'a>) -> Self {
        Variable { payload, ..self }
    }

    /// The same variable, whose bytes are elements of another dtype.
    pub(crate) fn with_dtype(self, dtype: DType) -> Self {
        Variable { dtype, ..self }
    }

    /// This as one slice of a partitioned variable of the same name and of shape `whole`. Its own shape is that of the
    /// slice. Readers join the slices; TensorFlow does so for all numeric dtypes but float16, uint16, uint32, uint64
    /// and the float8s, of which it reads single slices only.
    #[must_use]
    pub fn slice_of(mut self, whole: impl Into<Shape>, slice: Slice) -> Self {
        self.part = Some(Box::new((whole.into(), slice)));
        self
    }

    /// This as a variable that no optimizer trains: slots, counters, running statistics. Only the graph in the `.meta`
    /// file tells; there, integers, strings and `global_step` are never trainable.
    #[must_use]
    pub fn non_trainable(mut self) -> Self {
        self.trainable = false;
        self
    }

    /// Whether an optimizer trains it, as far as the caller said. Default: true, as in TensorFlow.
    pub fn is_trainable(&self) -> bool {
        self.trainable
    }

    /// Of a slice: the shape of the whole variable, and which part this is.
    pub fn part(&self) -> Option<(&Shape, &Slice)> {
        self.part.as_deref().map(|(whole, slice)| (whole, slice))
    }

    /// The same variable under another name.
    #[must_use]
    pub fn renamed(mut self, name: impl Into<Vec<u8>>) -> Self {
        self.name = name.into();
        self
    }

    /// The name, as text; bytes that are not UTF-8 are replaced.
    pub fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }

    /// The name, as the bytes that are stored.
    pub fn key(&self) -> &[u8] {
        &self.name
    }

    /// The dtype.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The number of bytes of the elements; `None` for strings, or if it overflows.
    pub fn byte_len(&self) -> Option<u64> {
        self.shape.element_count()?.checked_mul(self.dtype.size()? as u64)
    }
}

impl std::fmt::Debug for Variable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variable")
            .field("name", &self.name())
            .field("dtype", &self.dtype)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}
