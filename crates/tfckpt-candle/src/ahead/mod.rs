//! Reading ahead: a model asks for one parameter after the other, and while one is read, the other cores read those that
//! it will ask for next.
//!
//! What that will be is guessed: variables whose names end as that of one that was asked for, in the order of their
//! names, laid out as that one. Slots of optimizers end differently and are never read. A wrong guess costs nothing but
//! time: what does not fit, and what could not be read, is read when it is asked for, and its error is told then.

mod order;
mod shared;
mod state;

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use candle_core::Tensor;
use tfckpt::Checkpoint;

use crate::error::Result;
use crate::lookup::Found;
use order::WORTH;
use shared::Shared;

/// Larger variables are read by all cores at once.
const DIVIDED: u64 = 32 << 20;

/// What nobody has asked for after this time is given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// The variables of a checkpoint, some of them read before they are asked for. Dropped, it gives up what it has.
pub(crate) struct Ahead {
    shared: Arc<Shared>,
}

impl Ahead {
    pub(crate) fn new(checkpoint: Arc<Checkpoint>) -> Self {
        Self::with_patience(checkpoint, PATIENCE)
    }

    fn with_patience(checkpoint: Arc<Checkpoint>, patience: Duration) -> Self {
        Ahead {
            shared: Arc::new(Shared::new(checkpoint, patience)),
        }
    }

    /// Reads a variable as [`bridge::read`](crate::bridge::read) does it, or gives what was read of it before.
    pub(crate) fn read(&self, found: &Found<'_>) -> Result<Tensor> {
        let shared = self.shared.as_ref();
        let all = shared.checkpoint.threads();
        if all < 2 || found.info.size() < WORTH {
            return shared.read(found.info, &found.transform, &found.dims, all);
        }
        let Some(place) = shared.lock().ask(&shared.checkpoint, found) else {
            return shared.read(found.info, &found.transform, &found.dims, all);
        };
        shared.changed.notify_all();
        self.start(all - 1);
        if let Some(read) = shared.wait_for(place)
            && read.transform == found.transform
            && read.dims == found.dims
        {
            return Ok(read.tensor);
        }
        let threads = if found.info.size() < DIVIDED { 1 } else { all };
        shared.read(found.info, &found.transform, &found.dims, threads)
    }

    /// Has so many threads, or as many as the system gives, read ahead if there is something to read.
    fn start(&self, threads: usize) {
        let mut state = self.shared.lock();
        while state.threads < threads && state.next().is_some() {
            let shared = self.shared.clone();
            let work = move || shared.work();
            if thread::Builder::new()
                .name("tfckpt-ahead".to_owned())
                .spawn(work)
                .is_err()
            {
                break;
            }
            state.threads += 1;
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopped = true;
        state.give_up();
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ahead").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tfckpt::map::{Layer, Layout};
    use tfckpt::{Limits, Saver, Variable};

    use super::order::Content;
    use super::*;

    type Test<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

    const EDGE: usize = 256;

    /// Kernels `fc_0` to `fc_11` of 256 KiB, each with a slot; some elements of their own.
    fn saved(dir: &std::path::Path) -> tfckpt::Result<()> {
        let names = (0..12).flat_map(|i| [format!("fc_{i}/kernel"), format!("fc_{i}/kernel/Adam")]);
        let values: Vec<(String, Vec<f32>)> = names
            .zip(1u16..)
            .map(|(name, first)| (name, vec![f32::from(first); EDGE * EDGE]))
            .collect();
        let variables = values
            .iter()
            .map(|(name, values)| Variable::new(name.as_str(), [EDGE, EDGE], values));
        Saver::new(dir).save(variables, 1).map(drop)
    }

    /// Longer than any test, however busy the machine.
    const ENDLESS: Duration = Duration::from_secs(24 * 3600);

    fn opened(dir: &std::path::Path, patience: Duration) -> tfckpt::Result<(Arc<Checkpoint>, Ahead)> {
        let checkpoint = Arc::new(Checkpoint::open_with(dir, &Limits::default().with_threads(2))?);
        Ok((checkpoint.clone(), Ahead::with_patience(checkpoint, patience)))
    }

    fn asked<'c>(checkpoint: &'c Checkpoint, name: &str) -> Test<Found<'c>> {
        let (layout, dims) = (Layout::Permuted(&[1, 0]), vec![EDGE, EDGE]);
        Ok(Found {
            info: checkpoint.variable(name)?,
            names: vec![name.to_owned()],
            kind: Layer::Dense,
            layout,
            transform: layout.to_model(&dims).ok_or("two axes")?,
            dims,
        })
    }

    /// The names of what is there before it was asked for, when nothing more comes.
    fn ready(ahead: &Ahead) -> Vec<String> {
        loop {
            let state = ahead.shared.lock();
            let slots = || state.order.iter().flatten();
            if state.next().is_none() && !slots().any(|slot| matches!(slot.content, Content::Reading)) {
                let ready = slots().filter(|slot| matches!(slot.content, Content::Ready(_)));
                return ready
                    .map(|slot| String::from_utf8_lossy(&slot.key).into_owned())
                    .collect();
            }
            drop(state);
            thread::yield_now();
        }
    }

    #[test]
    fn what_comes_next_is_read_but_no_slots_and_no_more_than_was_asked_for() -> Test {
        let dir = tempfile::tempdir()?;
        saved(dir.path())?;
        let (checkpoint, ahead) = opened(dir.path(), ENDLESS)?;
        assert!(ready(&ahead).is_empty());
        ahead.read(&asked(&checkpoint, "fc_1/kernel")?)?;
        assert_eq!(ready(&ahead), ["fc_2/kernel"]);
        ahead.read(&asked(&checkpoint, "fc_2/kernel")?)?;
        assert_eq!(ready(&ahead), ["fc_3/kernel", "fc_4/kernel"]);
        ahead.read(&asked(&checkpoint, "fc_9/kernel")?)?;
        assert_eq!(ready(&ahead), ["fc_3/kernel", "fc_4/kernel", "fc_10/kernel"]);
        Ok(())
    }

    #[test]
    fn what_nobody_asks_for_is_given_up() -> Test {
        let dir = tempfile::tempdir()?;
        saved(dir.path())?;
        let (checkpoint, ahead) = opened(dir.path(), Duration::from_millis(1))?;
        ahead.read(&asked(&checkpoint, "fc_1/kernel")?)?;
        while ahead.shared.lock().threads > 0 {
            thread::yield_now();
        }
        assert!(ready(&ahead).is_empty());
        assert_eq!(ahead.shared.lock().held, 0);
        // And everything can still be asked for.
        for i in (0..12).rev() {
            let tensor = ahead.read(&asked(&checkpoint, &format!("fc_{i}/kernel"))?)?;
            assert_eq!(tensor.get(3)?.get(5)?.to_scalar::<f32>()?, (2 * i + 1) as f32);
        }
        Ok(())
    }

    #[test]
    fn a_wrong_guess_is_read_again() -> Test {
        let dir = tempfile::tempdir()?;
        saved(dir.path())?;
        let (checkpoint, ahead) = opened(dir.path(), ENDLESS)?;
        ahead.read(&asked(&checkpoint, "fc_1/kernel")?)?;
        assert_eq!(ready(&ahead), ["fc_2/kernel"]);
        let mut other = asked(&checkpoint, "fc_2/kernel")?;
        other.layout = Layout::Same;
        other.dims = vec![EDGE, EDGE];
        other.transform = Layout::Same.to_model(&other.dims).ok_or("a shape")?;
        assert_eq!(ahead.read(&other)?.dims(), [EDGE, EDGE]);
        // Two layouts of what ends alike: nothing is guessed any more.
        assert!(ready(&ahead).is_empty());
        Ok(())
    }
}
