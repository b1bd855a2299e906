//! The wire twin of `GetComprehensiveUserDataResponse`: the same three fields, with the document as
//! the bytes that were encoded once when it was sealed.
//!
//! A message field and a bytes field look the same on the wire (length-delimited), so a client sees
//! no difference. Only the server sends it; nothing decodes it.

use bytes::{Buf, BufMut, Bytes};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, bytes as bytes_field, message},
};

use super::v1::{CacheInfo, SectionReport};

/// A reply whose document is already encoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SealedResponse {
    /// An encoded `ComprehensiveUserData`; shared with the memory tier, not copied.
    pub data: Bytes,
    /// What the answer says about itself.
    pub cache_info: CacheInfo,
    /// One report per asked section.
    pub sections: Vec<SectionReport>,
}

impl Message for SealedResponse {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        bytes_field::encode(1, &self.data, buffer);
        message::encode(2, &self.cache_info, buffer);
        message::encode_repeated(3, &self.sections, buffer);
    }

    fn encoded_len(&self) -> usize {
        bytes_field::encoded_len(1, &self.data)
            + message::encoded_len(2, &self.cache_info)
            + message::encoded_len_repeated(3, &self.sections)
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            1 => bytes_field::merge(wire, &mut self.data, buffer, context),
            2 => message::merge(wire, &mut self.cache_info, buffer, context),
            3 => message::merge_repeated(wire, &mut self.sections, buffer, context),
            _ => prost::encoding::skip_field(wire, tag, buffer, context),
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::{ComprehensiveUserData, GetComprehensiveUserDataResponse, Section};

    #[test]
    fn a_sealed_response_is_the_contracts_response_on_the_wire() {
        let document =
            ComprehensiveUserData { user_id: "1".into(), industry: "technology".into(), ..Default::default() };
        let cache_info = CacheInfo { is_cached: true, data_hash: "ab".into(), ..Default::default() };
        let sections = vec![SectionReport { section: Section::Onboarding.into(), ..Default::default() }; 2];
        let sealed = SealedResponse {
            data: document.encode_to_vec().into(),
            cache_info: cache_info.clone(),
            sections: sections.clone(),
        };

        let bytes = sealed.encode_to_vec();

        assert_eq!(bytes.len(), sealed.encoded_len());
        let read = GetComprehensiveUserDataResponse::decode(bytes.as_slice()).expect("decodes");
        assert_eq!(read.data, Some(document));
        assert_eq!(read.cache_info, Some(cache_info));
        assert_eq!(read.sections, sections);
        assert_eq!(SealedResponse::decode(bytes.as_slice()).expect("decodes"), sealed);
    }
}
