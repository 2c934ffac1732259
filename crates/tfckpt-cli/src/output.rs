//! stdout for results, stderr for messages and progress.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::{Exit, Failure};

/// Writes a result to stdout. A reader that went away (`tfckpt ls x | head -1`) has seen enough: no error.
pub(crate) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = write(&mut out).and_then(|()| out.flush());
    // What could not be written must not be tried again on drop.
    let _ = out.into_parts();
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::caused(Exit::Io, "cannot write to stdout", error))
        }
        _ => Ok(()),
    }
}

/// Writes a path to stdout as it is, whether or not it is text: scripts pass it on.
pub(crate) fn print_path(path: &Path) -> Result<(), Failure> {
    print(|out| {
        out.write_all(path.as_os_str().as_encoded_bytes())?;
        out.write_all(b"\n")
    })
}

/// Writes a result to stdout as one JSON document on one line.
pub(crate) fn print_json(document: &impl serde::Serialize) -> Result<(), Failure> {
    print(|out| {
        serde_json::to_writer(&mut *out, document)?;
        writeln!(out)
    })
}

/// Writes an error to stderr.
pub(crate) fn message(text: &str) {
    plain(&format!("tfckpt: {text}"));
}

/// Writes to stderr without saying who speaks.
pub(crate) fn plain(text: &str) {
    // There is nobody left to tell if stderr is closed.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes to stderr what a person should know although nothing failed.
pub(crate) fn note(text: &str) {
    message(&format!("note: {text}"));
}

/// Writes to stderr what only a person at a terminal wants to know.
pub(crate) fn chat(text: &str) {
    if io::stderr().is_terminal() {
        message(text);
    }
}

/// A progress bar over this many bytes, on stderr if it is a terminal, and nowhere otherwise. It clears itself.
pub(crate) fn progress(bytes: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}");
    let bar = ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    // Keeps the rate moving while one large variable is read.
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
