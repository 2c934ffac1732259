//! What saves, in the foreground or in the background.

use std::sync::Arc;

use tfckpt::map::NameMap;
use tfckpt::objects::ObjectLayout;
use tfckpt::{BackgroundSaver, Saved, Saver, Submitted, Variable, WhenBusy};

use super::content::Content;
use super::event::{Event, OnEvent};
use crate::error::{Error, Result};
use crate::optimizer::{self, AllTraits, Naming};
use crate::scheduler;

/// Writes checkpoints.
pub(super) struct Writer {
    pub(super) saver: Saver,
    /// How object-based checkpoints are laid out, until the first one is written.
    pub(super) objects: Option<ObjectLayout>,
    /// How saving in the background is done, and what does it from the first save on.
    pub(super) when_busy: Option<WhenBusy>,
    background: Option<BackgroundSaver>,
    /// The newest step that is saved, or on its way.
    pub(super) last_saved: Option<i64>,
}

/// What the state of optimizers is called, and what is known of them.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) naming: Naming,
    pub(super) traits: Arc<AllTraits>,
}

/// What became of a save.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// It is done.
    pub(super) committed: Option<Saved>,
    /// Those that were finished in the background meanwhile.
    pub(super) finished: Vec<Saved>,
    /// Another one is being written, and this one was not waited for.
    pub(super) left_out: bool,
}

impl Writer {
    pub(super) fn new(saver: Saver) -> Self {
        Writer {
            saver,
            objects: None,
            when_busy: None,
            background: None,
            last_saved: None,
        }
    }

    pub(super) fn change(&mut self, change: impl FnOnce(Saver) -> Saver) {
        let saver = std::mem::replace(&mut self.saver, Saver::new(""));
        self.saver = change(saver);
    }

    /// Takes the directory's lock, so that what would keep saves from succeeding is known at once.
    pub(super) fn prepare(&mut self) -> tfckpt::Result<()> {
        match self.background {
            Some(_) => Ok(()),
            None => self.saver.prepare(),
        }
    }

    /// Writes one checkpoint. One of the same step, saved at the end of a step that turned out to be the last of an
    /// epoch, is replaced. Nothing is written once a later step is saved: Burn hands over an epoch on threads of its
    /// own, while the training goes on. `on_event` is told of one that is written in the background, from there.
    pub(super) fn write(
        &mut self,
        content: Content,
        names: &NameMap,
        slots: Slots,
        on_event: Option<&OnEvent>,
    ) -> Result<Outcome> {
        let global_step = content.global_step;
        if self.last_saved > Some(global_step) {
            return Ok(Outcome::default());
        }
        let again = self.last_saved == Some(global_step);
        // Clones, and never the run itself: what is written in the background must not outlive who waits for it.
        let (names, on_event) = (names.clone(), on_event.cloned());
        let write = move |saver: &mut Saver| -> Result<Saved> {
            *saver = std::mem::replace(saver, Saver::new("")).overwrite(again);
            let mut content = content;
            let metrics = std::mem::take(&mut content.metrics);
            Ok(saver.save_measured(content.into_variables(&names, &slots)?, global_step, metrics)?)
        };
        let Some(background) = self.background() else {
            let saved = write(&mut self.saver)?;
            self.last_saved = Some(global_step);
            return Ok(Outcome {
                committed: Some(saved),
                ..Outcome::default()
            });
        };
        let submitted = background.save_with(global_step, move |saver| {
            let saved = write(saver).map_err(into_core)?;
            if let Some(on_event) = on_event {
                on_event(&Event::Saved(&saved));
            }
            Ok(saved)
        })?;
        let finished = background.finished()?;
        let left_out = matches!(submitted, Submitted::Skipped);
        if !left_out {
            self.last_saved = Some(global_step);
        }
        Ok(Outcome {
            committed: None,
            finished,
            left_out,
        })
    }

    /// What was finished in the background since it was last asked for.
    pub(super) fn finished(&mut self) -> Result<Vec<Saved>> {
        match &mut self.background {
            Some(background) => Ok(background.finished()?),
            None => Ok(Vec::new()),
        }
    }

    /// The same, when everything is written.
    pub(super) fn wait(&mut self) -> Result<Vec<Saved>> {
        match &mut self.background {
            Some(background) => Ok(background.wait()?),
            None => Ok(Vec::new()),
        }
    }

    /// What saves in the background, if that is wanted. Of the saver in the foreground only what looks at the directory
    /// is left.
    fn background(&mut self) -> Option<&mut BackgroundSaver> {
        let when_busy = self.when_busy?;
        let background = self.background.get_or_insert_with(|| {
            let directory = Saver::new(self.saver.directory());
            BackgroundSaver::new(std::mem::replace(&mut self.saver, directory)).when_busy(when_busy)
        });
        Some(background)
    }
}

impl Content {
    fn into_variables(self, names: &NameMap, slots: &Slots) -> Result<Vec<Variable<'static>>> {
        let mut variables = self.variables;
        let states = (self.states)()?;
        variables.extend(optimizer::variables(
            states,
            &self.schema,
            names,
            &slots.naming,
            &slots.traits,
            self.global_step,
        )?);
        variables.extend(scheduler::variables(self.scheduler)?);
        variables.extend(self.others);
        Ok(variables)
    }
}

/// An error on its way through a saver.
fn into_core(error: Error) -> tfckpt::Error {
    match error {
        Error::Checkpoint(error) => error,
        error => tfckpt::Error::Source {
            name: "the state of the run".to_owned(),
            source: error.into(),
        },
    }
}
