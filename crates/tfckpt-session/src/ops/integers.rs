//! Integer arithmetic as TensorFlow's, which wraps around and rounds in two ways.

use crate::error::{Error, Result};

fn nonzero(divisor: i64) -> Result<i64> {
    match divisor {
        0 => Err(Error::operand("integer division by zero")),
        divisor => Ok(divisor),
    }
}

/// Towards zero: `Div` and `TruncateDiv`.
pub(crate) fn truncate_div(a: i64, b: i64) -> Result<i64> {
    Ok(a.wrapping_div(nonzero(b)?))
}

/// The rest of [`truncate_div`], with the sign of the dividend.
pub(crate) fn truncate_mod(a: i64, b: i64) -> Result<i64> {
    Ok(a.wrapping_rem(nonzero(b)?))
}

/// Towards negative infinity.
pub(crate) fn floor_div(a: i64, b: i64) -> Result<i64> {
    let quotient = truncate_div(a, b)?;
    let inexact = a.wrapping_rem(b) != 0;
    Ok(match inexact && ((a < 0) != (b < 0)) {
        true => quotient - 1,
        false => quotient,
    })
}

/// The rest of [`floor_div`], with the sign of the divisor.
pub(crate) fn floor_mod(a: i64, b: i64) -> Result<i64> {
    let rest = truncate_mod(a, b)?;
    Ok(match rest != 0 && ((rest < 0) != (b < 0)) {
        true => rest + b,
        false => rest,
    })
}

/// A power, with a negative exponent an error as in TensorFlow.
pub(crate) fn power(base: i64, exponent: i64) -> Result<i64> {
    let mut left =
        u64::try_from(exponent).map_err(|_| Error::operand("integers to negative integer powers are not allowed"))?;
    let (mut result, mut square) = (1i64, base);
    while left > 0 {
        if left & 1 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        left >>= 1;
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_rounds_as_the_operation_says() {
        for (a, b, truncated, floored) in [
            (-7, 2, -3, -4),
            (7, -2, -3, -4),
            (-7, -2, 3, 3),
            (6, 3, 2, 2),
            (-6, 3, -2, -2),
        ] {
            assert_eq!(truncate_div(a, b).unwrap(), truncated, "{a} / {b}");
            assert_eq!(floor_div(a, b).unwrap(), floored, "{a} // {b}");
            assert_eq!(floor_mod(a, b).unwrap(), a - floored * b);
            assert_eq!(truncate_mod(a, b).unwrap(), a - truncated * b);
        }
        assert!(floor_div(1, 0).is_err());
        assert_eq!(
            truncate_div(i64::MIN, -1).unwrap(),
            i64::MIN,
            "it wraps around, and does not panic"
        );
        assert_eq!(floor_mod(i64::MIN, -1).unwrap(), 0);
    }

    #[test]
    fn powers_are_exact_and_wrap_around() {
        assert_eq!(power(-3, 3).unwrap(), -27);
        assert_eq!(power(0, 0).unwrap(), 1);
        assert_eq!(power(3, 41).unwrap(), 3i64.wrapping_pow(41));
        assert!(power(2, -1).is_err());
    }
}
