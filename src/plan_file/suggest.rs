//! "Did you mean": the known word nearest to the one that was written.

/// The nearest of `known` by edits and swaps, when at most a third of `word` (or one letter) differs.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_exact(&word.trim_end_matches([':', ',']).to_lowercase(), known)
}

/// As [`nearest`], for words in which upper case counts.
pub(crate) fn nearest_exact<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// A help line: the nearest word, or all of them when none is near.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
    quote: char,
) -> String {
    let quoted = |word: &str| format!("{quote}{word}{quote}");
    if let Some(near) = nearest(word, known.clone()) {
        return format!("did you mean {}?", quoted(near));
    }
    let all: Vec<String> = known.into_iter().map(quoted).collect();
    match all.as_slice() {
        [] => "none is defined".to_owned(),
        [one] => format!("write {one}"),
        _ => format!("use one of {}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, nearest};

    #[test]
    fn a_swap_or_a_missing_letter_is_near_and_another_word_is_not() {
        assert_eq!(nearest("shedule", ["schedule", "store"]), Some("schedule"));
        assert_eq!(nearest("sotre", ["schedule", "store"]), Some("store"));
        assert_eq!(nearest("cron", ["schedule", "store"]), None);
        assert_eq!(nearest("on", ["at"]), None);
        assert_eq!(nearest("path:", ["path"]), Some("path"));
        assert_eq!(
            did_you_mean("x", ["alpha", "beta"], '`'),
            "use one of `alpha`, `beta`"
        );
    }
}
