//! The name by which a caller, the log and a support request speak of one call.

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Long enough for any tracing system's id; it is repeated in every log line and reply.
const BYTES_MAX: usize = 128;

/// A request's id: the caller's if it is fit to be logged, else one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id that a request carries, or a new one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        headers.get(&HEADER).filter(|id| is_fit(id.as_bytes())).map_or_else(Self::create, |id| Self(id.clone()))
    }

    /// A new one.
    #[must_use]
    pub fn create() -> Self {
        // From the thread's generator: `Uuid::new_v4` asks the kernel each time.
        let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        let text = id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned();
        Self(HeaderValue::try_from(text).expect("hex digits and hyphens are legal in a header"))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("checked when made: ASCII without control characters")
    }

    /// Says it to the caller.
    pub fn stamp(&self, headers: &mut HeaderMap) {
        headers.insert(HEADER, self.0.clone());
    }
}

fn is_fit(id: &[u8]) -> bool {
    (1..=BYTES_MAX).contains(&id.len()) && id.iter().all(|byte| (b' '..=b'~').contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(sent: &[u8]) -> RequestId {
        RequestId::of(&[(HEADER, HeaderValue::from_bytes(sent).unwrap())].into_iter().collect())
    }

    #[test]
    fn a_callers_id_is_echoed_if_it_has_at_most_128_printable_bytes() {
        for sent in ["a", "4bf92f3577b34da6a3ce929d0e0e4736", "with space", &"x".repeat(128)] {
            assert_eq!(id_for(sent.as_bytes()).as_str(), sent);
        }
    }

    #[test]
    fn any_other_id_is_replaced_by_a_uuid() {
        for sent in [b"".as_slice(), &[b'x'; 129], b"tab\there", "caf\u{e9}".as_bytes()] {
            assert!(Uuid::parse_str(id_for(sent).as_str()).is_ok(), "{sent:?}");
        }
        let created = RequestId::of(&HeaderMap::new());
        assert_eq!(Uuid::parse_str(created.as_str()).unwrap().get_version_num(), 4);
        assert_ne!(created, RequestId::create());
    }
}
