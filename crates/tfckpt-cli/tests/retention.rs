//! The command that says what rules keep, as scripts meet it.

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::{in_dir, names_in, tfckpt};
use tempfile::TempDir;
use tfckpt::{Goal, Retention, Saver, Variable};

/// A run of four measured checkpoints: the first is the best, and the second is pinned.
fn run() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let retention = Retention::default().latest(2).best("loss", Goal::Min, 1);
    let mut saver = Saver::new(dir.path()).retention(retention);
    for (step, loss) in [(1, 0.1), (2, 0.9), (3, f64::NAN), (4, 0.6)] {
        saver
            .save_measured([Variable::scalar("v", 1.0f32)], step, [("loss", loss)])
            .unwrap();
        if step == 2 {
            saver.pin(2).unwrap();
        }
    }
    dir
}

fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| (name.clone(), fs::read(dir.join(name)).unwrap());
    names_in(dir).into_iter().map(read).collect()
}

/// What is said of each checkpoint, by its step.
fn verdicts(dir: &TempDir, rules: &[&str]) -> Vec<(i64, bool, String)> {
    let args = [&["retention", dir.path().to_str().unwrap(), "--json"], rules].concat();
    let document = tfckpt(&args).exits(0).json();
    let checkpoints = document["checkpoints"].as_array().unwrap();
    let verdict = |checkpoint: &Value| {
        let reasons = checkpoint["reasons"].as_array().unwrap().iter();
        let reasons: Vec<&str> = reasons.map(|reason| reason["rule"].as_str().unwrap()).collect();
        (
            checkpoint["global_step"].as_i64().unwrap(),
            checkpoint["kept"].as_bool().unwrap(),
            reasons.join(" "),
        )
    };
    checkpoints.iter().map(verdict).collect()
}

#[test]
fn each_checkpoint_is_told_with_the_reason_and_nothing_changes() {
    let dir = run();
    let before = contents(dir.path());
    let said = tfckpt(&["retention", dir.path().to_str().unwrap(), "--max-to-keep", "1"]).exits(0);
    assert_eq!(said.stderr, "");
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines.len(), 6, "{said:?}");
    let columns: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(columns, ["name", "step", "saved", "bytes", "metrics", "verdict"]);
    let expected = [
        (
            "model.ckpt-1",
            "loss=0.1",
            "dropped: not the latest, and no rule keeps it",
        ),
        ("model.ckpt-2", "loss=0.9", "kept: pinned"),
        (
            "model.ckpt-3",
            "loss=NaN",
            "dropped: not the latest, and no rule keeps it",
        ),
        ("model.ckpt-4", "loss=0.6", "kept: latest (1 of 1)"),
    ];
    for (line, (name, metrics, verdict)) in lines[1..].iter().zip(expected) {
        let columns: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((columns[0], columns[4]), (name, metrics), "{line}");
        assert!(columns[2].starts_with("20") && columns[2].ends_with('Z'), "{line}");
        assert!(line.ends_with(verdict), "{line}");
    }
    assert!(lines[5].starts_with("kept: 2 checkpoints, ") && lines[5].contains("; dropped: 2 checkpoints, "));
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn rules_and_pins_are_tried() {
    let dir = run();
    let all = |reasons: [&str; 4]| -> Vec<(i64, bool, String)> {
        let kept = |reason: &str| !["unwanted", "budget"].contains(&reason);
        (1..)
            .zip(reasons)
            .map(|(step, reason)| (step, kept(reason), reason.to_owned()))
            .collect()
    };
    let (latest, one) = ("latest", &["--max-to-keep", "1"][..]);
    assert_eq!(verdicts(&dir, &[]), all([latest, "latest pinned", latest, latest]));
    let with = |rules: &[&str]| verdicts(&dir, &[one, rules].concat());
    assert_eq!(with(&[]), all(["unwanted", "pinned", "unwanted", latest]));
    assert_eq!(
        with(&["--best", "loss:min:1"]),
        all(["best", "pinned", "unwanted", latest])
    );
    assert_eq!(
        with(&["--best", "loss:max:1", "--best", "loss:1"]),
        all(["best", "best pinned", "unwanted", latest])
    );
    assert_eq!(
        with(&["--every-steps", "3"]),
        all(["every_steps", "pinned", "every_steps", latest])
    );
    assert_eq!(
        with(&["--every-hours", "1"]),
        all(["every_hours", "pinned", "unwanted", latest])
    );
    assert_eq!(with(&["--pin", "3"]), all(["unwanted", "pinned", "pinned", latest]));
    let none = &["--max-to-keep", "0", "--max-bytes", "1K"][..];
    assert_eq!(verdicts(&dir, none)[0], (1, false, "budget".to_owned()));
}

#[test]
fn the_golden_json_document() {
    let dir = run();
    let rules = ["--max-to-keep", "1", "--best", "loss:1"];
    let path = dir.path().to_str().unwrap();
    let run = tfckpt(&[&["retention", path, "--json"][..], &rules].concat()).exits(0);
    assert_eq!(run.stdout.lines().count(), 1);
    let mut document = run.json();
    let checkpoints = document["checkpoints"].as_array_mut().unwrap();
    for checkpoint in checkpoints.iter_mut() {
        assert!(checkpoint["time"].take().as_f64().unwrap() > 1e9);
        assert!(checkpoint["bytes"].take().as_u64().unwrap() > 100);
    }
    let [first, _, third, _] = checkpoints.as_slice() else {
        panic!("{checkpoints:?}")
    };
    assert_eq!(
        *first,
        json!({
            "name": "model.ckpt-1",
            "global_step": 1,
            "time": null,
            "bytes": null,
            "metrics": [{"name": "loss", "value": 0.1}],
            "pinned": false,
            "preserved": false,
            "kept": true,
            "reasons": [{"rule": "best", "text": "best loss (1 of 1: 0.1)"}],
        })
    );
    assert_eq!(third["metrics"], json!([{"name": "loss", "value": null}]));
    let why = json!([{"rule": "unwanted", "text": "not the latest, and no rule keeps it"}]);
    assert_eq!((&third["kept"], &third["reasons"]), (&json!(false), &why));
    let sum = |field: &str| document[field].as_u64().unwrap();
    assert!(sum("kept_bytes") > sum("dropped_bytes"));
    assert_eq!(
        (&document["schema_version"], &document["basename"]),
        (&json!(1), &json!("model.ckpt"))
    );
}

#[test]
fn a_run_of_tensorflow_is_judged_by_its_rule_of_five() {
    let dir = tempfile::tempdir().unwrap();
    let mut saver = Saver::new(dir.path()).max_to_keep(7).basename("m");
    for step in 1..=7 {
        saver.save([Variable::scalar("v", 1.0f32)], step).unwrap();
    }
    let kept = |rules: &[&str]| -> Vec<i64> {
        let verdicts = verdicts(&dir, rules).into_iter();
        verdicts.filter(|(_, kept, _)| *kept).map(|(step, ..)| step).collect()
    };
    assert_eq!(kept(&[]), [3, 4, 5, 6, 7]);
    // What the list does not name, somebody set aside.
    let state = "model_checkpoint_path: \"m-7\"\nall_model_checkpoint_paths: \"m-1\"\n";
    fs::write(dir.path().join("checkpoint"), state).unwrap();
    assert_eq!(kept(&["--max-to-keep", "1"]), [2, 3, 4, 5, 6, 7]);
    assert_eq!(kept(&["--max-to-keep", "1", "--all"]), [7]);
    // Without a state file, all that is known is what is there.
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    assert_eq!(kept(&["--max-to-keep", "1"]).len(), 7);
    assert_eq!(kept(&["--max-to-keep", "1", "--basename", "m"]).len(), 7);
}

#[test]
fn what_cannot_be_judged_is_said() {
    let dir = run();
    let path = dir.path().to_str().unwrap();
    let said = |args: &[&str]| tfckpt(&[&["retention"], args].concat());
    said(&[&in_dir(&dir, "nowhere")]).exits(3).says(&["no directory"]);
    said(&[path, "--basename", "other"]).exits(3).says(&["other-STEP"]);
    said(&[path, "--pin", "77"]).exits(3).says(&["step 77"]);
    for wrong in [
        ["--best", "loss"],
        ["--every-hours", "0"],
        ["--max-bytes", "many"],
        ["--latest-filename", "a/b"],
    ] {
        said(&[&[path], &wrong[..]].concat()).exits(2);
    }
    let empty = tempfile::tempdir().unwrap();
    said(&[empty.path().to_str().unwrap()]).exits(3).says(&["ever saved"]);
    fs::write(dir.path().join("checkpoint"), "garbage").unwrap();
    said(&[path]).exits(4).says(&["line 1"]);
    fs::write(dir.path().join("checkpoint"), "model_checkpoint_path: \"model.ckpt\"\n").unwrap();
    said(&[path]).exits(2).says(&["--basename"]);
}
