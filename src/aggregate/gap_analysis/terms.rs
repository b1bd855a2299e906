//! The terms of a text. Texts are compared by stems and by pairs of neighbouring stems, so that "email automation" and
//! "automated emails" have terms in common, while function words are dropped.

use std::{collections::HashSet, sync::LazyLock};

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization as _;
use unicode_segmentation::UnicodeSegmentation as _;

/// Further stop words: they say nothing about a page's topic, and the list lacks them.
const MORE_STOP_WORDS: [&str; 30] = [
    "across", "also", "com", "every", "get", "gets", "http", "https", "like", "make", "makes", "many", "may", "much",
    "new", "one", "per", "the", "us", "use", "used", "uses", "using", "via", "way", "ways", "well", "within",
    "without", "www",
];

static STOP_WORDS: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| stop_words::get("en").iter().copied().chain(MORE_STOP_WORDS).collect());

/// A word of a text that is not dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Its Snowball stem.
    pub stem: String,
    /// In lower case, without a trailing `'s`.
    pub text: String,
    /// The space or hyphen between it and the kept word before it, if the two make a pair.
    pub joined_by: Option<char>,
}

/// A stem, or two stems with a space between them, and their text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub stems: String,
    pub text: String,
}

/// The words of a text, without stop words and numbers.
pub(super) fn words(text: &str) -> Vec<Word> {
    let stemmer = Stemmer::create(Algorithm::English);
    let text = text.nfkc().collect::<String>().to_lowercase().replace('\u{2019}', "'");
    let mut words = Vec::new();
    let mut end_of_last = None;
    for (start, whole) in text.unicode_word_indices() {
        let word = whole.strip_suffix("'s").unwrap_or(whole);
        if !is_kept(word) {
            continue;
        }
        // A dropped word in between is neither white space nor a hyphen, so it breaks the pair too.
        let joined_by = end_of_last.and_then(|end: usize| joint(&text[end..start]));
        words.push(Word { stem: stemmer.stem(word).into_owned(), text: word.to_owned(), joined_by });
        end_of_last = Some(start + whole.len());
    }
    words
}

/// The stem of each word, followed by the pair of the word with the one before it.
pub(super) fn terms(words: &[Word]) -> impl Iterator<Item = Term> {
    words.iter().enumerate().flat_map(move |(at, word)| {
        let single = Term { stems: word.stem.clone(), text: word.text.clone() };
        let pair = word.joined_by.zip(at.checked_sub(1)).map(|(joint, before)| {
            let before = &words[before];
            Term {
                stems: format!("{} {}", before.stem, word.stem),
                text: format!("{}{joint}{}", before.text, word.text),
            }
        });
        std::iter::once(single).chain(pair)
    })
}

/// The stems of a text in their order, with spaces between them, to be compared with a term.
pub(super) fn stems(text: &str) -> String {
    words(text).into_iter().map(|word| word.stem).collect::<Vec<_>>().join(" ")
}

fn is_kept(word: &str) -> bool {
    let single_ascii = word.len() == 1;
    !single_ascii && word.chars().any(char::is_alphabetic) && !STOP_WORDS.contains(word)
}

/// White space of any length and kind counts as one space.
fn joint(between: &str) -> Option<char> {
    match between {
        "-" | "\u{2010}" => Some('-'),
        _ if between.chars().all(char::is_whitespace) => Some(' '),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms_of(text: &str) -> Vec<String> {
        terms(&words(text)).map(|term| term.stems).collect()
    }

    #[test]
    fn the_list_of_stop_words_is_the_one_the_figures_were_made_with() {
        assert_eq!(stop_words::get("en").len(), 198);
    }

    #[test]
    fn the_designs_sentence_gives_its_terms() {
        assert_eq!(
            terms_of("Content marketing\u{2019}s ROI-driven analytics. Email automation"),
            [
                "content",
                "market",
                "content market",
                "roi",
                "market roi",
                "driven",
                "roi driven",
                "analyt",
                "driven analyt",
                "email",
                "autom",
                "email autom",
            ]
        );
    }

    #[test]
    fn stop_words_numbers_and_single_letters_are_dropped_and_break_pairs() {
        for (text, expected) in [
            ("grow a newsletter", vec!["grow", "newslett"]),
            ("the It's www", vec![]),
            ("top 10 tips", vec!["top", "tip"]),
            ("plan b works", vec!["plan", "work"]),
            ("b2b sales", vec!["b2b", "sale", "b2b sale"]),
            ("emails, automation", vec!["email", "autom"]),
            ("email - automation", vec!["email", "autom"]),
            ("email\u{2010}automation", vec!["email", "autom", "email autom"]),
            ("email \n automation", vec!["email", "autom", "email autom"]),
            ("Ｆｕｌｌ", vec!["full"]),
        ] {
            assert_eq!(terms_of(text), expected, "{text}");
        }
    }

    #[test]
    fn a_pair_keeps_its_hyphen_for_the_label() {
        let texts: Vec<_> = terms(&words("ROI-driven\n work")).map(|term| term.text).collect();
        assert_eq!(texts, ["roi", "driven", "roi-driven", "work", "driven work"]);
    }

    proptest! {
        #[test]
        fn any_text_has_terms(text in "\\PC{0,40}|[a-zé'’\\- \u{0}]{0,40}") {
            for term in terms(&words(&text)) {
                prop_assert!(!term.text.is_empty());
            }
        }
    }
}
