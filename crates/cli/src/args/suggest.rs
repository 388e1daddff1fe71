//! What may have been meant.

use super::options::GLOBAL;
use super::table::VERBS;

/// The candidate that differs least from what was typed, if it is near enough to be a slip of the finger.
pub(crate) fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (typed.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != typed)
        .map(|candidate| (distance(typed, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The verb that a mistyped one looks like.
pub(crate) fn verb_like(typed: &str) -> Option<&'static str> {
    nearest(
        typed,
        VERBS
            .iter()
            .flat_map(|entry| entry.names.iter().copied().filter(|name| name.len() > 1)),
    )
}

/// The option that a mistyped one looks like; one of any command, since the command may be mistyped too.
pub(crate) fn option_like(typed: &str) -> Option<&'static str> {
    let typed = typed.strip_prefix("--")?;
    let own = VERBS.iter().flat_map(|entry| entry.options);
    nearest(typed, GLOBAL.iter().chain(own).map(|option| option.long))
}

/// Edits (insert, remove, replace, swap neighbours) between two words, case ignored. Long words are cut: nobody
/// mistypes the hundredth letter only.
fn distance(a: &str, b: &str) -> usize {
    let letters = |s: &str| {
        s.chars()
            .take(64)
            .flat_map(char::to_lowercase)
            .collect::<Vec<char>>()
    };
    let (a, b) = (letters(a), letters(b));
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_understood_and_strangers_are_not() {
        assert_eq!(verb_like("strat"), Some("start"));
        assert_eq!(verb_like("lsit"), Some("list"));
        assert_eq!(verb_like("startorrestart"), Some("startOrRestart"));
        assert_eq!(verb_like("frobnicate"), None);
        assert_eq!(option_like("--instnaces"), Some("instances"));
        assert_eq!(option_like("--no-autorestat"), Some("no-autorestart"));
        assert_eq!(option_like("--frobnicate"), None);
        assert_eq!(option_like("-q"), None);
        assert_eq!(nearest("wokrer", ["api", "worker"]), Some("worker"));
        assert_eq!(nearest("x", ["api"]), None);
        assert_eq!(nearest("", ["api"]), None);
        assert_eq!(nearest(&"é".repeat(10_000), ["api"]), None);
    }
}
