//! What is read ahead, and what that is guessed from.

use std::collections::HashMap;

use tfckpt::Checkpoint;
use tfckpt::map::Layout;

use super::order::{Content, Read, Slot, slots};
use crate::lookup::Found;

/// The most bytes that wait to be asked for, if as many have been asked for before.
const MOST: u64 = 256 << 20;

/// How many neighbours of a variable may be asked for next.
const WINDOW: usize = 256;

/// Where everything stands.
#[derive(Default)]
pub(super) struct State {
    /// The large variables in the order in which they are likely to be asked for; made when the first is.
    pub(super) order: Option<Vec<Slot>>,
    /// Where each of them is in `order`.
    places: HashMap<Box<[u8]>, usize>,
    /// The layouts of variables that were asked for, by how their names end and their rank. `None` where they differ.
    layouts: HashMap<(String, usize), Option<Layout>>,
    /// Where in `order` the last one was that was asked for.
    last: usize,
    /// Bytes that were asked for.
    asked: u64,
    /// How often something was asked for.
    pub(super) times: u64,
    /// Bytes that were read ahead or are being read.
    pub(super) held: u64,
    /// Threads that read ahead.
    pub(super) threads: usize,
    /// Whether nobody can ask any more.
    pub(super) stopped: bool,
}

impl State {
    /// Takes down that a variable is asked for, and what that tells of others. Its place, if it may have been read.
    pub(super) fn ask(&mut self, checkpoint: &Checkpoint, found: &Found<'_>) -> Option<usize> {
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
    pub(super) fn next(&self) -> Option<(usize, Layout)> {
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

    /// Chooses what is worth to be read next; somebody is at it from here on. Its place, key and layout.
    pub(super) fn choose(&mut self) -> Option<(usize, Box<[u8]>, Layout)> {
        let (place, layout) = self.next()?;
        let slot = self.slot(place)?;
        slot.content = Content::Reading;
        let (key, size) = (slot.key.clone(), slot.size);
        self.held += size;
        Some((place, key, layout))
    }

    pub(super) fn slot(&mut self, place: usize) -> Option<&mut Slot> {
        self.order.as_mut()?.get_mut(place)
    }

    pub(super) fn is_reading(&mut self, place: usize) -> bool {
        self.slot(place)
            .is_some_and(|slot| matches!(slot.content, Content::Reading))
    }

    /// What was read of a variable; it is not read ahead again.
    pub(super) fn take(&mut self, place: usize) -> Option<Read> {
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
    pub(super) fn give_up(&mut self) {
        let ready = |slot: &Slot| matches!(slot.content, Content::Ready(_));
        let order = self.order.iter_mut().flatten();
        for slot in order.filter(|slot| ready(slot)) {
            slot.content = Content::Done;
            self.held = self.held.saturating_sub(slot.size);
        }
        self.layouts.clear();
    }
}
