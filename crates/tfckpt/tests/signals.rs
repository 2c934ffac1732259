//! Signals, really sent to a process that listens for them.
#![cfg(all(unix, feature = "signals"))]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tfckpt::training::{Signal, Stop};

/// Tells a copy of this test binary to be the process that gets the signals, and what it does then.
const CHILD: &str = "TFCKPT_SIGNALS_CHILD";

/// Not a test by itself.
#[test]
fn the_child_trains_until_it_is_told_to_stop() {
    let Ok(what) = std::env::var(CHILD) else { return };
    let before = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(15, Arc::clone(&before)).unwrap();
    let stop = match what.as_str() {
        "usr1" => Stop::on([Signal::from(signal_hook::consts::SIGUSR1)]).unwrap(),
        _ => Stop::on_signals().unwrap(),
    };
    if what == "drops" {
        drop(stop.clone());
        drop(stop);
        println!("ready");
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    println!("ready");
    while !stop.is_requested() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let handled = before.load(Ordering::Relaxed);
    println!("stopped by {}, handler before: {handled}", stop.signal().unwrap());
    match what.as_str() {
        "lingers" => std::thread::sleep(Duration::from_secs(60)),
        "goes on" => {
            // The wish outlives the run: another one in the same process does not even begin.
            let code = stop.exit_code();
            drop(stop);
            assert!(Stop::on_signals().unwrap().is_requested());
            std::process::exit(code.into())
        }
        _ => std::process::exit(stop.exit_code().into()),
    }
}

struct Running(Child, BufReader<ChildStdout>);

impl Running {
    fn start(what: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "the_child_trains_until_it_is_told_to_stop", "--nocapture"])
            .env(CHILD, what);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut running = Running(child, lines);
        running.read("ready");
        running
    }

    /// Reads up to a line that starts so.
    fn read(&mut self, start: &str) -> String {
        let lines = self.1.by_ref().lines().map(Result::unwrap);
        lines.skip_while(|line| !line.contains(start)).find(|_| true).unwrap()
    }

    fn send(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    fn exit_code(mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

#[test]
fn a_signal_asks_to_stop_and_the_exit_code_tells_which() {
    for (signal, name, code) in [("TERM", "SIGTERM", 143), ("INT", "SIGINT", 130)] {
        let mut running = Running::start("stops");
        running.send(signal);
        let line = running.read("stopped by");
        assert!(line.contains(name), "{line}");
        assert_eq!(running.exit_code(), Some(code));
    }
}

#[test]
fn other_signals_can_be_chosen_and_those_not_chosen_kill_as_ever() {
    let mut running = Running::start("usr1");
    running.send("USR1");
    assert!(running.read("stopped by").contains("SIGUSR1"));
    assert_eq!(running.exit_code(), Some(128 + signal_hook::consts::SIGUSR1));

    let running = Running::start("usr1");
    running.send("INT");
    assert_eq!(running.exit_code(), None, "killed by the signal itself");
}

#[test]
fn the_second_signal_of_either_kind_leaves_at_once() {
    for (first, second, code) in [("TERM", "TERM", 143), ("TERM", "INT", 130), ("INT", "TERM", 143)] {
        let mut running = Running::start("lingers");
        running.send(first);
        running.read("stopped by");
        running.send(second);
        assert_eq!(running.exit_code(), Some(code), "{first} {second}");
    }
}

#[test]
fn when_nobody_listens_any_more_the_first_signal_leaves_at_once() {
    let running = Running::start("drops");
    running.send("TERM");
    assert_eq!(running.exit_code(), Some(143));
}

#[test]
fn a_process_that_was_told_to_stop_starts_no_new_run() {
    let mut running = Running::start("goes on");
    running.send("TERM");
    running.read("stopped by");
    assert_eq!(running.exit_code(), Some(143));
}

#[test]
fn handlers_from_before_are_called() {
    let mut running = Running::start("stops");
    running.send("TERM");
    assert!(running.read("stopped by").ends_with("handler before: true"));
    running.exit_code();
}
