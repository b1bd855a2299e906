//! Which characters of a text from elsewhere a log line or a terminal may show as they are.
//!
//! A text can be made to look like another one: bidirectional controls reorder a line (CVE-2021-42574), line separators
//! begin a new one, and characters without a glyph hide.

use icu_properties::{CodePointSetData, CodePointSetDataBorrowed, props::DefaultIgnorableCodePoint};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// What a renderer shows as nothing if it does not know it: fillers, variation selectors, joiners.
const IGNORABLE: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<DefaultIgnorableCodePoint>();
/// Stands for an object that a text alone does not have. Unicode counts it among the symbols.
const OBJECT_REPLACEMENT: char = '\u{fffc}';

/// The first character that has no glyph of its own: a control, a format character such as a bidirectional control or a
/// zero-width space, a filler, a variation selector, a separator of lines, or one for private use.
#[must_use]
pub fn first_unprintable(text: &str) -> Option<char> {
    text.chars().find(|c| is_unprintable(*c))
}

/// Whether a character has no glyph of its own.
#[must_use]
pub fn is_unprintable(c: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator, PrivateUse};
    if matches!(c, ' '..='~') {
        return false;
    }
    let category = c.general_category();
    matches!(category, Control | Format | LineSeparator | ParagraphSeparator | PrivateUse)
        || IGNORABLE.contains(c)
        || c == OBJECT_REPLACEMENT
}

/// Whether a character changes how the text around it is shown. Documents in Arabic, Hebrew or Persian need other format
/// characters, so these alone are taken from them.
#[must_use]
pub fn is_layout_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_glyph_is_unprintable_in_every_script() {
        for printable in
            ["", "edited by Zoë, 張偉 and ליאור", "half-width ﾊﾟ, emoji 🎉, e\u{301}, 1\u{a0}kg, 한글 각, ไทย, नमस्ते"]
        {
            assert_eq!(first_unprintable(printable), None, "{printable}");
        }
        for hidden in [
            '\0',
            '\n',
            '\u{7f}',
            '\u{85}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{180b}',
            '\u{200b}',
            '\u{200d}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202e}',
            '\u{2066}',
            '\u{2065}',
            '\u{3164}',
            '\u{e000}',
            '\u{fe00}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{fffc}',
            '\u{e0041}',
            '\u{e0100}',
            '\u{10fffd}',
        ] {
            assert_eq!(first_unprintable(&format!("a{hidden}b")), Some(hidden), "{hidden:?}");
        }
    }

    #[test]
    fn documents_keep_the_format_characters_of_their_script() {
        for kept in ['\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{ad}'] {
            assert!(!is_layout_control(kept), "{kept:?}");
        }
        for control in ['\u{1b}', '\u{9b}', '\u{2028}', '\u{202e}', '\u{2066}', '\u{2069}'] {
            assert!(is_layout_control(control), "{control:?}");
        }
    }
}
