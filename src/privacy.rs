//! Encryption of what is stored about users, by a key for each user: an erased user's values are unreadable wherever a
//! copy of them is left, in a backup for instance, because their key is deleted (crypto-shredding).
//!
//! The keys stand in a database of their own ([`key_table`]), wrapped by a master key from a file ([`master_keys`]). A
//! value is encrypted together with its place ([`context`]), so that it cannot be served from another one. Instances hold
//! keys in memory for a while ([`held_keys`]). [`user_keys`] joins these.
//!
//! All encrypted values can be made again: they are copies. So a key that is lost costs loads, and nothing else.
//!
//! Rejected: a cloud provider's key service for each look-up (milliseconds, and a dependency of each read). A master key
//! may come from one as a file.

mod cipher;
pub mod context;
mod error;
mod held_keys;
mod json;
mod key_holder;
mod key_table;
mod master_keys;
mod rotation;
mod user_key;
mod user_keys;
mod wrong_master_keys;

pub use context::ValueContext;
pub use error::{KeyError, MasterKeyError};
pub use json::{SEALED_PREFIX, read_sealed, sealed};
pub use master_keys::{MasterKeys, new_master_key};
pub use rotation::{Rotated, WrappedKeys, rotate, wrapped_keys};
pub use user_key::{OVERHEAD, UserKey};
pub use user_keys::{KeyCounts, UserKeys};
pub use wrong_master_keys::wrong_master_keys;
