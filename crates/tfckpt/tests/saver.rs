//! What a directory of checkpoints looks like after saves, restarts and failures.

use std::fs;
use std::path::Path;

use tfckpt::{BoxError, Checkpoint, DType, Error, GLOBAL_STEP, Saver, Variable, checkpoint_state, latest_checkpoint};

fn save(saver: &mut Saver, step: i64) -> tfckpt::Result<tfckpt::Saved> {
    saver.save([Variable::scalar("v", step as f32)], step)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The steps whose index files are there.
fn steps(dir: &Path) -> Vec<i64> {
    let names = names(dir);
    let step = |name: &String| name.strip_prefix("model.ckpt-")?.strip_suffix(".index")?.parse().ok();
    let mut steps: Vec<i64> = names.iter().filter_map(step).collect();
    steps.sort_unstable();
    steps
}

#[test]
fn the_last_few_are_kept_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("made/on/the/way");
    for step in 1..=4 {
        // A new saver each time, as after a restart.
        let saved = save(&mut Saver::new(&run).max_to_keep(2), step * 10).unwrap();
        assert!(saved.removal_errors.is_empty());
        assert_eq!(saved.removed.len(), usize::from(step > 2));
    }
    assert_eq!(steps(&run), [30, 40]);
    assert_eq!(latest_checkpoint(&run).unwrap().unwrap(), run.join("model.ckpt-40"));
    assert_eq!(Checkpoint::open(&run).unwrap().read::<f32>("v").unwrap(), [40.0]);
    assert_eq!(
        names(&run).len(),
        7,
        "three files each and the state file: {:?}",
        names(&run)
    );
}

#[test]
fn a_lower_limit_takes_effect_at_once_and_zero_keeps_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut saver = Saver::new(dir.path()).max_to_keep(10);
    (1..=6).for_each(|step| drop(save(&mut saver, step).unwrap()));
    drop(saver);
    save(&mut Saver::new(dir.path()).max_to_keep(2), 7).unwrap();
    assert_eq!(steps(dir.path()), [6, 7]);
    let mut saver = Saver::new(dir.path()).max_to_keep(0);
    (8..=12).for_each(|step| drop(save(&mut saver, step).unwrap()));
    assert_eq!(steps(dir.path()), [6, 7, 8, 9, 10, 11, 12]);
    let state = checkpoint_state(dir.path()).unwrap().unwrap();
    assert_eq!(
        state.all_model_checkpoint_paths,
        [dir.path().join("model.ckpt-12")],
        "as TensorFlow lists them"
    );
}

#[test]
fn a_committed_checkpoint_is_not_overwritten_unless_asked() {
    let dir = tempfile::tempdir().unwrap();
    let mut saver = Saver::new(dir.path());
    save(&mut saver, 1).unwrap();
    save(&mut saver, 2).unwrap();
    let twice = |saver: &mut Saver| saver.save([Variable::scalar("v", -1.0f32)], 2);
    assert!(matches!(twice(&mut saver), Err(Error::AlreadyExists { .. })));
    drop(saver);
    assert!(matches!(
        twice(&mut Saver::new(dir.path())),
        Err(Error::AlreadyExists { .. })
    ));
    assert_eq!(Checkpoint::open(dir.path()).unwrap().read::<f32>("v").unwrap(), [2.0]);
    twice(&mut Saver::new(dir.path()).overwrite(true)).unwrap();
    assert_eq!(Checkpoint::open(dir.path()).unwrap().read::<f32>("v").unwrap(), [-1.0]);
    assert_eq!(
        checkpoint_state(dir.path())
            .unwrap()
            .unwrap()
            .all_model_checkpoint_paths
            .len(),
        2
    );
    // The only one there is.
    let other = tempfile::tempdir().unwrap();
    save(&mut Saver::new(other.path()), 2).unwrap();
    twice(&mut Saver::new(other.path()).overwrite(true)).unwrap();
    assert_eq!(
        Checkpoint::open(other.path()).unwrap().read::<f32>("v").unwrap(),
        [-1.0]
    );
}

#[test]
fn a_save_that_was_killed_before_it_was_acknowledged_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let mut saver = Saver::new(dir.path());
    save(&mut saver, 1).unwrap();
    let state = fs::read(dir.path().join("checkpoint")).unwrap();
    save(&mut saver, 2).unwrap();
    // Killed between the index and the state file.
    drop(saver);
    fs::write(dir.path().join("checkpoint"), state).unwrap();
    let mut saver = Saver::new(dir.path());
    assert_eq!(saver.latest().unwrap().unwrap().global_step().unwrap(), Some(1));
    saver.save([Variable::scalar("v", 22.0f32)], 2).unwrap();
    assert_eq!(saver.latest().unwrap().unwrap().read::<f32>("v").unwrap(), [22.0]);
}

#[test]
fn nothing_but_own_checkpoints_is_ever_removed() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let outside = dir.path().join("precious");
    for folder in [&run, &outside] {
        save(&mut Saver::new(folder), 1).unwrap();
    }
    fs::write(run.join("other-1.index"), b"not ours").unwrap();
    let path = |path: &str| format!("all_model_checkpoint_paths: \"{path}\"\n");
    let absolute = outside.join("model.ckpt-1").display().to_string();
    let state = ["../precious/model.ckpt-1", &absolute, "other-1", "model.ckpt-1"]
        .map(path)
        .concat();
    fs::write(
        run.join("checkpoint"),
        format!("model_checkpoint_path: \"model.ckpt-1\"\n{state}"),
    )
    .unwrap();
    let saved = save(&mut Saver::new(&run).max_to_keep(1), 2).unwrap();
    assert_eq!(saved.removed, [run.join("model.ckpt-1")]);
    assert!(
        Checkpoint::open(outside.join("model.ckpt-1")).is_ok(),
        "a state file must not reach outside"
    );
    assert!(run.join("other-1.index").exists());
    assert_eq!(steps(&run), [2]);
}

#[test]
fn a_failed_save_leaves_everything_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut saver = Saver::new(dir.path()).max_to_keep(1);
    save(&mut saver, 1).unwrap();
    let before = names(dir.path());
    let fails = || {
        Variable::deferred("w", DType::Float32, [4], |sink| {
            sink(&[0; 8])?;
            Err(BoxError::from("the device is gone"))
        })
    };
    let short = || Variable::deferred("w", DType::Float32, [4], |sink| sink(&[0; 8]));
    let error = saver.save([Variable::scalar("v", 2.0f32), fails()], 2).unwrap_err();
    assert!(matches!(&error, Error::Source { name, .. } if name == "w"), "{error}");
    let error = saver.save([short()], 2).unwrap_err();
    assert!(
        matches!(
            error,
            Error::WrongLength {
                expected: 16,
                got: 8,
                ..
            }
        ),
        "{error}"
    );
    let error = saver.save([Variable::scalar(GLOBAL_STEP, 0i64)], 2).unwrap_err();
    assert!(
        matches!(&error, Error::DuplicateName { name } if name == GLOBAL_STEP),
        "{error}"
    );
    let error = saver.save([Variable::scalar("", 0i64)], 2).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    let huge = Variable::from_bytes("v", DType::Float32, [0, 1 << 40, 1 << 40], vec![]);
    let error = saver.save([huge], 2).unwrap_err();
    assert!(
        matches!(error, Error::InvalidArgument { .. }),
        "what no reader takes is not written: {error}"
    );
    assert_eq!(names(dir.path()), before);
    assert_eq!(Checkpoint::open(dir.path()).unwrap().global_step().unwrap(), Some(1));
}

#[test]
fn the_directory_can_be_moved() {
    let dir = tempfile::tempdir().unwrap();
    for (relative, old, new) in [(true, "a", "b"), (false, "c", "d")] {
        let [old, new] = [old, new].map(|name| dir.path().join(name));
        let mut saver = Saver::new(&old).max_to_keep(2).save_relative_paths(relative);
        (1..=2).for_each(|step| drop(save(&mut saver, step).unwrap()));
        let text = fs::read_to_string(old.join("checkpoint")).unwrap();
        assert_eq!(text.contains(dir.path().to_str().unwrap()), !relative);
        drop(saver);
        fs::rename(&old, &new).unwrap();
        let mut saver = Saver::new(&new).max_to_keep(2);
        assert_eq!(saver.latest().unwrap().unwrap().global_step().unwrap(), Some(2));
        save(&mut saver, 3).unwrap();
        assert_eq!(steps(&new), [2, 3], "retention goes on in the new place");
    }
}

#[test]
fn a_state_file_that_cannot_be_trusted_never_means_a_fresh_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut saver = Saver::new(dir.path());
    assert!(saver.latest().unwrap().is_none(), "nothing was ever saved");
    save(&mut saver, 1).unwrap();
    fs::write(dir.path().join("checkpoint"), "model_checkpoint_path: \"model.ck").unwrap();
    assert!(matches!(
        Saver::new(dir.path()).latest(),
        Err(Error::StateFile { line: 1, .. })
    ));
    fs::write(
        dir.path().join("checkpoint"),
        "model_checkpoint_path: \"model.ckpt-77\"",
    )
    .unwrap();
    let error = Saver::new(dir.path()).latest().unwrap_err();
    assert!(
        error.to_string().contains("did you mean") && error.to_string().contains("model.ckpt-1"),
        "{error}"
    );
    assert_eq!(
        latest_checkpoint(dir.path()).unwrap(),
        None,
        "this is what TensorFlow answers"
    );
}
