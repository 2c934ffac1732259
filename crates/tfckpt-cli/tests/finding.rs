//! The commands that find, repair and wait for checkpoints, as scripts meet them.

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tempfile::TempDir;

use support::{command, fixture, in_dir, names_in, tfckpt};

/// A run that TensorFlow wrote, an hour ago.
fn run() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let case = fixture("tf1_adam_keep2");
    for name in names_in(Path::new(&case)) {
        fs::copy(Path::new(&case).join(&name), dir.path().join(&name)).unwrap();
    }
    fs::remove_file(dir.path().join("expected.json")).unwrap();
    settle(&dir);
    dir
}

fn settle(dir: &TempDir) {
    for name in names_in(dir.path()) {
        let file = fs::File::options().write(true).open(dir.path().join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600))
            .unwrap();
    }
}

fn damage(dir: &TempDir, step: u32) {
    let path = dir.path().join(format!("model.ckpt-{step}.data-00000-of-00001"));
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::write(&path, bytes).unwrap();
    settle(dir);
}

fn path(dir: &TempDir) -> &str {
    dir.path().to_str().unwrap()
}

// latest --valid

#[test]
fn the_latest_that_is_whole_is_printed_and_what_was_skipped_told() {
    let dir = run();
    let whole = tfckpt(&["latest", path(&dir), "--valid"]).exits(0);
    assert_eq!(whole.stdout, format!("{}\n", in_dir(&dir, "model.ckpt-3")));
    assert_eq!(whole.stderr, "");
    damage(&dir, 3);
    let fallen_back =
        tfckpt(&["latest", path(&dir), "--valid"])
            .exits(0)
            .says(&["note: skipped `", "model.ckpt-3`", "is corrupt"]);
    assert_eq!(fallen_back.stdout, format!("{}\n", in_dir(&dir, "model.ckpt-2")));
    let quick = tfckpt(&["latest", path(&dir), "--valid", "--quick"]).exits(0);
    assert_eq!(quick.stdout, format!("{}\n", in_dir(&dir, "model.ckpt-3")));
    tfckpt(&["latest", path(&dir), "--quick"]).exits(2);
}

#[test]
fn the_exit_code_tells_nothing_there_from_nothing_whole() {
    let dir = run();
    damage(&dir, 2);
    damage(&dir, 3);
    let run = tfckpt(&["latest", path(&dir), "--valid"]).exits(4).says(&[
        "model.ckpt-2`: ",
        "model.ckpt-3`: ",
        "restore one from a copy",
    ]);
    assert_eq!((run.stdout.as_str(), run.stderr.lines().count()), ("", 3));
    let empty = tempfile::tempdir().unwrap();
    tfckpt(&["latest", path(&empty), "--valid"])
        .exits(3)
        .says(&["nothing was ever saved"]);
    tfckpt(&["latest", &in_dir(&empty, "nowhere"), "--valid"])
        .exits(3)
        .says(&["no directory"]);
    fs::write(
        empty.path().join("checkpoint"),
        "model_checkpoint_path: \"gone\u{1b}[2J\"\n",
    )
    .unwrap();
    let gone = tfckpt(&["latest", path(&empty), "--valid"])
        .exits(3)
        .says(&["files are gone"]);
    assert!(!gone.stderr.contains('\u{1b}'));
}

// repair

#[test]
fn repair_says_what_it_did_and_a_dry_run_what_it_would() {
    let dir = run();
    let sound = tfckpt(&["repair", path(&dir)]).exits(0);
    assert!(
        sound.stdout.contains("the state file is right: 2 checkpoints"),
        "{sound:?}"
    );
    assert_eq!(sound.stderr, "");
    damage(&dir, 3);
    let names = names_in(dir.path());
    let dry = tfckpt(&["repair", path(&dir), "--dry-run", "--delete-broken"]).exits(0);
    assert!(
        dry.stdout
            .contains("would be written: 1 checkpoint, the newest `model.ckpt-2`"),
        "{dry:?}"
    );
    assert!(dry.stdout.contains("would be deleted"), "{dry:?}");
    let done = tfckpt(&["repair", path(&dir)])
        .exits(4)
        .says(&["1 checkpoint of", "broken"]);
    assert!(
        done.stdout.contains("was written") && done.stdout.contains("`--delete-broken`"),
        "{done:?}"
    );
    assert_eq!(names_in(dir.path()), names);
    let latest = tfckpt(&["latest", path(&dir)]).exits(0);
    assert_eq!(latest.stdout, format!("{}\n", in_dir(&dir, "model.ckpt-2")));
    let deleted = tfckpt(&["repair", path(&dir), "--delete-broken"]).exits(0);
    assert!(deleted.stdout.contains("; deleted"), "{deleted:?}");
    assert_eq!(names_in(dir.path()).len(), 4);
    tfckpt(&["repair", &in_dir(&dir, "nowhere")])
        .exits(3)
        .says(&["no such directory"]);
}

#[test]
fn repair_prints_the_golden_json_document() {
    let dir = run();
    damage(&dir, 3);
    let pinned = r#"{"checkpoints": [{"name": "model.ckpt-2", "global_step": 2, "pinned": true}]}"#;
    fs::write(dir.path().join("checkpoint.history.json"), pinned).unwrap();
    let document = tfckpt(&["repair", path(&dir), "--json", "--delete-broken"]).exits(0);
    assert_eq!(document.stdout.lines().count(), 1);
    let mut document = document.json();
    let error = document["broken"][0]["error"].take();
    assert!(error.as_str().unwrap().contains("is corrupt: crc32c"), "{error}");
    let bytes = document["broken"][0]["bytes"].take();
    assert!(bytes.as_u64().unwrap() > 100);
    let files = ["index", "meta", "data-00000-of-00001"].map(|end| format!("model.ckpt-3.{end}"));
    assert_eq!(
        document,
        json!({
            "schema_version": 1,
            "directory": path(&dir),
            "dry_run": false,
            "sound": false,
            "state_file": "written",
            "state_file_error": null,
            "listed": ["model.ckpt-2"],
            "dropped": [{"path": "model.ckpt-3", "error": "it is not whole"}],
            "kept": [{"name": "model.ckpt-2", "reasons": ["pinned"]}],
            "broken": [{
                "prefix": in_dir(&dir, "model.ckpt-3"),
                "files": files,
                "bytes": null,
                "error": null,
                "fate": "deleted",
            }],
            "leftovers": [],
        })
    );
}

#[test]
fn repair_fails_if_nothing_is_whole() {
    let dir = run();
    damage(&dir, 2);
    damage(&dir, 3);
    let run = tfckpt(&["repair", path(&dir)])
        .exits(4)
        .says(&["no checkpoint of", "is whole"]);
    assert!(run.stdout.contains("left as it is"), "{run:?}");
    let empty = tempfile::tempdir().unwrap();
    let run = tfckpt(&["repair", path(&empty)]).exits(0);
    assert!(run.stdout.contains("there is no checkpoint"), "{run:?}");
}

// wait

#[test]
fn wait_answers_at_once_if_there_is_another_and_gives_up_after_the_timeout() {
    let dir = run();
    let newest = format!("{}\n", in_dir(&dir, "model.ckpt-3"));
    let prefix = in_dir(&dir, "model.ckpt-2");
    for after in [
        &[][..],
        &["--after", ""],
        &["--after", "model.ckpt-2"],
        &["--after", &prefix],
    ] {
        let run = tfckpt(&[&["wait", path(&dir)], after].concat()).exits(0);
        assert_eq!(run.stdout, newest);
    }
    let known = in_dir(&dir, "model.ckpt-3");
    for after in ["model.ckpt-3", &known] {
        tfckpt(&["wait", path(&dir), "--after", after, "--timeout", "0.05"])
            .exits(3)
            .says(&["no new checkpoint in"]);
    }
    fs::remove_file(dir.path().join("model.ckpt-3.index")).unwrap();
    tfckpt(&["wait", path(&dir), "--timeout", "0"])
        .exits(3)
        .says(&["model.ckpt-3"]);
    for wrong in ["-1", "soon", "nan"] {
        tfckpt(&["wait", path(&dir), &format!("--timeout={wrong}")]).exits(2);
    }
    fs::write(dir.path().join("file"), "x").unwrap();
    tfckpt(&["wait", &in_dir(&dir, "file")]).exits(5);
}

#[test]
fn wait_waits_for_a_directory_that_is_not_there_yet() {
    let dir = run();
    let later = dir.path().join("later");
    let child = command(&["wait", later.to_str().unwrap(), "--timeout", "60"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    fs::create_dir(&later).unwrap();
    for name in names_in(dir.path()).iter().filter(|name| name.contains("ckpt-3")) {
        fs::copy(dir.path().join(name), later.join(name)).unwrap();
    }
    fs::copy(dir.path().join("checkpoint"), later.join("checkpoint")).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, format!("{}\n", later.join("model.ckpt-3").display()));
}

#[test]
fn a_state_file_of_another_name_is_taken_when_it_is_named() {
    let dir = run();
    fs::rename(dir.path().join("checkpoint"), dir.path().join("other")).unwrap();
    let newest = format!("{}\n", in_dir(&dir, "model.ckpt-3"));
    let named = |args: &[&str]| tfckpt(&[args, &["--latest-filename", "other"]].concat());
    for args in [
        &["latest", path(&dir)][..],
        &["latest", path(&dir), "--valid"],
        &["wait", path(&dir), "--timeout", "0"],
    ] {
        assert_eq!(named(args).exits(0).stdout, newest, "{args:?}");
    }
    tfckpt(&["latest", path(&dir)]).exits(3).says(&["no file `checkpoint`"]);
    tfckpt(&["wait", path(&dir), "--timeout", "0"]).exits(3);
    let repaired = named(&["repair", path(&dir)]).exits(0);
    assert!(repaired.stdout.contains("the state file is right"), "{repaired:?}");
    assert!(!dir.path().join("checkpoint").exists());
    for command in ["latest", "repair", "wait"] {
        tfckpt(&[command, path(&dir), "--latest-filename", "../other"])
            .exits(2)
            .says(&["path components"]);
    }
    fs::remove_file(dir.path().join("model.ckpt-3.index")).unwrap();
    named(&["latest", path(&dir)])
        .exits(3)
        .says(&["its file `other` names"]);
}
