//! Documents of the memory tier as JSON, for callers over HTTP: made when first asked for, and kept within a share of
//! `memory.max_bytes`.
//!
//! A document that is sent whole shares its bytes with the memory tier, so their address identifies it. The bytes of a
//! selection are new in each reply, so it is found by its content.
//!
//! Invariant: an entry keeps the bytes that it was made from, so no other document can have their address.

use std::{
    hash::{Hash as _, Hasher as _},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use mini_moka::sync::{Cache as MiniMoka, ConcurrentCacheExt as _};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::{planning_json::CallerGeneration, sync::Mutex};

/// The shape of the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JsonForm {
    /// The contract's: proto3 JSON.
    Contract,
    /// The planning application's own.
    Planning(CallerGeneration),
}

/// A document as JSON. Clones are the same.
#[derive(Clone, Debug)]
pub struct JsonDocument {
    pub json: Bytes,
    /// A hash of the document's encoded bytes and of the form.
    pub hash: u64,
    made_of: Bytes,
}

impl JsonDocument {
    /// Bytes at one address are the same: nothing has to be compared.
    fn is_made_of(&self, data: &Bytes) -> bool {
        let is_same = self.made_of.as_ptr() == data.as_ptr() && self.made_of.len() == data.len();
        is_same || self.made_of == *data
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Identity {
    Address(usize),
    Content(u128),
}

/// The documents that have been asked for as JSON.
#[derive(Debug)]
pub struct JsonDocuments {
    kept: MiniMoka<(Identity, JsonForm), JsonDocument>,
    /// mini-moka is not memory-safe under concurrent writes (`engine.rs`).
    writer: Mutex<()>,
    clearings: AtomicU64,
}

/// When a request began, among the clearings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonEpoch(u64);

impl JsonDocuments {
    #[must_use]
    pub(super) fn new(bytes_max: u64, ttl: Duration) -> Self {
        let weight = |_: &(Identity, JsonForm), document: &JsonDocument| {
            u32::try_from(document.json.len() + document.made_of.len()).unwrap_or(u32::MAX)
        };
        let kept = MiniMoka::builder().max_capacity(bytes_max).weigher(weight).time_to_live(ttl).build();
        Self { kept, writer: Mutex::new(()), clearings: AtomicU64::new(0) }
    }

    /// To be asked before a document is.
    #[must_use]
    pub fn epoch(&self) -> JsonEpoch {
        JsonEpoch(self.clearings.load(Relaxed))
    }

    /// A document in one form; `make` writes it if it is not here. It is kept unless an erasure came after `epoch`.
    pub fn get_or_make<E>(
        &self,
        epoch: JsonEpoch,
        data: &Bytes,
        is_whole: bool,
        form: JsonForm,
        make: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<JsonDocument, E> {
        let content = || hash(data, form);
        let identity = if is_whole { Identity::Address(data.as_ptr().addr()) } else { Identity::Content(content()) };
        let key = (identity, form);
        if let Some(document) = self.kept.get(&key).filter(|document| document.is_made_of(data)) {
            return Ok(document);
        }
        #[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
        let hash = content() as u64;
        let document = JsonDocument { json: make()?.into(), hash, made_of: data.clone() };
        let _writing = self.writer.lock();
        if self.epoch() == epoch {
            self.kept.insert(key, document.clone());
            self.kept.sync();
        }
        Ok(document)
    }

    /// Nothing of an erased user may stay, and what belongs to whom is not known here.
    pub(super) fn clear(&self) {
        let _writing = self.writer.lock();
        self.clearings.fetch_add(1, Relaxed);
        self.kept.invalidate_all();
        self.kept.sync();
    }
}

/// Another release may write another form.
fn hash(data: &[u8], form: JsonForm) -> u128 {
    let mut hasher = SipHasher13::new();
    (form, env!("CARGO_PKG_VERSION")).hash(&mut hasher);
    hasher.write(data);
    hasher.finish128().as_u128()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn make(documents: &JsonDocuments, data: &Bytes, is_whole: bool, form: JsonForm) -> bool {
        let mut made = false;
        let render = || {
            made = true;
            Ok::<_, Infallible>(b"{}".to_vec())
        };
        documents.get_or_make(documents.epoch(), data, is_whole, form, render).unwrap();
        made
    }

    #[test]
    fn a_document_is_rendered_once_for_each_form() {
        let documents = JsonDocuments::new(1 << 20, TTL);
        let planning = JsonForm::Planning(CallerGeneration::Newest);
        let data = Bytes::from(vec![1; 100]);
        assert!(make(&documents, &data, true, JsonForm::Contract));
        assert!(!make(&documents, &data.clone(), true, JsonForm::Contract));
        assert!(make(&documents, &data, true, planning));
        assert!(make(&documents, &Bytes::from(vec![2; 100]), true, JsonForm::Contract), "another document");
    }

    #[test]
    fn a_selection_is_found_by_its_content() {
        let documents = JsonDocuments::new(1 << 20, TTL);
        assert!(make(&documents, &Bytes::from(vec![1; 100]), false, JsonForm::Contract));
        assert!(!make(&documents, &Bytes::from(vec![1; 100]), false, JsonForm::Contract));
        assert!(make(&documents, &Bytes::from(vec![2; 100]), false, JsonForm::Contract));
    }

    #[test]
    fn documents_stay_within_their_bytes_and_leave_when_cleared() {
        let documents = JsonDocuments::new(1000, TTL);
        let all: Vec<_> = (0..100_u8).map(|n| Bytes::from(vec![n; 100])).collect();
        for data in &all {
            make(&documents, data, true, JsonForm::Contract);
        }
        assert!(documents.kept.weighted_size() <= 1000);
        documents.clear();
        assert_eq!((documents.kept.entry_count(), documents.kept.weighted_size()), (0, 0));
    }

    #[test]
    fn a_document_from_before_an_erasure_is_not_kept_after_it() {
        let documents = JsonDocuments::new(1 << 20, TTL);
        let (before, data) = (documents.epoch(), Bytes::from(vec![1; 100]));
        documents.clear();
        documents.get_or_make(before, &data, true, JsonForm::Contract, || Ok::<_, Infallible>(Vec::new())).unwrap();
        assert_eq!(documents.kept.entry_count(), 0);
    }
}
