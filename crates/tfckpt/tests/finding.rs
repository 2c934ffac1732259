//! Which checkpoint `latest_valid` finds, in directories that were moved, damaged, or made by somebody hostile.

mod support;

use std::fs;
use std::path::Path;

use support::{DAMAGES, copy_dir, fixture, names, save, set_age, steps};
use tfckpt::{
    Check, Checkpoint, CheckpointManager, CheckpointState, Error, ErrorKind, Saver, Valid, ValidSearch,
    latest_checkpoint, latest_valid,
};

/// What is found: the name of the checkpoint, and the names of what was skipped.
fn found(dir: &Path) -> (String, Vec<String>) {
    let valid = latest_valid(dir).unwrap().unwrap();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    (
        name(&valid.checkpoint.prefix()),
        valid.skipped.iter().map(|skipped| name(&skipped.path)).collect(),
    )
}

fn name(valid: &Valid) -> String {
    valid
        .checkpoint
        .prefix()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned()
}

fn write_state(dir: &Path, newest: &str, all: &[&str]) {
    let mut text = format!("model_checkpoint_path: \"{newest}\"\n");
    all.iter()
        .for_each(|path| text += &format!("all_model_checkpoint_paths: \"{path}\"\n"));
    fs::write(dir.join("checkpoint"), text).unwrap();
}

#[test]
fn the_newest_is_taken_if_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    assert!(latest_valid(dir.path()).unwrap().is_none(), "nothing was ever saved");
    assert!(latest_valid(dir.path().join("nowhere")).unwrap().is_none());
    save(dir.path(), 1..=3);
    assert_eq!(found(dir.path()), ("model.ckpt-3".into(), vec![]));
    let valid = latest_valid(dir.path()).unwrap().unwrap();
    assert_eq!(valid.checkpoint.global_step().unwrap(), Some(3));
    assert_eq!(Some(valid.checkpoint.prefix()), latest_checkpoint(dir.path()).unwrap());
}

#[test]
fn each_kind_of_damage_to_the_newest_makes_it_fall_back_to_the_one_before() {
    for (what, damage) in DAMAGES {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), 1..=3);
        damage(&dir.path().join("model.ckpt-3"));
        assert_eq!(
            found(dir.path()),
            ("model.ckpt-2".into(), vec!["model.ckpt-3".into()]),
            "{what}"
        );
        damage(&dir.path().join("model.ckpt-2"));
        let (name, skipped) = found(dir.path());
        assert_eq!((name.as_str(), skipped.len()), ("model.ckpt-1", 2), "{what}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=2);
    support::flip(&dir.path().join("model.ckpt-2"));
    let valid = latest_valid(dir.path()).unwrap().unwrap();
    assert!(matches!(valid.skipped[0].error, Error::Checksum { .. }), "{valid:?}");
    let told = valid.skipped[0].to_string();
    assert!(
        told.contains("model.ckpt-2`: ") && told.contains("is corrupt"),
        "{told}"
    );
}

#[test]
fn every_corrupt_fixture_is_passed_over() {
    // TensorFlow reads these too.
    let sound = ["ok", "metaindex_flip", "header_only", "entry_dtype_int32"];
    let mut seen = 0;
    for case in names(&fixture("corrupt")) {
        let case_dir = fixture("corrupt").join(&case);
        if !case_dir.is_dir() {
            continue;
        }
        seen += 1;
        let dir = tempfile::tempdir().unwrap();
        copy_dir(&fixture("corrupt/ok"), dir.path());
        for file in names(dir.path()) {
            fs::rename(dir.path().join(&file), dir.path().join(file.replacen('m', "m-1", 1))).unwrap();
        }
        for file in names(&case_dir) {
            fs::copy(case_dir.join(&file), dir.path().join(file.replacen('m', "m-2", 1))).unwrap();
        }
        write_state(dir.path(), "m-2", &["m-1", "m-2"]);
        let expected = if sound.contains(&case.as_str()) { "m-2" } else { "m-1" };
        assert_eq!(found(dir.path()).0, expected, "{case}");
    }
    assert!(seen > 30);
}

#[test]
fn a_quick_search_sees_missing_files_and_not_flipped_bytes() {
    let quick = |dir: &Path| {
        name(
            &ValidSearch::new(dir)
                .check(Check::Lengths)
                .latest_valid()
                .unwrap()
                .unwrap(),
        )
    };
    for (what, damage) in DAMAGES {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), 1..=2);
        damage(&dir.path().join("model.ckpt-2"));
        let unseen = what == "a byte of the data flipped";
        assert_eq!(
            quick(dir.path()),
            if unseen { "model.ckpt-2" } else { "model.ckpt-1" },
            "{what}"
        );
    }
}

#[test]
fn if_none_is_whole_that_is_an_error_and_not_a_fresh_start() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=5);
    (1..=5).for_each(|step| support::flip(&dir.path().join(format!("model.ckpt-{step}"))));
    let error = latest_valid(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let text = error.to_string();
    assert!(text.contains("model.ckpt-5`") && text.contains("and 2 more"), "{text}");
    assert!(matches!(error, Error::NoValidCheckpoint { skipped, .. } if skipped.len() == 5));
    // Named, and gone.
    names(dir.path())
        .iter()
        .filter(|name| *name != "checkpoint")
        .for_each(|name| fs::remove_file(dir.path().join(name)).unwrap());
    assert_eq!(latest_valid(dir.path()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_directory_that_tensorflow_wrote_can_be_moved_copied_and_renamed_with_absolute_paths() {
    let dir = tempfile::tempdir().unwrap();
    for copied in [false, true] {
        let (old, new) = (dir.path().join("old"), dir.path().join(format!("new-{copied}")));
        let _ = fs::remove_dir_all(&old);
        copy_dir(&fixture("tf1_adam_keep2"), &old);
        let absolute = |step: i32| format!("{}/model.ckpt-{step}", old.display());
        write_state(&old, &absolute(3), &[&absolute(2), &absolute(3)]);
        match copied {
            true => copy_dir(&old, &new),
            false => fs::rename(&old, &new).unwrap(),
        }
        let valid = latest_valid(&new).unwrap().unwrap();
        assert_eq!(
            valid.checkpoint.prefix(),
            new.join("model.ckpt-3"),
            "and never the original"
        );
        assert!(valid.skipped.is_empty());
        let as_tensorflow = latest_checkpoint(&new).unwrap();
        assert_eq!(as_tensorflow, copied.then(|| old.join("model.ckpt-3")));
        assert_eq!(Checkpoint::open(&new).unwrap().prefix(), new.join("model.ckpt-3"));
        let state = new.join("checkpoint");
        assert_eq!(Checkpoint::open(state).unwrap().prefix(), new.join("model.ckpt-3"));
        let mut manager = CheckpointManager::new(&new, 5);
        assert_eq!(manager.latest_checkpoint().unwrap(), Some(new.join("model.ckpt-3")));
        let saver = Saver::new(&new);
        assert_eq!(saver.latest().unwrap().unwrap().prefix(), new.join("model.ckpt-3"));
        let listed = [2, 3].map(|step| new.join(format!("model.ckpt-{step}")));
        assert_eq!(saver.last_checkpoints().unwrap(), listed);
        support::flip(&new.join("model.ckpt-3"));
        let valid = latest_valid(&new).unwrap().unwrap();
        assert_eq!(valid.checkpoint.prefix(), new.join("model.ckpt-2"));
        assert_eq!(valid.skipped.len(), 1);
    }
}

#[test]
fn a_training_that_goes_on_in_a_copy_leaves_the_original_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    let mut saver = Saver::new(&old).save_relative_paths(false).max_to_keep(2);
    [1, 2].iter().for_each(|&step| support::save_with(&mut saver, step));
    copy_dir(&old, &new);
    let mut saver = Saver::new(&new).max_to_keep(2);
    support::save_with(&mut saver, 3);
    assert_eq!((steps(&old), steps(&new)), (vec![1, 2], vec![2, 3]));
    let listed = [2, 3].map(|step| new.join(format!("model.ckpt-{step}")));
    assert_eq!(saver.last_checkpoints().unwrap(), listed);
    // What is not in the copy is that of the original.
    drop(saver);
    copy_dir(&old, &new);
    fs::remove_file(new.join("model.ckpt-2.index")).unwrap();
    let latest = Saver::new(&new).latest().unwrap().unwrap();
    assert_eq!(latest.prefix(), old.join("model.ckpt-2"));
    assert_eq!(Checkpoint::open(&new).unwrap().prefix(), old.join("model.ckpt-2"));
}

#[test]
fn relative_paths_that_lead_elsewhere_mean_what_they_say_as_long_as_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (run, elsewhere) = (dir.path().join("run"), dir.path().join("elsewhere"));
    save(&run, 1..=1);
    save(&elsewhere, 1..=2);
    write_state(&run, "../elsewhere/model.ckpt-2", &["model.ckpt-1"]);
    let found = |run: &Path| {
        let valid = latest_valid(run).unwrap().unwrap().checkpoint.prefix();
        assert_eq!(Checkpoint::open(run).unwrap().prefix(), valid);
        assert_eq!(Saver::new(run).latest().unwrap().unwrap().prefix(), valid);
        valid
    };
    assert_eq!(found(&run), run.join("../elsewhere/model.ckpt-2"));
    write_state(&run, "../elsewhere/model.ckpt-1", &[]);
    assert_eq!(found(&run), run.join("../elsewhere/model.ckpt-1"));
    write_state(&run, "./model.ckpt-1", &[]);
    assert_eq!(found(&run), run.join("model.ckpt-1"));
    fs::remove_dir_all(&elsewhere).unwrap();
    write_state(&run, "../elsewhere/model.ckpt-1", &[]);
    assert_eq!(found(&run), run.join("model.ckpt-1"), "the one of that name here");
}

#[test]
fn without_a_state_file_the_highest_number_is_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), [9, 10, 100, 20]);
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    assert_eq!(found(dir.path()), ("model.ckpt-100".into(), vec![]));
    for garbage in [
        "garbage",
        "truncated",
        "not_utf8",
        "empty",
        "no_model_path",
        "unknown_field",
    ] {
        fs::copy(
            fixture(&format!("state_files/{garbage}.checkpoint")),
            dir.path().join("checkpoint"),
        )
        .unwrap();
        assert_eq!(
            found(dir.path()),
            ("model.ckpt-100".into(), vec!["checkpoint".into()]),
            "{garbage}"
        );
    }
    // Not even a file.
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    fs::create_dir(dir.path().join("checkpoint")).unwrap();
    assert_eq!(found(dir.path()), ("model.ckpt-100".into(), vec!["checkpoint".into()]));
}

#[test]
fn a_checkpoint_that_was_not_acknowledged_comes_after_those_that_were() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=2);
    let state = fs::read(dir.path().join("checkpoint")).unwrap();
    save(dir.path(), 3..=3);
    fs::write(dir.path().join("checkpoint"), state).unwrap();
    assert_eq!(found(dir.path()).0, "model.ckpt-2");
    support::flip(&dir.path().join("model.ckpt-2"));
    support::flip(&dir.path().join("model.ckpt-1"));
    assert_eq!(
        found(dir.path()),
        (
            "model.ckpt-3".into(),
            vec!["model.ckpt-2".into(), "model.ckpt-1".into()]
        )
    );
}

#[test]
fn checkpoints_of_another_run_are_never_taken() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=1);
    let mut other = Saver::new(dir.path()).basename("other");
    support::save_with(&mut other, 900);
    // The state file is the other's now.
    assert_eq!(found(dir.path()).0, "other-900");
    support::flip(&dir.path().join("other-900"));
    assert!(matches!(latest_valid(dir.path()), Err(Error::NoValidCheckpoint { skipped, .. }) if skipped.len() == 1));
    let of = |basename: &str| ValidSearch::new(dir.path()).basename(basename).latest_valid();
    assert_eq!(name(&of("model.ckpt").unwrap().unwrap()), "model.ckpt-1");
    assert!(of("third").unwrap().is_none(), "that run never saved anything");
    // Without a state file, it is the run that saved last.
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    set_age(&dir.path().join("other-900.index"), 1000);
    assert_eq!(found(dir.path()).0, "model.ckpt-1");
}

#[test]
fn hostile_paths_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=1);
    let paths = [
        "/etc/passwd",
        "../../x",
        "/",
        "..",
        "/dev/zero",
        "/proc/self/mem",
        "model.ckpt-1/../../../etc/passwd",
        "\\000",
        "/etc",
    ];
    for path in paths {
        write_state(dir.path(), path, &paths);
        let valid = ValidSearch::new(dir.path()).basename("model.ckpt").latest_valid();
        assert_eq!(name(&valid.unwrap().unwrap()), "model.ckpt-1", "{path}");
        write_state(dir.path(), path, &["model.ckpt-1"]);
        let valid = latest_valid(dir.path()).unwrap().unwrap();
        assert_eq!(
            (name(&valid).as_str(), valid.skipped.len()),
            ("model.ckpt-1", 1),
            "{path}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_a_checkpoint_elsewhere_is_read_and_one_to_nothing_is_passed_over() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let (run, elsewhere) = (dir.path().join("run"), dir.path().join("elsewhere"));
    save(&elsewhere, 7..=7);
    save(&run, 1..=1);
    for suffix in [".index", ".data-00000-of-00001"] {
        symlink(
            elsewhere.join(format!("model.ckpt-7{suffix}")),
            run.join(format!("model.ckpt-7{suffix}")),
        )
        .unwrap();
    }
    symlink("/nowhere", run.join("model.ckpt-8.index")).unwrap();
    symlink("/dev/zero", run.join("model.ckpt-9.index")).unwrap();
    symlink(&run, run.join("model.ckpt-10.index")).unwrap();
    fs::remove_file(run.join("checkpoint")).unwrap();
    let (name, skipped) = found(&run);
    assert_eq!((name.as_str(), skipped.len()), ("model.ckpt-7", 3));
}

#[test]
fn old_checkpoints_of_the_v1_format_are_found() {
    for (case, newest) in [("v1", "model.ckpt-12"), ("v1_sharded", "model.ckpt-3-?????-of-00002")] {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(&fixture(case), dir.path());
        assert_eq!(found(dir.path()), (newest.into(), vec![]));
        fs::remove_file(dir.path().join("checkpoint")).unwrap();
        assert_eq!(found(dir.path()), (newest.into(), vec![]), "by what is in the files");
    }
}

#[test]
fn one_of_a_thousand_checkpoints_is_found() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=1);
    for step in 2..=1000 {
        for suffix in [".index", ".data-00000-of-00001"] {
            let of = |step: i32| dir.path().join(format!("model.ckpt-{step}{suffix}"));
            fs::copy(of(1), of(step)).unwrap();
        }
        if step > 600 {
            support::flip(&dir.path().join(format!("model.ckpt-{step}")));
        }
    }
    let all: Vec<String> = (1..=1000)
        .map(|step| format!("/moved/away/model.ckpt-{step}"))
        .collect();
    write_state(
        dir.path(),
        &all[999],
        &all.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let (name, skipped) = found(dir.path());
    assert_eq!((name.as_str(), skipped.len()), ("model.ckpt-600", 400));
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    let (name, skipped) = found(dir.path());
    assert_eq!((name.as_str(), skipped.len()), ("model.ckpt-600", 400));
    assert_eq!(steps(dir.path()).len(), 1000);
}

#[test]
fn a_state_file_of_another_name_is_asked_when_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=2);
    let mut other = Saver::new(dir.path()).basename("other").latest_filename("other_state");
    support::save_with(&mut other, 900);
    support::save_with(&mut other, 901);
    let of = |name: &str| ValidSearch::new(dir.path()).latest_filename(name).latest_valid();
    assert_eq!(name(&of("other_state").unwrap().unwrap()), "other-901");
    assert_eq!(name(&of("checkpoint").unwrap().unwrap()), "model.ckpt-2");
    support::flip(&dir.path().join("other-901"));
    assert_eq!(name(&of("other_state").unwrap().unwrap()), "other-900");
    fs::write(dir.path().join("other_state"), "garbage").unwrap();
    let skipped = of("other_state").unwrap().unwrap().skipped;
    assert_eq!(skipped[0].path, dir.path().join("other_state"));
    for wrong in ["../other_state", "a/b", "", ".."] {
        assert!(matches!(of(wrong), Err(Error::InvalidArgument { .. })), "{wrong}");
        let state = CheckpointState::of(dir.path(), wrong);
        assert!(matches!(state, Err(Error::InvalidArgument { .. })), "{wrong}");
    }
    let state = CheckpointState::of(dir.path(), "checkpoint").unwrap().unwrap();
    assert_eq!(state.latest_checkpoint(), latest_checkpoint(dir.path()).unwrap());
    assert!(CheckpointState::of(dir.path(), "third").unwrap().is_none());
}
