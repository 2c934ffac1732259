//! The example `candle_digits`, killed and started again, ends where it would have ended unharmed.
#![cfg(feature = "candle")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tfckpt::Checkpoint;

const EPOCHS: &str = "4";

/// The example, which cargo builds along with the tests.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let example = profile
        .join("examples")
        .join(format!("candle_digits{}", std::env::consts::EXE_SUFFIX));
    assert!(
        example.is_file(),
        "`{}` is not there: cargo build --example candle_digits",
        example.display()
    );
    example
}

fn command(directory: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(example());
    command
        .arg("--dir")
        .arg(directory)
        .args(["--every-steps", "7"])
        .args(options);
    command
}

/// Runs to the end, and returns what it printed.
fn run(directory: &Path, options: &[&str]) -> String {
    let output = command(directory, options).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Starts it, and kills it as soon as it has saved `saves` checkpoints.
fn kill_after(directory: &Path, saves: usize) {
    let mut child = command(directory, &["--epochs", EPOCHS])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let saved = lines.map(Result::unwrap).filter(|line| line.starts_with("saved "));
    assert_eq!(saved.take(saves).count(), saves, "it ended before it could be killed");
    child.kill().unwrap(); // SIGKILL
    assert!(!child.wait().unwrap().success());
}

/// Starts it, and sends a signal as soon as it has saved `saves` checkpoints. Returns the rest of what it printed.
#[cfg(unix)]
fn signal_after(directory: &Path, saves: usize, signal: &str, exit_code: i32) -> String {
    let mut child = command(directory, &["--epochs", EPOCHS])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let saved = lines.by_ref().filter(|line| line.starts_with("saved "));
    assert_eq!(saved.take(saves).count(), saves, "it ended before the signal");
    let kill = format!("kill -{signal} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(exit_code), "{rest:?}");
    rest.join("\n")
}

/// Names and bytes of all variables of the latest checkpoint.
fn everything(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let checkpoint = Checkpoint::open(directory).unwrap();
    let variables = checkpoint.variables();
    variables
        .map(|v| (v.name().into_owned(), checkpoint.read_bytes(v.key()).unwrap()))
        .collect()
}

#[test]
fn killed_twice_it_ends_with_the_weights_of_a_run_that_was_never_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (unharmed, killed) = (dir.path().join("unharmed"), dir.path().join("killed"));
    let whole = run(&unharmed, &["--epochs", EPOCHS]);
    assert!(whole.starts_with("starting in"), "{whole}");

    kill_after(&killed, 3);
    kill_after(&killed, 4);
    let rest = run(&killed, &["--epochs", EPOCHS]);
    assert!(rest.starts_with("resumed at step"), "{rest}");

    let (a, b) = (everything(&unharmed), everything(&killed));
    let names = |all: &[(String, Vec<u8>)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    for ((name, a), (_, b)) in a.iter().zip(&b) {
        assert!(a == b, "`{name}` differs");
    }
    // So do the losses of all epochs that the last process saw from their start, and the accuracy.
    assert_eq!(whole.lines().next_back(), rest.lines().next_back());
}

#[cfg(unix)]
#[test]
fn told_to_stop_it_saves_the_step_that_it_is_at_and_ends_with_the_code_of_the_signal() {
    let dir = tempfile::tempdir().unwrap();
    let (unharmed, stopped) = (dir.path().join("unharmed"), dir.path().join("stopped"));
    run(&unharmed, &["--epochs", EPOCHS]);
    for (saves, signal, exit_code) in [(2, "TERM", 143), (3, "INT", 130), (1, "TERM", 143)] {
        let rest = signal_after(&stopped, saves, signal, exit_code);
        let step = Checkpoint::open(&stopped).unwrap().global_step().unwrap().unwrap();
        assert!(rest.contains(&format!("SIG{signal}: step {step} is saved")), "{rest}");
    }
    run(&stopped, &["--epochs", EPOCHS]);
    assert_eq!(everything(&unharmed), everything(&stopped));
}

#[test]
fn by_default_it_learns_the_digits_and_has_nothing_left_to_do_when_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let text = run(dir.path(), &[]);
    let accuracy = text
        .lines()
        .next_back()
        .unwrap()
        .strip_prefix("test accuracy ")
        .unwrap();
    let accuracy: f64 = accuracy.strip_suffix(" %").unwrap().parse().unwrap();
    assert!(accuracy >= 95.0, "{text}");
    let again = run(dir.path(), &[]);
    assert!(again.starts_with("resumed at step"), "{again}");
    assert!(!again.contains("epoch"), "{again}");
}
