//! Random numbers that a resumed run continues.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::states::Checkpointable;
use crate::error::BoxError;

/// A generator of random numbers whose whole state is part of the checkpoint: ChaCha with 12 rounds, as `StdRng` of
/// rand 0.9 is, with its position.
///
/// It implements `rand_core::RngCore` of rand 0.9, and with it `rand::Rng`. Clones share the state: one stays with the
/// run, which saves it, others go to dropout layers, augmentation, sampling. Threads that draw from the same
/// generator draw in an order that no checkpoint can bring back; give each one [a stream](Self::stream) of its own.
///
/// The numbers are the same on all machines and in all versions. What `rand` makes of them, ranges and shuffles, may
/// change with a new version of `rand`; see [`Epochs`](super::Epochs) for orders that do not.
///
/// In the checkpoint it is a variable of 57 bytes: 1 for the algorithm, then seed, stream and position.
///
/// ```
/// use rand::Rng;
/// use tfckpt::training::{CheckpointRng, Checkpointable};
///
/// let mut rng = CheckpointRng::seed_from_u64(7);
/// let first: f32 = rng.random();
/// let saved = rng.to_bytes();
/// let second: f32 = rng.random();
///
/// let mut resumed = CheckpointRng::seed_from_u64(0);
/// resumed.restore(&saved)?;
/// assert_eq!(resumed.random::<f32>(), second);
/// # Ok::<(), tfckpt::BoxError>(())
/// ```
#[derive(Clone)]
pub struct CheckpointRng {
    shared: Arc<Mutex<ChaCha12Rng>>,
}

/// The first byte: ChaCha12, and how its state follows.
const CHACHA12: u8 = 12;

impl CheckpointRng {
    /// The generator of this seed: the numbers of `StdRng::seed_from_u64` of rand 0.9.
    pub fn seed_from_u64(seed: u64) -> Self {
        ChaCha12Rng::seed_from_u64(seed).into()
    }

    /// The generator of these 32 bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        ChaCha12Rng::from_seed(seed).into()
    }

    /// An independent generator of the same seed, at its start: one for each thread or purpose. Stream 0 is that of a
    /// new generator.
    #[must_use]
    pub fn stream(&self, stream: u64) -> Self {
        let mut random = ChaCha12Rng::from_seed(self.lock().get_seed());
        random.set_stream(stream);
        random.into()
    }

    /// Draws bytes, from a handle that is not mutable.
    pub fn fill_bytes(&self, bytes: &mut [u8]) {
        self.lock().fill_bytes(bytes);
    }

    fn lock(&self) -> MutexGuard<'_, ChaCha12Rng> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<ChaCha12Rng> for CheckpointRng {
    fn from(random: ChaCha12Rng) -> Self {
        CheckpointRng {
            shared: Arc::new(Mutex::new(random)),
        }
    }
}

impl RngCore for CheckpointRng {
    fn next_u32(&mut self) -> u32 {
        self.lock().next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.lock().next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.lock().fill_bytes(bytes);
    }
}

impl Checkpointable for CheckpointRng {
    fn to_bytes(&self) -> Vec<u8> {
        let random = self.lock();
        let mut bytes = vec![CHACHA12];
        bytes.extend(random.get_seed());
        bytes.extend(random.get_stream().to_le_bytes());
        bytes.extend(random.get_word_pos().to_le_bytes());
        bytes
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), BoxError> {
        let parsed = bytes.split_first_chunk().and_then(|([algorithm], rest)| {
            let (seed, rest) = rest.split_first_chunk()?;
            let (stream, position) = rest.split_first_chunk()?;
            Some((*algorithm, *seed, *stream, *<&[u8; 16]>::try_from(position).ok()?))
        });
        let Some((CHACHA12, seed, stream, position)) = parsed else {
            return Err(format!(
                "{} bytes are no state of ChaCha12, which has 57 and begins with 12",
                bytes.len()
            )
            .into());
        };
        let mut random = ChaCha12Rng::from_seed(seed);
        random.set_stream(u64::from_le_bytes(stream));
        random.set_word_pos(u128::from_le_bytes(position));
        *self.lock() = random;
        Ok(())
    }
}

/// Not the seed, which may be a secret.
impl fmt::Debug for CheckpointRng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointRng").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_exactly_from_every_position_within_a_block() {
        let mut random = CheckpointRng::seed_from_u64(7).stream(3);
        for draws in 0..70 {
            let mut resumed = CheckpointRng::seed_from_u64(0);
            resumed.restore(&random.to_bytes()).unwrap();
            let mut ahead = CheckpointRng::from(random.lock().clone());
            for _ in 0..40 {
                assert_eq!(resumed.next_u64(), ahead.next_u64(), "after {draws} draws");
                assert_eq!(resumed.next_u32(), ahead.next_u32());
            }
            random.next_u32();
        }
    }

    #[test]
    fn clones_share_and_streams_do_not() {
        let mut random = CheckpointRng::seed_from_u64(7);
        let (mut clone, mut stream) = (random.clone(), random.stream(1));
        let mut apart = random.stream(0);
        assert_eq!(apart.next_u64(), random.next_u64());
        assert_eq!(apart.next_u64(), clone.next_u64());
        assert_ne!(stream.next_u64(), random.stream(0).next_u64());
    }

    #[test]
    fn other_bytes_are_refused_and_change_nothing() {
        let mut random = CheckpointRng::seed_from_u64(7);
        let good = random.to_bytes();
        let mut other = good.clone();
        other[0] = 20;
        for bytes in [&[][..], &good[..56], &[good.clone(), vec![0]].concat(), &other] {
            assert!(random.restore(bytes).is_err());
            assert_eq!(random.to_bytes(), good);
        }
    }
}
