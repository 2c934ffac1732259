//! Rules as they are written on a command line.

use tfckpt::Goal;

/// The rule `METRIC[:min|max]:N`.
#[derive(Debug, Clone)]
pub(super) struct Best {
    pub(super) metric: String,
    pub(super) goal: Goal,
    pub(super) count: usize,
}

pub(super) fn best(text: &str) -> Result<Best, String> {
    let (rest, count) = text.rsplit_once(':').ok_or("not METRIC:N or METRIC:max:N")?;
    let (metric, goal) = match rest.rsplit_once(':') {
        Some((metric, "min")) => (metric, Goal::Min),
        Some((metric, "max")) => (metric, Goal::Max),
        _ => (rest, Goal::Min),
    };
    match count.parse() {
        Ok(count) if !metric.is_empty() => Ok(Best {
            metric: metric.to_owned(),
            goal,
            count,
        }),
        _ => Err("not METRIC:N or METRIC:max:N".to_owned()),
    }
}

pub(super) fn hours(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(hours) if hours > 0.0 => Ok(hours),
        _ => Err("not a positive number of hours".to_owned()),
    }
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K') => (text.strip_suffix('K'), 10),
        Some(b'M') => (text.strip_suffix('M'), 20),
        Some(b'G') => (text.strip_suffix('G'), 30),
        Some(b'T') => (text.strip_suffix('T'), 40),
        _ => (Some(text), 0),
    };
    let number: Option<u64> = digits.and_then(|digits| digits.parse().ok());
    let bytes = number.and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| "not a number of bytes, such as 500M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_from_words() {
        let read = |text| best(text).map(|best| (best.metric, best.goal, best.count));
        assert_eq!(read("loss:3"), Ok(("loss".to_owned(), Goal::Min, 3)));
        assert_eq!(read("acc:max:1"), Ok(("acc".to_owned(), Goal::Max, 1)));
        assert_eq!(read("eval:loss:min:2"), Ok(("eval:loss".to_owned(), Goal::Min, 2)));
        for wrong in ["loss", "loss:", ":3", "loss:-1", "max:", ":max:1"] {
            assert!(best(wrong).is_err(), "{wrong}");
        }
        assert_eq!((size("7"), size("200G")), (Ok(7), Ok(200 << 30)));
        for wrong in ["", "K", "-1", "1.5G", "99999999T"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
