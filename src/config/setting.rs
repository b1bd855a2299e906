//! One setting, and the macro that turns the table in `config.rs` into structs, defaults and the list of settings.
//!
//! A macro and not serde: serde would give neither bounds, nor the origin of a bad value, nor text to show.

use serde_json::Value as Json;

use super::{Config, SETTINGS};

/// One setting: what is known about it apart from its value.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// `section.key`, as in the file.
    pub key: &'static str,
    /// What it means and what goes wrong if it is wrong.
    pub doc: &'static str,
    /// Reads a value; false if it is not what is expected.
    pub set: fn(&mut Config, &str) -> bool,
    /// The value as text; `***` for a secret, empty for none.
    pub get: fn(&Config) -> String,
    /// What a value has to look like, in words.
    pub expected: fn() -> String,
    /// What a value has to look like, as JSON Schema.
    pub schema: fn() -> Json,
    /// Whether the value must not be shown; it may then also be read from a file (`key_file`).
    pub secret: fn() -> bool,
}

impl Setting {
    /// The setting of this key.
    #[must_use]
    pub fn find(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// Its section and its name in it.
    #[must_use]
    pub fn path(&self) -> (&'static str, &'static str) {
        // Every key has a dot: the macro writes it.
        self.key.split_once('.').unwrap_or((self.key, ""))
    }

    /// The name of its environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        let (section, name) = self.path();
        format!("USERDATA__{}__{}", section.to_uppercase(), name.to_uppercase())
    }
}

/// Writes, for each `section: Struct { field: Type = default, Form; .. }`, the struct with its default, and for all of
/// them together [`Config`] and [`SETTINGS`].
macro_rules! sections {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $Section:ident {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr, $form:expr; )+
        }
    )+) => {
        /// All settings.
        #[derive(Clone, Debug, Default)]
        pub struct Config {
            $( $(#[doc = $section_doc])+ pub $section: $Section, )+
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug)]
            pub struct $Section {
                $( $(#[doc = $doc])+ pub $field: $type, )+
            }

            impl Default for $Section {
                fn default() -> Self {
                    Self { $( $field: $default, )+ }
                }
            }
        )+

        /// What each section is about, in the order of the table.
        const SECTIONS: &[(&str, &str)] = &[ $( (stringify!($section), concat!($($section_doc),+)), )+ ];

        /// Every setting, in the order of the table.
        pub const SETTINGS: &[Setting] = &[ $($(
            Setting {
                key: concat!(stringify!($section), ".", stringify!($field)),
                doc: concat!($($doc),+),
                set: |config, text| match form::Form::<$type>::parse(&$form, text) {
                    Some(value) => {
                        config.$section.$field = value;
                        true
                    }
                    None => false,
                },
                get: |config| form::Form::<$type>::show(&$form, &config.$section.$field),
                expected: || form::Form::<$type>::expected(&$form),
                schema: || form::Form::<$type>::schema(&$form),
                secret: || form::Form::<$type>::secret(&$form),
            },
        )+)+ ];
    };
}
pub(super) use sections;
