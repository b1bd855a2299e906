//! The list of callers in a file, one a line: `ROLE CREDENTIAL NAME`.
//!
//! The credential is a token's SHA-256 in hex, or the URI of a certificate. The file holds no secret: tokens are
//! long and random (`userdata token new`), so their digests need no salt.

use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use crate::{grpc::method::Method, text::first_unprintable};

/// Callers are services. More than this would be end users, who do not belong in a file.
const CALLERS_MAX: usize = 1000;

/// The role of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads documents.
    Reader,
    /// Reads documents, and says when they are outdated.
    Writer,
    /// Runs the service: everything but documents.
    Operator,
    /// A user with a token of its own: reads and invalidates its own document. No file gives this role.
    User,
}

impl Role {
    /// Those that a file can give.
    const LISTED: [Self; 3] = [Self::Reader, Self::Writer, Self::Operator];

    /// As the file spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Operator => "operator",
            Self::User => "user",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::LISTED.into_iter().find(|role| role.name() == name)
    }

    /// Whether it entitles to a method. Every known caller may use reflection.
    #[must_use]
    pub fn may(self, method: Method) -> bool {
        match method {
            Method::Get => matches!(self, Self::Reader | Self::Writer | Self::User),
            Method::Invalidate => matches!(self, Self::Writer | Self::Operator | Self::User),
            Method::Stats | Method::Cleanup | Method::Warm => self == Self::Operator,
            Method::Health | Method::Reflection | Method::Unknown => true,
        }
    }
}

/// A mistake in the file. It never quotes a line, which may hold a token in the wrong place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallersError {
    /// A line has another form.
    #[error(
        "line {line}: expected `ROLE {credential} NAME`, with reader, writer or operator as ROLE and a printable NAME"
    )]
    Form {
        /// Counted from 1.
        line: usize,
        /// The meaning of its second word.
        credential: &'static str,
    },
    /// Two callers have the same credential.
    #[error("line {line}: the same credential stands in an earlier line")]
    Twice {
        /// Counted from 1.
        line: usize,
    },
    /// There is no caller.
    #[error("it names no caller")]
    Empty,
    /// There are too many callers.
    #[error("it names more than {CALLERS_MAX} callers")]
    TooMany,
}

/// Callers by their credential.
#[derive(Debug)]
pub struct Callers<C>(Vec<ListedCaller<C>>);

#[derive(Debug)]
struct ListedCaller<C> {
    credential: C,
    role: Role,
    name: Arc<str>,
}

impl Callers<[u8; 32]> {
    /// Reads a file of tokens' digests.
    pub fn tokens(text: &str) -> Result<Self, CallersError> {
        Self::read(text, "SHA256", |word| {
            let mut digest = [0; 32];
            hex::decode_to_slice(word, &mut digest).ok()?;
            Some(digest)
        })
    }

    /// The caller whose token has this digest. Takes the same time whether there is one or not.
    pub(super) fn with_digest(&self, digest: &[u8; 32]) -> Option<(Arc<str>, Role)> {
        let mut found = None;
        for caller in &self.0 {
            if caller.credential.ct_eq(digest).into() {
                found = Some((Arc::clone(&caller.name), caller.role));
            }
        }
        found
    }
}

impl Callers<String> {
    /// Reads a file of URIs.
    pub fn uris(text: &str) -> Result<Self, CallersError> {
        Self::read(text, "URI", |word| word.contains(':').then(|| word.to_owned()))
    }

    /// The caller whose certificate has this URI.
    pub(super) fn with_uri(&self, uri: &str) -> Option<(Arc<str>, Role)> {
        let caller = self.0.iter().find(|caller| caller.credential == uri)?;
        Some((Arc::clone(&caller.name), caller.role))
    }
}

impl<C: PartialEq> Callers<C> {
    fn read(text: &str, credential: &'static str, parse: impl Fn(&str) -> Option<C>) -> Result<Self, CallersError> {
        let mut callers: Vec<ListedCaller<C>> = Vec::new();
        for (index, text) in text.lines().enumerate() {
            let line = index + 1;
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let words: Vec<&str> = text.split_whitespace().collect();
            let [role, word, name] = words[..] else { return Err(CallersError::Form { line, credential }) };
            let name = Some(name).filter(|name| first_unprintable(name).is_none());
            let (Some(role), Some(parsed), Some(name)) = (Role::named(role), parse(word), name) else {
                return Err(CallersError::Form { line, credential });
            };
            if callers.iter().any(|caller| caller.credential == parsed) {
                return Err(CallersError::Twice { line });
            }
            if callers.len() == CALLERS_MAX {
                return Err(CallersError::TooMany);
            }
            callers.push(ListedCaller { credential: parsed, role, name: name.into() });
        }
        if callers.is_empty() { Err(CallersError::Empty) } else { Ok(Self(callers)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_with_comments_and_empty_lines() {
        let digest = "ab".repeat(32);
        let callers = Callers::tokens(&format!("# planning\n\n reader {digest} web \n")).unwrap();
        assert_eq!(callers.with_digest(&[0xab; 32]), Some(("web".into(), Role::Reader)));
        assert_eq!(callers.with_digest(&[0xac; 32]), None);
    }

    #[test]
    fn what_cannot_be_read_names_the_line_and_quotes_nothing() {
        let digest = "ab".repeat(32);
        let form = |line| CallersError::Form { line, credential: "SHA256" };
        for (text, error) in [
            ("# nobody\n".to_owned(), CallersError::Empty),
            (format!("admin {digest} web"), form(1)),
            (format!("\nreader {digest}"), form(2)),
            (format!("reader {digest} web front"), form(1)),
            ("reader hunter2 web".to_owned(), form(1)),
            (format!("user {digest} web"), form(1)),
            (format!("reader {}é web", "a".repeat(62)), form(1)),
            (format!("reader {digest} web\nwriter {digest} app"), CallersError::Twice { line: 2 }),
        ] {
            let told = Callers::tokens(&text).unwrap_err();
            assert!(!told.to_string().contains("hunter2"));
            assert_eq!(told, error, "{text}");
        }
        let many: String = (0..=CALLERS_MAX).map(|n| format!("reader {n:064x} caller\n")).collect();
        assert_eq!(Callers::tokens(&many).unwrap_err(), CallersError::TooMany);
    }
}
