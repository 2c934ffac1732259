//! Work on all cores gives what work on one gives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tfckpt::io::{Durability, LocalDir, MemoryDir};
use tfckpt::map::Layout;
use tfckpt::{Bundle, BundleWriter, DType, Error, Limits, Slice, Variable, VariableInfo};

/// Elements of sizes around every border that matters: of pieces, tasks, windows and threads.
const SIZES: [usize; 16] = [
    0,
    1,
    3,
    100,
    32_767,
    32_768,
    65_535,
    65_536,
    65_537,
    262_143,
    262_144,
    262_145,
    700_001,
    1 << 20,
    1_100_000,
    3_000_001,
];

fn values(len: usize, seed: u32) -> Vec<u32> {
    (0..u32::try_from(len).unwrap())
        .map(|i| i.wrapping_mul(2_654_435_761) ^ seed)
        .collect()
}

fn bytes(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The same values as borrowed, lent and deferred variables, the last in pieces of `piece` bytes.
fn variables<'v>(all: &'v [Vec<u32>], piece: usize) -> Vec<Variable<'v>> {
    let mut variables = Vec::new();
    for (i, values) in all.iter().enumerate() {
        variables.push(Variable::new(format!("{i}/borrowed"), [values.len()], values));
        variables.push(Variable::lent(
            format!("{i}/lent"),
            DType::Uint32,
            [values.len()],
            |sink| sink(&bytes(values)),
        ));
        let produce = move |sink: &mut tfckpt::Sink<'_>| bytes(values).chunks(piece).try_for_each(sink);
        variables.push(Variable::deferred(
            format!("{i}/deferred"),
            DType::Uint32,
            [values.len()],
            produce,
        ));
        let word = format!("{i}").repeat(i * 1000);
        variables.push(Variable::strings(format!("{i}/strings"), [1], [word.into_bytes()]));
    }
    variables
}

fn write(dir: &MemoryDir, threads: usize, shard: u64, piece: usize, all: &[Vec<u32>]) {
    let mut writer = BundleWriter::create(Arc::new(dir.clone()), "model")
        .unwrap()
        .with_threads(threads)
        .with_max_shard_bytes(shard)
        .with_durability(Durability::Buffered);
    writer.add_all(variables(all, piece)).unwrap();
    writer.finish().unwrap();
}

fn all_values() -> Vec<Vec<u32>> {
    SIZES.iter().zip(1..).map(|(&len, seed)| values(len, seed)).collect()
}

#[test]
fn the_files_are_the_same_whatever_the_number_of_threads() {
    let all = all_values();
    for shard in [u64::MAX, 5 << 20] {
        let one = MemoryDir::new();
        write(&one, 1, shard, 1 << 20, &all);
        let mut names = tfckpt::io::Storage::list(&one).unwrap();
        names.sort();
        for (threads, piece) in [(2, 1 << 16), (3, 4), (8, 3_000_000)] {
            let many = MemoryDir::new();
            write(&many, threads, shard, piece.min(1 << 30), &all);
            for name in &names {
                assert_eq!(one.get(name), many.get(name), "{name} by {threads} threads");
            }
        }
        // One after the other, as a stream.
        let streamed = MemoryDir::new();
        let mut writer = BundleWriter::create(Arc::new(streamed.clone()), "model")
            .unwrap()
            .with_max_shard_bytes(shard);
        variables(&all, 1000)
            .into_iter()
            .for_each(|variable| writer.add(variable).unwrap());
        writer.finish().unwrap();
        for name in &names {
            assert_eq!(one.get(name), streamed.get(name), "{name}, streamed");
        }
    }
}

#[test]
fn many_variables_are_read_as_each_is() {
    let all = all_values();
    let dir = MemoryDir::new();
    write(&dir, 2, 9 << 20, 4096, &all);
    for threads in [1, 2, 5] {
        let limits = Limits::default().with_threads(threads);
        let bundle = Bundle::open(Arc::new(dir.clone()), "model", &limits).unwrap();
        let fixed: Vec<&VariableInfo> = bundle
            .variables()
            .filter(|info| info.dtype() == DType::Uint32)
            .collect();
        let read = bundle.read_many::<u32>(fixed.iter().map(|info| info.key())).unwrap();
        assert_eq!(read.len(), fixed.len());
        for (info, read) in fixed.iter().zip(read) {
            assert_eq!(read, bundle.read::<u32>(info.key()).unwrap(), "{}", info.name());
            let number: usize = info.name().split_once('/').unwrap().0.parse().unwrap();
            assert_eq!(read, all[number]);
        }
        // Strings among them, and out of order.
        let mut every: Vec<&VariableInfo> = bundle.variables().collect();
        every.reverse();
        let seen = AtomicUsize::new(0);
        let names = bundle.read_each(&every, |number, reading| {
            seen.fetch_add(1, Ordering::Relaxed);
            assert_eq!(reading.variable().key(), every[number].key());
            reading.verify()?;
            let mut destination = vec![0; reading.size()?];
            reading.read_into(&mut destination)?;
            assert_eq!(destination, bundle.read_bytes(every[number].key())?);
            Ok::<_, Error>(reading.variable().name().into_owned())
        });
        assert!(
            names
                .unwrap()
                .into_iter()
                .eq(every.iter().map(|info| info.name().into_owned()))
        );
        assert_eq!(seen.into_inner(), every.len());
        bundle.verify_all(&every).unwrap();
    }
}

#[test]
fn a_damaged_variable_among_many_is_named() {
    let all = all_values();
    let dir = MemoryDir::new();
    write(&dir, 2, u64::MAX, 4096, &all);
    let bundle = Bundle::open(Arc::new(dir.clone()), "model", &Limits::default()).unwrap();
    let name = "model.data-00000-of-00001";
    let good = dir.get(name).unwrap();
    for key in ["1/borrowed", "3/lent", "11/deferred", "15/borrowed", "9/strings"] {
        let info = bundle.variable(key).unwrap();
        let mut bad = good.to_vec();
        bad[usize::try_from(info.offset() + info.size() - 1).unwrap()] ^= 1;
        dir.insert(name, bad);
        // Files stay open: a bundle of its own.
        let bundle = Bundle::open(Arc::new(dir.clone()), "model", &Limits::default()).unwrap();
        let every: Vec<&VariableInfo> = bundle.variables().collect();
        let error = bundle.verify_all(&every).unwrap_err();
        assert!(
            matches!(&error, Error::Checksum { name, .. } if name == key),
            "{key}: {error}"
        );
        let fixed = every.iter().filter(|info| info.dtype() == DType::Uint32);
        let read = bundle.read_many::<u32>(fixed.map(|info| info.key()));
        assert_eq!(read.is_err(), key != "9/strings", "{key}");
    }
    dir.insert(name, &good[..good.len() - 1]);
    let bundle = Bundle::open(Arc::new(dir.clone()), "model", &Limits::default()).unwrap();
    let every: Vec<&VariableInfo> = bundle.variables().collect();
    let error = bundle.verify_all(&every).unwrap_err();
    assert!(matches!(&error, Error::ShardTruncated { .. }), "{error}");
}

/// Shapes of kernels and the layout that a model has them in; one large enough for several threads.
const KERNELS: [(&[usize], Layout); 6] = [
    (&[3, 5], Layout::Permuted(&[1, 0])),
    (&[1500, 1100], Layout::Permuted(&[1, 0])),
    (&[2, 700_000], Layout::Permuted(&[1, 0])),
    (&[700_000, 2], Layout::Permuted(&[1, 0])),
    (&[130, 120, 9, 9], Layout::Permuted(&[2, 3, 1, 0])),
    (&[0, 4], Layout::Permuted(&[1, 0])),
];

#[test]
fn layouts_are_changed_on_the_way_in_and_out() {
    for (model, layout) in KERNELS {
        let values = values(model.iter().product(), 5);
        let (to_stored, to_model) = (layout.to_stored(model).unwrap(), layout.to_model(model).unwrap());
        let mut expected = vec![0; values.len() * 4];
        to_stored.apply(4, &bytes(&values), &mut expected);
        let stored = layout.stored_shape(model).unwrap();
        for threads in [1, 2, 3, 7] {
            let dir = MemoryDir::new();
            let mut writer = BundleWriter::create(Arc::new(dir.clone()), "m")
                .unwrap()
                .with_threads(threads);
            let borrowed = Variable::new("borrowed", stored.clone(), &values).laid_out(to_stored.clone());
            let lent = Variable::lent("lent", DType::Uint32, stored.clone(), |sink| sink(&bytes(&values)));
            let produce = |sink: &mut tfckpt::Sink<'_>| bytes(&values).chunks(1000).try_for_each(sink);
            let deferred = Variable::deferred("deferred", DType::Uint32, stored.clone(), produce);
            let arranged = [lent, deferred].map(|variable| variable.laid_out(to_stored.clone()));
            writer.add_all([borrowed].into_iter().chain(arranged)).unwrap();
            writer.finish().unwrap();

            let limits = Limits::default().with_threads(threads);
            let bundle = Bundle::open(Arc::new(dir), "m", &limits).unwrap();
            for name in ["borrowed", "lent", "deferred"] {
                assert!(
                    bundle.read_bytes(name).unwrap() == expected,
                    "{name} {model:?} by {threads}"
                );
                let info = bundle.variable(name).unwrap();
                let mut back = vec![0; expected.len()];
                bundle.read_laid_out_into(info, &to_model, &mut back).unwrap();
                assert!(back == bytes(&values), "{name} {model:?} by {threads}");
                back.fill(0);
                let read = bundle.read_each(&[info], |_, reading| {
                    reading.read_laid_out_into(&to_model, &mut back.clone())
                });
                read.unwrap();
            }
        }
    }
}

#[test]
fn a_layout_of_another_shape_is_refused() {
    let values = [1.0f32; 6];
    let transform = Layout::Permuted(&[1, 0]).to_stored(&[4, 2]).unwrap();
    let dir = MemoryDir::new();
    let mut writer = BundleWriter::create(Arc::new(dir.clone()), "m").unwrap();
    let result = writer.add(Variable::new("kernel", [2, 3], &values).laid_out(transform.clone()));
    assert!(matches!(result, Err(Error::InvalidArgument { .. })), "{result:?}");
    let produce = |sink: &mut tfckpt::Sink<'_>| sink(&[0; 24]);
    let deferred = Variable::deferred("produced", DType::Float32, [2, 3], produce);
    let result = writer.add(deferred.laid_out(transform.clone()));
    assert!(matches!(result, Err(Error::Source { .. })), "{result:?}");

    let mut writer = BundleWriter::create(Arc::new(dir.clone()), "m").unwrap();
    writer.add(Variable::new("kernel", [2, 3], &values)).unwrap();
    writer.finish().unwrap();
    let bundle = Bundle::open(Arc::new(dir), "m", &Limits::default()).unwrap();
    let info = bundle.variable("kernel").unwrap();
    let result = bundle.read_laid_out_into(info, &transform, &mut [0; 24]);
    assert!(matches!(result, Err(Error::InvalidArgument { .. })), "{result:?}");
}

#[test]
fn bytes_that_are_too_many_or_too_few_never_reach_another_variable() {
    let dir = tempfile::tempdir().unwrap();
    for len in [0, 99, 101, 1 << 20] {
        for lent in [false, true] {
            let storage = Arc::new(LocalDir::new(dir.path()));
            let mut writer = BundleWriter::create(storage, "m").unwrap();
            let give = move |sink: &mut tfckpt::Sink<'_>| sink(&vec![7u8; len]);
            let variable = match lent {
                true => Variable::lent("x", DType::Uint8, [100], give),
                false => Variable::deferred("x", DType::Uint8, [100], give),
            };
            let result = writer.add_all([variable, Variable::new("y", [1], &[1u8])]);
            assert!(
                matches!(&result, Err(Error::WrongLength { name, expected: 100, .. }) if name == "x"),
                "{result:?}"
            );
        }
    }
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );
}

#[test]
fn slices_are_read_in_another_layout_too() {
    let values = values(24, 3);
    let dir = MemoryDir::new();
    let mut writer = BundleWriter::create(Arc::new(dir.clone()), "m").unwrap();
    for (row, part) in values.chunks(6).enumerate() {
        let slice = Slice::new([Some(row..row + 1), None]);
        writer
            .add(Variable::new("k", [1, 6], part).slice_of([4, 6], slice))
            .unwrap();
    }
    writer.finish().unwrap();
    let bundle = Bundle::open(Arc::new(dir), "m", &Limits::default()).unwrap();
    let info = bundle.variable("k").unwrap();
    let transform = Layout::Permuted(&[1, 0]).to_model(&[6, 4]).unwrap();
    let mut expected = vec![0; 96];
    transform.apply(4, &bytes(&values), &mut expected);
    let mut read = vec![0; 96];
    bundle.read_laid_out_into(info, &transform, &mut read).unwrap();
    assert_eq!(read, expected);
}

#[test]
fn many_variables_are_entered_while_they_are_written_and_refused_as_few_are() {
    let names: Vec<String> = (0..3000).map(|i| format!("v{i:05}")).collect();
    let write = |threads: usize, more: Option<Variable<'static>>| {
        let dir = MemoryDir::default();
        let mut writer = BundleWriter::create(Arc::new(dir.clone()), "model")?.with_threads(threads);
        let value = [1.5f32, 2.5];
        // Not in the order of their names, and one in two slices.
        let all = names.iter().rev().map(|name| Variable::new(name.as_str(), [2], &value));
        let half = |at| Variable::new("parted", [2], &value).slice_of([4], Slice::new([Some(at..at + 2)]));
        writer.add_all(all.chain([half(0), half(2)]).chain(more))?;
        writer.finish()?;
        let file = |name: &str| Ok::<_, Error>(dir.get(name).expect("a file").to_vec());
        Ok::<_, Error>([file("model.index")?, file("model.data-00000-of-00001")?])
    };
    assert_eq!(write(4, None).unwrap(), write(1, None).unwrap());
    for threads in [1, 4] {
        let error = write(threads, Some(Variable::scalar("v00007", 1i64))).unwrap_err();
        assert!(
            matches!(&error, Error::DuplicateName { name } if name == "v00007"),
            "{error}"
        );
    }
}
