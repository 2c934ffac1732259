//! The Burn example learns, and a run that was killed ends with the weights of one that was not.
#![cfg(feature = "burn")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tfckpt::{Checkpoint, latest_checkpoint};

fn example(dir: &Path, arguments: &[&str]) -> Command {
    let tests = std::env::current_exe().expect("a test knows its own path");
    let debug: PathBuf = tests.ancestors().nth(2).expect("target/debug/deps/test").to_owned();
    let mut command = Command::new(debug.join("examples/burn_digits"));
    command
        .arg("--dir")
        .arg(dir)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command
}

fn run(dir: &Path, arguments: &[&str]) -> String {
    let output = example(dir, arguments)
        .output()
        .expect("`cargo test` has built the example");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs the example and kills it as soon as it has saved `step`.
fn kill_after(dir: &Path, arguments: &[&str], step: i64) {
    let mut child = example(dir, arguments)
        .spawn()
        .expect("`cargo test` has built the example");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let saved = format!("model.ckpt-{step} ");
    let seen = lines
        .map_while(Result::ok)
        .any(|line| line.starts_with("saved") && line.contains(&saved));
    assert!(seen, "it never saved step {step}");
    child.kill().expect("it is still running");
    child.wait().expect("it is dead");
}

/// The bytes of every variable of the latest checkpoint.
fn state(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let latest = Checkpoint::open(latest_checkpoint(dir).unwrap().expect("something was saved")).unwrap();
    let read = |info: &tfckpt::VariableInfo| (info.name().into_owned(), latest.read_bytes(info.key()).unwrap());
    latest.variables().map(read).collect()
}

#[test]
fn killed_within_an_epoch_it_ends_with_the_weights_of_a_run_that_was_never_killed() {
    let [whole, parts] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let arguments = ["--epochs", "3", "--every-steps", "20"];
    run(whole.path(), &arguments);
    kill_after(parts.path(), &arguments, 40);
    kill_after(parts.path(), &arguments, 120);
    let rest = run(parts.path(), &arguments);
    assert!(
        rest.starts_with("going on from") && rest.contains("model.ckpt-1"),
        "{rest}"
    );
    assert_eq!(state(parts.path()), state(whole.path()));
}

#[test]
fn by_default_it_learns_the_digits_and_has_nothing_left_to_do_when_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &[]);
    assert!(output.contains("of the test images right"), "{output}");
    let again = run(dir.path(), &[]);
    assert!(
        again.starts_with("going on from") && !again.contains("saved"),
        "{again}"
    );
    assert_eq!(output.lines().last(), again.lines().last(), "the same network");
}
