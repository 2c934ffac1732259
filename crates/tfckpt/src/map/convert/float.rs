//! Floating-point numbers of every width, bit by bit.
//!
//! A number goes from one format to another by way of the bits of a float64, which holds every number of every other format.

use crate::dtype::DType;

/// How the bits of a format are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    exponent: u32,
    mantissa: u32,
    bias: i32,
    special: Special,
}

/// What is not a finite number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Special {
    /// Infinities and NaNs, where the exponent is all ones.
    Ieee,
    /// One NaN of each sign, where all bits are ones; no infinities.
    Fn,
    /// One NaN, in the place of -0; no infinities.
    Fnuz,
    /// Nothing.
    Finite,
}

const F64_MANTISSA: u32 = 52;
const F64_BIAS: i32 = 1023;
const F64_SPECIAL: u64 = 0x7ff << F64_MANTISSA;
const F64_SIGN: u64 = 1 << 63;
const F64_FRACTION: u64 = (1 << F64_MANTISSA) - 1;

impl Format {
    /// The format of a dtype; `None` if its elements are no floating-point numbers.
    pub(super) fn of(dtype: DType) -> Option<Format> {
        use Special::*;
        let (exponent, mantissa, bias, special) = match dtype {
            DType::Float64 => (11, 52, 1023, Ieee),
            DType::Float32 => (8, 23, 127, Ieee),
            DType::Bfloat16 => (8, 7, 127, Ieee),
            DType::Float16 => (5, 10, 15, Ieee),
            DType::Float8E5m2 => (5, 2, 15, Ieee),
            DType::Float8E4m3fn => (4, 3, 7, Fn),
            DType::Float8E4m3fnuz => (4, 3, 8, Fnuz),
            DType::Float8E4m3b11fnuz => (4, 3, 11, Fnuz),
            DType::Float8E5m2fnuz => (5, 2, 16, Fnuz),
            DType::Float4E2m1fn => (2, 1, 1, Finite),
            _ => return None,
        };
        Some(Format {
            exponent,
            mantissa,
            bias,
            special,
        })
    }

    /// Whether this has every number of `other`.
    pub(super) fn contains(self, other: Format) -> bool {
        let special = match other.special {
            Special::Ieee => self.special == Special::Ieee,
            _ => self.special == Special::Ieee || self == other,
        };
        special
            && self.mantissa >= other.mantissa
            && self.lowest() <= other.lowest()
            && self.highest() >= other.highest()
    }

    /// Whether this has every integer of so many bits, without the sign.
    pub(super) fn contains_integers(self, bits: u32) -> bool {
        self.mantissa + 1 >= bits && self.highest() >= i32::try_from(bits).unwrap_or(i32::MAX)
    }

    /// The number as the bits of a float64.
    pub(super) fn decode(self, bits: u64) -> u64 {
        if self.mantissa == F64_MANTISSA {
            return bits;
        }
        let shift = F64_MANTISSA - self.mantissa;
        let mantissa = bits & self.mantissa_mask();
        let exponent = (bits >> self.mantissa) & self.exponent_mask();
        let sign = ((bits >> (self.mantissa + self.exponent)) & 1) << 63;
        let is_top = exponent == self.exponent_mask();
        match self.special {
            Special::Ieee if is_top => return sign | F64_SPECIAL | (mantissa << shift),
            Special::Fn if is_top && mantissa == self.mantissa_mask() => {
                return sign | F64_SPECIAL | (mantissa << shift);
            }
            Special::Fnuz if bits == self.sign() => return F64_SPECIAL | (1 << (F64_MANTISSA - 1)),
            _ => {}
        }
        let (exponent, fraction) = match (exponent, mantissa) {
            (0, 0) => return sign,
            (0, _) => {
                // The number is `mantissa` units of the smallest one.
                let top = 63 - mantissa.leading_zeros();
                let fraction = (mantissa ^ (1 << top)) << (F64_MANTISSA - top);
                (top.cast_signed() + self.lowest(), fraction)
            }
            (exponent, mantissa) => (i32::try_from(exponent).unwrap_or(0) - self.bias, mantissa << shift),
        };
        sign | (u64::from((exponent + F64_BIAS).unsigned_abs()) << F64_MANTISSA) | fraction
    }

    /// The nearest number to that of the bits of a float64, of two the even one.
    pub(super) fn encode(self, bits: u64) -> u64 {
        if self.mantissa == F64_MANTISSA {
            return bits;
        }
        let sign = if bits & F64_SIGN == 0 { 0 } else { self.sign() };
        let fraction = bits & F64_FRACTION;
        let exponent = i32::try_from((bits & F64_SPECIAL) >> F64_MANTISSA).unwrap_or(0);
        if bits & F64_SPECIAL == F64_SPECIAL {
            return match (self.special, fraction) {
                (Special::Ieee, 0) => sign | self.top(),
                (Special::Ieee, _) => {
                    let payload = fraction >> (F64_MANTISSA - self.mantissa);
                    let quiet = 1 << (self.mantissa - 1);
                    sign | self.top() | if payload == 0 { quiet } else { payload }
                }
                _ => self.beyond(sign),
            };
        }
        // Below the range of every other format.
        if exponent == 0 {
            return self.zero(sign);
        }
        let significand = fraction | (1 << F64_MANTISSA);
        let biased = exponent - F64_BIAS + self.bias;
        let lost = (F64_MANTISSA - self.mantissa).saturating_add((1 - biased).max(0).unsigned_abs());
        if lost > F64_MANTISSA + 2 {
            return self.zero(sign);
        }
        let rounded = rounded(significand, lost);
        let above = u64::from((biased - 1).max(0).unsigned_abs());
        // A carry out of the mantissa is one more in the exponent.
        let number = (above << self.mantissa) + rounded;
        match number {
            0 => self.zero(sign),
            number if number > self.largest() => self.beyond(sign),
            number => sign | number,
        }
    }

    /// The power of two of the smallest number.
    fn lowest(self) -> i32 {
        1 - self.bias - self.mantissa.cast_signed()
    }

    /// The power of two of the largest number.
    fn highest(self) -> i32 {
        let top = (1i32 << self.exponent) - 1;
        top - self.bias - i32::from(self.special == Special::Ieee)
    }

    fn sign(self) -> u64 {
        1 << (self.exponent + self.mantissa)
    }

    fn exponent_mask(self) -> u64 {
        (1 << self.exponent) - 1
    }

    fn mantissa_mask(self) -> u64 {
        (1 << self.mantissa) - 1
    }

    /// The bits of an exponent that is all ones.
    fn top(self) -> u64 {
        self.exponent_mask() << self.mantissa
    }

    fn largest(self) -> u64 {
        match self.special {
            Special::Ieee => self.top() - 1,
            Special::Fn => (self.top() | self.mantissa_mask()) - 1,
            Special::Fnuz | Special::Finite => self.top() | self.mantissa_mask(),
        }
    }

    /// What a number becomes that is too large, and what is no number.
    fn beyond(self, sign: u64) -> u64 {
        match self.special {
            Special::Ieee => sign | self.top(),
            Special::Fn => sign | self.top() | self.mantissa_mask(),
            Special::Fnuz => self.sign(),
            Special::Finite => sign | self.largest(),
        }
    }

    fn zero(self, sign: u64) -> u64 {
        if self.special == Special::Fnuz { 0 } else { sign }
    }
}

/// The number without its last bits; halves go to the even one.
fn rounded(number: u64, bits: u32) -> u64 {
    if bits == 0 {
        return number;
    }
    let (kept, lost, half) = (number >> bits, number & ((1 << bits) - 1), 1 << (bits - 1));
    kept + u64::from(lost > half || (lost == half && kept & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: [DType; 8] = [
        DType::Bfloat16,
        DType::Float16,
        DType::Float8E5m2,
        DType::Float8E4m3fn,
        DType::Float8E4m3fnuz,
        DType::Float8E4m3b11fnuz,
        DType::Float8E5m2fnuz,
        DType::Float4E2m1fn,
    ];

    #[test]
    fn every_number_comes_back_as_it_was() {
        for dtype in SMALL {
            let format = Format::of(dtype).unwrap();
            for bits in 0..1u64 << (1 + format.exponent + format.mantissa) {
                assert_eq!(format.encode(format.decode(bits)), bits, "{dtype} {bits:#x}");
            }
        }
    }

    #[test]
    fn a_format_that_contains_another_has_all_its_numbers() {
        for (inner, outer) in SMALL
            .iter()
            .flat_map(|inner| SMALL.iter().map(move |outer| (inner, outer)))
        {
            let (from, to) = (Format::of(*inner).unwrap(), Format::of(*outer).unwrap());
            let all = (0..1u64 << (1 + from.exponent + from.mantissa)).all(|bits| {
                let number = from.decode(bits);
                let there = to.decode(to.encode(number));
                there == number || (f64::from_bits(there).is_nan() && f64::from_bits(number).is_nan())
            });
            // What has no -0 is not said to contain another format.
            assert!(all || !to.contains(from), "{inner} in {outer}");
            assert!(
                !all || to.contains(from) || to.special != Special::Ieee,
                "{inner} in {outer}"
            );
        }
    }

    #[cfg(feature = "half")]
    #[test]
    fn half_floats_are_those_of_the_half_crate() {
        let (f16, bf16) = (
            Format::of(DType::Float16).unwrap(),
            Format::of(DType::Bfloat16).unwrap(),
        );
        for bits in 0..=u16::MAX {
            let number = half::f16::from_bits(bits).to_f64();
            let ours = f64::from_bits(f16.decode(bits.into()));
            assert!(ours == number || (ours.is_nan() && number.is_nan()), "{bits:#x}");
        }
        let mut state = 1u64;
        for _ in 0..200_000 {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let number = f32::from_bits((state >> 32) as u32);
            if number.is_nan() {
                continue;
            }
            let wide = f64::from(number).to_bits();
            assert_eq!(
                f16.encode(wide),
                u64::from(half::f16::from_f32(number).to_bits()),
                "{number:e}"
            );
            assert_eq!(
                bf16.encode(wide),
                u64::from(half::bf16::from_f32(number).to_bits()),
                "{number:e}"
            );
        }
    }

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "the machine rounds as we do")]
    fn float32_is_that_of_the_machine() {
        let f32_format = Format::of(DType::Float32).unwrap();
        let mut state = 7u64;
        for round in 0..400_000 {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            // Every second one near the numbers of a float32.
            let bits = match round % 2 {
                0 => state,
                _ => (state & !F64_SPECIAL) | ((880 + (state >> 40) % 290) << F64_MANTISSA),
            };
            let number = f64::from_bits(bits);
            if number.is_nan() {
                continue;
            }
            assert_eq!(
                f32_format.encode(bits),
                u64::from((number as f32).to_bits()),
                "{number:e}"
            );
            let narrow = (state >> 32) as u32;
            let wide = f64::from(f32::from_bits(narrow));
            assert!(wide.is_nan() || f32_format.decode(narrow.into()) == wide.to_bits());
        }
    }
}
