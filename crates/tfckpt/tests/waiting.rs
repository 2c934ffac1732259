//! Waiting for checkpoints, as an evaluator does while a training goes on.

mod support;

use std::fs;
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use support::{copy_dir, fixture, save, save_with};
use tfckpt::{Check, CheckpointsIterator, Error, Saver, Variable, checkpoints_iterator, wait_for_new_checkpoint};

const SOON: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

/// An iterator that looks often.
fn watching(dir: &Path) -> CheckpointsIterator {
    checkpoints_iterator(dir)
        .poll_interval(Duration::from_millis(2))
        .timeout(SOON)
}

fn step(checkpoints: &mut CheckpointsIterator) -> Option<i64> {
    let checkpoint = checkpoints.next_checkpoint()?.unwrap();
    checkpoint.global_step().unwrap()
}

#[test]
fn the_newest_comes_first_and_then_each_newer_one_once() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=3);
    let mut checkpoints = watching(dir.path()).timeout_fn(|| false);
    assert_eq!(checkpoints.next().unwrap().unwrap(), dir.path().join("model.ckpt-3"));
    save(dir.path(), 4..=6);
    assert_eq!(checkpoints.next().unwrap().unwrap(), dir.path().join("model.ckpt-6"));
    let mut checkpoints = watching(dir.path());
    assert_eq!(step(&mut checkpoints), Some(6));
    assert_eq!(step(&mut checkpoints), None);
    save(dir.path(), 7..=7);
    assert_eq!(step(&mut checkpoints), None, "it has ended");
}

#[test]
fn each_checkpoint_of_a_training_elsewhere_is_seen_at_once() {
    let dir = tempfile::tempdir().unwrap();
    // Not there yet.
    let run = dir.path().join("made/later");
    let (sender, receiver) = channel();
    let evaluator = thread::spawn({
        let run = run.clone();
        move || {
            let mut checkpoints = checkpoints_iterator(run)
                .poll_interval(Duration::from_millis(10))
                .timeout(LONG);
            for _ in 0..5 {
                sender.send(step(&mut checkpoints)).unwrap();
            }
        }
    });
    let mut saver = Saver::new(&run);
    for step in 1..=5 {
        save_with(&mut saver, step);
        assert_eq!(receiver.recv().unwrap(), Some(step));
    }
    evaluator.join().unwrap();
}

#[test]
#[cfg(all(feature = "notify", target_os = "linux"))]
fn the_file_system_wakes_it_up() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().to_owned();
    let start = Instant::now();
    let evaluator = thread::spawn(move || {
        let mut checkpoints = checkpoints_iterator(run).poll_interval(LONG).timeout(LONG);
        step(&mut checkpoints)
    });
    // Whether or not it waits already: nothing is missed in between.
    save(dir.path(), 1..=1);
    assert_eq!(evaluator.join().unwrap(), Some(1));
    assert!(start.elapsed() < LONG / 2);
}

#[test]
fn one_that_is_not_whole_is_never_given_and_comes_when_it_is() {
    for (what, damage) in support::DAMAGES {
        let dir = tempfile::tempdir().unwrap();
        let (run, copy) = (dir.path().join("run"), dir.path().join("copy"));
        save(&run, 1..=2);
        copy_dir(&run, &copy);
        damage(&run.join("model.ckpt-2"));
        let mut checkpoints = watching(&run)
            .check(Check::Bytes)
            .timeout_fn(|| false)
            .timeout(Duration::ZERO);
        // It ends by itself after a few looks.
        let mut looks = 0;
        checkpoints = checkpoints.timeout_fn(move || {
            looks += 1;
            looks > 3
        });
        assert!(checkpoints.next().is_none(), "{what}");
        let problem = checkpoints.problem().map(ToString::to_string);
        assert!(
            problem.is_some_and(|problem| problem.contains("model.ckpt-2")),
            "{what}"
        );

        let mut checkpoints = watching(&run).check(Check::Bytes).timeout_fn({
            let run = run.clone();
            let mut times = 0;
            move || {
                times += 1;
                // The rest of it arrives.
                if times == 2 {
                    copy_dir(&copy, &run);
                }
                false
            }
        });
        assert_eq!(step(&mut checkpoints), Some(2), "{what}");
    }
}

#[test]
fn a_state_file_that_is_half_written_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=1);
    let path = dir.path().join("checkpoint");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..10]).unwrap();
    let mut checkpoints = watching(dir.path()).timeout_fn(move || {
        fs::write(&path, &whole).unwrap();
        false
    });
    assert_eq!(step(&mut checkpoints), Some(1));
    assert!(checkpoints.problem().is_none());
}

#[test]
fn a_checkpoint_that_is_removed_while_it_is_evaluated_stays_readable() {
    let dir = tempfile::tempdir().unwrap();
    let mut saver = Saver::new(dir.path()).max_to_keep(1);
    save_with(&mut saver, 1);
    let mut checkpoints = watching(dir.path());
    let checkpoint = checkpoints.next_checkpoint().unwrap().unwrap();
    save_with(&mut saver, 2);
    assert_eq!(support::steps(dir.path()), [2]);
    if cfg!(unix) {
        assert_eq!(checkpoint.read::<f32>("v").unwrap(), [1.0; 4]);
    }
    assert_eq!(step(&mut checkpoints), Some(2));
}

#[test]
fn one_that_went_away_before_it_was_opened_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=2);
    fs::remove_file(dir.path().join("model.ckpt-2.index")).unwrap();
    let run = dir.path().to_owned();
    let mut checkpoints = watching(dir.path()).timeout_fn(move || {
        save(&run, 3..=3);
        false
    });
    assert_eq!(step(&mut checkpoints), Some(3));
}

#[test]
fn a_training_that_falls_back_gives_nothing_twice_and_one_written_anew_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let state = |step: i32| {
        fs::write(
            dir.path().join("checkpoint"),
            format!("model_checkpoint_path: \"model.ckpt-{step}\"\n"),
        )
    };
    save(dir.path(), 1..=2);
    state(1).unwrap();
    let mut checkpoints = watching(dir.path()).timeout_fn(|| false);
    assert_eq!(step(&mut checkpoints), Some(1));
    state(2).unwrap();
    assert_eq!(step(&mut checkpoints), Some(2));
    let mut ends = watching(dir.path()).after(dir.path().join("model.ckpt-2"));
    assert_eq!(step(&mut ends), None);
    // Back to the first, which was seen, then another training writes the second again.
    state(1).unwrap();
    let run = dir.path().to_owned();
    checkpoints = checkpoints.timeout_fn(move || {
        let mut saver = Saver::new(&run).max_to_keep(10).overwrite(true);
        saver.save([Variable::scalar("v", -2f32)], 2).unwrap();
        false
    });
    let checkpoint = checkpoints.next_checkpoint().unwrap().unwrap();
    assert_eq!(checkpoint.read::<f32>("v").unwrap(), [-2.0]);
}

#[test]
fn the_timeout_function_decides_and_the_last_checkpoint_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=1);
    let run = dir.path().to_owned();
    let mut calls = 0;
    let mut checkpoints = watching(dir.path()).timeout_fn(move || {
        calls += 1;
        if calls == 3 {
            // The last one of the training, between our look and its end.
            save(&run, 2..=2);
        }
        calls == 3
    });
    assert_eq!(step(&mut checkpoints), Some(1));
    assert_eq!(step(&mut checkpoints), Some(2));
    assert_eq!(step(&mut checkpoints), None);
}

#[test]
fn checkpoints_come_no_faster_than_they_may() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=1);
    let interval = Duration::from_millis(60);
    let mut checkpoints = watching(dir.path()).min_interval(interval);
    assert_eq!(step(&mut checkpoints), Some(1));
    let start = Instant::now();
    save(dir.path(), 2..=2);
    assert_eq!(step(&mut checkpoints), Some(2));
    assert!(start.elapsed() >= interval - Duration::from_millis(20));
}

#[test]
fn waiting_for_one_other_than_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let wait = |last: Option<&str>| {
        let last = last.map(|last| dir.path().join(last));
        wait_for_new_checkpoint(dir.path(), last.as_deref(), Some(SOON)).unwrap()
    };
    assert_eq!(wait(None), None);
    save(dir.path(), 1..=2);
    let newest = dir.path().join("model.ckpt-2");
    assert_eq!(wait(None), Some(newest.clone()));
    assert_eq!(wait(Some("model.ckpt-1")), Some(newest.clone()));
    assert_eq!(wait(Some("model.ckpt-2")), None);
    assert_eq!(wait(Some("../x/model.ckpt-2")), Some(newest));
    let start = Instant::now();
    assert_eq!(wait(Some("./model.ckpt-2")), None);
    assert!(start.elapsed() >= SOON);
}

#[test]
fn a_directory_that_tensorflow_wrote_and_that_was_moved_is_watched_too() {
    let dir = tempfile::tempdir().unwrap();
    for (case, newest) in [
        ("tf1_adam_keep2", "model.ckpt-3"),
        ("v1", "model.ckpt-12"),
        ("v1_sharded", "model.ckpt-3-?????-of-00002"),
    ] {
        let run = dir.path().join(case);
        copy_dir(&fixture(case), &run);
        let text = fs::read_to_string(run.join("checkpoint")).unwrap();
        fs::write(run.join("checkpoint"), text.replace("\"model", "\"/old/place/model")).unwrap();
        let mut checkpoints = watching(&run);
        assert_eq!(checkpoints.next().unwrap().unwrap(), run.join(newest));
        assert!(checkpoints.next().is_none());
    }
}

#[test]
fn what_waiting_does_not_change_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = wait_for_new_checkpoint(&file, None, None).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    fs::create_dir(dir.path().join("checkpoint")).unwrap();
    let mut checkpoints = checkpoints_iterator(dir.path());
    assert!(matches!(checkpoints.next(), Some(Err(Error::Io { .. }))));
    fs::remove_dir(dir.path().join("checkpoint")).unwrap();
    save(dir.path(), 1..=1);
    assert_eq!(step(&mut checkpoints), Some(1), "asked again, it looks again");
}

#[test]
fn a_state_file_of_another_name_is_watched_when_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), 1..=2);
    let run = dir.path().to_owned();
    let evaluator = thread::spawn(move || {
        let checkpoints = checkpoints_iterator(run).latest_filename("other_state");
        // Word of the file comes at once, and not with the next look.
        let poll = if cfg!(all(feature = "notify", target_os = "linux")) {
            LONG
        } else {
            SOON
        };
        checkpoints.poll_interval(poll).timeout(LONG).next()
    });
    let mut saver = Saver::new(dir.path()).basename("other").latest_filename("other_state");
    let start = Instant::now();
    save_with(&mut saver, 7);
    let found = evaluator.join().unwrap().unwrap().unwrap();
    assert_eq!(found, dir.path().join("other-7"));
    assert!(start.elapsed() < LONG / 2);
    let mut wrong = watching(dir.path()).latest_filename("a/b").timeout(None);
    assert!(matches!(wrong.next(), Some(Err(Error::InvalidArgument { .. }))));
}
