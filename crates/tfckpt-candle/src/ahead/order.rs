//! The variables that may be read ahead, in the order in which they are likely to be asked for.

use std::cmp::Ordering;

use candle_core::Tensor;
use tfckpt::Checkpoint;
use tfckpt::map::Transform;

/// Smaller variables are read faster than they could be waited for.
pub(super) const WORTH: u64 = 128 << 10;

pub(super) struct Slot {
    pub(super) key: Box<[u8]>,
    pub(super) size: u64,
    /// How the name ends, and the rank.
    pub(super) like: (String, usize),
    pub(super) content: Content,
}

pub(super) enum Content {
    /// May be read ahead.
    Unread,
    /// Somebody is at it.
    Reading,
    Ready(Read),
    /// Was asked for, or could not be read.
    Done,
}

/// A variable in the layout that it is expected to be asked for in.
pub(super) struct Read {
    pub(super) transform: Transform,
    pub(super) dims: Vec<usize>,
    pub(super) tensor: Tensor,
}

/// The variables that are worth to be read ahead, in the order of their names, in which numbers count as such.
pub(super) fn slots(checkpoint: &Checkpoint) -> Vec<Slot> {
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
    use super::*;

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
