//! When to save.

use std::sync::Arc;

use crate::checkpoint::{Clock, SystemClock};

/// Decides when a run saves: every so many steps, every so many seconds, whichever comes first, at its start, at its
/// end, and on request.
///
/// Both intervals are counted from the last save, as by TensorFlow's `SecondOrStepTimer`. Unlike
/// TensorFlow's `CheckpointSaverHook`, which refuses both together and saves every 600 seconds unless told otherwise, this
/// takes both, and does nothing unless asked. Nothing is due twice at one step.
///
/// A save that failed was none: if the loop goes on after the error, it is due again after the next step, and so on until one
/// succeeds. TensorFlow's hook counts from the failed one, so that a whole interval passes before the next. One in the
/// background counts as soon as it is on its way, and what became of it is told later.
///
/// To decide costs nanoseconds; the clock is looked at only if there is an interval in seconds.
///
/// ```
/// use tfckpt::training::{Due, Trigger};
///
/// let mut trigger = Trigger::new().every_steps(100);
/// trigger.start(250, true); // a run that goes on from the checkpoint of step 250
/// assert_eq!(trigger.is_due(349), None);
/// assert_eq!(trigger.is_due(350), Some(Due::Steps));
/// trigger.saved(350);
/// assert_eq!(trigger.is_due(350), None);
/// ```
#[derive(Debug, Clone)]
pub struct Trigger {
    every_steps: u64,
    every_seconds: f64,
    at_start: bool,
    at_end: bool,
    clock: Arc<dyn Clock>,
    /// Where the intervals begin: the step and the time of the last save, or of the start.
    since: (i64, f64),
    /// The step that is saved.
    saved: Option<i64>,
    requested: bool,
}

/// Why it is time to save.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Due {
    /// The run starts.
    Start,
    /// So many steps since the last save.
    Steps,
    /// So many seconds since the last save.
    Seconds,
    /// Somebody asked.
    Requested,
    /// The run ends.
    End,
    /// The run was asked to stop.
    Stop,
}

impl Trigger {
    /// Never, but at the end.
    pub fn new() -> Self {
        let clock = SystemClock;
        Trigger {
            every_steps: 0,
            every_seconds: 0.0,
            at_start: false,
            at_end: true,
            since: (0, clock.now()),
            clock: Arc::new(clock),
            saved: None,
            requested: false,
        }
    }

    /// Saves so many steps after the last save; 0 for no such interval. Default: 0.
    #[must_use]
    pub fn every_steps(mut self, steps: u64) -> Self {
        self.every_steps = steps;
        self
    }

    /// Saves at the first step that ends so many seconds after the last save; what is not above 0 is no interval.
    /// Default: 0. A clock that is set back while a run goes on delays a save by no more than one interval; TensorFlow
    /// would wait for the old time to come again.
    #[must_use]
    pub fn every_seconds(mut self, seconds: f64) -> Self {
        self.every_seconds = if seconds > 0.0 { seconds } else { 0.0 };
        self
    }

    /// Whether a run saves before its first step, unless the step it starts at is saved already. Default: false;
    /// TensorFlow's hook does, and after a restore writes the same step again; and it does not hear a listener that asks to
    /// stop at this save, which here [is heeded](super::SaveListener).
    #[must_use]
    pub fn at_start(mut self, save: bool) -> Self {
        self.at_start = save;
        self
    }

    /// Whether a run saves after its last step. Default: true, as in TensorFlow.
    #[must_use]
    pub fn at_end(mut self, save: bool) -> Self {
        self.at_end = save;
        self
    }

    /// What tells the time. Default: the clock of the machine.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.since.1 = clock.now();
        self.clock = clock;
        self
    }

    /// The run stands at this step, which the newest checkpoint holds or not; intervals begin here. Says whether to save
    /// before the first step.
    pub fn start(&mut self, global_step: i64, is_saved: bool) -> Option<Due> {
        self.since = (global_step, self.clock.now());
        self.saved = is_saved.then_some(global_step);
        (self.at_start && !is_saved).then_some(Due::Start)
    }

    /// Whether to save now, after this step.
    #[inline]
    pub fn is_due(&self, global_step: i64) -> Option<Due> {
        if self.saved == Some(global_step) {
            return None;
        }
        let (step, time) = self.since;
        // Not below 0: a run that was told to go back counts from where it is.
        let steps = global_step.saturating_sub(step).max(0).unsigned_abs();
        if self.requested {
            Some(Due::Requested)
        } else if self.every_steps > 0 && steps >= self.every_steps {
            Some(Due::Steps)
        } else if self.every_seconds > 0.0 && (self.clock.now() - time).abs() >= self.every_seconds {
            Some(Due::Seconds)
        } else {
            None
        }
    }

    /// Whether to save now that the run is over.
    pub fn is_due_at_end(&self, global_step: i64) -> Option<Due> {
        (self.at_end && self.saved != Some(global_step)).then_some(Due::End)
    }

    /// Whether this step is saved.
    pub fn is_saved(&self, global_step: i64) -> bool {
        self.saved == Some(global_step)
    }

    /// Saves after the next step.
    pub fn request(&mut self) {
        self.requested = true;
    }

    /// This step was saved: intervals begin again.
    pub fn saved(&mut self, global_step: i64) {
        self.left_out(global_step);
        self.saved = Some(global_step);
    }

    /// The save that was due was left out, and the next is due when intervals have passed again.
    pub fn left_out(&mut self, global_step: i64) {
        self.since = (global_step, self.clock.now());
        self.requested = false;
    }
}

impl Default for Trigger {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A clock that stands still until it is set.
    #[derive(Debug, Default)]
    struct Hand(Mutex<f64>);

    impl Hand {
        fn set(&self, seconds: f64) {
            *self.0.lock().unwrap() = seconds;
        }
    }

    impl Clock for Hand {
        fn now(&self) -> f64 {
            *self.0.lock().unwrap()
        }
    }

    #[test]
    fn by_itself_it_saves_at_the_end_alone() {
        let mut trigger = Trigger::new();
        assert_eq!(trigger.start(0, false), None);
        assert!((1..10_000).all(|step| trigger.is_due(step).is_none()));
        assert_eq!(trigger.is_due_at_end(10_000), Some(Due::End));
        assert_eq!(trigger.at_end(false).is_due_at_end(10_000), None);
    }

    #[test]
    fn steps_are_counted_from_the_last_save() {
        let mut trigger = Trigger::new().every_steps(3).at_start(true);
        let mut saves = Vec::new();
        if trigger.start(0, false).is_some() {
            trigger.saved(0);
            saves.push(0);
        }
        for step in 1..=7 {
            if trigger.is_due(step).is_some() {
                trigger.saved(step);
                saves.push(step);
            }
        }
        if trigger.is_due_at_end(7).is_some() {
            saves.push(7);
        }
        // What TensorFlow's CheckpointSaverHook does with save_steps=3 and 7 steps.
        assert_eq!(saves, [0, 3, 6, 7]);
        trigger.saved(7);
        assert_eq!(trigger.is_due_at_end(7), None);
        assert_eq!((trigger.is_due(9), trigger.is_due(10)), (None, Some(Due::Steps)));
    }

    #[test]
    fn a_run_that_goes_on_does_not_save_what_it_has_just_restored() {
        let mut trigger = Trigger::new().at_start(true);
        assert_eq!(trigger.start(250, true), None);
        assert_eq!(trigger.is_due_at_end(250), None);
        assert_eq!(trigger.start(250, false), Some(Due::Start));
    }

    #[test]
    fn steps_and_seconds_go_together_and_a_save_begins_both_anew() {
        let clock = Arc::new(Hand::default());
        let mut trigger = Trigger::new().every_steps(10).every_seconds(60.0).clock(clock.clone());
        trigger.start(0, false);
        clock.set(59.0);
        assert_eq!(trigger.is_due(9), None);
        clock.set(60.0);
        assert_eq!(trigger.is_due(9), Some(Due::Seconds));
        trigger.saved(9);
        assert_eq!(trigger.is_due(10), None, "10 steps are counted from the save at step 9");
        assert_eq!(trigger.is_due(19), Some(Due::Steps));
        clock.set(119.9);
        assert_eq!(trigger.is_due(18), None);
    }

    #[test]
    fn a_clock_that_is_set_back_delays_a_save_by_one_interval_at_most() {
        let clock = Arc::new(Hand::default());
        clock.set(1e9);
        let mut trigger = Trigger::new().every_seconds(60.0).clock(clock.clone());
        trigger.start(0, false);
        clock.set(1e9 - 3600.0);
        assert_eq!(trigger.is_due(1), Some(Due::Seconds));
    }

    #[test]
    fn intervals_that_make_no_sense_are_none() {
        for seconds in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(Trigger::new().every_seconds(seconds).is_due(1), None, "{seconds}");
        }
        assert_eq!(Trigger::new().every_steps(0).is_due(1), None);
    }

    #[test]
    fn what_was_asked_for_is_saved_once() {
        let mut trigger = Trigger::new();
        trigger.request();
        assert_eq!(trigger.is_due(1), Some(Due::Requested));
        trigger.saved(1);
        assert_eq!(trigger.is_due(2), None);
    }

    #[test]
    fn the_ends_of_the_range_of_steps_are_steps_like_any_other() {
        let mut trigger = Trigger::new().every_steps(u64::MAX);
        trigger.start(i64::MIN, true);
        assert_eq!(trigger.is_due(i64::MAX), None);
        let mut trigger = Trigger::new().every_steps(1);
        trigger.start(i64::MAX, true);
        assert_eq!(trigger.is_due(i64::MIN), None);
    }
}
