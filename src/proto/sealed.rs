//! `GetComprehensiveUserDataResponse` with an encoded document: the bytes that were sealed, after the other two fields.
//!
//! On the wire, a message field and a bytes field are the same (length-delimited), and fields can be in any order. So
//! clients see no difference. Only the server sends it; nothing decodes it.

use bytes::{Buf, BufMut, Bytes, BytesMut, buf::Chain};
use prost::{
    DecodeError, Message,
    encoding::{
        DecodeContext, WireType, encode_key, encode_varint, encoded_len_varint, message::encode_repeated, skip_field,
    },
};

use super::v1::{CacheInfo, SectionReport};

/// The prefix of a gRPC message: a byte for compression, four for the length.
const PREFIX_BYTES: usize = 5;
/// The size of a field's key and length at most.
const KEY_AND_LENGTH_BYTES: usize = 6;

/// An encoded response.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SealedResponse {
    /// The prefix, all fields except the document, and key and length of the document.
    head: Bytes,
    /// An encoded `ComprehensiveUserData`, shared with the memory tier.
    data: Bytes,
}

impl SealedResponse {
    /// From `cache_info`, a part of which is encoded already, encoded reports and a document.
    #[must_use]
    pub fn new(lasting_info: &[u8], passing_info: &CacheInfo, reports: &[u8], data: Bytes) -> Self {
        let info_bytes = lasting_info.len() + passing_info.encoded_len();
        let mut head = BytesMut::with_capacity(PREFIX_BYTES + 2 * KEY_AND_LENGTH_BYTES + info_bytes + reports.len());
        head.put_bytes(0, PREFIX_BYTES);
        encode_key(2, WireType::LengthDelimited, &mut head);
        encode_varint(info_bytes as u64, &mut head);
        // One `cache_info` in two parts, not two: some clients use only the last one.
        head.put_slice(lasting_info);
        passing_info.encode_raw(&mut head);
        head.put_slice(reports);
        encode_key(1, WireType::LengthDelimited, &mut head);
        encode_varint(data.len() as u64, &mut head);
        // A larger response has been refused before.
        let length = u32::try_from(head.len() - PREFIX_BYTES + data.len()).unwrap_or(u32::MAX);
        head[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
        Self { head: head.freeze(), data }
    }

    /// The reports, encoded as in a response.
    #[must_use]
    pub fn encoded_reports(reports: &[SectionReport]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_repeated(3, reports, &mut bytes);
        bytes
    }

    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The response without its document, encoded.
    #[must_use]
    pub fn other_fields(&self) -> &[u8] {
        let before_data = 1 + encoded_len_varint(self.data.len() as u64);
        let end = self.head.len().saturating_sub(before_data);
        self.head.get(PREFIX_BYTES..end).unwrap_or_default()
    }

    /// The response without its prefix, in two pieces; the second one is shared.
    #[must_use]
    pub fn into_message(self) -> Chain<Bytes, Bytes> {
        self.head.slice(PREFIX_BYTES.min(self.head.len())..).chain(self.data)
    }

    /// The response that [`Self::into_pieces`] has taken apart.
    #[must_use]
    pub fn of_pieces(pieces: Chain<Bytes, Bytes>) -> Self {
        let (head, data) = pieces.into_inner();
        Self { head, data }
    }

    /// The response on the wire with its prefix, in two pieces; the second one is shared.
    #[must_use]
    pub fn into_pieces(self) -> Chain<Bytes, Bytes> {
        self.head.chain(self.data)
    }
}

impl Message for SealedResponse {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        buffer.put_slice(self.head.get(PREFIX_BYTES..).unwrap_or_default());
        buffer.put_slice(&self.data);
    }

    fn encoded_len(&self) -> usize {
        self.head.len().saturating_sub(PREFIX_BYTES) + self.data.len()
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire, tag, buffer, context)
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
        let lasting = CacheInfo { data_hash: "ab".into(), complete: true, ..Default::default() };
        let passing = CacheInfo { is_cached: true, token: "i:7".into(), ..Default::default() };
        let reports = vec![SectionReport { section: Section::Onboarding.into(), ..Default::default() }; 2];
        let sealed = SealedResponse::new(
            &lasting.encode_to_vec(),
            &passing,
            &SealedResponse::encoded_reports(&reports),
            document.encode_to_vec().into(),
        );

        let bytes = sealed.encode_to_vec();

        assert_eq!(bytes.len(), sealed.encoded_len());
        let read = GetComprehensiveUserDataResponse::decode(bytes.as_slice()).expect("decodes");
        assert_eq!(read.data, Some(document));
        let (data_hash, complete) = (lasting.data_hash, lasting.complete);
        assert_eq!(read.cache_info, Some(CacheInfo { data_hash, complete, ..passing }));
        assert_eq!(read.sections, reports);

        let others = GetComprehensiveUserDataResponse::decode(sealed.other_fields()).expect("decodes");
        assert_eq!((others.data, others.cache_info.is_some(), others.sections.len()), (None, true, 2));
        let mut message = sealed.clone().into_message();
        assert_eq!(message.copy_to_bytes(message.remaining()), bytes);
        assert_eq!(SealedResponse::of_pieces(sealed.clone().into_pieces()), sealed);

        let mut framed = sealed.into_pieces();
        let framed = framed.copy_to_bytes(framed.remaining());
        assert_eq!(framed[0], 0, "not compressed");
        assert_eq!(framed[1..5], u32::try_from(bytes.len()).unwrap().to_be_bytes());
        assert_eq!(framed[5..], bytes);
    }
}
