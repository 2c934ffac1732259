//! Those who are told of saves.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use crate::checkpoint::Saved;

/// Is told before and after each save, and may end the training: TensorFlow's `CheckpointSaverListener`.
///
/// All listeners hear of a save, in the order they were added, also when one of them asks to stop. The save is made in
/// any case; [`ControlFlow::Break`] ends the training after it. In TensorFlow only `after_save` can ask so.
///
/// Also at the save before the first step, where TensorFlow does not hear it: there are then no batches, and a loop that
/// numbers its steps by itself sees it by `should_stop`. One that looks only after a step, as a `Learner` of Burn does, takes
/// this one step, saves it, and ends.
///
/// A closure over what was saved is a listener as well:
///
/// ```
/// use std::ops::ControlFlow;
/// use tfckpt::Saved;
/// use tfckpt::training::Listeners;
///
/// let mut listeners = Listeners::new();
/// listeners.add(|saved: &Saved| match saved.global_step {
///     ..1000 => ControlFlow::Continue(()),
///     _ => ControlFlow::Break(()),
/// });
/// ```
#[expect(unused_variables, reason = "names of arguments are part of the documentation")]
pub trait SaveListener {
    /// The run begins, before its first step and before the first save.
    fn begin(&mut self) {}

    /// The state of this step is about to be saved.
    fn before_save(&mut self, global_step: i64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// A checkpoint is committed. A save that fails is not told of; one in the background is told of at the end of the
    /// step during which it was finished.
    fn after_save(&mut self, saved: &Saved) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// The run is over; the last save was made.
    fn end(&mut self, global_step: i64) {}
}

impl<F: FnMut(&Saved) -> ControlFlow<()>> SaveListener for F {
    fn after_save(&mut self, saved: &Saved) -> ControlFlow<()> {
        self(saved)
    }
}

/// Listeners, in order.
#[derive(Default)]
pub struct Listeners {
    // The lock is never taken: it lets a run with listeners be `Sync`, although they need not be.
    all: Mutex<Vec<Box<dyn SaveListener + Send>>>,
}

impl Listeners {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    pub fn add(&mut self, listener: impl SaveListener + Send + 'static) {
        self.all().push(Box::new(listener));
    }

    /// Whether there are none.
    pub fn is_empty(&mut self) -> bool {
        self.all().is_empty()
    }

    /// The run begins.
    pub fn begin(&mut self) {
        self.all().iter_mut().for_each(|listener| listener.begin());
    }

    /// The state of this step is about to be saved. Breaks if one of them asks to stop.
    pub fn before_save(&mut self, global_step: i64) -> ControlFlow<()> {
        self.tell(|listener| listener.before_save(global_step))
    }

    /// A checkpoint is committed. Breaks if one of them asks to stop.
    pub fn after_save(&mut self, saved: &Saved) -> ControlFlow<()> {
        self.tell(|listener| listener.after_save(saved))
    }

    /// The run is over.
    pub fn end(&mut self, global_step: i64) {
        self.all().iter_mut().for_each(|listener| listener.end(global_step));
    }

    fn tell(&mut self, what: impl Fn(&mut dyn SaveListener) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut answer = ControlFlow::Continue(());
        for listener in self.all() {
            if what(listener.as_mut()).is_break() {
                answer = ControlFlow::Break(());
            }
        }
        answer
    }

    fn all(&mut self) -> &mut Vec<Box<dyn SaveListener + Send>> {
        self.all.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    struct Log(&'static str, Arc<Mutex<Vec<String>>>, ControlFlow<()>);

    impl SaveListener for Log {
        fn before_save(&mut self, global_step: i64) -> ControlFlow<()> {
            self.1.lock().unwrap().push(format!("{} before {global_step}", self.0));
            self.2
        }

        fn end(&mut self, global_step: i64) {
            self.1.lock().unwrap().push(format!("{} end {global_step}", self.0));
        }
    }

    #[test]
    fn all_are_told_in_order_although_the_first_asks_to_stop() {
        let log = Arc::default();
        let mut listeners = Listeners::new();
        assert!(listeners.is_empty());
        listeners.add(Log("a", Arc::clone(&log), ControlFlow::Break(())));
        listeners.add(Log("b", Arc::clone(&log), ControlFlow::Continue(())));
        assert!(listeners.before_save(3).is_break());
        listeners.end(3);
        assert_eq!(*log.lock().unwrap(), ["a before 3", "b before 3", "a end 3", "b end 3"]);
    }
}
