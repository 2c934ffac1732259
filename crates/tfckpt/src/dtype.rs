//! TensorFlow's data types, by their numbers in `types.proto`.

/// A TensorFlow dtype. The discriminants are those of `tensorflow/core/framework/types.proto`.
///
/// `Display` prints TensorFlow's name: `float32`, `bfloat16`, `string`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the variants are TensorFlow's own names")]
pub enum DType {
    Float32 = 1,
    Float64 = 2,
    Int32 = 3,
    Uint8 = 4,
    Int16 = 5,
    Int8 = 6,
    String = 7,
    Complex64 = 8,
    Int64 = 9,
    Bool = 10,
    Qint8 = 11,
    Quint8 = 12,
    Qint32 = 13,
    Bfloat16 = 14,
    Qint16 = 15,
    Quint16 = 16,
    Uint16 = 17,
    Complex128 = 18,
    Float16 = 19,
    Resource = 20,
    Variant = 21,
    Uint32 = 22,
    Uint64 = 23,
    Float8E5m2 = 24,
    Float8E4m3fn = 25,
    Float8E4m3fnuz = 26,
    Float8E4m3b11fnuz = 27,
    Float8E5m2fnuz = 28,
    Int4 = 29,
    Uint4 = 30,
    Int2 = 31,
    Uint2 = 32,
    Float4E2m1fn = 33,
}

/// dtype, TensorFlow's name, bytes of an element in a data file (0: no fixed size), bytes of the words that a
/// big-endian file swaps.
const TABLE: [(DType, &str, usize, usize); 33] = {
    use DType::*;
    [
        (Float32, "float32", 4, 4),
        (Float64, "float64", 8, 8),
        (Int32, "int32", 4, 4),
        (Uint8, "uint8", 1, 1),
        (Int16, "int16", 2, 2),
        (Int8, "int8", 1, 1),
        (String, "string", 0, 1),
        (Complex64, "complex64", 8, 4),
        (Int64, "int64", 8, 8),
        (Bool, "bool", 1, 1),
        (Qint8, "qint8", 1, 1),
        (Quint8, "quint8", 1, 1),
        (Qint32, "qint32", 4, 4),
        (Bfloat16, "bfloat16", 2, 2),
        (Qint16, "qint16", 2, 2),
        (Quint16, "quint16", 2, 2),
        (Uint16, "uint16", 2, 2),
        (Complex128, "complex128", 16, 8),
        (Float16, "float16", 2, 2),
        (Resource, "resource", 0, 1),
        (Variant, "variant", 0, 1),
        (Uint32, "uint32", 4, 4),
        (Uint64, "uint64", 8, 8),
        (Float8E5m2, "float8_e5m2", 1, 1),
        (Float8E4m3fn, "float8_e4m3fn", 1, 1),
        (Float8E4m3fnuz, "float8_e4m3fnuz", 1, 1),
        (Float8E4m3b11fnuz, "float8_e4m3b11fnuz", 1, 1),
        (Float8E5m2fnuz, "float8_e5m2fnuz", 1, 1),
        (Int4, "int4", 1, 1),
        (Uint4, "uint4", 1, 1),
        (Int2, "int2", 1, 1),
        (Uint2, "uint2", 1, 1),
        (Float4E2m1fn, "float4_e2m1fn", 1, 1),
    ]
};

impl DType {
    /// All dtypes, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = DType> {
        TABLE.iter().map(|row| row.0)
    }

    /// The number in `types.proto`, which is what a checkpoint stores.
    pub fn number(self) -> i32 {
        self as i32
    }

    /// The dtype of a number in `types.proto`; `None` for invalid and reference types, which are never on disk.
    pub fn from_number(number: i32) -> Option<DType> {
        Self::all().find(|dtype| dtype.number() == number)
    }

    /// TensorFlow's name: `float32`, `bfloat16`, `string`, …
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The dtype with this name.
    pub fn from_name(name: &str) -> Option<DType> {
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// Bytes of one element in a data file; `None` for `string`, `variant` and `resource`, which have no fixed size.
    /// The 4-bit and 2-bit types take one byte each.
    pub fn size(self) -> Option<usize> {
        Some(self.row().2).filter(|&size| size > 0)
    }

    /// Bytes of the words that have a byte order: half an element for complex numbers.
    pub(crate) fn word_size(self) -> usize {
        self.row().3
    }

    fn row(self) -> &'static (DType, &'static str, usize, usize) {
        #[expect(
            clippy::indexing_slicing,
            reason = "the table has a row for each variant, in their order"
        )]
        &TABLE[self as usize - 1]
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_numbers() {
        for (number, dtype) in (1..).zip(DType::all()) {
            assert_eq!(dtype.number(), number);
            assert_eq!(DType::from_number(dtype.number()), Some(dtype));
            assert_eq!(DType::from_name(dtype.name()), Some(dtype));
        }
        assert_eq!(DType::from_number(0), None);
        assert_eq!(DType::from_number(101), None, "reference types are never on disk");
    }
}
