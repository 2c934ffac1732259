//! The Burn example learns, and a run that was killed or told to stop ends with the weights of one that was not.
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
    let saved = format!("model.ckpt-{step}");
    let seen = lines
        .map_while(Result::ok)
        .any(|line| line.starts_with("saved") && line.ends_with(&saved));
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

/// Runs the example and sends it a signal as soon as it has made so many saves. What it printed then.
#[cfg(unix)]
fn signal_after(dir: &Path, arguments: &[&str], saves: usize, signal: &str, exit_code: i32) -> String {
    let mut child = example(dir, arguments)
        .spawn()
        .expect("`cargo test` has built the example");
    let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut lines = stdout.lines().map_while(Result::ok);
    let saved = lines.by_ref().filter(|line| line.starts_with("saved "));
    assert_eq!(saved.take(saves).count(), saves, "it ended before the signal");
    let kill = format!("kill -{signal} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(exit_code), "{rest:?}");
    rest.join("\n")
}

#[test]
fn killed_within_an_epoch_it_ends_with_the_weights_of_a_run_that_was_never_killed() {
    let [whole, parts] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let arguments = ["--epochs", "3", "--every-steps", "7"];
    run(whole.path(), &arguments);
    // 30 steps are an epoch, and its end is a save as well.
    for step in [14, 30, 51, 67] {
        kill_after(parts.path(), &arguments, step);
    }
    let rest = run(parts.path(), &arguments);
    assert!(rest.starts_with("resumed at step "), "{rest}");
    assert_eq!(state(parts.path()), state(whole.path()));
}

#[cfg(unix)]
#[test]
fn told_to_stop_it_saves_the_step_that_it_is_at_and_ends_with_the_code_of_the_signal() {
    let [whole, parts] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let arguments = ["--epochs", "3", "--every-steps", "7"];
    run(whole.path(), &arguments);
    for (saves, signal, exit_code) in [(1, "TERM", 143), (4, "INT", 130), (2, "TERM", 143)] {
        let rest = signal_after(parts.path(), &arguments, saves, signal, exit_code);
        let latest = Checkpoint::open(parts.path()).unwrap().global_step().unwrap().unwrap();
        assert!(rest.contains(&format!("SIG{signal}: step {latest} is saved")), "{rest}");
    }
    run(parts.path(), &arguments);
    assert_eq!(state(parts.path()), state(whole.path()));
}

#[test]
fn by_default_it_learns_the_digits_and_has_nothing_left_to_do_when_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &[]);
    let last = output.lines().last().unwrap();
    let accuracy = last
        .strip_prefix("test accuracy ")
        .and_then(|text| text.strip_suffix(" %"));
    assert!(accuracy.unwrap().parse::<f64>().unwrap() >= 95.0, "{output}");
    let again = run(dir.path(), &[]);
    assert!(
        again.starts_with("resumed at step 480") && !again.contains("saved"),
        "{again}"
    );
    assert_eq!(output.lines().last(), again.lines().last(), "the same network");
}
