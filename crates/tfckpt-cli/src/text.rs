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
    fn numbers_read_well() {
        assert_eq!(count(1, "variable"), "1 variable");
        assert_eq!(bytes(1023), "1023 bytes");
        assert_eq!(bytes(22792), "22792 bytes (22.26 KiB)");
        assert_eq!(hex(&[0, 255]), "00ff");
    }
}
