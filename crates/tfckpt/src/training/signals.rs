//! The signals of the process. In their handlers flags are set, and nothing else.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use signal_hook::consts::FORBIDDEN;
use signal_hook::flag;

use super::stop::Signal;
use crate::error::{Error, Result};

/// As long as one of these lives, the first signal sets a flag; otherwise it ends the process.
pub(super) struct Listening {
    arrived: Arc<AtomicUsize>,
}

/// Handlers stay installed when nobody listens any more, because the operating system's own way cannot be brought back
/// without disturbing others; `leave` makes up for it.
#[derive(Default)]
struct Process {
    /// The number of the signal that has come; 0 for none.
    arrived: Arc<AtomicUsize>,
    /// Whether the next signal ends the process at once.
    leave: Arc<AtomicBool>,
    heard: BTreeSet<i32>,
    listeners: usize,
}

static PROCESS: LazyLock<Mutex<Process>> = LazyLock::new(Mutex::default);

impl Listening {
    pub(super) fn to(signals: &[Signal]) -> Result<Self> {
        let mut process = process();
        for &signal in signals {
            let fails = |source| Error::Signal { signal, source };
            // For these signal-hook would panic.
            if FORBIDDEN.contains(&signal.number()) {
                return Err(fails(io::ErrorKind::Unsupported.into()));
            }
            process.hear(signal).map_err(fails)?;
        }
        process.listeners += 1;
        process.leave_unless_heard();
        Ok(Listening {
            arrived: process.arrived.clone(),
        })
    }

    #[inline]
    pub(super) fn arrived(&self) -> Option<Signal> {
        let number = i32::try_from(self.arrived.load(Ordering::Relaxed)).ok()?;
        (number != 0).then(|| Signal::from(number))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut process = process();
        process.listeners -= 1;
        process.leave_unless_heard();
    }
}

impl Process {
    /// Installs the handlers of a signal, once for each process. They are called in this order: the first time `leave` is
    /// not set yet when it is looked at.
    fn hear(&mut self, signal: Signal) -> io::Result<()> {
        let number = signal.number();
        if self.heard.contains(&number) {
            return Ok(());
        }
        let arrived = usize::try_from(number).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.leave_unless_heard();
        flag::register_conditional_shutdown(number, signal.exit_code().into(), self.leave.clone())?;
        flag::register(number, self.leave.clone())?;
        flag::register_usize(number, self.arrived.clone(), arrived)?;
        self.heard.insert(number);
        Ok(())
    }

    /// Lets the next signal pass if somebody hears it and none has come yet.
    fn leave_unless_heard(&self) {
        let heard = self.listeners > 0 && self.arrived.load(Ordering::Relaxed) == 0;
        self.leave.store(!heard, Ordering::Relaxed);
        // One that came in between is not to be forgotten.
        if self.arrived.load(Ordering::Relaxed) != 0 {
            self.leave.store(true, Ordering::Relaxed);
        }
    }
}

fn process() -> MutexGuard<'static, Process> {
    PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}
