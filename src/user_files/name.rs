//! What the application keeps of a user id in the names of folders and files.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};

use crate::model::UserId;

/// The user id as a part of a file's name: letters and numbers of any script, `-` and `_`, as the application reduces it
/// (Python's `isalnum`). None if nothing is left.
///
/// Two ids may have the same name. The application then keeps both users in the same file, and their rows tell them
/// apart: every statement compares the whole id.
#[must_use]
pub fn file_name(user: &UserId) -> Option<String> {
    let name: String = user.as_str().chars().filter(|letter| is_kept(*letter)).collect();
    (!name.is_empty()).then_some(name)
}

/// Not `char::is_alphanumeric`, which also has marks and symbols that count as alphabetic.
fn is_kept(letter: char) -> bool {
    use GeneralCategoryGroup::{Letter, Number};
    letter == '-' || letter == '_' || matches!(letter.general_category_group(), Letter | Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_what_the_application_keeps() {
        for (user, name) in [
            ("7", Some("7")),
            ("user_33Gz-x", Some("user_33Gz-x")),
            ("../../etc/passwd", Some("etcpasswd")),
            ("a.b@c d", Some("abcd")),
            ("Zoë.Ünal", Some("ZoëÜnal")),
            ("張偉", Some("張偉")),
            // As Python: a superscript is a digit, a fraction numeric, a combining mark and a circled letter neither.
            ("x²½", Some("x²½")),
            ("e\u{301}", Some("e")),
            ("\u{24b6}\u{345}\u{93e}", None),
            ("../..", None),
        ] {
            assert_eq!(file_name(&UserId::parse(user).unwrap()).as_deref(), name, "{user}");
        }
    }
}
