//! Names and numbers as people read them.

use std::borrow::Cow;

/// A name that is safe to show: names come from files, and may hold what steers a terminal or breaks a line.
pub(crate) fn printable(name: &str) -> Cow<'_, str> {
    if !name.contains(char::is_control) {
        return name.into();
    }
    let escaped = name.chars().map(|c| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    });
    escaped.collect::<String>().into()
}

/// `1 variable`, `2 variables`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// `22792 bytes (22.3 KiB)`.
pub(crate) fn bytes(number: u64) -> String {
    let exact = count(number, "byte");
    match number {
        0..1024 => exact,
        _ => format!("{exact} ({})", indicatif::BinaryBytes(number)),
    }
}

/// Seconds since 1970 as a date and time of UTC, `2025-11-25T14:00:03Z`; `-` if they are none of the next ten thousand
/// years.
pub(crate) fn utc(seconds: f64) -> String {
    if !(0.0..253_402_300_800.0).contains(&seconds) {
        return "-".to_owned();
    }
    let seconds = seconds as u64;
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March, so that the day that leap years have comes last; 1970 begins 719,468 days after year 0,
    // and 146,097 days are 400 years.
    let since = days + 719_468;
    let (era, day) = (since / 146_097, since % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The bytes as hexadecimal digits, for names that are not text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_on_one_line() {
        assert_eq!(printable("dense/kernel"), "dense/kernel");
        assert_eq!(printable("größe"), "größe");
        assert_eq!(printable("a\nb\u{1b}[2J"), "a\\nb\\u{1b}[2J");
    }

    #[test]
    fn times_are_dates() {
        let times = [
            (0.0, "1970-01-01T00:00:00Z"),
            (951_782_400.5, "2000-02-29T00:00:00Z"),
            (1_700_000_000.0, "2023-11-14T22:13:20Z"),
            (4_107_542_399.0, "2100-02-28T23:59:59Z"),
            (4_107_542_400.0, "2100-03-01T00:00:00Z"),
            (253_402_300_799.0, "9999-12-31T23:59:59Z"),
            (f64::NAN, "-"),
            (f64::INFINITY, "-"),
            (-1.0, "-"),
        ];
        for (seconds, expected) in times {
            assert_eq!(utc(seconds), expected);
        }
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(1, "variable"), "1 variable");
        assert_eq!(bytes(1023), "1023 bytes");
        assert_eq!(bytes(22792), "22792 bytes (22.26 KiB)");
        assert_eq!(hex(&[0, 255]), "00ff");
    }
}
