//! Reading ahead: a model asks for one parameter after the other, and while one is read, the other cores read those that
//! it will ask for next.
//!
//! What that will be is guessed: variables whose names end as that of one that was asked for, in the order of their
//! names, laid out as that one. Slots of optimizers end differently and are never read. A wrong guess costs nothing but
//! time: what does not fit, and what could not be read, is read when it is asked for, and its error is told then.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use candle_core::Tensor;
use tfckpt::map::{Layout, Transform};
use tfckpt::{Checkpoint, VariableInfo};

use crate::bridge;
use crate::error::Result;
use crate::lookup::{Found, model_shape};

/// Smaller variables are read faster than they could be waited for.
const WORTH: u64 = 128 << 10;

/// Larger variables are read by all cores at once.
const DIVIDED: u64 = 32 << 20;

/// The most bytes that wait to be asked for, if as many have been asked for before.
const MOST: u64 = 256 << 20;

/// How many neighbours of a variable may be asked for next.
const WINDOW: usize = 256;

/// What nobody has asked for after this time is given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// The variables of a checkpoint, some of them read before they are asked for. Dropped, it gives up what it has.
pub(crate) struct Ahead {
    shared: Arc<Shared>,
}

struct Shared {
    checkpoint: Arc<Checkpoint>,
    state: Mutex<State>,
    /// Something was asked for, or was read.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The large variables in the order in which they are likely to be asked for; made when the first is.
    order: Option<Vec<Slot>>,
    /// Where each of them is in `order`.
    places: HashMap<Box<[u8]>, usize>,
    /// The layouts of variables that were asked for, by how their names end and their rank. `None` where they differ.
    layouts: HashMap<(String, usize), Option<Layout>>,
    /// Where in `order` the last one was that was asked for.
    last: usize,
    /// Bytes that were asked for.
    asked: u64,
    /// How often something was asked for.
    times: u64,
    /// Bytes that were read ahead or are being read.
    held: u64,
    /// Threads that read ahead.
    threads: usize,
    /// Whether nobody can ask any more.
    stopped: bool,
}

struct Slot {
    key: Box<[u8]>,
    size: u64,
    /// How the name ends, and the rank.
    like: (String, usize),
    content: Content,
}

enum Content {
    /// May be read ahead.
    Unread,
    /// Somebody is at it.
    Reading,
    Ready(Read),
    /// Was asked for, or could not be read.
    Done,
}

/// A variable in the layout that it is expected to be asked for in.
struct Read {
    transform: Transform,
    dims: Vec<usize>,
    tensor: Tensor,
}

/// A variable that is to be read ahead. Dropped, it is not being read any more.
struct Claim<'s> {
    shared: &'s Shared,
    place: usize,
    key: Box<[u8]>,
    layout: Layout,
}

impl Ahead {
    pub(crate) fn new(checkpoint: Arc<Checkpoint>) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Ahead {
            shared: Arc::new(Shared {
                checkpoint,
                state,
                changed,
            }),
        }
    }

    /// Reads a variable as [`bridge::read`] does it, or gives what was read of it before.
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

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, info: &VariableInfo, transform: &Transform, dims: &[usize], threads: usize) -> Result<Tensor> {
        bridge::read(&self.checkpoint.reading(info, threads), transform, dims)
    }

    /// Reads ahead as long as somebody asks.
    fn work(&self) {
        while let Some(claim) = self.wait_for_claim() {
            claim.carry_out();
        }
        self.lock().threads -= 1;
    }

    /// Something to read ahead. `None` if nobody has asked for anything for a while; what was read is then given up.
    fn wait_for_claim(&self) -> Option<Claim<'_>> {
        let mut state = self.lock();
        while !state.stopped {
            if let Some(claim) = self.claim(&mut state) {
                return Some(claim);
            }
            let times = state.times;
            let waited = self.changed.wait_timeout(state, PATIENCE);
            let timeout;
            (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() && state.times == times {
                state.give_up();
                return None;
            }
        }
        None
    }

    fn claim(&self, state: &mut State) -> Option<Claim<'_>> {
        let (place, layout) = state.next()?;
        let slot = state.order.as_mut()?.get_mut(place)?;
        slot.content = Content::Reading;
        state.held += slot.size;
        Some(Claim {
            shared: self,
            place,
            key: slot.key.clone(),
            layout,
        })
    }

    /// What was read of a variable. Whoever would have to wait for it reads ahead meanwhile.
    fn wait_for(&self, place: usize) -> Option<Read> {
        let mut state = self.lock();
        while state.is_reading(place) {
            if let Some(claim) = self.claim(&mut state) {
                drop(state);
                claim.carry_out();
                state = self.lock();
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        state.take(place)
    }
}

impl Claim<'_> {
    fn carry_out(self) {
        if let Some(read) = self.read() {
            let mut state = self.shared.lock();
            if let Some(slot) = state.slot(self.place) {
                slot.content = Content::Ready(read);
            }
        }
    }

    fn read(&self) -> Option<Read> {
        let info = self.shared.checkpoint.variable(&self.key).ok()?;
        let dims = model_shape(self.layout, info.shape().dims())?;
        let transform = self.layout.to_model(&dims)?;
        let tensor = self.shared.read(info, &transform, &dims, 1).ok()?;
        Some(Read {
            transform,
            dims,
            tensor,
        })
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.is_reading(self.place) {
            state.take(self.place);
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl State {
    /// Takes down that a variable is asked for, and what that tells of others. Its place, if it may have been read.
    fn ask(&mut self, checkpoint: &Checkpoint, found: &Found<'_>) -> Option<usize> {
        if self.order.is_none() {
            let slots = slots(checkpoint);
            self.places = (0..)
                .zip(&slots)
                .map(|(place, slot)| (slot.key.clone(), place))
                .collect();
            self.order = Some(slots);
        }
        let place = *self.places.get(found.info.key())?;
        let slot = self.slot(place)?;
        let like = slot.like.clone();
        if let Content::Unread = slot.content {
            slot.content = Content::Done;
        }
        self.last = place;
        self.times += 1;
        self.asked += found.info.size();
        let layout = self.layouts.entry(like).or_insert(Some(found.layout));
        *layout = layout.filter(|&layout| layout == found.layout);
        Some(place)
    }

    /// What is worth to be read next, and its layout.
    fn next(&self) -> Option<(usize, Layout)> {
        let order = self.order.as_ref()?;
        let room = self.asked.min(MOST).saturating_sub(self.held);
        let places = (self.last + 1..order.len()).chain(0..self.last).take(WINDOW);
        let mut unread = places.filter_map(|place| {
            let slot = order
                .get(place)
                .filter(|slot| matches!(slot.content, Content::Unread))?;
            let layout = self.layouts.get(&slot.like).copied().flatten()?;
            Some((place, slot.size, layout))
        });
        let (place, size, layout) = unread.next()?;
        (size <= room).then_some((place, layout))
    }

    fn slot(&mut self, place: usize) -> Option<&mut Slot> {
        self.order.as_mut()?.get_mut(place)
    }

    fn is_reading(&mut self, place: usize) -> bool {
        self.slot(place)
            .is_some_and(|slot| matches!(slot.content, Content::Reading))
    }

    /// What was read of a variable; it is not read ahead again.
    fn take(&mut self, place: usize) -> Option<Read> {
        let slot = self.slot(place)?;
        let (content, size) = (std::mem::replace(&mut slot.content, Content::Done), slot.size);
        if let Content::Reading | Content::Ready(_) = content {
            self.held = self.held.saturating_sub(size);
        }
        match content {
            Content::Ready(read) => Some(read),
            _ => None,
        }
    }

    /// Forgets what was read, and guesses nothing more before something is asked for again.
    fn give_up(&mut self) {
        let ready = |slot: &Slot| matches!(slot.content, Content::Ready(_));
        let order = self.order.iter_mut().flatten();
        for slot in order.filter(|slot| ready(slot)) {
            slot.content = Content::Done;
            self.held = self.held.saturating_sub(slot.size);
        }
        self.layouts.clear();
    }
}

/// The variables that are worth to be read ahead, in the order of their names, in which numbers count as such.
fn slots(checkpoint: &Checkpoint) -> Vec<Slot> {
    let large = checkpoint
        .variables()
        .filter(|info| info.size() >= WORTH && info.slices().len() == 0);
    let mut slots: Vec<Slot> = large
        .filter_map(|info| {
            Some(Slot {
                key: info.key().into(),
                size: info.size(),
                like: (ending(&info.name())?, info.shape().rank()),
                content: Content::Unread,
            })
        })
        .collect();
    slots.sort_by(|a, b| in_order(&a.key, &b.key));
    slots
}

/// The last part of a name, by which variables of one kind are known; `None` for numbers, which say nothing, and for the
/// slots of optimizers in object-based checkpoints, which are told apart further ahead.
fn ending(name: &str) -> Option<String> {
    let name = name.strip_suffix("/.ATTRIBUTES/VARIABLE_VALUE").unwrap_or(name);
    let last = name.rsplit(['/', '.']).next()?;
    let says_nothing = last.bytes().all(|byte| byte.is_ascii_digit()) || name.contains(".OPTIMIZER_SLOT");
    (!says_nothing).then(|| last.to_owned())
}

/// `layer_2` comes before `layer_10`.
fn in_order(a: &[u8], b: &[u8]) -> Ordering {
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    // The number that the first difference lies in begins before it.
    let before = a.get(..same).unwrap_or_default();
    let number = same - digits(&before.iter().rev().copied().collect::<Vec<_>>());
    let (rest_a, rest_b) = (a.get(number..).unwrap_or_default(), b.get(number..).unwrap_or_default());
    match (digits(rest_a), digits(rest_b)) {
        (in_a, in_b) if in_a > 0 && in_b > 0 => in_a.cmp(&in_b).then_with(|| rest_a.cmp(rest_b)),
        _ => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use tfckpt::map::Layer;
    use tfckpt::{Limits, Saver, Variable};

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

    fn opened(dir: &std::path::Path) -> tfckpt::Result<(Arc<Checkpoint>, Ahead)> {
        let checkpoint = Arc::new(Checkpoint::open_with(dir, &Limits::default().with_threads(2))?);
        Ok((checkpoint.clone(), Ahead::new(checkpoint)))
    }

    fn asked<'c>(checkpoint: &'c Checkpoint, name: &str) -> Test<Found<'c>> {
        let (layout, dims) = (Layout::Permuted(&[1, 0]), vec![EDGE, EDGE]);
        Ok(Found {
            info: checkpoint.variable(name)?,
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
        let (checkpoint, ahead) = opened(dir.path())?;
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
        let (checkpoint, ahead) = opened(dir.path())?;
        ahead.read(&asked(&checkpoint, "fc_1/kernel")?)?;
        assert_eq!(ready(&ahead).len(), 1);
        while ahead.shared.lock().threads > 0 {
            thread::sleep(PATIENCE / 10);
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
        let (checkpoint, ahead) = opened(dir.path())?;
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

    #[test]
    fn names_are_ordered_as_people_count() {
        let mut names = [
            "b/kernel",
            "a/layer_10/kernel",
            "a/layer_2/kernel",
            "a/layer_1/kernel",
            "a/layer_1/bias",
            "a",
        ];
        names.sort_by(|a, b| in_order(a.as_bytes(), b.as_bytes()));
        let sorted = [
            "a",
            "a/layer_1/bias",
            "a/layer_1/kernel",
            "a/layer_2/kernel",
            "a/layer_10/kernel",
            "b/kernel",
        ];
        assert_eq!(names, sorted);
        assert_eq!(ending("a/kernel/.ATTRIBUTES/VARIABLE_VALUE").as_deref(), Some("kernel"));
        assert_eq!(
            ending("a/kernel/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE"),
            None
        );
        assert_eq!(ending("optimizer/_variables/3"), None);
        assert_eq!(ending("layers.0.weight").as_deref(), Some("weight"));
    }
}
