//! The saver of a run, in the foreground or in the background.

use std::path::Path;

use tfckpt::{BackgroundSaver, Checkpoint, Result, Saved, Saver, Submitted, Variable, WhenBusy};

/// Writes checkpoints.
#[derive(Debug)]
pub(super) struct Writer {
    /// With a saver in the background what looks at the directory, and nothing else.
    saver: Saver,
    background: Option<Background>,
}

#[derive(Debug)]
struct Background {
    when_busy: WhenBusy,
    memory_budget: u64,
    /// From the first save on.
    saver: Option<BackgroundSaver>,
}

/// What became of a save.
#[derive(Debug)]
pub(super) enum Write {
    Committed(Saved),
    /// The state is copied.
    OnTheWay,
    LeftOut,
}

impl Writer {
    pub(super) fn new(saver: Saver) -> Self {
        Writer {
            saver,
            background: None,
        }
    }

    pub(super) fn directory(&self) -> &Path {
        self.saver.directory()
    }

    /// Takes the directory, before the first save.
    pub(super) fn prepare(&mut self) -> Result<()> {
        match self.running() {
            // It has the lock, or takes it with its first save.
            Some(_) => Ok(()),
            None => self.saver.prepare(),
        }
    }

    pub(super) fn latest(&self) -> Result<Option<Checkpoint>> {
        self.saver.latest()
    }

    /// Changes the saver, before the first save.
    pub(super) fn change(&mut self, change: impl FnOnce(Saver) -> Saver) {
        self.saver = change(std::mem::replace(&mut self.saver, Saver::new("")));
    }

    pub(super) fn in_background(&mut self, when_busy: WhenBusy) {
        self.background = Some(Background {
            when_busy,
            memory_budget: u64::MAX,
            saver: None,
        });
    }

    pub(super) fn memory_budget(&mut self, bytes: u64) {
        if let Some(background) = &mut self.background {
            background.memory_budget = bytes;
        }
    }

    pub(super) fn save(
        &mut self,
        variables: Vec<Variable<'static>>,
        global_step: i64,
        metrics: Vec<(String, f64)>,
    ) -> Result<Write> {
        let Some(background) = &mut self.background else {
            let saved = self.saver.save_measured(variables, global_step, metrics);
            return saved.map(Write::Committed);
        };
        let saver = background.start(&mut self.saver);
        Ok(match saver.save_measured(variables, global_step, metrics)? {
            Submitted::Skipped => Write::LeftOut,
            Submitted::InForeground(saved) => Write::Committed(saved),
            _ => Write::OnTheWay,
        })
    }

    /// What was finished in the background since it was last asked for.
    pub(super) fn finished(&mut self) -> Result<Vec<Saved>> {
        match self.running() {
            Some(saver) => saver.finished(),
            None => Ok(Vec::new()),
        }
    }

    /// The same, when everything is written.
    pub(super) fn wait(&mut self) -> Result<Vec<Saved>> {
        match self.running() {
            Some(saver) => saver.wait(),
            None => Ok(Vec::new()),
        }
    }

    #[inline]
    fn running(&mut self) -> Option<&mut BackgroundSaver> {
        self.background.as_mut()?.saver.as_mut()
    }
}

impl Background {
    fn start(&mut self, saver: &mut Saver) -> &mut BackgroundSaver {
        self.saver.get_or_insert_with(|| {
            let directory = Saver::new(saver.directory());
            BackgroundSaver::new(std::mem::replace(saver, directory))
                .when_busy(self.when_busy)
                .memory_budget(self.memory_budget)
        })
    }
}
