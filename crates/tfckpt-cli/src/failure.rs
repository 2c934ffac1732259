//! Why a command failed, and the exit code that tells scripts.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use tfckpt::ErrorKind;

use crate::text::printable;

/// The exit codes. They are documented in `--help` and never change their meaning; 1 is left for commands that
/// compare, as `diff` does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok = 0,
    Differs = 1,
    Usage = 2,
    NotFound = 3,
    Corrupt = 4,
    Io = 5,
    Unsupported = 6,
}

/// An error, and the exit code that goes with it.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    /// A failure that is told in one message.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure {
            exit,
            error: anyhow::Error::msg(message.into()),
        }
    }

    /// A failure with a cause.
    pub(crate) fn caused(exit: Exit, message: impl Into<String>, cause: impl Into<anyhow::Error>) -> Self {
        Failure {
            exit,
            error: cause.into().context(message.into()),
        }
    }

    /// The operating system refused to `action` the file.
    pub(crate) fn io(action: &str, path: &Path, cause: io::Error) -> Self {
        let exit = match cause.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Io,
        };
        Self::caused(exit, format!("cannot {action} `{}`", path.display()), cause)
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }
}

impl From<tfckpt::Error> for Failure {
    fn from(error: tfckpt::Error) -> Self {
        Failure {
            exit: error.kind().into(),
            error: error.into(),
        }
    }
}

impl fmt::Display for Failure {
    /// The message and its causes. Some errors repeat their cause in their own text; it is then not told again.
    /// Names come from files, so what would steer a terminal is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for cause in self.error.chain() {
            let cause = cause.to_string();
            if text.is_empty() {
                text = cause;
            } else if !text.contains(&cause) {
                text = format!("{text}: {cause}");
            }
        }
        let lines: Vec<_> = text.split('\n').map(printable).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Usage => Exit::Usage,
            ErrorKind::NotFound => Exit::NotFound,
            ErrorKind::Corrupt => Exit::Corrupt,
            ErrorKind::Unsupported | ErrorKind::Limit => Exit::Unsupported,
            _ => Exit::Io,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let cause = io::Error::other("disk on fire");
        let failure = Failure::io("read", Path::new("a"), cause);
        assert_eq!(failure.to_string(), "cannot read `a`: disk on fire");
        let cause = io::Error::other("disk on fire");
        let failure = Failure::caused(Exit::Io, "oh: disk on fire", cause);
        assert_eq!(failure.to_string(), "oh: disk on fire");
    }

    #[test]
    fn names_from_files_cannot_steer_the_terminal() {
        let failure = Failure::new(Exit::Corrupt, "variable `\u{1b}[2Jx`");
        assert_eq!(failure.to_string(), "variable `\\u{1b}[2Jx`");
    }
}
