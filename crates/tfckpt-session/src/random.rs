//! Random numbers as TensorFlow draws them on a CPU: Philox 4x32-10, by `tensorflow/core/lib/random/philox_random.h` and
//! `random_distributions.h`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seeds for operations that have none.
#[derive(Debug)]
pub(crate) struct Random {
    next: AtomicU64,
}

impl Random {
    pub(crate) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Random {
            next: AtomicU64::new(now.as_secs().rotate_left(32) ^ u64::from(now.subsec_nanos())),
        }
    }

    /// A seed that was not given out before.
    pub(crate) fn seed(&self) -> u64 {
        self.next.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}

/// A generator that counts on from call to call, as each node with a seed has one.
#[derive(Debug)]
pub(crate) struct Generator {
    key: [u32; 2],
    counter: Mutex<u128>,
}

impl Generator {
    /// The generator of an operation with these attributes.
    pub(crate) fn seeded(seed: u64, seed2: u64) -> Self {
        let (low, high) = halves(seed);
        Generator {
            key: [low, high],
            counter: Mutex::new(u128::from(seed2) << 64),
        }
    }

    pub(crate) fn with(key: u64, counter: u128) -> Self {
        let (low, high) = halves(key);
        Generator {
            key: [low, high],
            counter: Mutex::new(counter),
        }
    }

    /// `count` numbers of 32 bits; the next call begins `reserved` groups of four later.
    pub(crate) fn draw(&self, count: usize, reserved: u128) -> Vec<u32> {
        let mut counter = self.counter.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let start = *counter;
        *counter = counter.wrapping_add(reserved);
        let groups = (0..count.div_ceil(4)).map(|group| philox(start.wrapping_add(group as u128), self.key));
        let mut numbers: Vec<u32> = groups.flatten().collect();
        numbers.truncate(count);
        numbers
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
fn halves(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}

/// Four numbers for a counter.
#[expect(clippy::cast_possible_truncation, reason = "the low words are what is wanted")]
fn philox(counter: u128, mut key: [u32; 2]) -> [u32; 4] {
    let mut c = [
        counter as u32,
        (counter >> 32) as u32,
        (counter >> 64) as u32,
        (counter >> 96) as u32,
    ];
    for _ in 0..10 {
        let (low0, high0) = halves(u64::from(c[0]) * 0xD251_1F53);
        let (low1, high1) = halves(u64::from(c[2]) * 0xCD9E_8D57);
        c = [high1 ^ c[1] ^ key[0], low1, high0 ^ c[3] ^ key[1], low0];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

/// A number in [0, 1) with 23 random bits.
pub(crate) fn unit(bits: u32) -> f32 {
    f32::from_bits((bits & 0x007f_ffff) | 0x3f80_0000) - 1.0
}

/// Two normal numbers of two uniform ones, by Box and Muller.
pub(crate) fn normal(first: u32, second: u32) -> [f32; 2] {
    let u = unit(first).max(1.0e-7);
    let angle = 2.0 * std::f32::consts::PI * unit(second);
    let radius = (-2.0 * u.ln()).sqrt();
    [angle.sin() * radius, angle.cos() * radius]
}
