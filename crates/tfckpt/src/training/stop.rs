//! Asking a run to save and to end.

use std::fmt;
use std::sync::Arc;
#[cfg(feature = "signals")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "signals")]
use super::signals::Listening;
#[cfg(feature = "signals")]
use crate::error::Result;

/// The wish that a run ends after the step it is at: set by a signal or by the program, looked at by the loop. Clones
/// are the same wish.
///
/// # Signals
/// With the feature `signals`, `on_signals` makes SIGTERM and SIGINT set the flag, and nothing else: all
/// that is to be done is done by the loop, at its next step. A second signal, of either kind, ends the process at once,
/// with the exit code 128 + n that a shell gives a process that signal n killed; so does the first one after the last clone
/// of every `Stop` that listens is gone. Handlers that were installed before are called as before, other users of the
/// crate `signal-hook`, tokio for one, are not disturbed.
///
/// Signals are those of the process: two runs that listen both stop. A signal that the parent process had set to be
/// ignored (SIGINT of a shell's background job, SIGHUP under `nohup`) is listened to all the same. On Windows
/// `signal-hook` has SIGINT, which is Ctrl-C, and SIGTERM, which only the process itself can send; closing the console
/// and shutting down are not heard.
///
/// ```
/// use tfckpt::training::Stop;
///
/// let stop = Stop::new();
/// let elsewhere = stop.clone(); // the button of a user interface, a limit on time
/// assert!(!stop.is_requested());
/// elsewhere.request();
/// assert!(stop.is_requested());
/// assert_eq!(stop.exit_code(), 0); // no signal: the program did as it wanted
/// ```
#[derive(Clone, Default)]
pub struct Stop {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    requested: AtomicBool,
    #[cfg(feature = "signals")]
    signals: OnceLock<Listening>,
}

impl Stop {
    /// A wish that nobody has yet, and no signal sets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens for SIGTERM, which batch systems, containers and service managers send before they kill, and SIGINT,
    /// Ctrl-C.
    ///
    /// # Errors
    /// [`Error::Signal`](crate::Error::Signal) if the operating system refuses.
    #[cfg(feature = "signals")]
    pub fn on_signals() -> Result<Self> {
        Self::on([Signal::TERMINATE, Signal::INTERRUPT])
    }

    /// Listens for these signals: `[Signal::TERMINATE, Signal::from(10)]` where a batch system announces the end by SIGUSR1.
    ///
    /// # Errors
    /// [`Error::Signal`](crate::Error::Signal) for a signal that cannot be listened for, SIGKILL for one. None is then.
    #[cfg(feature = "signals")]
    pub fn on(signals: impl IntoIterator<Item = Signal>) -> Result<Self> {
        let signals: Vec<Signal> = signals.into_iter().collect();
        let listening = OnceLock::from(Listening::to(&signals)?);
        Ok(Stop {
            shared: Arc::new(Shared {
                signals: listening,
                ..Shared::default()
            }),
        })
    }

    /// Asks the run to end.
    pub fn request(&self) {
        self.shared.requested.store(true, Ordering::Relaxed);
    }

    /// Whether anybody asked. Costs a nanosecond.
    #[inline]
    pub fn is_requested(&self) -> bool {
        self.shared.requested.load(Ordering::Relaxed) || self.signal().is_some()
    }

    /// The signal that asked; `None` if it was the program, or nobody.
    #[inline]
    pub fn signal(&self) -> Option<Signal> {
        #[cfg(feature = "signals")]
        return self.shared.signals.get().and_then(Listening::arrived);
        #[cfg(not(feature = "signals"))]
        None
    }

    /// What the process should end with: 128 + n for signal n, so that whoever sent it sees that it was heeded; otherwise 0.
    pub fn exit_code(&self) -> u8 {
        self.signal().map_or(0, Signal::exit_code)
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop")
            .field("requested", &self.is_requested())
            .field("signal", &self.signal())
            .finish()
    }
}

/// A signal of the operating system, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(i32);

impl Signal {
    /// SIGINT: Ctrl-C.
    pub const INTERRUPT: Signal = Signal(2);
    /// SIGTERM: what `kill`, Slurm, Kubernetes and systemd send first.
    pub const TERMINATE: Signal = Signal(15);

    /// Its number.
    pub fn number(self) -> i32 {
        self.0
    }

    /// 128 + n.
    pub fn exit_code(self) -> u8 {
        u8::try_from(self.0.saturating_add(128)).unwrap_or(u8::MAX)
    }
}

impl From<i32> for Signal {
    fn from(number: i32) -> Self {
        Signal(number)
    }
}

/// `SIGTERM`, or the number of one that is less well known.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Signal::INTERRUPT => f.write_str("SIGINT"),
            Signal::TERMINATE => f.write_str("SIGTERM"),
            Signal(number) => match name(number) {
                Some(name) => f.write_str(name),
                None => write!(f, "signal {number}"),
            },
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "signals")]
fn name(number: i32) -> Option<&'static str> {
    signal_hook::low_level::signal_name(number)
}

#[cfg(not(feature = "signals"))]
fn name(_: i32) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_are_one_wish() {
        let stop = Stop::new();
        let clone = stop.clone();
        clone.request();
        assert!(stop.is_requested());
        assert_eq!((stop.signal(), stop.exit_code()), (None, 0));
        assert!(!Stop::new().is_requested());
    }

    #[test]
    fn exit_codes_are_those_of_shells() {
        assert_eq!(Signal::TERMINATE.exit_code(), 143);
        assert_eq!(Signal::INTERRUPT.exit_code(), 130);
        assert_eq!(Signal::from(i32::MAX).exit_code(), 255);
        assert_eq!(Signal::from(15).to_string(), "SIGTERM");
    }

    #[cfg(all(feature = "signals", unix))]
    #[test]
    fn signals_that_nobody_can_hear_are_refused() {
        for number in [9, 11, -1, 4000] {
            let error = Stop::on([Signal::from(number)]).unwrap_err();
            assert!(matches!(error, crate::Error::Signal { .. }), "{number}: {error}");
        }
    }
}
