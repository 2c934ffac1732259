//! Partitioned variables, several data files, and several writers.

mod support;

use std::fs;
use std::sync::Arc;

use support::fixture;
use tfckpt::io::{LocalDir, MemoryDir};
use tfckpt::{
    Bundle, BundleWriter, Checkpoint, EntryFault, Error, Limits, Slice, Variable, VariableInfo, Written,
    merge_checkpoints,
};

/// Writes these variables as `m`.
fn written(storage: &MemoryDir, max_shard_bytes: u64, variables: Vec<Variable<'_>>) -> Written {
    let writer = BundleWriter::create(Arc::new(storage.clone()), "m").unwrap();
    let mut writer = writer.with_max_shard_bytes(max_shard_bytes);
    variables.into_iter().for_each(|variable| writer.add(variable).unwrap());
    writer.finish().unwrap()
}

fn bundle(variables: Vec<Variable<'_>>) -> Bundle {
    let storage = MemoryDir::new();
    written(&storage, u64::MAX, variables);
    Bundle::open(Arc::new(storage), "m", &Limits::default()).unwrap()
}

/// Rows `rows` of a `[6, 2]` of 0, 1, 2, ….
fn rows(rows: std::ops::Range<usize>, add: f32) -> Variable<'static> {
    let values: Vec<u8> = (rows.start * 2..rows.end * 2)
        .flat_map(|i| (i as f32 + add).to_le_bytes())
        .collect();
    Variable::from_bytes("v", tfckpt::DType::Float32, [rows.len(), 2], values)
        .slice_of([6, 2], Slice::new([Some(rows), None]))
}

fn fault(error: &Error) -> &EntryFault {
    match error {
        Error::CorruptEntry { name, fault, .. } if name == "v" => fault,
        other => panic!("{other}"),
    }
}

const ALL: [f32; 12] = [0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11.];

#[test]
fn slices_come_in_any_order_and_may_overlap_if_they_agree() {
    for parts in [
        vec![0..2, 2..6],
        vec![4..6, 0..4],
        vec![0..4, 2..6],
        vec![0..4, 1..3, 3..6, 0..6 - 1],
    ] {
        let bundle = bundle(parts.iter().map(|part| rows(part.clone(), 0.0)).collect());
        assert_eq!(bundle.read::<f32>("v").unwrap(), ALL, "{parts:?}");
        bundle.verify(bundle.variable("v").unwrap()).unwrap();
        assert_eq!(bundle.variables().len(), 1);
    }
}

#[test]
fn slices_that_disagree_or_leave_a_gap_are_errors() {
    let disagreeing = bundle(vec![rows(0..4, 0.0), rows(3..6, 1.0)]);
    let error = disagreeing.read::<f32>("v").unwrap_err();
    assert_eq!(
        *fault(&error),
        EntryFault::ConflictingSlices {
            slice: "3,3:-".to_owned()
        }
    );
    let gap = bundle(vec![rows(0..2, 0.0), rows(4..6, 0.0)]);
    let error = gap.read::<f32>("v").unwrap_err();
    let expected = EntryFault::IncompleteSlices {
        covered: 8,
        elements: 12,
    };
    assert_eq!(*fault(&error), expected);
    // What is there can still be read.
    let there = gap
        .read_slice::<f32>("v", &Slice::new([Some(4..6), Some(1..2)]))
        .unwrap();
    assert_eq!(there, [9.0, 11.0]);
}

#[test]
fn a_grid_of_slices_makes_a_whole_and_parts_of_it() {
    let part = |r: std::ops::Range<usize>, c: std::ops::Range<usize>| {
        let values: Vec<u8> = r
            .clone()
            .flat_map(|i| c.clone().map(move |j| (i * 5 + j) as u8))
            .collect();
        Variable::from_bytes("g", tfckpt::DType::Uint8, [r.len(), c.len()], values)
            .slice_of([4, 5], Slice::new([Some(r), Some(c)]))
    };
    let bundle = bundle(vec![
        part(2..4, 3..5),
        part(0..2, 0..3),
        part(2..4, 0..3),
        part(0..2, 3..5),
    ]);
    assert_eq!(bundle.read::<u8>("g").unwrap(), (0..20).collect::<Vec<u8>>());
    let middle = bundle
        .read_slice::<u8>("g", &Slice::new([Some(1..3), Some(2..4)]))
        .unwrap();
    assert_eq!(middle, [7, 8, 12, 13]);
}

#[test]
fn a_saver_takes_slices_and_several_data_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut saver = tfckpt::Saver::new(dir.path()).max_shard_bytes(20).max_to_keep(1);
    for step in [1, 2] {
        saver.save([rows(0..2, 0.0), rows(2..6, 0.0)], step).unwrap();
    }
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.num_shards(), 3, "the step, and two slices");
    assert_eq!(checkpoint.read::<f32>("v").unwrap(), ALL);
    let of_checkpoint = |entry: &fs::DirEntry| !entry.file_name().to_string_lossy().starts_with('.');
    let left = fs::read_dir(dir.path())
        .unwrap()
        .flatten()
        .filter(of_checkpoint)
        .count();
    assert_eq!(left, 6, "all data files of the older one are gone");
    let twice = saver.save([rows(0..2, 0.0), Variable::scalar("v", 1f32)], 3);
    assert!(matches!(twice, Err(Error::DuplicateName { .. })), "{twice:?}");
}

#[test]
fn strings_are_joined_too() {
    let part = |range: std::ops::Range<usize>| {
        let elements: Vec<Vec<u8>> = range.clone().map(|i| vec![b'x'; i]).collect();
        Variable::strings("s", [range.len()], elements).slice_of([5], Slice::new([Some(range)]))
    };
    let bundle = bundle(vec![part(3..5), part(0..3)]);
    let lengths: Vec<usize> = bundle.read_strings("s").unwrap().iter().map(<[u8]>::len).collect();
    assert_eq!(lengths, [0, 1, 2, 3, 4]);
    // As bytes: the payload of a variable that was never partitioned.
    let whole = Variable::strings("s", [5], (0..5).map(|i| vec![b'x'; i]));
    let unpartitioned = {
        let storage = MemoryDir::new();
        written(&storage, u64::MAX, vec![whole]);
        Bundle::open(Arc::new(storage), "m", &Limits::default()).unwrap()
    };
    assert_eq!(bundle.read_bytes("s").unwrap(), unpartitioned.read_bytes("s").unwrap());
}

#[test]
fn a_slice_must_fit_its_variable_and_come_once() {
    let add = |variables: Vec<Variable<'static>>| {
        let mut writer = BundleWriter::create(Arc::new(MemoryDir::new()), "m").unwrap();
        variables.into_iter().try_for_each(|variable| writer.add(variable))
    };
    let wrong = Variable::new("v", [2, 2], &[0f32; 4]).slice_of([6, 2], Slice::new([Some(0..3), None]));
    assert!(matches!(add(vec![wrong]), Err(Error::InvalidArgument { .. })));
    let twice = add(vec![rows(0..2, 0.0), rows(0..2, 0.0)]);
    assert!(matches!(twice, Err(Error::DuplicateName { name }) if name == "v[0,2:-]"));
    let plain = || Variable::scalar("v", 1f32);
    assert!(matches!(
        add(vec![rows(0..2, 0.0), plain()]),
        Err(Error::DuplicateName { .. })
    ));
    assert!(matches!(
        add(vec![plain(), rows(0..2, 0.0)]),
        Err(Error::DuplicateName { .. })
    ));
    let other_shape = Variable::new("v", [1, 2], &[0f32; 2]).slice_of([7, 2], Slice::new([Some(2..3), None]));
    assert!(matches!(
        add(vec![rows(0..2, 0.0), other_shape]),
        Err(Error::InvalidArgument { .. })
    ));
    // The whole is no slice: it is stored as any variable is.
    let bundle = bundle(vec![rows(0..6, 0.0)]);
    assert_eq!(bundle.variable("v").unwrap().slices().len(), 0);
}

#[test]
fn an_index_cannot_make_us_allocate_what_is_nowhere() {
    // 1,000 slices of 2^40 elements each, none of which is written: the shapes alone say so.
    let storage = MemoryDir::new();
    written(&storage, u64::MAX, vec![rows(0..2, 0.0), rows(2..6, 0.0)]);
    let index = storage.get("m.index").unwrap();
    storage.insert("big.index", index);
    storage.insert("big.data-00000-of-00001", vec![0; 3]);
    let bundle = Bundle::open(Arc::new(storage), "big", &Limits::default()).unwrap();
    let error = bundle.read::<f32>("v").unwrap_err();
    assert!(matches!(error, Error::ShardTruncated { .. }), "{error}");
}

#[test]
fn several_data_files_are_filled_up_to_their_limit() {
    let storage = MemoryDir::new();
    let values = [1f32; 30];
    let variable = |name: &str, count: usize| Variable::new(name, [count], &values[..count]);
    let variables = vec![
        variable("a", 10),
        variable("b", 10),
        variable("c", 30),
        variable("d", 1),
    ];
    let done = written(&storage, 80, variables);
    assert_eq!((done.num_shards, done.data_bytes), (3, 204));
    let sizes: Vec<usize> = (0..3)
        .map(|shard| storage.get(&format!("m.data-{shard:05}-of-00003")).unwrap().len())
        .collect();
    assert_eq!(
        sizes,
        [80, 120, 4],
        "`c` is larger than the limit and has a file for itself"
    );
    let bundle = Bundle::open(Arc::new(storage), "m", &Limits::default()).unwrap();
    assert_eq!(bundle.read::<f32>("c").unwrap(), values);
    assert_eq!(bundle.variable("d").unwrap().shard(), 2);
}

/// Takes apart the checkpoint that TensorFlow merged, and merges it again.
#[test]
fn a_merge_gives_the_files_of_mergev2checkpoints() {
    let theirs = Checkpoint::open(fixture("sharded3/m")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let temporary = dir.path().join("m_temp");
    let parts: Vec<_> = (0..3)
        .map(|i| temporary.join(format!("part-{i:05}-of-00003")))
        .collect();
    for (shard, part) in (0..3).zip(&parts) {
        let storage = Arc::new(LocalDir::create(&temporary).unwrap());
        let mut writer = BundleWriter::create(storage, part.file_name().unwrap().to_str().unwrap()).unwrap();
        let mut pieces: Vec<(u64, Variable<'_>)> = Vec::new();
        for info in theirs.variables() {
            pieces.extend(of_shard(&theirs, info, shard));
        }
        pieces.sort_by_key(|(offset, _)| *offset);
        pieces
            .into_iter()
            .for_each(|(_, variable)| writer.add(variable).unwrap());
        writer.finish().unwrap();
    }
    let merged = merge_checkpoints(&parts, dir.path().join("m")).unwrap();
    assert_eq!(merged.num_shards, 3);
    let mut names: Vec<String> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "m.data-00000-of-00003",
        "m.data-00001-of-00003",
        "m.data-00002-of-00003",
        "m.index",
    ];
    assert_eq!(names, expected, "nothing is left of the parts");
    for name in expected {
        let theirs = fs::read(fixture("sharded3").join(name)).unwrap();
        assert!(fs::read(dir.path().join(name)).unwrap() == theirs, "{name} differs");
    }
    let again = merge_checkpoints(&parts, dir.path().join("m"));
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
}

/// What of a variable is in a shard, with its place there. TensorFlow wrote slice `i` of `v` in shard `i`, behind the
/// first variable.
fn of_shard(from: &Checkpoint, info: &VariableInfo, shard: u32) -> Option<(u64, Variable<'static>)> {
    let whole = info.shape();
    let make = |shape: tfckpt::Shape, bytes| Variable::from_bytes(info.key(), info.dtype(), shape, bytes);
    if info.slices().len() > 0 {
        let slice = info.slices().nth(shard as usize)?;
        let bytes = from.read_slice_bytes(info.key(), slice).unwrap();
        let part = make(slice.shape_in(whole)?, bytes).slice_of(whole.clone(), slice.clone());
        return Some((16, part));
    }
    (info.shard() == shard).then(|| {
        let copy = make(whole.clone(), from.read_bytes(info.key()).unwrap());
        (info.offset(), copy)
    })
}

#[test]
fn parts_that_do_not_belong_together_are_not_merged() {
    let dir = tempfile::tempdir().unwrap();
    let part = |name: &str, variable: Variable<'static>| {
        let storage = Arc::new(LocalDir::create(dir.path().join("parts")).unwrap());
        let mut writer = BundleWriter::create(storage, name).unwrap();
        writer.add(variable).unwrap();
        writer.finish().unwrap().prefix
    };
    let parts = [
        part("a", Variable::scalar("x", 1f32)),
        part("b", Variable::scalar("x", 2f32)),
    ];
    let merged = merge_checkpoints(&parts, dir.path().join("m"));
    assert!(matches!(merged, Err(Error::DuplicateName { .. })), "{merged:?}");
    let missing = merge_checkpoints([dir.path().join("parts/none")], dir.path().join("m"));
    assert!(matches!(missing, Err(Error::NoCheckpoint { .. })), "{missing:?}");
    // Nothing was touched.
    assert_eq!(Checkpoint::open(&parts[0]).unwrap().read::<f32>("x").unwrap(), [1.0]);
    assert!(!dir.path().join("m.index").exists());
}
