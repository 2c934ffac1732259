//! Tensor bundles: one index file and the data files that it points into.
//!
//! ```text
//! PREFIX.index                  a table: "" → header, then every variable's name → dtype, shape, shard, offset, size, crc32c
//! PREFIX.data-00000-of-00002    the bytes of variables, end to end, without padding, in the order of writing
//! PREFIX.data-00001-of-00002
//! ```
//!
//! Source: `tensorflow/core/util/tensor_bundle/tensor_bundle.cc`.

mod bands;
mod batch;
mod data;
mod entries;
mod entry;
mod header;
mod index;
mod jobs;
mod join;
mod laid_out;
mod parallel;
mod payload;
mod reader;
mod region;
mod snapshot;
mod source;
mod spec;
mod v1;
mod v1_values;
mod v2;
mod writer;

pub use batch::Reading;
pub(crate) use entries::Entries;
pub use entry::VariableInfo;
pub(crate) use index::{read_entries, sync, write_index};
pub use payload::Strings;
pub(crate) use reader::Names;
pub use reader::{Bundle, Endianness, Format};
pub(crate) use snapshot::Arena;
pub(crate) use v1::matches;
pub use writer::{BundleWriter, Written};

/// Bytes that are read and hashed in one go: they stay in the CPU's cache in between.
const CHUNK: usize = 256 * 1024;

/// The name of a prefix's index file.
pub(crate) fn index_name(prefix: &str) -> String {
    format!("{prefix}.index")
}

/// The name of one of a prefix's data files.
pub(crate) fn shard_name(prefix: &str, shard: u32, num_shards: u32) -> String {
    format!("{prefix}.data-{shard:05}-of-{num_shards:05}")
}

/// Takes the name of a data file apart: prefix, shard, number of shards.
pub(crate) fn parse_shard_name(name: &str) -> Option<(&str, u32, u32)> {
    let (prefix, numbers) = name.rsplit_once(".data-")?;
    let (shard, of) = numbers.split_once("-of-")?;
    let number = |digits: &str| {
        let plain = digits.len() >= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
        if plain { digits.parse::<u32>().ok() } else { None }
    };
    Some((prefix, number(shard)?, number(of)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_names_survive_the_round_trip() {
        for (shard, of) in [(0, 1), (2, 3), (123_456, 1_234_567)] {
            assert_eq!(
                parse_shard_name(&shard_name("a.b", shard, of)),
                Some(("a.b", shard, of))
            );
        }
        for name in [
            "m.index",
            "m.data-0-of-1",
            "m.data-00000-of-00001.tempstate77",
            "m.data-+0000-of-00001",
        ] {
            assert_eq!(parse_shard_name(name), None, "{name}");
        }
    }
}
