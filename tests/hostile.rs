//! Files made to hurt: each gives an error, or what is there, and no more memory than the file can justify.

#[path = "support/table.rs"]
mod table;

use std::sync::Arc;

use peak_alloc::PeakAlloc;
use table::{bytes, entry, header, number, record, shape, table, table_of_block, varint};
use tfckpt::io::MemoryDir;
use tfckpt::{Bundle, Checkpoint, EntryFault, Error, Limits, MetaGraph, Result, Slice, TableError};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// How much memory a file may make us use for each of its bytes, and how much for nothing.
const PER_BYTE: usize = 64;
const BASE: usize = 600 * 1024;

/// Opens the index with a data file, reads every variable in every way, and compares the memory that it took with
/// the bytes that were there. The error of opening, or of each variable.
fn attack(index: Vec<u8>, data: Vec<u8>) -> Result<Vec<Result<()>>> {
    let storage = MemoryDir::new();
    let given = index.len() + data.len();
    storage.insert("m.index", index);
    storage.insert("m.data-00000-of-00001", data);
    open_and_read(&storage, "m", given)
}

/// The same with a file of the V1 format.
fn attack_v1(file: Vec<u8>) -> Result<Vec<Result<()>>> {
    let storage = MemoryDir::new();
    let given = file.len();
    storage.insert("v1", file);
    open_and_read(&storage, "v1", given)
}

fn open_and_read(storage: &MemoryDir, name: &str, given: usize) -> Result<Vec<Result<()>>> {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let outcome = Bundle::open(Arc::new(storage.clone()), name, &Limits::default()).map(|bundle| {
        let read = |info: &tfckpt::VariableInfo| {
            bundle.verify(info)?;
            let _ = bundle.read_slice_bytes(info.key(), &Slice::new(vec![Some(0..1); info.shape().rank()]));
            bundle.read_bytes(info.key()).map(drop)
        };
        let mut outcomes: Vec<Result<()>> = bundle.variables().map(read).collect();
        outcomes.extend(bundle.faults().map(|(key, _)| bundle.read_bytes(key).map(drop)));
        outcomes
    });
    let used = MEMORY.peak_usage().saturating_sub(before);
    assert!(used <= PER_BYTE * given + BASE, "{used} bytes for a file of {given}");
    outcome
}

/// The fault of the only variable.
fn fault(outcome: Result<Vec<Result<()>>>) -> EntryFault {
    match outcome.unwrap().swap_remove(0) {
        Err(Error::CorruptEntry { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

fn only(entry: Vec<u8>) -> Vec<u8> {
    table(&[(b"", header(1)), (b"x", entry)])
}

/// One test, because the peak is that of the whole process.
#[test]
fn no_file_makes_us_panic_or_allocate_what_is_not_there() {
    shapes_that_lie();
    sizes_that_lie();
    payloads_that_lie();
    slices_that_lie();
    tables_that_lie();
    messages_that_lie();
    old_files_that_lie();
    graphs_that_lie();
    graphs_of_the_file_system();
}

fn shapes_that_lie() {
    for dims in [&[u64::MAX][..], &[1 << 62, 4], &[0, i64::MAX as u64, 4], &[1; 255]] {
        let fault = fault(attack(only(entry(1, dims, 0, 0)), vec![]));
        assert!(matches!(fault, EntryFault::BadShape(_)), "{dims:?}: {fault}");
    }
    // 2^62 bytes, which would fit the shape, but not the file.
    let outcomes = attack(only(entry(4, &[1 << 62], 0, 1 << 62)), vec![0; 100]).unwrap();
    assert!(matches!(outcomes[0], Err(Error::LimitExceeded { .. })), "{outcomes:?}");
    let outcomes = attack(only(entry(4, &[1 << 33], 0, 1 << 33)), vec![0; 100]).unwrap();
    assert!(matches!(outcomes[0], Err(Error::ShardTruncated { .. })), "{outcomes:?}");
    // Elements without bytes: a shape of 2^60 strings, with a payload of none.
    let outcomes = attack(only(entry(7, &[1 << 60], 0, 4)), vec![0xd8, 0xea, 0x82, 0xa2]).unwrap();
    assert!(matches!(outcomes[0], Err(Error::CorruptPayload { .. })), "{outcomes:?}");
}

fn sizes_that_lie() {
    for (offset, size) in [(0, 23), (0, 25), (0, 1 << 60), (0, u64::MAX)] {
        let fault = fault(attack(only(entry(1, &[2, 3], offset, size)), vec![0; 24]));
        assert!(matches!(fault, EntryFault::BadSize { .. }), "{fault}");
    }
    let negative = fault(attack(only(entry(1, &[2, 3], u64::MAX, 24)), vec![0; 24]));
    assert!(matches!(negative, EntryFault::BadOffset(_)), "{negative}");
    let outcomes = attack(only(entry(1, &[2, 3], i64::MAX as u64 - 24, 24)), vec![0; 24]).unwrap();
    assert!(matches!(outcomes[0], Err(Error::ShardTruncated { .. })), "{outcomes:?}");
    // A million data files.
    let many = attack(
        table(&[(b"", header(1 << 20)), (b"x", entry(1, &[1], 0, 4))]),
        vec![0; 4],
    );
    assert!(matches!(many, Err(Error::LimitExceeded { .. })), "{many:?}");
    // 2,000 variables of the same MiB: read one by one, each is there only once.
    let keys: Vec<Vec<u8>> = (0..2000).map(|i| format!("v{i:05}").into_bytes()).collect();
    let mut entries: Vec<(&[u8], Vec<u8>)> = vec![(b"", header(1))];
    entries.extend(
        keys.iter()
            .map(|key| (key.as_slice(), entry(4, &[1 << 20], 0, 1 << 20))),
    );
    let outcomes = attack(table(&entries), vec![0; 1 << 20]).unwrap();
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Err(Error::Checksum { .. })))
    );
}

fn payloads_that_lie() {
    let strings = |count: u64, payload: Vec<u8>| {
        let size = payload.len() as u64;
        attack(only(entry(7, &[count], 0, size)), payload)
            .unwrap()
            .swap_remove(0)
    };
    for payload in [
        vec![],
        vec![0xff; 12],
        [varint(1 << 62), vec![0; 20]].concat(),
        vec![0x80; 40],
    ] {
        let outcome = strings(1, payload);
        assert!(matches!(outcome, Err(Error::CorruptPayload { .. })), "{outcome:?}");
    }
    // A variant whose length reaches past the end.
    let payload = [varint(1 << 50), vec![0; 30]].concat();
    let outcome = attack(only(entry(21, &[1], 0, payload.len() as u64)), payload).unwrap();
    assert!(matches!(outcome[0], Err(Error::CorruptPayload { .. })), "{outcome:?}");
}

/// A slice of the rows `start..start + length` of a matrix.
fn rows(start: u64, length: u64) -> Vec<u8> {
    let extent = |start, length| bytes(1, &[number(1, start), number(2, length)].concat());
    [extent(start, length), bytes(1, &[])].concat()
}

fn slices_that_lie() {
    let whole = |slices: &[Vec<u8>]| {
        let mut entry = number(1, 4);
        entry.extend(bytes(2, &shape(&[1 << 30, 1 << 10])));
        slices.iter().for_each(|slice| entry.extend(bytes(7, slice)));
        entry
    };
    let outside = fault(attack(only(whole(&[rows(1 << 30, 1)])), vec![]));
    assert!(matches!(outside, EntryFault::BadSlice { .. }), "{outside}");
    let missing = fault(attack(only(whole(&[rows(0, 1), rows(1, 1)])), vec![]));
    assert!(matches!(missing, EntryFault::MissingSlice { .. }), "{missing}");
    // 1,000 slices of 1 MiB each, all at the same place of one small file: 1 GiB out of nothing.
    let key = |start: u64| -> Vec<u8> {
        let start = match start {
            0..64 => vec![0x80 | start as u8],
            _ => (0xc000 | start as u16).to_be_bytes().to_vec(),
        };
        // Name `v`, rank 2, this start, length 1, all of the second dimension.
        [&[0x00, 0x76, 0x00, 0x01, 0x01, 0x02][..], &start, &[0x81, 0x80, 0x7f]].concat()
    };
    let keys: Vec<Vec<u8>> = (0..1000).map(key).collect();
    let mut entries: Vec<(&[u8], Vec<u8>)> = vec![(b"", header(1))];
    entries.extend(
        keys.iter()
            .map(|key| (key.as_slice(), entry(4, &[1, 1 << 20], 0, 1 << 20))),
    );
    let mut plain = number(1, 4);
    plain.extend(bytes(2, &shape(&[1000, 1 << 20])));
    (0..1000).for_each(|start| plain.extend(bytes(7, &rows(start, 1))));
    entries.push((b"v", plain));
    let fault = fault(attack(table(&entries), vec![0; 1 << 20]));
    assert!(matches!(fault, EntryFault::OversizedSlices { .. }), "{fault}");
}

fn tables_that_lie() {
    // 30,000 keys of 32 KiB and more, in 300 KiB: every one is the one before and another byte.
    let long = vec![b'k'; 32 << 10];
    let mut records = [record(0, b"", &header(1)), record(0, &long, &entry(1, &[], 0, 4))].concat();
    (0..30_000).for_each(|i| records.extend(record((32 << 10) + i, b"\x00", &[])));
    let bomb = attack(table_of_block(records, 0), vec![]);
    let keys = matches!(
        bomb,
        Err(Error::CorruptIndex {
            fault: TableError::KeyBomb { .. },
            ..
        })
    );
    assert!(keys, "{bomb:?}");
    // Compressed: 1 GiB declared, and nothing behind it.
    let bomb = attack(table_of_block([varint(1 << 30), vec![0xfe; 64]].concat(), 1), vec![]);
    let compression = matches!(
        bomb,
        Err(Error::CorruptIndex {
            fault: TableError::BadCompression { .. },
            ..
        })
    );
    assert!(compression, "{bomb:?}");
    // Every length of an entry that reaches past its block.
    for lying in [
        record(9, b"x", b""),
        varint(1 << 60),
        [varint(0), varint(1 << 60), varint(0)].concat(),
    ] {
        let broken = attack(table_of_block([record(0, b"", &header(1)), lying].concat(), 0), vec![]);
        assert!(matches!(broken, Err(Error::CorruptIndex { .. })), "{broken:?}");
    }
}

fn messages_that_lie() {
    // Messages within messages, deeper than any stack: groups that never end, and a shape within a shape.
    let deep = vec![0x0b; 1 << 20];
    let nested = (0..200).fold(Vec::new(), |inner, _| bytes(2, &inner));
    for value in [deep, nested, vec![0xff; 1000], bytes(2, &vec![0x12; 100_000])] {
        let outcome = attack(only(value), vec![]).unwrap().swap_remove(0);
        assert!(outcome.is_err());
    }
    // Unknown fields are no fault, however many.
    let mut padded = entry(1, &[1], 0, 4);
    (0..1000).for_each(|_| padded.extend(bytes(99, b"unknown")));
    let outcome = attack(only(padded), vec![0; 4]).unwrap().swap_remove(0);
    assert!(matches!(outcome, Err(Error::Checksum { .. })), "{outcome:?}");
}

/// A V1 file with one variable `v`, and the record of its only slice.
fn v1(dtype: u64, dims: &[u64], record: Vec<u8>) -> Vec<u8> {
    let full: Vec<u8> = dims.iter().flat_map(|_| bytes(1, &[])).collect();
    let meta = [
        bytes(1, b"v"),
        bytes(2, &shape(dims)),
        number(3, dtype),
        bytes(4, &full),
    ]
    .concat();
    let meta = bytes(1, &[bytes(1, &meta), bytes(2, &number(1, 1))].concat());
    let mut key = vec![0x00, 0x76, 0x00, 0x01];
    key.extend(match dims.len() {
        0 => vec![0x00],
        rank => vec![0x01, rank as u8],
    });
    dims.iter().for_each(|_| key.extend([0x80, 0x7f]));
    let data = bytes(2, &[bytes(1, b"v"), bytes(2, &full), bytes(3, &record)].concat());
    table(&[(b"", meta), (&key, data)])
}

fn old_files_that_lie() {
    let floats = |values: &[f32]| bytes(5, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
    let sound = attack_v1(v1(1, &[2], floats(&[1.0, 2.0]))).unwrap();
    assert!(sound[0].is_ok(), "{sound:?}");
    // More elements than values, a little and beyond measure; values of another type; nested without end.
    for (dims, record) in [
        (&[3u64][..], floats(&[1.0, 2.0])),
        (&[1 << 40], floats(&[1.0, 2.0])),
        (&[1 << 61], floats(&[1.0])),
        (&[2], bytes(7, &[1, 2])),
        (&[2], vec![0x0b; 100_000]),
    ] {
        let outcome = attack_v1(v1(1, dims, record)).unwrap().swap_remove(0);
        assert!(outcome.is_err(), "{dims:?}");
    }
    let strings = attack_v1(v1(7, &[1 << 40], bytes(8, b"one"))).unwrap();
    assert!(strings[0].is_err());
    // Values of 8 bytes that take one each.
    let small = attack_v1(v1(9, &[100_000], bytes(10, &vec![1; 100_000]))).unwrap();
    assert!(small[0].is_ok(), "{small:?}");
    let no_meta = attack_v1(table(&[(b"a", vec![1, 2, 3])]));
    assert!(matches!(no_meta, Err(Error::CorruptIndex { .. })), "{no_meta:?}");
}

/// Parses a graph, and compares the memory that it takes with its bytes.
fn parse_graph(graph: &[u8]) -> Result<MetaGraph> {
    let file = bytes(2, graph);
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let parsed = MetaGraph::parse(file.clone(), &Limits::default());
    let used = MEMORY.peak_usage().saturating_sub(before);
    assert!(
        used <= PER_BYTE * file.len() + BASE,
        "{used} bytes for a graph of {}",
        file.len()
    );
    parsed
}

fn graphs_that_lie() {
    let node = |more: &[u8]| bytes(1, &[&bytes(1, b"n")[..], &bytes(2, b"o"), more].concat());
    let many = |piece: &[u8], count: usize| piece.repeat(count);
    // As many of the smallest nodes, attributes, inputs, shapes and functions as fit.
    assert_eq!(parse_graph(&many(&node(&[]), 100_000)).unwrap().nodes().len(), 100_000);
    let attribute = bytes(5, &bytes(1, b"a"));
    let wide = [
        many(&attribute, 100_000),
        many(&bytes(3, b""), 100_000),
        bytes(
            5,
            &[bytes(1, b"l"), bytes(2, &bytes(1, &many(&bytes(7, b""), 100_000)))].concat(),
        ),
        bytes(
            5,
            &[bytes(1, b"t"), bytes(2, &bytes(1, &many(&bytes(8, b""), 100_000)))].concat(),
        ),
        bytes(
            5,
            &[bytes(1, b"c"), bytes(2, &bytes(8, &many(&bytes(8, b""), 100_000)))].concat(),
        ),
    ];
    for attributes in wide {
        assert_eq!(parse_graph(&node(&attributes)).unwrap().nodes().len(), 1);
    }
    let function = bytes(1, &bytes(1, &bytes(1, b"f")));
    assert_eq!(
        parse_graph(&bytes(2, &many(&function, 100_000)))
            .unwrap()
            .functions()
            .count(),
        100_000
    );
    // Many variables that one saver restores from one long key.
    let op = |name: &str, op: &str, inputs: &[&str], more: &[u8]| {
        let inputs: Vec<u8> = inputs.iter().flat_map(|input| bytes(3, input.as_bytes())).collect();
        bytes(
            1,
            &[&bytes(1, name.as_bytes())[..], &bytes(2, op.as_bytes()), &inputs, more].concat(),
        )
    };
    let long = bytes(8, &bytes(8, &vec![b'k'; 1 << 20]));
    let value = bytes(5, &[bytes(1, b"value"), bytes(2, &long)].concat());
    let mut shared = op("names", "Const", &[], &value);
    shared.extend(op("restore", "RestoreV2", &["f", "names", "s"], &[]));
    for i in 0..2000 {
        let name = format!("v{i}");
        shared.extend(op(&name, "VarHandleOp", &[], &[]));
        shared.extend(op(&format!("a{i}"), "AssignVariableOp", &[&name, "restore"], &[]));
    }
    let shared = parse_graph(&shared).unwrap();
    assert_eq!(shared.variables().len(), 2000);
    assert!(
        shared
            .variables()
            .iter()
            .all(|variable| variable.checkpoint_key.is_some())
    );
    // What no graph has would take many times its bytes.
    let function = bytes(2, &many(&bytes(1, b""), 100_000));
    for empty in [
        many(&bytes(1, b""), 100_000),
        node(&many(&bytes(5, b""), 100_000)),
        function,
    ] {
        let error = parse_graph(&empty).unwrap_err();
        assert!(matches!(error, Error::CorruptMetaGraph { .. }), "{error}");
    }
    // Functions within attributes, deeper than any stack.
    let deep = (0..1000).fold(bytes(1, b"f"), |inner, _| {
        bytes(2, &[bytes(1, b"a"), bytes(2, &bytes(10, &inner))].concat())
    });
    assert!(
        parse_graph(&node(&bytes(
            5,
            &[bytes(1, b"a"), bytes(2, &bytes(10, &deep))].concat()
        )))
        .is_err()
    );
}

fn graphs_of_the_file_system() {
    let dir = tempfile::tempdir().unwrap();
    // A state file that names itself, its own directory, or nothing.
    for path in ["checkpoint", ".", "", "..", "a/../../b"] {
        std::fs::write(
            dir.path().join("checkpoint"),
            format!("model_checkpoint_path: \"{path}\"\n"),
        )
        .unwrap();
        let opened = Checkpoint::open(dir.path());
        assert!(opened.is_err(), "`{path}`");
    }
    // An index that is a directory, and one that is a link to itself.
    std::fs::create_dir(dir.path().join("d.index")).unwrap();
    assert!(Checkpoint::open(dir.path().join("d")).is_err());
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("loop.index", dir.path().join("loop.index")).unwrap();
        assert!(Checkpoint::open(dir.path().join("loop")).is_err());
    }
}
