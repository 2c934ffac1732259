//! What low layers find wrong: they know offsets, but no paths and no names.

/// What is wrong with an index table. Offsets are in bytes from the start of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// Shorter than the footer.
    #[error("{len} bytes are too short for a table, whose footer alone has 48")]
    TooShort {
        /// The length of the file.
        len: u64,
    },
    /// The last eight bytes are not the magic number.
    #[error(
        "magic number {found:#018x} in the last 8 bytes, expected 0xdb4775248b80fb57: truncated, or no checkpoint index"
    )]
    BadMagic {
        /// What stands there.
        found: u64,
    },
    /// A footer or index handle does not parse.
    #[error("unreadable block handle at byte {offset}")]
    BadHandle {
        /// Where.
        offset: u64,
    },
    /// A block does not lie within the file.
    #[error("block at byte {offset} with {size} bytes reaches past the end of the file at {file_len}")]
    BlockOutOfRange {
        /// Where the block should start.
        offset: u64,
        /// Its size.
        size: u64,
        /// The length of the file.
        file_len: u64,
    },
    /// A block's checksum is wrong.
    #[error("checksum mismatch in the block at bytes {offset}..{}: crc32c {computed:#010x}, stored {stored:#010x}", offset + size)]
    BlockChecksum {
        /// Where the block starts.
        offset: u64,
        /// Its size.
        size: u64,
        /// The checksum in the file (unmasked).
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A block is stored in an unknown way.
    #[error("block at byte {offset} has compression type {found}, expected 0 (none) or 1 (snappy)")]
    BadBlockType {
        /// Where the block starts.
        offset: u64,
        /// The type byte.
        found: u8,
    },
    /// A compressed block does not decompress.
    #[error("block at byte {offset} does not decompress: {reason}")]
    BadCompression {
        /// Where the block starts.
        offset: u64,
        /// The decompressor's words.
        reason: String,
    },
    /// An entry or the restart array of a block does not parse.
    #[error("block at byte {offset} is malformed: {reason}")]
    BadBlock {
        /// Where the block starts.
        offset: u64,
        /// What does not fit.
        reason: &'static str,
    },
    /// Keys are not strictly ascending.
    #[error("keys out of order in the block at byte {offset}: `{}` after `{}`", key.escape_ascii(), previous.escape_ascii())]
    KeyOrder {
        /// Where the block starts.
        offset: u64,
        /// The key before.
        previous: Vec<u8>,
        /// The key that should have been greater.
        key: Vec<u8>,
    },
    /// The keys are larger than prefix compression of this file can justify.
    #[error("the keys expand to more than {limit} bytes, which an honest index of this size cannot hold")]
    KeyBomb {
        /// The limit for a file of this length.
        limit: u64,
    },
    /// The table does not start with a bundle header.
    #[error("no bundle header in the first entry: {reason}")]
    NoHeader {
        /// What stands there instead.
        reason: &'static str,
    },
}

/// What is wrong with one variable's entry in the index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryFault {
    /// The entry is no `BundleEntryProto`.
    #[error("not a BundleEntryProto")]
    Unparsable,
    /// The dtype is none that TensorFlow knows.
    #[error("unknown dtype {0}")]
    UnknownDtype(i32),
    /// A dimension is negative, there are more than 254, or their product overflows.
    #[error("impossible shape {0:?}")]
    BadShape(Vec<i64>),
    /// The stored size is not what dtype and shape require.
    #[error("stored size {stored}, but {expected} expected from dtype and shape")]
    BadSize {
        /// The size in the entry.
        stored: i64,
        /// The size from dtype and shape.
        expected: u64,
    },
    /// The offset is negative, or offset + size overflows.
    #[error("impossible offset {0}")]
    BadOffset(i64),
    /// A slice of a partitioned variable does not lie within it, or is stored with another shape or dtype.
    #[error("slice {slice} does not fit the variable")]
    BadSlice {
        /// The slice.
        slice: String,
    },
    /// A slice of a partitioned variable has no entry of its own.
    #[error("slice {slice} is not there: the index is incomplete")]
    MissingSlice {
        /// The slice.
        slice: String,
    },
    /// The slices do not make up the part of the variable that was asked for.
    #[error("the slices hold {covered} of {elements} elements that are needed")]
    IncompleteSlices {
        /// Elements that some slice holds.
        covered: u64,
        /// Elements that were asked for.
        elements: u64,
    },
    /// Two slices hold the same elements with different values.
    #[error("slice {slice} overlaps another one and differs from it there")]
    ConflictingSlices {
        /// The later of the two.
        slice: String,
    },
    /// The slices declare more bytes than their data files have in all.
    #[error("its slices declare {declared} bytes, but their data files have {available}")]
    OversizedSlices {
        /// Bytes that were asked for.
        declared: u64,
        /// Bytes of all data files that hold slices.
        available: u64,
    },
    /// The shard does not exist.
    #[error("shard {shard} of {num_shards}")]
    BadShard {
        /// The shard in the entry.
        shard: i32,
        /// How many shards the header declares.
        num_shards: u32,
    },
}
