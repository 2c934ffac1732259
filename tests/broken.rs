//! Every broken file gets the error that fits, and none is accepted by accident.

mod support;

use std::collections::BTreeSet;
use std::fs;

use support::{expected, fixture};
use tfckpt::{Checkpoint, EntryFault, Error, ErrorKind, Limits, TableError};

/// Whether opening, or reading `variable`, fails as it should.
type Check = fn(&Error) -> bool;

/// What a damaged checkpoint must give.
enum Outcome {
    /// Nothing can be read.
    Open(Check),
    /// These variables cannot be read, the others can.
    Read(&'static [&'static str], Check),
    /// The damage is where nobody looks.
    Harmless,
    /// The whole list of variables is empty.
    Empty,
}

fn index_fault(error: &Error, wanted: fn(&TableError) -> bool) -> bool {
    matches!(error, Error::CorruptIndex { fault, .. } if wanted(fault))
}

fn entry_fault(error: &Error, wanted: fn(&EntryFault) -> bool) -> bool {
    matches!(error, Error::CorruptEntry { fault, name, .. } if wanted(fault) && name == "x")
}

fn outcome(case: &str) -> Option<Outcome> {
    use Outcome::*;
    Some(match case {
        "blocktype_1_not_snappy" => Open(|e| index_fault(e, |t| matches!(t, TableError::BadCompression { .. }))),
        "blocktype_2" => Open(|e| index_fault(e, |t| matches!(t, TableError::BadBlockType { found: 2, .. }))),
        "data_flip" => Read(
            &["x"],
            |e| matches!(e, Error::Checksum { name, offset: 0, size: 24, .. } if name == "x"),
        ),
        "data_missing" => Read(&["s", "x", "y"], |e| matches!(e, Error::ShardMissing { .. })),
        "data_truncated" => Read(&["s", "x", "y"], |e| matches!(e, Error::ShardTruncated { .. })),
        "datablock_crc_flip" | "datablock_flip" | "indexblock_flip" => {
            Open(|e| index_fault(e, |t| matches!(t, TableError::BlockChecksum { .. })))
        }
        "empty_table" => Open(|e| index_fault(e, |t| matches!(t, TableError::NoHeader { .. }))),
        "entry_crc_zero" => Read(&["x"], |e| matches!(e, Error::Checksum { .. })),
        "entry_dtype_int32" => Harmless,
        "entry_dtype_unknown" => Read(&["x"], |e| entry_fault(e, |f| *f == EntryFault::UnknownDtype(50))),
        "entry_garbage" => Read(&["x"], |e| entry_fault(e, |f| *f == EntryFault::Unparsable)),
        "entry_offset_negative" => Read(&["x"], |e| entry_fault(e, |f| *f == EntryFault::BadOffset(-5))),
        "entry_offset_past_end" => Read(&["x"], |e| matches!(e, Error::ShardTruncated { .. })),
        "entry_shard_3" => Read(&["x"], |e| {
            entry_fault(e, |f| {
                *f == EntryFault::BadShard {
                    shard: 3,
                    num_shards: 1,
                }
            })
        }),
        "entry_size_negative" => Read(&["x"], |e| {
            entry_fault(e, |f| {
                *f == EntryFault::BadSize {
                    stored: -1,
                    expected: 24,
                }
            })
        }),
        "entry_size_small" => Read(&["x"], |e| {
            entry_fault(e, |f| {
                *f == EntryFault::BadSize {
                    stored: 20,
                    expected: 24,
                }
            })
        }),
        "footer_bad_handle" => Open(|e| index_fault(e, |t| matches!(t, TableError::BadHandle { .. }))),
        "header_bad_consumer" | "header_min_consumer_2" => Open(|e| matches!(e, Error::Unsupported { .. })),
        "header_garbage" => Open(|e| index_fault(e, |t| matches!(t, TableError::NoHeader { .. }))),
        "header_only" => Empty,
        "header_shards_2" => Read(&["s", "x", "y"], |e| matches!(e, Error::ShardMissing { .. })),
        "index_47" | "index_empty" => Open(|e| index_fault(e, |t| matches!(t, TableError::TooShort { .. }))),
        "index_extra1" | "index_truncated1" | "magic_flip" => {
            Open(|e| index_fault(e, |t| matches!(t, TableError::BadMagic { .. })))
        }
        "index_missing" => Open(|e| matches!(e, Error::NoCheckpoint { .. })),
        "keys_unsorted" => Open(|e| index_fault(e, |t| matches!(t, TableError::KeyOrder { .. }))),
        "metaindex_flip" | "ok" => Harmless,
        "slice_entries_missing" | "slices_incomplete" | "slices_overlap" => Read(&["x"], |e| {
            entry_fault(e, |f| matches!(f, EntryFault::MissingSlice { .. }))
        }),
        "str_byte_flip" => Read(&["s"], |e| matches!(e, Error::Checksum { name, .. } if name == "s")),
        "str_len_flip" | "str_lencrc_flip" => Read(&["s"], |e| matches!(e, Error::CorruptPayload { .. })),
        _ => return None,
    })
}

#[test]
fn each_broken_file_gets_the_error_that_fits() {
    let expected = expected("corrupt");
    let mut cases: BTreeSet<String> = expected["cases"].as_object().unwrap().keys().cloned().collect();
    for entry in fs::read_dir(fixture("corrupt"))
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_dir())
    {
        cases.insert(entry.file_name().into_string().unwrap());
    }
    assert_eq!(cases.len(), 39);
    for case in cases {
        let outcome = outcome(&case).unwrap_or_else(|| panic!("`{case}` has no expectation"));
        let opened = Checkpoint::open(fixture("corrupt").join(&case).join("m"));
        let (failing, check): (&[&str], Check) = match outcome {
            Outcome::Open(check) => {
                let error = opened.expect_err(&case);
                assert!(check(&error), "{case}: {error:?}");
                continue;
            }
            Outcome::Empty => {
                assert_eq!(opened.expect(&case).variables().len(), 0, "{case}");
                continue;
            }
            Outcome::Harmless => (&[], |_| false),
            Outcome::Read(failing, check) => (failing, check),
        };
        let checkpoint = opened.unwrap_or_else(|error| panic!("{case}: {error}"));
        for name in ["s", "x", "y"] {
            let read = checkpoint.read_bytes(name);
            let verified = checkpoint.variable(name).and_then(|info| checkpoint.verify(info));
            match failing.contains(&name) {
                true => {
                    let error = read.expect_err(&format!("{case}: {name}"));
                    assert!(check(&error), "{case}: {name}: {error:?}");
                    assert!(verified.is_err(), "{case}: {name}: verify must see what reading sees");
                }
                false => {
                    read.unwrap_or_else(|error| panic!("{case}: {name}: {error}"));
                    verified.unwrap();
                }
            }
        }
    }
}

/// Flips each bit of each byte of a small index, and checks that nothing panics and nothing wrong is read.
#[test]
fn no_flipped_bit_of_an_index_goes_unnoticed_where_it_matters() {
    let good = Checkpoint::open(fixture("corrupt/ok/m")).unwrap();
    let index = fs::read(fixture("corrupt/ok/m.index")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::copy(
        fixture("corrupt/ok/m.data-00000-of-00001"),
        dir.path().join("m.data-00000-of-00001"),
    )
    .unwrap();
    for bit in 0..index.len() * 8 {
        let mut bad = index.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        fs::write(dir.path().join("m.index"), &bad).unwrap();
        let Ok(checkpoint) = Checkpoint::open(dir.path().join("m")) else {
            continue;
        };
        for info in checkpoint.variables() {
            let bytes = checkpoint.read_bytes(info.key()).unwrap();
            assert_eq!(bytes, good.read_bytes(info.key()).unwrap(), "bit {bit}");
        }
    }
}

#[test]
fn an_index_cut_at_any_byte_is_an_error() {
    let index = fs::read(fixture("shapes/a.index")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for len in 0..index.len() {
        fs::write(dir.path().join("m.index"), &index[..len]).unwrap();
        let error = Checkpoint::open(dir.path().join("m")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{len}: {error}");
    }
}

#[test]
fn limits_are_enforced_and_can_be_raised() {
    let path = fixture("shapes/a");
    let refused = |limits: Limits| {
        let error = match Checkpoint::open_with(&path, &limits) {
            Ok(checkpoint) => checkpoint.variables().find_map(|info| checkpoint.verify(info).err()),
            Err(error) => Some(error),
        };
        assert!(matches!(error, Some(Error::LimitExceeded { .. })), "{error:?}");
    };
    refused(Limits::new().with_index_bytes(100));
    refused(Limits::new().with_variables(2));
    refused(Limits::new().with_name_bytes(1));
    refused(Limits::new().with_shards(0));
    refused(Limits::new().with_tensor_bytes(3));
    assert!(Checkpoint::open(&path).is_ok());
}
