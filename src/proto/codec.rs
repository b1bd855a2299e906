//! prost over tonic with small buffers.
//!
//! tonic allocates 8 KiB to read a request and again to write a response. Our requests have some dozens of bytes, and a
//! document does not pass through the encoder (`grpc/middleware/response_body.rs`), so that both were a large part of
//! the allocations of a hit. Buffers grow if necessary.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// Enough for most requests.
const BUFFER_BYTES: usize = 256;
/// tonic's default.
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
