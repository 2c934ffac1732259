//! The options of TensorFlow's `Saver`, and what happens when a save fails, is killed, or is not the only one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tfckpt::io::{Durability, LocalDir, MemoryDir, NewFile, ReadAt, Storage};
use tfckpt::{BoxError, Checkpoint, Clock, DType, Error, Saver, Variable, checkpoint_state};

fn value(step: i64) -> Variable<'static> {
    Variable::scalar("v", step as f32)
}

fn names(storage: &dyn Storage) -> Vec<String> {
    let mut names = storage.list().unwrap();
    names.sort();
    names
}

/// The names of the checkpoints that are there.
fn checkpoints(storage: &dyn Storage) -> Vec<String> {
    let names = names(storage);
    names
        .iter()
        .filter_map(|name| name.strip_suffix(".index").map(str::to_owned))
        .collect()
}

/// A clock that is set by hand.
#[derive(Debug, Clone, Default)]
struct Hands(Arc<AtomicU64>);

impl Clock for Hands {
    fn now(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64
    }
}

#[test]
fn steps_are_padded_when_asked() {
    let storage = Arc::new(MemoryDir::new());
    let mut saver = Saver::on(storage.clone()).pad_step_number(true).max_to_keep(1);
    for step in [-3, 7, 123_456_789] {
        saver.save([value(step)], step).unwrap();
        let name = format!("model.ckpt-{step:08}");
        assert_eq!(checkpoints(storage.as_ref()), [name], "padded ones are removed as well");
    }
}

#[test]
fn savers_with_state_files_of_their_own_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let saver = |name: &str| {
        Saver::new(dir.path())
            .basename(name)
            .latest_filename(format!("{name}.state"))
    };
    let (mut generator, mut critic) = (saver("generator"), saver("critic"));
    generator.save([value(1)], 1).unwrap();
    critic.save([value(2)], 2).unwrap();
    assert_eq!(generator.latest().unwrap().unwrap().global_step().unwrap(), Some(1));
    assert_eq!(critic.latest().unwrap().unwrap().global_step().unwrap(), Some(2));
    assert!(!dir.path().join("checkpoint").exists());
    for wrong in ["", "a/b", "model.ckpt"] {
        let error = Saver::new(dir.path())
            .latest_filename(wrong)
            .save([value(1)], 1)
            .unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "`{wrong}`: {error}");
    }
}

#[test]
fn a_save_that_is_not_entered_into_the_state_is_never_removed() {
    let storage = Arc::new(MemoryDir::new());
    let mut saver = Saver::on(storage.clone()).max_to_keep(1).write_state(false);
    saver.save([value(1)], 1).unwrap();
    assert!(!storage.exists("checkpoint").unwrap());
    drop(saver);
    let mut saver = Saver::on(storage.clone()).max_to_keep(1);
    for step in 2..=4 {
        saver.save([value(step)], step).unwrap();
    }
    assert_eq!(checkpoints(storage.as_ref()), ["model.ckpt-1", "model.ckpt-4"]);
}

#[test]
fn one_checkpoint_of_every_few_hours_is_kept_for_ever() {
    let (storage, clock) = (Arc::new(MemoryDir::new()), Hands::default());
    let mut saver = Saver::on(storage.clone())
        .max_to_keep(2)
        .clock(clock.clone())
        .keep_checkpoint_every_n_hours(1.0);
    for step in 1..=12 {
        clock.0.fetch_add(1800, Ordering::Relaxed);
        saver.save([value(step)], step).unwrap();
    }
    let mut left: Vec<i64> = checkpoints(storage.as_ref())
        .iter()
        .map(|name| name.strip_prefix("model.ckpt-").unwrap().parse().unwrap())
        .collect();
    left.sort_unstable();
    assert_eq!(left, [3, 5, 7, 9, 11, 12], "as TensorFlow 2.21");
}

#[test]
fn a_list_that_is_given_takes_the_place_of_the_state_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut saver = Saver::new(dir.path()).max_to_keep(0);
    (1..=3).for_each(|step| drop(saver.save([value(step)], step).unwrap()));
    let prefix = |step: i64| dir.path().join(format!("model.ckpt-{step}"));
    let mut saver = saver.max_to_keep(2);
    saver.recover_last_checkpoints([prefix(1), prefix(77), prefix(2), prefix(3)]);
    assert_eq!(saver.last_checkpoints().unwrap(), [prefix(1), prefix(2), prefix(3)]);
    saver.save([value(4)], 4).unwrap();
    assert_eq!(
        checkpoints(&LocalDir::new(dir.path())),
        ["model.ckpt-3", "model.ckpt-4"]
    );
    // Times in the far future are kept, as `set_last_checkpoints` of TensorFlow has it.
    saver.set_last_checkpoints_with_time([(prefix(3), f64::INFINITY), (prefix(4), 0.0)]);
    saver.save([value(5)], 5).unwrap();
    saver.save([value(6)], 6).unwrap();
    assert_eq!(
        checkpoints(&LocalDir::new(dir.path())),
        ["model.ckpt-3", "model.ckpt-5", "model.ckpt-6"]
    );
}

#[test]
fn a_second_writer_is_kept_out_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Saver::new(dir.path());
    first.save([value(1)], 1).unwrap();
    let mut second = Saver::new(dir.path());
    let error = second.save([value(2)], 2).unwrap_err();
    assert!(
        matches!(&error, Error::Locked { holder, .. } if holder.contains(&std::process::id().to_string())),
        "{error}"
    );
    assert_eq!(
        second.latest().unwrap().unwrap().global_step().unwrap(),
        Some(1),
        "reading needs no lock"
    );
    Saver::new(dir.path()).exclusive(false).save([value(3)], 3).unwrap();
    drop(first);
    second.save([value(4)], 4).unwrap();
    drop(second);
    assert!(
        names(&LocalDir::new(dir.path()))
            .iter()
            .all(|name| !name.contains("lock"))
    );
}

#[test]
fn what_a_killed_writer_left_is_swept_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    Saver::new(dir.path()).save([value(1)], 1).unwrap();
    let swept = [
        "model.ckpt-9.data-00000-of-00001.tempstate123.tfckpt",
        "model.ckpt-2.data-00000-of-00002",
        "model.ckpt-2.data-00001-of-00002",
        "model.ckpt-2.meta",
    ];
    let kept = [
        // TensorFlow's: nobody can tell whether its writer lives.
        "model.ckpt-9.data-00000-of-00001.tempstate123",
        "other-2.data-00000-of-00001",
        "model.ckpt-best.meta",
        // A checkpoint of the format V1 with its graph.
        "model.ckpt-3",
        "model.ckpt-3.meta",
    ];
    for name in swept.iter().chain(&kept) {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    Saver::new(dir.path()).save([value(5)], 5).unwrap();
    for name in swept {
        assert!(!dir.path().join(name).exists(), "{name}");
    }
    for name in kept {
        assert!(dir.path().join(name).exists(), "{name}");
    }
    // The state file lists it: somebody took its index away, and may bring it back.
    fs::remove_file(dir.path().join("model.ckpt-5.index")).unwrap();
    Saver::new(dir.path()).save([value(6)], 6).unwrap();
    assert!(dir.path().join("model.ckpt-5.data-00000-of-00001").exists());
}

#[test]
fn a_run_whose_state_file_was_lost_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut saver = Saver::new(dir.path());
    (8..=11).for_each(|step| drop(saver.save([value(step)], step).unwrap()));
    drop(saver);
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    let mut saver = Saver::new(dir.path()).max_to_keep(1);
    assert_eq!(
        saver.latest().unwrap().unwrap().global_step().unwrap(),
        Some(11),
        "by number, not by letter"
    );
    let error = saver.save([value(9)], 9).unwrap_err();
    assert!(
        matches!(error, Error::AlreadyExists { .. }),
        "what is there is not overwritten: {error}"
    );
    saver.save([value(12)], 12).unwrap();
    assert_eq!(
        checkpoints(&LocalDir::new(dir.path())).len(),
        5,
        "what nobody lists is not removed"
    );
}

/// A storage that does what it is told to, until it is told to fail.
#[derive(Debug, Default)]
struct Moody {
    inner: MemoryDir,
    /// The names of files that cannot be published end with this.
    refuses: std::sync::Mutex<Option<&'static str>>,
    /// Whether a bit of each data file changes on its way to the device.
    flips: AtomicBool,
    free: Option<u64>,
}

impl Storage for Moody {
    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>> {
        self.inner.open(name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        if self.refuses.lock().unwrap().is_some_and(|end| name.ends_with(end)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let flips = self.flips.load(Ordering::Relaxed) && name.contains(".data-");
        Ok(Box::new(MoodyFile(self.inner.create(name)?, flips)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(self.free)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.inner.path(name)
    }
}

#[derive(Debug)]
struct MoodyFile(Box<dyn NewFile>, bool);

impl NewFile for MoodyFile {
    fn set_name(&mut self, name: &str) -> io::Result<()> {
        self.0.set_name(name)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut bytes = bytes.to_vec();
        if let (true, Some(last)) = (self.1, bytes.last_mut()) {
            *last ^= 4;
        }
        self.0.write_all_at(&bytes, offset)
    }

    fn publish(self: Box<Self>, durability: Durability) -> io::Result<()> {
        self.0.publish(durability)
    }
}

#[test]
fn whatever_cannot_be_written_everything_stays_as_it_was() {
    for refused in [".data-00000-of-00001", ".meta", ".index", "checkpoint"] {
        for overwrite in [false, true] {
            let storage = Arc::new(Moody::default());
            let mut saver = Saver::on(storage.clone()).overwrite(overwrite).max_to_keep(2);
            saver.save([value(1)], 1).unwrap();
            saver.save([value(2)], 2).unwrap();
            let before = names(&storage.inner);
            // A new step, or the same again.
            let step = if overwrite { 2 } else { 3 };
            *storage.refuses.lock().unwrap() = Some(refused);
            let error = saver.save([Variable::scalar("v", -1.0f32)], step).unwrap_err();
            assert!(matches!(error, Error::Io { .. }), "{error}");
            let latest = saver.latest().unwrap().unwrap();
            assert_eq!(
                latest.read::<f32>("v").unwrap(),
                [2.0],
                "{refused}, overwrite {overwrite}"
            );
            if refused != "checkpoint" || !overwrite {
                // While the state file cannot be written, a checkpoint keeps the name that it names.
                assert_eq!(names(&storage.inner), before, "{refused}, overwrite {overwrite}");
            }
            *storage.refuses.lock().unwrap() = None;
            saver.save([Variable::scalar("v", -1.0f32)], step).unwrap();
            assert_eq!(saver.latest().unwrap().unwrap().read::<f32>("v").unwrap(), [-1.0]);
            assert_eq!(checkpoints(&storage.inner).len(), 2, "{:?}", names(&storage.inner));
        }
    }
}

#[test]
fn replacing_a_checkpoint_never_leaves_the_directory_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut saver = Saver::new(dir.path()).overwrite(true);
    saver.save([value(1)], 1).unwrap();
    let look = dir.path().to_owned();
    let seen = Variable::deferred("v", DType::Float32, [], move |sink| {
        // In the middle of the save.
        let there = Checkpoint::open(&look).map_err(BoxError::from)?;
        sink(&(there.read::<f32>("v")?[0] + 10.0).to_le_bytes())
    });
    let saved = saver.save([seen], 1).unwrap();
    assert!(saved.removed.is_empty(), "{:?}", saved.removed);
    assert_eq!(Checkpoint::open(dir.path()).unwrap().read::<f32>("v").unwrap(), [11.0]);
    assert_eq!(checkpoints(&LocalDir::new(dir.path())), ["model.ckpt-1"]);

    // Killed in between: the state file names the old one by its new name.
    for ending in ["index", "meta", "data-00000-of-00001"] {
        let file = |name: &str| dir.path().join(format!("{name}.{ending}"));
        fs::rename(file("model.ckpt-1"), file("model.ckpt-1.replaced")).unwrap();
    }
    fs::write(
        dir.path().join("checkpoint"),
        "model_checkpoint_path: \"model.ckpt-1.replaced\"\n",
    )
    .unwrap();
    drop(saver);
    let mut saver = Saver::new(dir.path()).overwrite(true);
    assert_eq!(saver.latest().unwrap().unwrap().read::<f32>("v").unwrap(), [11.0]);
    saver.save([value(5)], 1).unwrap();
    assert_eq!(checkpoints(&LocalDir::new(dir.path())), ["model.ckpt-1"]);
    let state = checkpoint_state(dir.path()).unwrap().unwrap();
    assert_eq!(state.all_model_checkpoint_paths, [dir.path().join("model.ckpt-1")]);
}

#[test]
fn a_save_that_was_killed_while_it_replaced_another_does_not_take_its_place() {
    let (dir, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Saver::new(dir.path()).save([value(7)], 1).unwrap();
    Saver::new(old.path()).save([value(5)], 1).unwrap();
    for ending in ["index", "meta", "data-00000-of-00001"] {
        // Both are whole: the old one, which the state file names, and the new one, which was not acknowledged.
        let (from, to) = (
            format!("model.ckpt-1.{ending}"),
            format!("model.ckpt-1.replaced.{ending}"),
        );
        fs::copy(old.path().join(from), dir.path().join(to)).unwrap();
    }
    let state = "model_checkpoint_path: \"model.ckpt-1.replaced\"\n";
    fs::write(dir.path().join("checkpoint"), state).unwrap();
    let mut saver = Saver::new(dir.path()).overwrite(true);
    let look = dir.path().to_owned();
    let seen = Variable::deferred("v", DType::Float32, [], move |sink| {
        let there = Checkpoint::open(&look).map_err(BoxError::from)?;
        assert_eq!(there.read::<f32>("v")?, [5.0], "the one that was acknowledged");
        sink(&there.read::<f32>("v")?[0].to_le_bytes())
    });
    saver.save([seen], 1).unwrap();
    assert_eq!(checkpoints(&LocalDir::new(dir.path())), ["model.ckpt-1"]);
}

#[test]
fn replacing_what_another_saver_listed_leaves_it_listed_and_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    Saver::new(dir.path()).save([value(1)], 1).unwrap();
    let mut saver = Saver::new(dir.path()).write_state(false).overwrite(true);
    for step in [1, 2, 2] {
        saver.save([value(step + 10)], step).unwrap();
    }
    let names = checkpoints(&LocalDir::new(dir.path()));
    assert_eq!(names, ["model.ckpt-1", "model.ckpt-2"]);
    let latest = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(latest.read::<f32>("v").unwrap(), [11.0]);
}

#[test]
fn a_full_device_is_noticed_before_anything_is_written() {
    let storage = Arc::new(Moody {
        free: Some(1000),
        ..Moody::default()
    });
    let error = Saver::on(storage.clone())
        .save([Variable::new("v", [1000], &[0f32; 1000])], 1)
        .unwrap_err();
    assert!(
        matches!(error, Error::NoSpace { free: 1000, needed, .. } if needed > 4000),
        "{error}"
    );
    assert!(names(&storage.inner).is_empty());
}

#[test]
fn what_does_not_read_back_as_it_was_written_is_not_acknowledged() {
    let storage = Arc::new(Moody::default());
    let mut saver = Saver::on(storage.clone()).verify_after_save(true).max_to_keep(1);
    saver.save([value(1)], 1).unwrap();
    storage.flips.store(true, Ordering::Relaxed);
    let error = saver.save([value(2)], 2).unwrap_err();
    assert!(
        matches!(&error, Error::NotStored { source, .. } if matches!(**source, Error::Checksum { .. })),
        "{error}"
    );
    assert_eq!(checkpoints(&storage.inner), ["model.ckpt-1"]);
    assert_eq!(saver.latest().unwrap().unwrap().global_step().unwrap(), Some(1));
}

#[test]
fn paths_in_the_state_file_are_what_tensorflow_writes() {
    let dir = tempfile::tempdir().unwrap();
    let text = |root: &Path| fs::read_to_string(root.join("checkpoint")).unwrap();
    let absolute = dir.path().join("absolute");
    Saver::new(&absolute)
        .save_relative_paths(false)
        .save([value(1)], 1)
        .unwrap();
    assert!(text(&absolute).contains(&absolute.join("model.ckpt-1").display().to_string()));
    let relative = dir.path().join("relative");
    Saver::new(&relative).save([value(1)], 1).unwrap();
    assert!(text(&relative).starts_with("model_checkpoint_path: \"model.ckpt-1\"\n"));
}

#[test]
fn many_saves_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let descriptors = || fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let mut saver = Saver::new(dir.path()).durability(Durability::Buffered).max_to_keep(3);
    saver.save([value(0)], 0).unwrap();
    let before = descriptors();
    for step in 1..=10_000 {
        saver.save([value(step)], step).unwrap();
    }
    // Other tests open files meanwhile, but not thousands.
    assert!(descriptors() < before + 100);
    drop(saver);
    assert_eq!(names(&LocalDir::new(dir.path())).len(), 3 * 3 + 1);
}
