//! Saving streams, restoring copies once: measured with a counting allocator.

use peak_alloc::PeakAlloc;
use tfckpt::{Checkpoint, DType, Limits, Saver, Variable};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;

/// The most memory in use during `work`, above what was in use before, in bytes.
fn peak_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = work();
    (MEMORY.peak_usage().saturating_sub(before), result)
}

/// One test, because the peak is that of the whole process.
#[test]
fn saving_needs_one_tensor_and_restoring_needs_one_copy() {
    let dir = tempfile::tempdir().unwrap();
    let largest = 32 * MIB;
    let produce = |fill: u8| {
        move |sink: &mut tfckpt::Sink<'_>| {
            // What an adapter does for a tensor on a device: the tensor is in memory only here.
            let bytes = vec![fill; largest];
            sink(&bytes)
        }
    };
    let names = ["a", "b", "c", "d"];
    let (peak, saved) = peak_of(|| {
        let variables = names
            .iter()
            .zip(1..)
            .map(|(name, fill)| Variable::deferred(*name, DType::Float32, [largest / 4], produce(fill)));
        Saver::new(dir.path()).threads(2).save(variables, 1).unwrap()
    });
    assert_eq!(saved.data_bytes, (4 * largest + 8) as u64);
    assert!(
        peak <= 2 * largest + 16 * MIB,
        "saving 4 x 32 MiB on 2 threads took {} MiB",
        peak / MIB
    );

    let borrowed = vec![0.5f32; largest / 4];
    let variables = names.map(|name| Variable::new(name, [largest / 4], &borrowed));
    let (peak, _) = peak_of(|| Saver::new(dir.path()).save(variables, 2).unwrap());
    assert!(peak <= 4 * MIB, "saving borrowed memory took {} MiB", peak / MIB);

    let checkpoint = Checkpoint::open_with(dir.path(), &Limits::default().with_threads(2)).unwrap();
    let (peak, values) = peak_of(|| checkpoint.read::<f32>("a").unwrap());
    assert_eq!(values.len(), largest / 4);
    assert!(peak <= largest + MIB, "reading 32 MiB took {} MiB", peak / MIB);

    let mut destination = vec![0u8; largest];
    let info = checkpoint.variable("b").unwrap();
    let (peak, ()) = peak_of(|| checkpoint.read_into(info, &mut destination).unwrap());
    assert!(peak <= MIB, "reading in place took {} KiB", peak / 1024);
    let (peak, ()) = peak_of(|| checkpoint.verify(info).unwrap());
    assert!(peak <= MIB, "verifying took {} KiB", peak / 1024);

    // The list of many variables.
    let many = dir.path().join("many");
    let value = [1.0f32];
    let variables = (0..100_000).map(|i| Variable::new(format!("model/layer_{i}/dense/kernel"), [1], &value));
    Saver::new(&many).save(variables, 1).unwrap();
    let (peak, checkpoint) = peak_of(|| Checkpoint::open(&many).unwrap());
    assert_eq!(checkpoint.variables().len(), 100_001);
    assert!(peak <= 64 * MIB, "opening 100,000 variables took {} MiB", peak / MIB);
    println!("opening 100,000 variables took {} MiB", peak / MIB);
}
