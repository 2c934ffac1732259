//! The codec by itself: saving, reading, verifying and opening, in bytes or variables for each second.
//!
//! ```text
//! cargo bench --bench codec
//! ```

use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher};
use tfckpt::io::Durability;
use tfckpt::map::Layout;
use tfckpt::training::{CheckpointRng, Epochs, Hooks, Stop, Trigger};
use tfckpt::{Checkpoint, Saver, Variable};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// 16 variables of 4 MiB.
const LARGE: (usize, usize) = (16, 1 << 20);
/// 20,000 variables of 1 KiB.
const SMALL: (usize, usize) = (20_000, 256);

/// 100,000 variables of one element.
const MANY: (usize, usize) = (100_000, 1);

fn bytes((variables, elements): (usize, usize)) -> BytesCount {
    BytesCount::new(variables * elements * 4)
}

fn save(dir: &std::path::Path, (variables, elements): (usize, usize), durability: Durability) {
    let values = vec![0.5f32; elements];
    let variables = (0..variables).map(|i| Variable::new(format!("layer_{i}/kernel"), [elements], &values));
    Saver::new(dir)
        .overwrite(true)
        .durability(durability)
        .save(variables, 1)
        .expect("the save succeeds");
}

#[divan::bench(args = [LARGE, SMALL], sample_count = 10)]
fn save_buffered(bencher: Bencher<'_, '_>, shape: (usize, usize)) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    bencher
        .counter(bytes(shape))
        .bench_local(|| save(dir.path(), shape, Durability::Buffered));
}

#[divan::bench(args = [LARGE], sample_count = 10)]
fn save_synced(bencher: Bencher<'_, '_>, shape: (usize, usize)) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    bencher
        .counter(bytes(shape))
        .bench_local(|| save(dir.path(), shape, Durability::Synced));
}

#[divan::bench(args = [LARGE, SMALL], sample_count = 10)]
fn read_all(bencher: Bencher<'_, '_>, shape: (usize, usize)) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    save(dir.path(), shape, Durability::Buffered);
    let checkpoint = Checkpoint::open(dir.path()).expect("it opens");
    bencher.counter(bytes(shape)).bench_local(|| {
        checkpoint.variables().for_each(|info| {
            divan::black_box(checkpoint.read_bytes(info.key()).expect("it reads"));
        });
    });
}

#[divan::bench(args = [LARGE, SMALL], sample_count = 10)]
fn verify_all(bencher: Bencher<'_, '_>, shape: (usize, usize)) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    save(dir.path(), shape, Durability::Buffered);
    let checkpoint = Checkpoint::open(dir.path()).expect("it opens");
    bencher.counter(bytes(shape)).bench_local(|| {
        checkpoint
            .variables()
            .for_each(|info| checkpoint.verify(info).expect("it is sound"));
    });
}

/// A shape in a model, and the axes that TensorFlow's variable has of it.
type Kernel = (&'static [usize], &'static [usize]);

const KERNELS: [Kernel; 3] = [
    (&[4096, 4096], &[1, 0]),
    (&[768, 768], &[1, 0]),
    (&[512, 512, 3, 3], &[2, 3, 1, 0]),
];

/// A Dense kernel and a convolution's, from the layout of a model into that of TensorFlow, in memory.
#[divan::bench(args = KERNELS, sample_count = 20)]
fn lay_out(bencher: Bencher<'_, '_>, (dims, permutation): Kernel) {
    let transform = Layout::Permuted(permutation).to_stored(dims).expect("they fit");
    let len = dims.iter().product::<usize>() * 4;
    let (source, mut destination) = (vec![1u8; len], vec![0u8; len]);
    bencher
        .counter(BytesCount::new(len))
        .bench_local(|| transform.apply(4, &source, &mut destination));
}

/// The same while a variable is read.
#[divan::bench(sample_count = 20)]
fn read_laid_out(bencher: Bencher<'_, '_>) {
    let dims = [4096, 4096];
    let dir = tempfile::tempdir().expect("a temporary directory");
    let values = vec![0.5f32; 4096 * 4096];
    Saver::new(dir.path())
        .save([Variable::new("kernel", dims, &values)], 1)
        .expect("the save succeeds");
    let checkpoint = Checkpoint::open(dir.path()).expect("it opens");
    let transform = Layout::Permuted(&[1, 0]).to_model(&dims).expect("they fit");
    bencher
        .counter(BytesCount::new(values.len() * 4))
        .bench_local(|| checkpoint.read_laid_out::<f32>("kernel", &transform).expect("it reads"));
}

/// Opens and lists.
#[divan::bench(args = [SMALL, MANY], sample_count = 20)]
fn open(bencher: Bencher<'_, '_>, shape: (usize, usize)) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    save(dir.path(), shape, Durability::Buffered);
    bencher.counter(ItemsCount::new(shape.0)).bench_local(|| {
        let checkpoint = Checkpoint::open(dir.path()).expect("it opens");
        divan::black_box(checkpoint.variables().map(|info| info.name().len()).sum::<usize>())
    });
}

/// What a step costs that nothing is due for: intervals in steps and seconds, signals, a listener, random numbers, a metric.
#[divan::bench]
fn hooks_when_nothing_is_due(bencher: Bencher<'_, '_>) {
    let mut hooks = Hooks::new();
    hooks.trigger = Trigger::new().every_steps(u64::MAX).every_seconds(1e9);
    hooks.stop = Stop::on_signals().expect("signals can be listened for");
    hooks
        .listeners
        .add(|_: &tfckpt::Saved| std::ops::ControlFlow::Continue(()));
    hooks.states.track("rng", CheckpointRng::seed_from_u64(7));
    hooks.begin(false);
    bencher.bench_local(|| {
        hooks.metrics.record("loss", 0.5);
        divan::black_box(hooks.after_step())
    });
}

/// The same with batches of 32 of a million shuffled rows, but for the order, which is made once for each epoch.
#[divan::bench]
fn hooks_with_batches(bencher: Bencher<'_, '_>) {
    let mut hooks = Hooks::new();
    hooks.trigger = Trigger::new().every_steps(u64::MAX).every_seconds(1e9);
    hooks.epochs = Some(Epochs::new(1_000_000, 32).shuffle(7));
    hooks.begin(false);
    hooks.next_batch();
    bencher.bench_local(|| {
        let batch = hooks.next_batch();
        divan::black_box((batch, hooks.after_step()))
    });
}
