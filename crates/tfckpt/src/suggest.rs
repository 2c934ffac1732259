//! "Did you mean": the nearest names to one that is not there.

/// At most `count` of `names`, the most similar to `wanted` first; names that are hardly similar are left out.
pub(crate) fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>, count: usize) -> Vec<String> {
    let mut scored: Vec<(f64, &str)> = names
        .into_iter()
        .map(|name| {
            (
                strsim::jaro_winkler(wanted, name)
                    .max(strsim::jaro(leaf_first(wanted).as_str(), leaf_first(name).as_str())),
                name,
            )
        })
        .filter(|(score, _)| *score >= 0.7)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored
        .into_iter()
        .take(count)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// The components in reverse, so that names with a scope in front are near those without.
fn leaf_first(name: &str) -> String {
    name.rsplit(['/', '.']).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_name_comes_first_and_strangers_not_at_all() {
        let names = ["dense/bias", "dense/kernel", "conv1/kernel", "zzz"];
        assert_eq!(nearest("dense/kernels", names, 2)[0], "dense/kernel");
        assert_eq!(nearest("model/dense/kernel", names, 1), ["dense/kernel"]);
        assert!(nearest("qqqq", names, 3).is_empty());
    }
}
