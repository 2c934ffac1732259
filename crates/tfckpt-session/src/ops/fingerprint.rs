//! The hashes by which TensorFlow puts strings into buckets: FarmHash's `Fingerprint64`, and the older one of
//! `tensorflow/core/lib/hash/hash.cc`. Both are part of what a trained model means, and never change.

const K0: u64 = 0xc3a5_c85c_97cb_3127;
const K1: u64 = 0xb492_b66f_be98_f273;
const K2: u64 = 0x9ae1_6a3b_2f90_404f;

/// Eight bytes at a place, little-endian; what is not there is 0.
fn fetch(text: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    let found = text.get(at..).unwrap_or_default();
    for (byte, found) in word.iter_mut().zip(found) {
        *byte = *found;
    }
    u64::from_le_bytes(word)
}

fn fetch_half(text: &[u8], at: usize) -> u64 {
    fetch(text, at) & 0xffff_ffff
}

fn mix(value: u64) -> u64 {
    value ^ (value >> 47)
}

fn pair(u: u64, v: u64, times: u64) -> u64 {
    let a = mix((u ^ v).wrapping_mul(times));
    mix((v ^ a).wrapping_mul(times)).wrapping_mul(times)
}

fn times_of(len: usize) -> u64 {
    K2.wrapping_add((len as u64).wrapping_mul(2))
}

fn up_to_16(text: &[u8]) -> u64 {
    let len = text.len();
    let times = times_of(len);
    match text {
        _ if len >= 8 => {
            let (a, b) = (fetch(text, 0).wrapping_add(K2), fetch(text, len - 8));
            let c = b.rotate_right(37).wrapping_mul(times).wrapping_add(a);
            let d = a.rotate_right(25).wrapping_add(b).wrapping_mul(times);
            pair(c, d, times)
        }
        _ if len >= 4 => {
            let first = (len as u64).wrapping_add(fetch_half(text, 0) << 3);
            pair(first, fetch_half(text, len - 4), times)
        }
        [first, ..] => {
            let middle = text.get(len / 2).copied().unwrap_or_default();
            let last = text.last().copied().unwrap_or_default();
            let y = u64::from(*first) + (u64::from(middle) << 8);
            let z = len as u64 + (u64::from(last) << 2);
            mix(y.wrapping_mul(K2) ^ z.wrapping_mul(K0)).wrapping_mul(K2)
        }
        [] => K2,
    }
}

fn up_to_32(text: &[u8]) -> u64 {
    let len = text.len();
    let times = times_of(len);
    let (a, b) = (fetch(text, 0).wrapping_mul(K1), fetch(text, 8));
    let (c, d) = (
        fetch(text, len - 8).wrapping_mul(times),
        fetch(text, len - 16).wrapping_mul(K2),
    );
    pair(ends(a, b, c, d), middle(a, b, c), times)
}

fn ends(a: u64, b: u64, c: u64, d: u64) -> u64 {
    let turned = a.wrapping_add(b).rotate_right(43);
    turned.wrapping_add(c.rotate_right(30)).wrapping_add(d)
}

fn middle(a: u64, b: u64, c: u64) -> u64 {
    a.wrapping_add(b.wrapping_add(K2).rotate_right(18)).wrapping_add(c)
}

fn up_to_64(text: &[u8]) -> u64 {
    let len = text.len();
    let times = times_of(len);
    let (a, b) = (fetch(text, 0).wrapping_mul(K2), fetch(text, 8));
    let (c, d) = (
        fetch(text, len - 8).wrapping_mul(times),
        fetch(text, len - 16).wrapping_mul(K2),
    );
    let y = ends(a, b, c, d);
    let z = pair(y, middle(a, b, c), times);
    let (e, f) = (fetch(text, 16).wrapping_mul(times), fetch(text, 24));
    let g = y.wrapping_add(fetch(text, len - 32)).wrapping_mul(times);
    let h = z.wrapping_add(fetch(text, len - 24)).wrapping_mul(times);
    let last = e.wrapping_add(f.wrapping_add(a).rotate_right(18)).wrapping_add(g);
    pair(ends(e, f, g, h), last, times)
}

/// Two sums of 32 bytes.
fn sums(text: &[u8], at: usize, a: u64, b: u64) -> (u64, u64) {
    let (w, x) = (fetch(text, at), fetch(text, at + 8));
    let (y, z) = (fetch(text, at + 16), fetch(text, at + 24));
    let first = a.wrapping_add(w);
    let b = b.wrapping_add(first).wrapping_add(z).rotate_right(21);
    let a = first.wrapping_add(x).wrapping_add(y);
    let b = b.wrapping_add(a.rotate_right(44));
    (a.wrapping_add(z), b.wrapping_add(first))
}

/// What the longer texts are worked through with, 64 bytes at a time.
struct State {
    x: u64,
    y: u64,
    z: u64,
    v: (u64, u64),
    w: (u64, u64),
}

impl State {
    fn take(&mut self, text: &[u8], at: usize, times: u64, (by_w, by_v): (u64, u64)) {
        let State { x, y, z, v, w } = self;
        let sum = x.wrapping_add(*y).wrapping_add(v.0).wrapping_add(fetch(text, at + 8));
        *x = sum.rotate_right(37).wrapping_mul(times);
        let sum = y.wrapping_add(v.1).wrapping_add(fetch(text, at + 48));
        *y = sum.rotate_right(42).wrapping_mul(times);
        *x ^= w.1.wrapping_mul(by_w);
        *y = y
            .wrapping_add(v.0.wrapping_mul(by_v))
            .wrapping_add(fetch(text, at + 40));
        *z = z.wrapping_add(w.0).rotate_right(33).wrapping_mul(times);
        *v = sums(text, at, v.1.wrapping_mul(times), x.wrapping_add(w.0));
        let second = y.wrapping_add(fetch(text, at + 16));
        *w = sums(text, at + 32, z.wrapping_add(w.1), second);
        std::mem::swap(z, x);
    }
}

/// FarmHash's `Fingerprint64`.
pub(crate) fn fingerprint(text: &[u8]) -> u64 {
    let len = text.len();
    match len {
        0..=16 => return up_to_16(text),
        17..=32 => return up_to_32(text),
        33..=64 => return up_to_64(text),
        _ => {}
    }
    let seed = 81u64;
    let y = seed.wrapping_mul(K1).wrapping_add(113);
    let mut state = State {
        x: seed.wrapping_mul(K2).wrapping_add(fetch(text, 0)),
        y,
        z: mix(y.wrapping_mul(K2).wrapping_add(113)).wrapping_mul(K2),
        v: (0, 0),
        w: (0, 0),
    };
    let end = (len - 1) / 64 * 64;
    for at in (0..end).step_by(64) {
        state.take(text, at, K1, (1, 1));
    }
    let times = K1.wrapping_add((state.z & 0xff) << 1);
    let left = ((len - 1) & 63) as u64;
    state.w.0 = state.w.0.wrapping_add(left);
    state.v.0 = state.v.0.wrapping_add(state.w.0);
    state.w.0 = state.w.0.wrapping_add(state.v.0);
    state.take(text, len - 64, times, (9, 9));
    let State { x, y, z, v, w } = state;
    let first = pair(v.0, w.0, times)
        .wrapping_add(mix(y).wrapping_mul(K0))
        .wrapping_add(z);
    pair(first, pair(v.1, w.1, times).wrapping_add(x), times)
}

/// The hash of `StringToHashBucket`.
pub(crate) fn old_hash(text: &[u8]) -> u64 {
    const TIMES: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = 0x00de_cafc_affe ^ (text.len() as u64).wrapping_mul(TIMES);
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        let word = mix(u64::from_le_bytes(*word).wrapping_mul(TIMES)).wrapping_mul(TIMES);
        hash = (hash ^ word).wrapping_mul(TIMES);
    }
    if !rest.is_empty() {
        hash = (hash ^ fetch(rest, 0)).wrapping_mul(TIMES);
    }
    mix(mix(hash).wrapping_mul(TIMES))
}
