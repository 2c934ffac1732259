//! Variables that are made of several parameters while they are written.

use std::fmt;
use std::sync::Arc;

use crate::dtype::DType;
use crate::error::{BoxError, Error, Result};
use crate::layout::{Given, Layout, Ready, Recipe, Source};
use crate::map::convert::Conversion;
use crate::shape::Shape;
use crate::tensor::{Sink, Variable};

type Fetch<'a> = Arc<dyn Fn(&mut Sink<'_>) -> Result<(), BoxError> + Send + Sync + 'a>;

/// A parameter on its way into a variable: its shape, and where its bytes are.
#[derive(Clone)]
pub struct Ingredient<'a> {
    dtype: DType,
    stored: DType,
    dims: Vec<usize>,
    fetch: Fetch<'a>,
}

impl<'a> Ingredient<'a> {
    /// `fetch` passes the bytes to a sink, little-endian and row-major, in pieces of any size. It is called once for each
    /// variable that has to do with the parameter, perhaps by several threads at once.
    pub fn new(
        dtype: DType,
        dims: impl Into<Vec<usize>>,
        fetch: impl Fn(&mut Sink<'_>) -> Result<(), BoxError> + Send + Sync + 'a,
    ) -> Self {
        Ingredient {
            dtype,
            stored: dtype,
            dims: dims.into(),
            fetch: Arc::new(fetch),
        }
    }

    /// The dtype that a variable made of it is stored in: its values are converted, exactly, while they are written, and
    /// saving fails if one does not fit. All ingredients of a variable are to be stored in the same. Default: its own.
    #[must_use]
    pub fn stored_as(mut self, dtype: DType) -> Self {
        self.stored = dtype;
        self
    }

    /// Its dtype.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Its shape.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// All its bytes.
    ///
    /// # Errors
    /// Those of fetching them, and one if there are too few or too many.
    pub fn bytes(&self) -> Result<Vec<u8>, BoxError> {
        let size = self.dtype.size().ok_or("the elements have no fixed size")?;
        let len = self
            .dims
            .iter()
            .try_fold(size, |product, &dim| product.checked_mul(dim));
        let len = len.ok_or("the shape has more elements than can be")?;
        let mut bytes = Vec::with_capacity(len);
        (self.fetch)(&mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        match bytes.len() == len {
            true => Ok(bytes),
            false => Err(format!(
                "{} bytes were given, {len} needed for {} {:?}",
                bytes.len(),
                self.dtype,
                self.dims
            )
            .into()),
        }
    }
}

impl Ingredient<'_> {
    fn bytes_of(&self, name: &str) -> Result<Vec<u8>> {
        let failed = |source| Error::Source {
            name: name.to_owned(),
            source,
        };
        self.bytes().map_err(failed)
    }
}

impl fmt::Debug for Ingredient<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingredient")
            .field("dtype", &self.dtype)
            .field("dims", &self.dims)
            .finish_non_exhaustive()
    }
}

/// A parameter that shares its variable with another one: tied weights.
#[derive(Debug, Clone, Copy)]
pub struct Tied<'t> {
    /// Its path in the model.
    pub path: &'t str,
    /// How the variable is laid out.
    pub layout: Layout,
    /// Its bytes, in the layout of the model.
    pub ingredient: &'t Ingredient<'t>,
}

impl Tied<'_> {
    /// That the variable `name` is the same made of either: of the same dtype, shape and bytes. Both are fetched, laid out
    /// and in memory meanwhile.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if it is not, and [`Error::Source`] if the bytes cannot be fetched.
    pub fn must_equal(&self, first: &Tied<'_>, name: &str) -> Result<()> {
        if self.stored()? == first.stored()? {
            return Ok(());
        }
        let (first, second) = (first.path, self.path);
        Err(Error::invalid(format!(
            "`{first}` and `{second}` are both called `{name}`, and have different values: two parameters that share a \
             variable must be equal; give one of them another name with `NameMap::rename`"
        )))
    }

    /// Dtype, shape and bytes of the variable.
    fn stored(&self) -> Result<(DType, Option<Shape>, Vec<u8>)> {
        let (dims, dtype) = (self.ingredient.dims(), self.ingredient.dtype());
        let failed = |source| Error::Source {
            name: self.path.to_owned(),
            source,
        };
        let bytes = self.ingredient.bytes().map_err(failed)?;
        let mut moved = bytes.clone();
        if let (Some(transform), Some(size)) = (self.layout.to_stored(dims), dtype.size()) {
            transform.apply(size, &bytes, &mut moved);
        }
        Ok((dtype, self.layout.stored_shape(dims), moved))
    }
}

impl Recipe {
    /// The variable `name`, made of parameters while it is written: then its ingredients are in memory, and the result.
    /// `find` gives the parameters by the names of the sources.
    ///
    /// ```
    /// use tfckpt::map::{Ingredient, Recipe};
    ///
    /// # fn main() -> tfckpt::Result<()> {
    /// let gate = |first: f32| {
    ///     let values = [first, first + 1.0];
    ///     Ingredient::new(tfckpt::DType::Float32, [2, 1], move |sink| {
    ///         values.iter().try_for_each(|value| sink(&value.to_le_bytes()))
    ///     })
    /// };
    /// let gates = Recipe::concat(1, [Recipe::source("i"), Recipe::source("f")]);
    /// let kernel = gates.variable("kernel", |name| Some(gate(if name == "i" { 0.0 } else { 10.0 })))?;
    /// assert_eq!(kernel.shape().dims(), [2, 2]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the recipe does not fit the parameters, or they are to be stored in different dtypes, or
    /// cannot be stored so.
    pub fn variable<'a>(
        &self,
        name: impl Into<String>,
        find: impl Fn(&str) -> Option<Ingredient<'a>>,
    ) -> Result<Variable<'a>> {
        let name = name.into();
        let (dtype, ready, parts) = self.prepared(&name, &find)?;
        let conversion = stored(&name, dtype, &parts)?;
        let dims = ready.dims().to_vec();
        let variable = Variable::deferred(name, dtype, dims, move |sink| {
            let bytes: Vec<Vec<u8>> = parts.iter().map(Ingredient::bytes).collect::<Result<_, _>>()?;
            let bytes: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
            sink(&ready.bytes(dtype, &bytes))
        });
        Ok(variable.converted(conversion))
    }

    /// Whether the result is zero everywhere, with the parameters as they are now.
    pub(super) fn is_zero<'a>(&self, name: &str, find: &dyn Fn(&str) -> Option<Ingredient<'a>>) -> Result<bool> {
        let (dtype, ready, parts) = self.prepared(name, find)?;
        let bytes = parts
            .iter()
            .map(|part| part.bytes_of(name))
            .collect::<Result<Vec<_>>>()?;
        let bytes: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        Ok(ready.bytes(dtype, &bytes).iter().all(|byte| *byte == 0))
    }

    /// Whether a parameter has the very bytes of this, which has no sources.
    pub(super) fn equals(&self, name: &str, parameter: Ingredient<'_>) -> Result<bool> {
        let fault = |fault| Error::invalid(format!("`{name}`: {fault}"));
        let ready = self.check(parameter.dtype, &mut |_| None).map_err(fault)?;
        Ok(ready.bytes(parameter.dtype, &[]) == parameter.bytes_of(name)?)
    }

    /// This, checked, and its ingredients in the order of their numbers.
    fn prepared<'a>(
        &self,
        name: &str,
        find: &dyn Fn(&str) -> Option<Ingredient<'a>>,
    ) -> Result<(DType, Ready, Vec<Ingredient<'a>>)> {
        let mut parts: Vec<Ingredient<'a>> = Vec::new();
        let mut give = |source: &Source| {
            let (found, part) = source.names.iter().find_map(|name| Some((name, find(name)?)))?;
            let given = Given {
                number: parts.len(),
                name: found.clone(),
                dtype: part.dtype,
                dims: part.dims.clone(),
            };
            parts.push(part);
            Some(given)
        };
        let first = self.sources().next();
        let first = first.and_then(|source| source.names.iter().find_map(|name| find(name)));
        let dtype = first.map_or(DType::Float32, |part| part.dtype);
        let ready = self
            .check(dtype, &mut give)
            .map_err(|fault| Error::invalid(format!("variable `{name}` cannot be made: {fault}")))?;
        Ok((dtype, ready, parts))
    }
}

/// How what is made of these ingredients is stored.
fn stored(name: &str, dtype: DType, parts: &[Ingredient<'_>]) -> Result<Conversion> {
    let wanted = parts.first().map_or(dtype, |part| part.stored);
    if let Some(other) = parts.iter().find(|part| part.stored != wanted) {
        let other = other.stored;
        return Err(Error::invalid(format!(
            "variable `{name}` is made of parameters of which some are to be stored as {wanted} and others as {other}: say the \
             same for all with `NameMap::stored_as`"
        )));
    }
    let impossible = || {
        Error::invalid(format!(
            "variable `{name}` is made of {dtype} and cannot be stored as {wanted}"
        ))
    };
    Conversion::new(dtype, wanted).ok_or_else(impossible)
}
