//! The checkpoint manager, as its users see it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tfckpt::io::{MemoryDir, Storage};
use tfckpt::objects::ObjectLayout;
use tfckpt::{
    Checkpoint, CheckpointManager, Clock, Error, Result, SaveAt, Saved, Saver, Variable, checkpoint_state,
    latest_checkpoint,
};

#[derive(Debug, Clone)]
struct FakeClock(Arc<Mutex<f64>>);

impl Clock for FakeClock {
    fn now(&self) -> f64 {
        *self.0.lock().unwrap()
    }
}

impl FakeClock {
    fn new() -> Self {
        FakeClock(Arc::new(Mutex::new(1.7e9)))
    }

    fn forward(&self, seconds: f64) {
        *self.0.lock().unwrap() += seconds;
    }
}

fn save(manager: &mut CheckpointManager, at: impl Into<SaveAt>) -> Result<Option<Saved>> {
    manager.save([Variable::scalar("v", 1.0f32)], at)
}

fn names(directory: &Path) -> Vec<String> {
    let files = std::fs::read_dir(directory).unwrap().flatten();
    let mut names: Vec<String> = files.map(|file| file.file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

fn checkpoints(directory: &Path) -> Vec<String> {
    let names = names(directory).into_iter();
    names
        .filter_map(|name| name.strip_suffix(".index").map(str::to_owned))
        .collect()
}

fn directory() -> (TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("run");
    (temporary, directory)
}

#[test]
fn one_checkpoint_of_every_hour_stays_also_over_a_restart() {
    let (_temporary, run) = directory();
    let clock = FakeClock::new();
    let start = clock.now();
    for from in [0, 6] {
        let mut manager = CheckpointManager::new(&run, 2)
            .keep_checkpoint_every_n_hours(1.0)
            .clock(clock.clone());
        for step in from..from + 6 {
            clock.forward(1800.0);
            save(&mut manager, step).unwrap();
        }
    }
    // As TensorFlow 2.21 without a restart.
    assert_eq!(
        checkpoints(&run),
        ["ckpt-10", "ckpt-11", "ckpt-12", "ckpt-2", "ckpt-4", "ckpt-6", "ckpt-8"]
    );
    let state = checkpoint_state(&run).unwrap().unwrap();
    assert_eq!(
        state.all_model_checkpoint_paths,
        [run.join("ckpt-11"), run.join("ckpt-12")]
    );
    assert_eq!(
        state.all_model_checkpoint_timestamps,
        [start + 11.0 * 1800.0, start + 12.0 * 1800.0]
    );
    assert_eq!(state.last_preserved_timestamp, Some(start + 10.0 * 1800.0));
}

#[test]
fn a_save_before_its_interval_does_nothing() {
    let (_temporary, run) = directory();
    let mut manager = CheckpointManager::new(&run, 5).checkpoint_interval(10);
    let mut saved = Vec::new();
    for step in 0..25 {
        saved.extend(save(&mut manager, step).unwrap().map(|saved| saved.global_step));
    }
    assert_eq!(saved, [0, 10, 20]);
    let last = SaveAt::step(24).check_interval(false);
    assert!(save(&mut manager, last).unwrap().is_some());
    assert!(save(&mut manager, last).unwrap().is_none(), "twice at one step");
    assert_eq!(manager.latest_checkpoint().unwrap(), Some(run.join("ckpt-4")));
}

#[test]
fn the_interval_counts_from_the_restored_step() {
    let (_temporary, run) = directory();
    save(&mut CheckpointManager::new(&run, 5), 7).unwrap();
    let mut manager = CheckpointManager::new(&run, 5).checkpoint_interval(10);
    let mut found = None;
    let restored = manager.restore_or_initialize(|checkpoint| {
        found = checkpoint.map(Checkpoint::global_step).transpose()?.flatten();
        Ok::<_, Error>(())
    });
    assert_eq!(restored.unwrap(), Some(run.join("ckpt-1")));
    assert_eq!(found, Some(7));
    assert!(save(&mut manager, 16).unwrap().is_none());
    assert!(save(&mut manager, 17).unwrap().is_some());
}

#[test]
fn without_a_checkpoint_the_model_is_initialized() {
    let (_temporary, run) = directory();
    let mut manager = CheckpointManager::new(&run, 5);
    let mut initialized = false;
    let restored = manager.restore_or_initialize(|checkpoint| {
        initialized = checkpoint.is_none();
        Ok::<_, Error>(())
    });
    assert!(restored.unwrap().is_none() && initialized);
    assert!(!run.exists(), "looking for a checkpoint makes no directory");
}

#[test]
fn a_newest_checkpoint_that_is_gone_is_an_error_and_no_new_start() {
    let (_temporary, run) = directory();
    save(&mut CheckpointManager::new(&run, 5), 7).unwrap();
    std::fs::remove_file(run.join("ckpt-1.index")).unwrap();
    let restored = CheckpointManager::new(&run, 5).restore_or_initialize(|_| Ok::<_, Error>(()));
    assert!(matches!(restored, Err(Error::NoCheckpoint { .. })), "{restored:?}");
}

#[test]
fn the_counter_goes_on_after_a_restart_also_where_numbers_were_given() {
    let (_temporary, run) = directory();
    let layout = || ObjectLayout::module("model").step("step");
    let mut manager = CheckpointManager::new(&run, None).objects(layout());
    save(&mut manager, 1).unwrap();
    save(&mut manager, SaveAt::step(2).checkpoint_number(70)).unwrap();
    drop(manager);
    let mut manager = CheckpointManager::new(&run, None).objects(layout());
    save(&mut manager, 3).unwrap();
    assert_eq!(checkpoints(&run), ["ckpt-1", "ckpt-3", "ckpt-70"]);
    let newest = Checkpoint::open(&run).unwrap();
    assert_eq!(
        newest.read::<i64>("save_counter/.ATTRIBUTES/VARIABLE_VALUE").unwrap(),
        [3]
    );
    drop(manager);

    let mut by_names = CheckpointManager::new(&run, None).checkpoint_name("plain");
    save(&mut by_names, SaveAt::step(4).checkpoint_number(70)).unwrap();
    drop(by_names);
    save(&mut CheckpointManager::new(&run, None).checkpoint_name("plain"), 5).unwrap();
    assert_eq!(latest_checkpoint(&run).unwrap(), Some(run.join("plain-71")));
}

#[test]
fn without_a_state_file_nothing_that_is_there_is_overwritten() {
    let (_temporary, run) = directory();
    let mut manager = CheckpointManager::new(&run, 2);
    (1..=3).for_each(|step| drop(save(&mut manager, step).unwrap()));
    drop(manager);
    std::fs::remove_file(run.join("checkpoint")).unwrap();
    save(&mut CheckpointManager::new(&run, 2), 1).unwrap();
    assert_eq!(checkpoints(&run), ["ckpt-2", "ckpt-3", "ckpt-4"]);
}

#[test]
fn a_number_that_is_taken_is_overwritten_only_on_request() {
    let (_temporary, run) = directory();
    let mut manager = CheckpointManager::new(&run, 3);
    (1..=3).for_each(|step| drop(save(&mut manager, step).unwrap()));
    let again = SaveAt::step(9).checkpoint_number(2);
    assert!(matches!(save(&mut manager, again), Err(Error::AlreadyExists { .. })));
    assert_eq!(
        manager.checkpoints().unwrap(),
        [1, 2, 3].map(|n| run.join(format!("ckpt-{n}")))
    );
    drop(manager);

    let mut manager = CheckpointManager::new(&run, 3).overwrite(true);
    save(&mut manager, again).unwrap();
    assert_eq!(
        manager.checkpoints().unwrap(),
        [1, 3, 2].map(|n| run.join(format!("ckpt-{n}")))
    );
    assert_eq!(checkpoints(&run), ["ckpt-1", "ckpt-2", "ckpt-3"]);
    assert_eq!(Checkpoint::open(&run).unwrap().global_step().unwrap(), Some(9));
}

#[test]
fn a_save_that_fails_leaves_what_it_was_to_overwrite() {
    let (_temporary, run) = directory();
    let mut manager = CheckpointManager::new(&run, 3).overwrite(true);
    save(&mut manager, 5).unwrap();
    let before: Vec<(String, Vec<u8>)> = contents(&run);
    let fails = Variable::deferred("v", tfckpt::DType::Float32, [2], |_| Err("no".into()));
    let at = SaveAt::step(6).checkpoint_number(1);
    assert!(matches!(manager.save([fails], at), Err(Error::Source { .. })));
    assert_eq!(contents(&run), before);
    save(&mut manager, at).unwrap();
    assert_eq!(Checkpoint::open(&run).unwrap().global_step().unwrap(), Some(6));
}

fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| (name.clone(), std::fs::read(directory.join(name)).unwrap());
    names(directory).into_iter().map(read).collect()
}

#[test]
fn what_a_killed_save_committed_without_a_word_is_replaced() {
    let (_temporary, run) = directory();
    let mut manager = CheckpointManager::new(&run, 3);
    save(&mut manager, 1).unwrap();
    let state = std::fs::read(run.join("checkpoint")).unwrap();
    save(&mut manager, 2).unwrap();
    drop(manager);
    // As if it had been killed before the state file was written.
    std::fs::write(run.join("checkpoint"), state).unwrap();
    let mut manager = CheckpointManager::new(&run, 3);
    save(&mut manager, 3).unwrap();
    assert_eq!(checkpoints(&run), ["ckpt-1", "ckpt-2"]);
    assert_eq!(Checkpoint::open(&run).unwrap().global_step().unwrap(), Some(3));
}

#[test]
fn nothing_outside_the_directory_is_removed_whatever_the_state_file_says() {
    let (temporary, run) = directory();
    let elsewhere = temporary.path().join("precious");
    save(&mut CheckpointManager::new(&elsewhere, 1), 1).unwrap();
    let before = contents(&elsewhere);
    std::fs::create_dir(&run).unwrap();
    let hostile = format!(
        "model_checkpoint_path: \"ckpt-9\"\nall_model_checkpoint_paths: \"{0}/ckpt-1\"\n\
         all_model_checkpoint_paths: \"../precious/ckpt-1\"\nall_model_checkpoint_paths: \"ckpt-9\"\n\
         all_model_checkpoint_timestamps: 5\nall_model_checkpoint_timestamps: 6\nall_model_checkpoint_timestamps: 7\n",
        elsewhere.display()
    );
    std::fs::write(run.join("checkpoint"), hostile).unwrap();
    let mut manager = CheckpointManager::new(&run, 1);
    let saved = save(&mut manager, 1).unwrap().unwrap();
    assert_eq!(contents(&elsewhere), before);
    assert_eq!(saved.removed, Vec::<PathBuf>::new());
    assert_eq!(manager.checkpoints().unwrap(), [saved.prefix]);
}

#[test]
fn a_directory_that_was_moved_goes_on() {
    let (temporary, run) = directory();
    let mut manager = CheckpointManager::new(&run, 2);
    (1..=2).for_each(|step| drop(save(&mut manager, step).unwrap()));
    drop(manager);
    let moved = temporary.path().join("moved");
    std::fs::rename(&run, &moved).unwrap();
    save(&mut CheckpointManager::new(&moved, 2), 3).unwrap();
    assert_eq!(checkpoints(&moved), ["ckpt-2", "ckpt-3"]);
}

#[test]
fn checkpoints_of_a_saver_are_kept_and_the_counter_goes_on_after_them() {
    let (_temporary, run) = directory();
    let mut saver = Saver::new(&run).basename("ckpt").max_to_keep(2);
    (1..=3).for_each(|step| drop(saver.save([Variable::scalar("v", 1.0f32)], step * 10).unwrap()));
    drop(saver);
    let mut manager = CheckpointManager::new(&run, 1);
    (4..=5).for_each(|step| drop(save(&mut manager, step).unwrap()));
    // As TensorFlow, which takes all that have no times for kept.
    assert_eq!(checkpoints(&run), ["ckpt-20", "ckpt-30", "ckpt-32"]);
}

#[test]
fn at_least_one_checkpoint_is_kept() {
    let (_temporary, run) = directory();
    let saved = save(&mut CheckpointManager::new(&run, 0), 1);
    assert!(matches!(saved, Err(Error::InvalidArgument { .. })), "{saved:?}");
    assert!(!run.exists());
}

#[test]
fn two_managers_do_not_write_to_one_directory() {
    let (_temporary, run) = directory();
    let mut first = CheckpointManager::new(&run, 1);
    save(&mut first, 1).unwrap();
    let second = save(&mut CheckpointManager::new(&run, 1), 1);
    assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
}

#[test]
fn checkpoints_need_no_disk() {
    let memory = MemoryDir::new();
    let mut manager = CheckpointManager::on(Arc::new(memory.clone()), 1);
    (1..=3).for_each(|step| drop(save(&mut manager, step).unwrap()));
    let mut names = memory.list().unwrap();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    assert_eq!(names, ["checkpoint", "ckpt-3.data-00000-of-00001", "ckpt-3.index"]);
    let mut again = CheckpointManager::on(Arc::new(memory), 1);
    let mut step = None;
    let restored = again.restore_or_initialize(|checkpoint| {
        step = checkpoint
            .map(|checkpoint| checkpoint.global_step())
            .transpose()?
            .flatten();
        Ok::<_, Error>(())
    });
    restored.unwrap();
    assert_eq!(step, Some(3));
}
