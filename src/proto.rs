//! The generated code, in modules that follow the protobuf packages, with lints switched off.
//!
//! Well-known types are generated too, instead of `prost-types`: their JSON form ([`json`]) has to be in this crate, and
//! `Struct` needs ordered keys.

mod codec;
mod json;
mod sealed;

pub use codec::SmallBuffers;
pub use sealed::SealedResponse;

/// Generated from `google/`.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    missing_debug_implementations,
    unreachable_pub,
    reason = "generated"
)]
pub mod google {
    /// Well-known types.
    pub mod protobuf {
        include!(concat!(env!("OUT_DIR"), "/google.protobuf.rs"));
    }
    /// `google.rpc.Status`.
    pub mod rpc {
        include!(concat!(env!("OUT_DIR"), "/google.rpc.rs"));
        include!(concat!(env!("OUT_DIR"), "/google.rpc.serde.rs"));
    }
}

/// Generated from `userdata/`.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    missing_debug_implementations,
    unreachable_pub,
    reason = "generated"
)]
pub mod userdata {
    /// The contract: messages, their JSON form and the client.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/userdata.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/userdata.v1.serde.rs"));

        /// The server's side, whose reply is a [`crate::proto::SealedResponse`].
        pub mod server {
            include!(concat!(env!("OUT_DIR"), "/server/userdata.v1.rs"));
        }
    }
}

pub use google::protobuf::{Duration, ListValue, NullValue, Struct, Timestamp, Value, value::Kind};
pub use userdata::v1;

/// The contract as a `FileDescriptorSet`, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/userdata.v1.descriptors.binpb"));
