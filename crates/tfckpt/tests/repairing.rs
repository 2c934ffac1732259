//! What `repair` makes of damaged directories, and what it never touches.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::{DAMAGES, copy_dir, fixture, names, save, save_with, set_age, settle, steps};
use tfckpt::{
    Checkpoint, CheckpointState, Error, Fate, Goal, Repair, Retention, Saver, StateFile, Variable, latest_checkpoint,
    repair,
};

fn state(dir: &Path) -> CheckpointState {
    let path = dir.join("checkpoint");
    CheckpointState::parse(&fs::read(&path).unwrap(), &path).unwrap()
}

/// The numbers of the listed checkpoints, which are those of the base name and of this directory.
fn listed(dir: &Path) -> Vec<i64> {
    let state = state(dir);
    assert_eq!(
        Some(&state.model_checkpoint_path),
        state.all_model_checkpoint_paths.last()
    );
    let step = |path: &PathBuf| path.to_str()?.strip_prefix("model.ckpt-")?.parse().ok();
    let steps: Option<Vec<i64>> = state.all_model_checkpoint_paths.iter().map(step).collect();
    steps.unwrap_or_else(|| panic!("{state:?}"))
}

fn write_state(dir: &Path, lines: &str) {
    fs::write(dir.join("checkpoint"), lines).unwrap();
}

#[test]
fn a_sound_directory_is_left_as_it_is() {
    for case in ["tf1_adam_keep2", "tf2_keras3", "v1", "v1_sharded"] {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(&fixture(case), dir.path());
        let before = fs::read(dir.path().join("checkpoint")).unwrap();
        let report = repair(dir.path()).unwrap();
        assert!(report.is_sound() && report.has_checkpoint(), "{report}");
        assert_eq!(fs::read(dir.path().join("checkpoint")).unwrap(), before);
        assert!(report.to_string().contains("the state file is right"), "{report}");
    }
    let empty = tempfile::tempdir().unwrap();
    let report = repair(empty.path()).unwrap();
    assert!(report.is_sound() && !report.has_checkpoint(), "{report}");
    assert!(names(empty.path()).is_empty());
    assert!(matches!(
        repair(empty.path().join("nowhere")),
        Err(Error::NoCheckpoint { .. })
    ));
}

#[test]
fn broken_checkpoints_are_no_longer_listed_and_stay_until_somebody_asks() {
    for (what, damage) in DAMAGES {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), 1..=3);
        damage(&dir.path().join("model.ckpt-3"));
        settle(dir.path());
        let before = names(dir.path());

        let dry = Repair::new(dir.path()).dry_run(true).delete_broken(true).run().unwrap();
        assert!(
            matches!(&dry.state, StateFile::Written { listed } if listed.len() == 2),
            "{what}: {dry}"
        );
        assert!(matches!(dry.broken[0].fate, Fate::Deleted), "{what}: {dry}");
        assert!(dry.to_string().contains("would be deleted"), "{dry}");
        assert_eq!(
            state(dir.path()).all_model_checkpoint_paths.len(),
            3,
            "nothing happens in a dry run"
        );

        let report = repair(dir.path()).unwrap();
        assert_eq!(listed(dir.path()), [1, 2], "{what}");
        assert_eq!(names(dir.path()), before, "{what}: nothing is deleted");
        assert_eq!(report.broken.len(), 1, "{what}: {report}");
        assert!(matches!(report.broken[0].fate, Fate::Left), "{what}: {report}");
        assert_eq!(
            latest_checkpoint(dir.path()).unwrap(),
            Some(dir.path().join("model.ckpt-2"))
        );

        let report = Repair::new(dir.path()).delete_broken(true).run().unwrap();
        assert!(matches!(report.state, StateFile::Right { .. }), "{what}: {report}");
        assert_eq!(report.still_broken().count(), 0, "{what}: {report}");
        assert!(
            names(dir.path()).iter().all(|name| !name.contains("ckpt-3")),
            "{what}: {:?}",
            names(dir.path())
        );
        assert_eq!(steps(dir.path()), [1, 2]);
        assert!(repair(dir.path()).unwrap().is_sound());
    }
}

#[test]
fn what_changed_just_now_may_be_on_its_way_and_is_not_deleted() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=2);
    settle(dir.path());
    fs::remove_file(dir.path().join("model.ckpt-2.index")).unwrap();
    set_age(&dir.path().join("model.ckpt-2.data-00000-of-00001"), 5);
    let report = Repair::new(dir.path()).delete_broken(true).run().unwrap();
    assert!(matches!(report.broken[0].fate, Fate::New), "{report}");
    assert!(dir.path().join("model.ckpt-2.data-00000-of-00001").exists());
    assert_eq!(listed(dir.path()), [1]);
}

#[test]
fn what_a_dead_writer_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=1);
    let left = "model.ckpt-2.index.tempstate123.tfckpt";
    fs::write(dir.path().join(left), "half").unwrap();
    fs::write(dir.path().join("model.ckpt-2.index.tempstate123"), "of TensorFlow").unwrap();
    let before = names(dir.path());
    Repair::new(dir.path()).dry_run(true).run().unwrap();
    assert_eq!(names(dir.path()), before);
    let report = repair(dir.path()).unwrap();
    assert_eq!(report.leftovers, [left]);
    assert!(report.to_string().contains(left) && !report.is_sound(), "{report}");
    assert_eq!(names(dir.path()).len(), before.len() - 1);
}

#[test]
fn without_a_state_file_that_can_be_read_all_that_are_whole_are_listed() {
    for garbage in [
        None,
        Some("garbage"),
        Some("truncated"),
        Some("not_utf8"),
        Some("empty"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), [9, 10, 100, 20]);
        support::flip(&dir.path().join("model.ckpt-10"));
        let path = dir.path().join("checkpoint");
        fs::remove_file(&path).unwrap();
        if let Some(garbage) = garbage {
            fs::copy(fixture(&format!("state_files/{garbage}.checkpoint")), &path).unwrap();
        }
        let report = repair(dir.path()).unwrap();
        assert_eq!(listed(dir.path()), [9, 20, 100], "{garbage:?}");
        assert_eq!(report.state_error.is_some(), garbage.is_some(), "{report}");
        assert!(state(dir.path()).all_model_checkpoint_timestamps.is_empty());
    }
}

#[test]
fn timestamps_stay_with_their_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=4);
    set_age(&dir.path().join("model.ckpt-4.index"), 0);
    support::flip(&dir.path().join("model.ckpt-2"));
    write_state(
        dir.path(),
        "model_checkpoint_path: \"model.ckpt-3\"\n\
         all_model_checkpoint_paths: \"model.ckpt-1\"\n\
         all_model_checkpoint_paths: \"/old/place/model.ckpt-2\"\n\
         all_model_checkpoint_paths: \"model.ckpt-3\"\n\
         all_model_checkpoint_timestamps: 1.5\n\
         all_model_checkpoint_timestamps: 2.5\n\
         all_model_checkpoint_timestamps: 3.5\n\
         last_preserved_timestamp: 0.5\n",
    );
    repair(dir.path()).unwrap();
    // The fourth was committed, and never acknowledged.
    assert_eq!(listed(dir.path()), [1, 3, 4]);
    let state = state(dir.path());
    assert_eq!(state.all_model_checkpoint_timestamps[..2], [1.5, 3.5]);
    assert!(state.all_model_checkpoint_timestamps[2] > 1e9, "that of its index");
    assert_eq!(state.last_preserved_timestamp, Some(0.5));
}

#[test]
fn what_was_not_listed_and_is_older_may_be_kept_on_purpose_and_is_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=5);
    settle(dir.path());
    write_state(
        dir.path(),
        "model_checkpoint_path: \"model.ckpt-4\"\nall_model_checkpoint_paths: \"model.ckpt-3\"\n\
         all_model_checkpoint_paths: \"model.ckpt-4\"\n",
    );
    repair(dir.path()).unwrap();
    assert_eq!(listed(dir.path()), [3, 4, 5]);
    // A training that went back: the number is higher, and the checkpoint older.
    set_age(&dir.path().join("model.ckpt-5.index"), 7200);
    write_state(dir.path(), "model_checkpoint_path: \"model.ckpt-4\"\n");
    repair(dir.path()).unwrap();
    assert_eq!(listed(dir.path()), [4]);
    // None of the listed ones is left: the newest there is, and no more.
    write_state(dir.path(), "model_checkpoint_path: \"model.ckpt-77\"\n");
    let report = repair(dir.path()).unwrap();
    assert_eq!(listed(dir.path()), [5]);
    assert!(
        report.to_string().contains("model.ckpt-77`: its files are gone"),
        "{report}"
    );
}

#[test]
fn a_moved_directory_gets_relative_paths() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    copy_dir(&fixture("tf1_adam_keep2"), &old);
    let relative = fs::read(old.join("checkpoint")).unwrap();
    let text = String::from_utf8(relative.clone()).unwrap();
    write_state(&old, &text.replace("\"model", &format!("\"{}/model", old.display())));
    fs::rename(&old, &new).unwrap();
    assert_eq!(latest_checkpoint(&new).unwrap(), None, "as TensorFlow answers");
    repair(&new).unwrap();
    assert_eq!(
        fs::read(new.join("checkpoint")).unwrap(),
        relative,
        "as TensorFlow writes it"
    );
    assert_eq!(latest_checkpoint(&new).unwrap(), Some(new.join("model.ckpt-3")));
}

#[test]
fn nothing_outside_of_the_directory_is_listed_or_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (run, outside) = (dir.path().join("run"), dir.path().join("outside"));
    save(&run, 1..=1);
    save(&outside, 1..=3);
    support::flip(&outside.join("model.ckpt-3"));
    settle(&outside);
    let before: Vec<_> = names(&outside)
        .iter()
        .map(|name| fs::read(outside.join(name)).unwrap())
        .collect();
    let absolute = outside.join("model.ckpt-2").display().to_string();
    for newest in [
        "../outside/model.ckpt-2",
        &absolute,
        "../outside/model.ckpt-3",
        "/etc/passwd",
        "../../x",
        "..",
    ] {
        write_state(
            &run,
            &format!("model_checkpoint_path: \"{newest}\"\nall_model_checkpoint_paths: \"model.ckpt-1\"\n"),
        );
        let report = Repair::new(&run).delete_broken(true).run().unwrap();
        assert_eq!(listed(&run), [1], "{newest}: {report}");
        assert_eq!(report.dropped.len(), 1, "{report}");
        assert!(report.broken.is_empty(), "{report}");
    }
    let after: Vec<_> = names(&outside)
        .iter()
        .map(|name| fs::read(outside.join(name)).unwrap())
        .collect();
    assert_eq!(before, after);
    // The same directory under another name is no other one.
    write_state(&run, "model_checkpoint_path: \"../run/model.ckpt-1\"\n");
    assert!(repair(&run).unwrap().dropped.is_empty());
    assert_eq!(listed(&run), [1]);
}

#[cfg(unix)]
#[test]
fn links_are_not_followed_and_not_deleted() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let (run, outside) = (dir.path().join("run"), dir.path().join("outside"));
    save(&run, 1..=1);
    save(&outside, 2..=2);
    support::flip(&outside.join("model.ckpt-2"));
    settle(&outside);
    let files = [".index", ".data-00000-of-00001"];
    for suffix in files {
        symlink(
            outside.join(format!("model.ckpt-2{suffix}")),
            run.join(format!("model.ckpt-2{suffix}")),
        )
        .unwrap();
    }
    // The state file is one, too.
    fs::write(outside.join("precious"), "hello").unwrap();
    fs::remove_file(run.join("checkpoint")).unwrap();
    symlink(outside.join("precious"), run.join("checkpoint")).unwrap();
    let report = Repair::new(&run).delete_broken(true).run().unwrap();
    assert!(matches!(report.broken[0].fate, Fate::Linked), "{report}");
    assert!(
        files
            .iter()
            .all(|suffix| run.join(format!("model.ckpt-2{suffix}")).is_symlink())
    );
    assert_eq!(fs::read(outside.join("precious")).unwrap(), b"hello");
    assert!(!run.join("checkpoint").is_symlink());
    assert_eq!(listed(&run), [1]);
}

#[test]
fn only_what_is_a_checkpoints_and_damaged_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=2);
    support::flip(&dir.path().join("model.ckpt-2"));
    let strangers = [
        // Named as data files are, and of no run that is here.
        "train.data-00000-of-00004",
        "notes-2",
        "model.ckpt-2.txt",
        "model.ckpt-2x.data-00000-of-00001",
        "graph.meta",
        "model.ckpt-9.meta",
        "model.ckpt-2.index.tempstate17",
        "model.ckpt-2.data-00000-of-00001.bak",
    ];
    strangers
        .iter()
        .for_each(|name| fs::write(dir.path().join(name), "x").unwrap());
    // Written for a reader of the future: nobody knows whether it is whole.
    let future = fixture("corrupt/header_min_consumer_2");
    for name in names(&future) {
        fs::copy(
            future.join(&name),
            dir.path().join(name.replacen('m', "model.ckpt-7", 1)),
        )
        .unwrap();
    }
    settle(dir.path());
    let mut kept = names(dir.path());
    let report = Repair::new(dir.path()).delete_broken(true).run().unwrap();
    kept.retain(|name| {
        !["index", "meta", "data-00000-of-00001"]
            .map(|end| format!("model.ckpt-2.{end}"))
            .contains(name)
    });
    assert_eq!(names(dir.path()), kept, "{report}");
    assert_eq!(report.broken.len(), 4, "{report}");
    assert_eq!(report.still_broken().count(), 3, "{report}");
    assert!(
        report.still_broken().all(|broken| matches!(broken.fate, Fate::NotSure)),
        "{report}"
    );
}

#[test]
fn if_none_is_whole_the_state_file_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=2);
    (1..=2).for_each(|step| support::flip(&dir.path().join(format!("model.ckpt-{step}"))));
    let before = fs::read(dir.path().join("checkpoint")).unwrap();
    let report = repair(dir.path()).unwrap();
    assert_eq!(report.state, StateFile::NothingToList);
    assert!(!report.is_sound() && !report.has_checkpoint());
    assert_eq!(fs::read(dir.path().join("checkpoint")).unwrap(), before);
    assert!(report.to_string().contains("restore one from a copy"), "{report}");
}

#[test]
fn another_runs_checkpoints_are_looked_at_and_never_listed() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = Saver::new(dir.path()).basename("best");
    support::save_with(&mut other, 900);
    support::save_with(&mut other, 901);
    drop(other);
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    save(dir.path(), 1..=2);
    support::flip(&dir.path().join("best-901"));
    let report = repair(dir.path()).unwrap();
    assert_eq!(listed(dir.path()), [1, 2]);
    assert_eq!(report.broken[0].prefix, dir.path().join("best-901"), "{report}");
    // Two savers that share a state file: what is listed stays, and the newest is never the other's.
    let line = |name: &str| format!("all_model_checkpoint_paths: \"{name}\"\n");
    let both = ["model.ckpt-1", "best-900", "model.ckpt-2"].map(line).concat();
    let both = format!("model_checkpoint_path: \"model.ckpt-2\"\n{both}");
    write_state(dir.path(), &both);
    assert!(matches!(repair(dir.path()).unwrap().state, StateFile::Right { .. }));
    support::flip(&dir.path().join("model.ckpt-2"));
    let report = repair(dir.path()).unwrap();
    let written = |names: &[&str]| StateFile::Written {
        listed: names.iter().map(PathBuf::from).collect(),
    };
    assert_eq!(report.state, written(&["best-900", "model.ckpt-1"]));
    let report = Repair::new(dir.path()).basename("best").run().unwrap();
    assert_eq!(report.state, written(&["best-900"]));
    write_state(dir.path(), &both);
    support::flip(&dir.path().join("model.ckpt-1"));
    assert_eq!(repair(dir.path()).unwrap().state, StateFile::NothingToList);
}

#[test]
fn a_training_goes_on_after_a_repair() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=4);
    support::flip(&dir.path().join("model.ckpt-4"));
    settle(dir.path());
    Repair::new(dir.path()).delete_broken(true).run().unwrap();
    let mut saver = Saver::new(dir.path()).max_to_keep(2);
    assert_eq!(saver.latest().unwrap().unwrap().global_step().unwrap(), Some(3));
    support::save_with(&mut saver, 4);
    assert_eq!(steps(dir.path()), [3, 4]);
    assert_eq!(Checkpoint::open(dir.path()).unwrap().global_step().unwrap(), Some(4));
    assert!(
        matches!(repair(dir.path()), Err(Error::Locked { .. })),
        "while it goes on"
    );
    assert!(Repair::new(dir.path()).dry_run(true).run().unwrap().is_sound());
    drop(saver);
    assert!(repair(dir.path()).unwrap().is_sound());
}

#[test]
fn a_broken_old_checkpoint_is_reported_and_left() {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(&fixture("v1_sharded"), dir.path());
    let path = dir.path().join("model.ckpt-3-00001-of-00002");
    let mut bytes = fs::read(&path).unwrap();
    bytes[3] ^= 1;
    fs::write(&path, bytes).unwrap();
    settle(dir.path());
    let report = Repair::new(dir.path()).delete_broken(true).run().unwrap();
    assert_eq!(report.state, StateFile::NothingToList);
    assert!(matches!(report.broken[0].fate, Fate::NotSure), "{report}");
    assert_eq!(report.broken[0].files.len(), 2);
    assert!(path.exists());
}

#[test]
fn a_thousand_checkpoints_are_repaired() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=1);
    for step in 2..=1000 {
        for suffix in [".index", ".data-00000-of-00001"] {
            let of = |step: i32| dir.path().join(format!("model.ckpt-{step}{suffix}"));
            fs::copy(of(1), of(step)).unwrap();
        }
        if step % 10 == 0 {
            support::flip(&dir.path().join(format!("model.ckpt-{step}")));
        }
    }
    settle(dir.path());
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    let report = Repair::new(dir.path()).delete_broken(true).run().unwrap();
    assert_eq!(report.broken.len(), 100);
    assert_eq!(listed(dir.path()).len(), 900);
    assert_eq!(steps(dir.path()).len(), 900);
}

/// A saver with rules, and four measured checkpoints: the best, one that is pinned, and the two latest.
fn save_measured(dir: &Path) {
    let retention = Retention::default().latest(2).best("loss", Goal::Min, 1);
    let mut saver = Saver::new(dir).retention(retention);
    for (step, loss) in [(1, 0.1), (2, 0.9), (3, 0.5), (4, 0.6)] {
        let values = [step as f32; 4];
        let variables = [Variable::new("v", [2, 2], &values)];
        saver.save_measured(variables, step, [("loss", loss)]).unwrap();
        if step == 2 {
            saver.pin(2).unwrap();
        }
    }
    assert_eq!((steps(dir), listed(dir)), (vec![1, 2, 3, 4], vec![3, 4]));
}

#[test]
fn no_pin_and_no_best_checkpoint_is_lost_to_a_repair() {
    let dir = tempfile::tempdir().unwrap();
    save_measured(dir.path());
    let history = fs::read(dir.path().join("checkpoint.history.json")).unwrap();
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    let dry = Repair::new(dir.path()).dry_run(true).run().unwrap();
    let told = "\nkept: `model.ckpt-1`: smallest loss (0.1)\nkept: `model.ckpt-2`: largest loss (0.9); pinned";
    assert!(dry.to_string().contains(told), "{dry}");
    assert!(!dir.path().join("checkpoint").exists());
    let report = repair(dir.path()).unwrap();
    assert!(report.to_string().contains(told), "{report}");
    assert_eq!(report.kept.len(), 2);
    // What is listed, TensorFlow removes one day.
    assert_eq!(listed(dir.path()), [3, 4]);
    assert_eq!(fs::read(dir.path().join("checkpoint.history.json")).unwrap(), history);

    let mut saver = Saver::new(dir.path()).max_to_keep(1);
    save_with(&mut saver, 5);
    assert_eq!(steps(dir.path()), [2, 5], "the rules of this one keep what is pinned");
    let best = saver.history().unwrap().best("loss", Goal::Min).unwrap();
    assert_eq!((best.global_step, best.value), (1, 0.1));
}

#[test]
fn the_newest_is_listed_also_if_it_is_pinned() {
    let dir = tempfile::tempdir().unwrap();
    save_measured(dir.path());
    Saver::new(dir.path()).pin(4).unwrap();
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    repair(dir.path()).unwrap();
    assert_eq!(listed(dir.path()), [3, 4]);
}

#[test]
fn a_pinned_checkpoint_is_not_deleted_even_if_it_is_broken() {
    let dir = tempfile::tempdir().unwrap();
    save_measured(dir.path());
    for step in [2, 3] {
        support::flip(&dir.path().join(format!("model.ckpt-{step}")));
    }
    settle(dir.path());
    let report = Repair::new(dir.path()).delete_broken(true).run().unwrap();
    assert_eq!(steps(dir.path()), [1, 2, 4], "{report}");
    assert!(
        matches!(report.broken.as_slice(), [pinned, other]
            if matches!(pinned.fate, Fate::Pinned) && matches!(other.fate, Fate::Deleted)),
        "{report}"
    );
    assert!(report.to_string().contains("left there: it is pinned"), "{report}");
    assert_eq!(listed(dir.path()), [4]);
}

#[test]
fn in_a_run_that_went_back_the_newest_is_the_one_that_was_saved_last() {
    let dir = tempfile::tempdir().unwrap();
    let mut saver = Saver::new(dir.path()).retention(Retention::default().latest(2));
    save_with(&mut saver, 9);
    saver.pin(9).unwrap();
    (3..=5).for_each(|step| save_with(&mut saver, step));
    drop(saver);
    assert_eq!((steps(dir.path()), listed(dir.path())), (vec![4, 5, 9], vec![4, 5]));
    // As a copy that does not keep times.
    names(dir.path())
        .iter()
        .for_each(|name| set_age(&dir.path().join(name), 3600));
    repair(dir.path()).unwrap();
    assert_eq!(listed(dir.path()), [4, 5]);
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    repair(dir.path()).unwrap();
    assert_eq!(listed(dir.path()), [4, 5]);
    // A killed save left another one, and no word of it.
    let history = fs::read(dir.path().join("checkpoint.history.json")).unwrap();
    save(dir.path(), 6..=6);
    fs::write(dir.path().join("checkpoint.history.json"), history).unwrap();
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    repair(dir.path()).unwrap();
    assert_eq!(listed(dir.path()), [4, 5, 6]);
}

#[test]
fn a_state_file_of_another_name_is_repaired_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=2);
    let before = fs::read(dir.path().join("checkpoint")).unwrap();
    let other = || Saver::new(dir.path()).basename("other").latest_filename("other_state");
    let mut saver = other();
    (7..=9).for_each(|step| save_with(&mut saver, step));
    saver.pin(7).unwrap();
    let of_other = Repair::new(dir.path()).latest_filename("other_state");
    assert!(matches!(of_other.run(), Err(Error::Locked { .. })), "while it goes on");
    assert!(repair(dir.path()).unwrap().is_sound(), "that one has another lock");
    drop(saver);
    support::flip(&dir.path().join("other-9"));
    fs::remove_file(dir.path().join("other_state")).unwrap();
    let report = of_other.basename("other").run().unwrap();
    assert_eq!(
        report.state,
        StateFile::Written {
            listed: vec!["other-8".into()]
        }
    );
    assert_eq!(report.kept[0].name, "other-7");
    assert_eq!(fs::read(dir.path().join("checkpoint")).unwrap(), before);
    assert_eq!(other().latest().unwrap().unwrap().global_step().unwrap(), Some(8));
    let wrong = Repair::new(dir.path()).latest_filename("../checkpoint").run();
    assert!(matches!(wrong, Err(Error::InvalidArgument { .. })));
}
