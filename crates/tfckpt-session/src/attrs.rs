//! Attributes of a node, decoded once.

use tfckpt::{AttrValue, DType, Node};

use crate::error::{Error, Result};

/// The attributes of a node. One that is missing has its default: TensorFlow leaves those out on request.
#[derive(Debug, Clone, Copy)]
pub struct Attrs<'g> {
    node: Node<'g>,
}

impl<'g> Attrs<'g> {
    pub(crate) fn new(node: Node<'g>) -> Self {
        Attrs { node }
    }

    /// The node.
    pub fn node(&self) -> Node<'g> {
        self.node
    }

    /// An attribute, as it is in the graph.
    pub fn get(&self, key: &str) -> Option<AttrValue<'g>> {
        self.node.attr(key)
    }

    /// A number.
    ///
    /// # Errors
    /// It is no number.
    pub fn int(&self, key: &str, default: i64) -> Result<i64> {
        match self.get(key) {
            None => Ok(default),
            Some(AttrValue::Int(value)) => Ok(value),
            Some(other) => Err(misfit(key, "a number", &other)),
        }
    }

    /// A count.
    ///
    /// # Errors
    /// It is no number, or negative.
    pub fn count(&self, key: &str, default: usize) -> Result<usize> {
        let default = i64::try_from(default).unwrap_or(i64::MAX);
        let value = self.int(key, default)?;
        usize::try_from(value).map_err(|_| Error::graph(format!("attribute `{key}` is {value}")))
    }

    /// A number.
    ///
    /// # Errors
    /// It is no number.
    pub fn float(&self, key: &str, default: f32) -> Result<f32> {
        match self.get(key) {
            None => Ok(default),
            Some(AttrValue::Float(value)) => Ok(value),
            Some(other) => Err(misfit(key, "a number", &other)),
        }
    }

    /// A truth.
    ///
    /// # Errors
    /// It is none.
    pub fn bool(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(AttrValue::Bool(value)) => Ok(value),
            Some(other) => Err(misfit(key, "a truth", &other)),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// It is none.
    pub fn text(&self, key: &str, default: &'g str) -> Result<&'g str> {
        match self.get(key) {
            None => Ok(default),
            Some(AttrValue::Bytes(bytes)) => {
                std::str::from_utf8(bytes).map_err(|_| Error::graph(format!("attribute `{key}` is no text")))
            }
            Some(other) => Err(misfit(key, "a text", &other)),
        }
    }

    /// Numbers.
    ///
    /// # Errors
    /// There are others among them.
    pub fn ints(&self, key: &str) -> Result<Vec<i64>> {
        let list = match self.get(key) {
            None => return Ok(Vec::new()),
            Some(AttrValue::List(list)) => list,
            Some(other) => return Err(misfit(key, "a list of numbers", &other)),
        };
        let int = |value: &AttrValue<'_>| match value {
            AttrValue::Int(value) => Ok(*value),
            other => Err(misfit(key, "a list of numbers", other)),
        };
        list.iter().map(int).collect()
    }

    /// A dtype.
    ///
    /// # Errors
    /// It is none, or one that nobody knows.
    pub fn dtype(&self, key: &str, default: DType) -> Result<DType> {
        match self.get(key) {
            None => Ok(default),
            Some(AttrValue::Type(number)) => AttrValue::dtype_of(number)
                .ok_or_else(|| Error::graph(format!("attribute `{key}` is dtype {number}, which is not known"))),
            Some(other) => Err(misfit(key, "a dtype", &other)),
        }
    }

    /// A shape, of which dimensions or the rank may be open.
    ///
    /// # Errors
    /// It is none.
    pub fn shape(&self, key: &str) -> Result<Option<Vec<Option<u64>>>> {
        match self.get(key) {
            None => Ok(None),
            Some(AttrValue::Shape(shape)) => Ok(shape),
            Some(other) => Err(misfit(key, "a shape", &other)),
        }
    }

    /// The name of a function.
    ///
    /// # Errors
    /// It is missing, or no function.
    pub fn function(&self, key: &str) -> Result<&'g str> {
        match self.get(key) {
            Some(AttrValue::Function(name)) => Ok(name),
            other => Err(Error::graph(format!("attribute `{key}` is {other:?}, not a function"))),
        }
    }

    /// All dtypes among the attributes.
    pub(crate) fn dtypes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        for (_, value) in self.node.attrs() {
            match value {
                AttrValue::Type(number) => found.push(number),
                AttrValue::List(list) => found.extend(list.iter().filter_map(|value| match value {
                    AttrValue::Type(number) => Some(*number),
                    _ => None,
                })),
                _ => {}
            }
        }
        found
    }
}

fn misfit(key: &str, wanted: &str, found: &AttrValue<'_>) -> Error {
    let mut found = format!("{found:?}");
    found.truncate(found.char_indices().nth(80).map_or(found.len(), |(at, _)| at));
    Error::graph(format!("attribute `{key}` is not {wanted} but {found}"))
}
