//! A saver with rules beyond TensorFlow's: what stays, and what is known of it after a restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tfckpt::io::{MemoryDir, Storage};
use tfckpt::{Error, Goal, History, Retention, Saved, Saver, Variable, checkpoint_state};

fn directory() -> (TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("run");
    (temporary, directory)
}

fn save(saver: &mut Saver, step: i64, loss: f64) -> Saved {
    let saved = saver
        .save_measured([Variable::scalar("w", 1.0f32)], step, [("loss", loss)])
        .unwrap();
    assert!(saved.removal_errors.is_empty(), "{saved:?}");
    saved
}

fn steps(directory: &Path) -> Vec<i64> {
    let files = std::fs::read_dir(directory).unwrap().flatten();
    let names = files.map(|file| file.file_name().into_string().unwrap());
    let step = |name: String| name.strip_prefix("model.ckpt-")?.strip_suffix(".index")?.parse().ok();
    let mut steps: Vec<i64> = names.filter_map(step).collect();
    steps.sort();
    steps
}

fn listed(directory: &Path) -> Vec<PathBuf> {
    checkpoint_state(directory).unwrap().unwrap().all_model_checkpoint_paths
}

fn best_of(count: usize) -> Retention {
    Retention::default().latest(2).best("loss", Goal::Min, count)
}

#[test]
fn the_best_stay_beside_the_latest_and_the_state_file_lists_the_latest_alone() {
    let (_temporary, run) = directory();
    let mut saver = Saver::new(&run).retention(best_of(2));
    for (step, loss) in [(1, 0.3), (2, 0.9), (3, 0.1), (4, f64::NAN), (5, 0.5), (6, 0.6)] {
        save(&mut saver, step, loss);
    }
    assert_eq!(steps(&run), [1, 3, 5, 6]);
    assert_eq!(listed(&run), [5, 6].map(|step| run.join(format!("model.ckpt-{step}"))));
}

#[test]
fn metrics_pins_and_rules_survive_a_restart() {
    let (_temporary, run) = directory();
    let mut saver = Saver::new(&run).retention(best_of(1));
    for (step, loss) in [(1, 0.3), (2, 0.1), (3, 0.9), (4, 0.8)] {
        save(&mut saver, step, loss);
        if step == 1 {
            saver.pin(1).unwrap();
        }
    }
    drop(saver);
    let mut saver = Saver::new(&run).retention(best_of(1));
    save(&mut saver, 5, 0.7);
    assert_eq!(steps(&run), [1, 2, 4, 5]);
    let verdicts: Vec<String> = saver.verdicts().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        verdicts,
        [
            "kept: pinned",
            "kept: best loss (1 of 1: 0.1)",
            "kept: latest (2 of 2)",
            "kept: latest (1 of 2)"
        ]
    );
    saver.unpin(1).unwrap();
    let saved = save(&mut saver, 6, 0.05);
    assert_eq!(steps(&run), [5, 6]);
    assert_eq!(
        saved.removed,
        [1, 2, 4].map(|step| run.join(format!("model.ckpt-{step}")))
    );
    // The best value ever is remembered without its checkpoint.
    save(&mut saver, 7, 0.5);
    save(&mut saver, 8, 0.5);
    assert_eq!(saver.history().unwrap().best("loss", Goal::Max).unwrap().global_step, 3);
}

#[test]
fn lower_limits_catch_up_with_the_next_save() {
    let (_temporary, run) = directory();
    let mut saver = Saver::new(&run).retention(Retention::default().latest(None));
    (1..=9).for_each(|step| drop(save(&mut saver, step, 1.0 / step as f64)));
    assert_eq!(steps(&run).len(), 9);
    drop(saver);
    let mut saver = Saver::new(&run).retention(Retention::default().latest(2).best("loss", Goal::Max, 1));
    let dropped = saver
        .verdicts()
        .unwrap()
        .iter()
        .filter(|verdict| !verdict.keeps())
        .count();
    assert_eq!((dropped, steps(&run).len()), (6, 9), "looking removes nothing");
    save(&mut saver, 10, 0.0);
    assert_eq!(steps(&run), [1, 9, 10]);
}

#[test]
fn a_metric_that_comes_later_counts_from_the_next_save_on() {
    let (_temporary, run) = directory();
    let mut saver = Saver::new(&run).retention(best_of(1));
    let plain = |saver: &mut Saver, step| saver.save([Variable::scalar("w", 1.0f32)], step).unwrap();
    plain(&mut saver, 1);
    plain(&mut saver, 2);
    saver.measure(1, [("loss", 0.5)]).unwrap();
    (3..=4).for_each(|step| drop(plain(&mut saver, step)));
    assert_eq!(steps(&run), [1, 3, 4]);
    let missing = saver.measure(2, [("loss", 0.5)]);
    assert!(matches!(missing, Err(Error::NoCheckpoint { .. })), "{missing:?}");
    assert_eq!(saver.history().unwrap().best("loss", Goal::Min).unwrap().value, 0.5);
}

#[test]
fn a_save_that_fails_costs_no_metric() {
    let (_temporary, run) = directory();
    let mut saver = Saver::new(&run).retention(best_of(1));
    save(&mut saver, 1, 0.9);
    save(&mut saver, 2, 0.1);
    let fails = Variable::deferred("w", tfckpt::DType::Float32, [2], |_| Err("no".into()));
    assert!(saver.save_measured([fails], 3, [("loss", 0.0)]).is_err());
    assert_eq!(saver.history().unwrap().best("loss", Goal::Min).unwrap().global_step, 2);
    (4..=6).for_each(|step| drop(save(&mut saver, step, 0.5)));
    assert_eq!(steps(&run), [2, 5, 6]);
}

#[test]
fn without_rules_metrics_and_pins_a_directory_looks_as_tensorflows() {
    let (_temporary, run) = directory();
    let mut saver = Saver::new(&run).max_to_keep(2).write_meta_graph(false);
    (1..=3).for_each(|step| drop(saver.save([Variable::scalar("w", 1.0f32)], step).unwrap()));
    assert!(!run.join("checkpoint.history.json").exists());
    // A pin is heeded by every later saver, whatever its rules.
    saver.pin(2).unwrap();
    drop(saver);
    let mut saver = Saver::new(&run).max_to_keep(1);
    (4..=6).for_each(|step| drop(saver.save([Variable::scalar("w", 1.0f32)], step).unwrap()));
    assert_eq!(steps(&run), [2, 6]);
    assert!(
        History::of(&run)
            .records()
            .iter()
            .any(|record| record.name == "model.ckpt-2" && record.pinned)
    );
}

#[test]
fn a_history_that_is_lost_or_broken_costs_no_checkpoint_and_no_save() {
    let (_temporary, run) = directory();
    let mut saver = Saver::new(&run).retention(best_of(1));
    for (step, loss) in [(1, 0.1), (2, 0.3), (3, 0.4), (4, 0.5)] {
        save(&mut saver, step, loss);
    }
    assert_eq!(steps(&run), [1, 3, 4]);
    drop(saver);
    for broken in [None, Some("{"), Some("[]"), Some("\u{0}")] {
        let history = run.join("checkpoint.history.json");
        match broken {
            None => std::fs::remove_file(&history).unwrap(),
            Some(text) => std::fs::write(&history, text).unwrap(),
        }
        let mut saver = Saver::new(&run).retention(best_of(1));
        let step = steps(&run).pop().unwrap() + 1;
        save(&mut saver, step, 0.9);
        // Nobody knows any more that it was the best; it stays because somebody had set it aside.
        assert!(steps(&run).contains(&1), "{broken:?}");
        assert!(steps(&run).contains(&step));
    }
}

#[test]
fn the_directory_stays_within_its_budget() {
    let (_temporary, run) = directory();
    let size = {
        let mut saver = Saver::new(&run).retention(Retention::default());
        save(&mut saver, 1, 0.5);
        saver.history().unwrap().records()[0].bytes
    };
    let files = std::fs::read_dir(&run).unwrap().flatten();
    let of_it = files.filter(|file| file.file_name().to_str().unwrap().starts_with("model.ckpt-1"));
    assert_eq!(size, of_it.map(|file| file.metadata().unwrap().len()).sum::<u64>());
    let mut saver = Saver::new(&run).retention(
        Retention::default()
            .best("loss", Goal::Min, 1)
            .max_bytes(size * 3 + size / 2),
    );
    for (step, loss) in [(2, 0.1), (3, 0.5), (4, 0.6), (5, 0.7), (6, 0.8)] {
        save(&mut saver, step, loss);
    }
    assert_eq!(steps(&run), [2, 5, 6]);
}

#[test]
fn overwriting_a_checkpoint_keeps_its_pin() {
    let (_temporary, run) = directory();
    let mut saver = Saver::new(&run)
        .retention(Retention::default().latest(1))
        .overwrite(true);
    save(&mut saver, 1, 0.5);
    saver.pin(1).unwrap();
    save(&mut saver, 1, 0.4);
    save(&mut saver, 2, 0.4);
    assert_eq!(steps(&run), [1, 2]);
    let records = saver.history().unwrap().records();
    assert!(records[0].pinned && records[0].metrics["loss"] == 0.4);
}

/// Gives the files of a checkpoint another name, as a saver that was killed while it replaced it.
fn set_aside(run: &Path, name: &str) {
    for ending in ["index", "meta", "data-00000-of-00001"] {
        let file = |name: &str| run.join(format!("{name}.{ending}"));
        std::fs::rename(file(name), file(&format!("{name}.replaced"))).unwrap();
    }
}

#[test]
fn a_pin_survives_a_kill_while_the_checkpoint_is_replaced() {
    let (_temporary, run) = directory();
    let rules = || Saver::new(&run).retention(Retention::default().latest(1));
    let mut saver = rules();
    save(&mut saver, 1, 0.5);
    saver.pin(1).unwrap();
    drop(saver);
    set_aside(&run, "model.ckpt-1");
    let state = "model_checkpoint_path: \"model.ckpt-1.replaced\"\n";
    std::fs::write(run.join("checkpoint"), state).unwrap();
    let mut saver = rules();
    let records = saver.history().unwrap().records().to_vec();
    assert!(records[0].pinned && records[0].metrics["loss"] == 0.5, "{records:?}");
    save(&mut saver, 1, 0.4);
    save(&mut saver, 2, 0.3);
    assert_eq!(steps(&run), [1, 2]);
    let records = saver.history().unwrap().records();
    assert!(records.len() == 2 && records[0].pinned && records[0].metrics["loss"] == 0.4);
}

#[test]
fn a_run_that_went_back_loses_no_pinned_checkpoint_to_a_save_that_fails() {
    let (_temporary, run) = directory();
    let mut saver = Saver::new(&run).retention(Retention::default().latest(1));
    save(&mut saver, 9, 0.5);
    saver.pin(9).unwrap();
    save(&mut saver, 3, 0.4);
    assert_eq!(listed(&run), [run.join("model.ckpt-3")]);
    // It comes to the step of the pinned one again, and that is not written to its end.
    let fails = Variable::deferred("w", tfckpt::DType::Float32, [], |_| Err("no".into()));
    saver.save([fails], 9).unwrap_err();
    assert_eq!(steps(&run), [3, 9]);
    let records = saver.history().unwrap().records();
    assert!(records.iter().any(|record| record.global_step == 9 && record.pinned));
    save(&mut saver, 9, 0.1);
    save(&mut saver, 10, 0.1);
    assert_eq!(steps(&run), [9, 10], "the pin is that of the step");
}

#[test]
fn nothing_that_is_no_checkpoint_of_this_saver_is_removed_on_the_word_of_a_history() {
    let (_temporary, run) = directory();
    let mut saver = Saver::new(&run).retention(Retention::default().latest(1));
    save(&mut saver, 1, 0.5);
    drop(saver);
    std::fs::write(run.join("precious.index"), "x").unwrap();
    std::fs::write(run.join("other-7.index"), "x").unwrap();
    let lines: Vec<String> = ["precious", "other-7", "../run/model.ckpt-1", "model.ckpt-1/../precious"]
        .map(|name| format!("{{\"name\": \"{name}\", \"global_step\": 0}}"))
        .into();
    std::fs::write(
        run.join("checkpoint.history.json"),
        format!("{{\"checkpoints\": [{}]}}", lines.join(",")),
    )
    .unwrap();
    let mut saver = Saver::new(&run).retention(Retention::default().latest(1));
    save(&mut saver, 2, 0.5);
    assert!(run.join("precious.index").exists() && run.join("other-7.index").exists());
    assert_eq!(steps(&run), [2]);
}

#[test]
fn rules_need_no_disk() {
    let memory = MemoryDir::new();
    let mut saver = Saver::on(Arc::new(memory.clone()))
        .retention(best_of(1))
        .write_meta_graph(false);
    for (step, loss) in [(1, 0.1), (2, 0.3), (3, 0.4), (4, 0.5)] {
        save(&mut saver, step, loss);
    }
    let mut names = memory.list().unwrap();
    names.retain(|name| name.ends_with(".index") || name.ends_with(".json"));
    names.sort();
    let expected = [
        "checkpoint.history.json",
        "model.ckpt-1.index",
        "model.ckpt-3.index",
        "model.ckpt-4.index",
    ];
    assert_eq!(names, expected);
}
