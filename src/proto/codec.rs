//! prost over tonic with small buffers.
//!
//! tonic's default is 8 KiB for reading a request and again for writing a reply. Our requests have some
//! dozens of bytes, and a document does not go through the encoder (`grpc/middleware/response_body.rs`): allocating both was
//! a good part of what a hit allocates. Whatever is larger makes its buffer grow.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// What most requests fit into, and what an allocator has at hand.
const BUFFER_BYTES: usize = 256;
/// From here on a stream's messages are sent before there are more: tonic's default.
const YIELD_BYTES: usize = 32 * 1024;

/// The codec of the generated server.
#[derive(Clone, Debug)]
pub struct SmallBuffers<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallBuffers<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SmallBuffers<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }
}
