//! The master keys, from `privacy.master_key_file`: one line `NAME KEY` each, the key as 32 bytes in base64.
//!
//! The first one wraps the keys of users that are made from now on. The others only unwrap, so that a master key can be
//! replaced while instances run.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use zeroize::Zeroizing;

use super::{
    cipher::{KEY_BYTES, SecretKey},
    error::{KeyError, MasterKeyError},
    key_holder::KeyHolder,
    key_table::KeyRow,
    user_key::{KeyId, UserKey},
};
use crate::reload::read_once;

/// The width of the column that stores it.
const NAME_BYTES_MAX: usize = 64;

#[derive(Debug)]
pub struct MasterKeys {
    /// At least one.
    keys: Vec<MasterKey>,
}

#[derive(Debug)]
struct MasterKey {
    name: String,
    secret: SecretKey,
}

/// A line for the file, with a new key. None if the name is not one printable word.
#[must_use]
pub fn new_master_key(name: &str) -> Option<String> {
    is_name(name).then(|| format!("{name} {}", BASE64.encode(SecretKey::random().bytes())))
}

fn is_name(name: &str) -> bool {
    let is_word = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    is_word && !name.starts_with('#') && name.len() <= NAME_BYTES_MAX
}

impl MasterKeys {
    /// Reads the file.
    pub async fn read(path: &Path) -> Result<Self, MasterKeyError> {
        let bytes = Zeroizing::new(read_once(path).await?);
        Self::parse(&bytes, path)
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Self, MasterKeyError> {
        let mut keys: Vec<MasterKey> = Vec::new();
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let refused = |problem| MasterKeyError::Line { path: PathBuf::from(path), line: number + 1, problem };
            let line = std::str::from_utf8(line).map_err(|_| refused("it is not text"))?.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, key) = line.split_once(char::is_whitespace).ok_or_else(|| refused("expected NAME KEY"))?;
            if !is_name(name) {
                return Err(refused("the name has to be one printable word of 64 characters at most"));
            }
            if keys.iter().any(|other| other.name == name) {
                return Err(refused("another key has this name"));
            }
            let decoded = Zeroizing::new(BASE64.decode(key.trim()).map_err(|_| refused("the key is not base64"))?);
            let secret = SecretKey::of(&decoded).ok_or_else(|| refused("the key has to have 32 bytes"))?;
            keys.push(MasterKey { name: name.to_owned(), secret });
        }
        if keys.is_empty() {
            return Err(MasterKeyError::Empty { path: path.to_owned() });
        }
        Ok(Self { keys })
    }

    /// The name of the one that wraps new keys.
    #[must_use]
    pub fn first(&self) -> &str {
        &self.keys[0].name
    }

    /// Their names, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.name.as_str())
    }

    /// The row of a user's key, wrapped by the first master key.
    pub(super) fn wrap(&self, holder: &KeyHolder, key: &UserKey) -> KeyRow {
        let master = &self.keys[0];
        let mut wrapped = Vec::new();
        master.secret.encrypt(&context(holder, key.id, &master.name), key.secret.bytes(), &mut wrapped);
        KeyRow { id: key.id, master: master.name.clone(), wrapped: BASE64.encode(wrapped) }
    }

    /// The key of a row.
    pub(super) fn unwrap(&self, holder: &KeyHolder, row: &KeyRow) -> Result<UserKey, KeyError> {
        let master = self.keys.iter().find(|key| key.name == row.master);
        let master = master.ok_or_else(|| KeyError::NoMasterKey(row.master.clone()))?;
        let unwrapped = || {
            let wrapped = BASE64.decode(&row.wrapped).ok()?;
            let bytes = Zeroizing::new(master.secret.decrypt(&context(holder, row.id, &master.name), &wrapped)?);
            SecretKey::of(&bytes)
        };
        let secret = unwrapped().ok_or_else(|| KeyError::NotUnwrapped(row.master.clone()))?;
        Ok(UserKey { id: row.id, secret })
    }
}

/// Binds a wrapped key to its row.
fn context(holder: &KeyHolder, id: KeyId, master: &str) -> Vec<u8> {
    [b"user key 1 ", &holder.bytes()[..], &id.bytes()[..], master.as_bytes()].concat()
}

const _: () = assert!(KEY_BYTES == 32, "the file's documentation says so");

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<MasterKeys, MasterKeyError> {
        MasterKeys::parse(text.as_bytes(), Path::new("keys"))
    }

    #[test]
    fn a_file_has_a_key_on_each_line_and_the_first_one_wraps() {
        let (new, old) = (new_master_key("2026-12").unwrap(), new_master_key("2026-11").unwrap());
        let keys = parse(&format!("# newest first\n\n{new}\r\n  {old}  \n")).unwrap();
        assert_eq!(keys.first(), "2026-12");
        assert_eq!(keys.names().collect::<Vec<_>>(), ["2026-12", "2026-11"]);
    }

    #[test]
    fn a_malformed_file_is_refused_with_its_line_and_without_its_keys() {
        let good = new_master_key("a").unwrap();
        let key = good.split_once(' ').unwrap().1.to_owned();
        for (text, problem) in [
            (format!("{good}\n{good}\n"), "line 2: another key has this name"),
            (key.clone(), "line 1: expected NAME KEY"),
            (format!("a {key}{key}"), "line 1: the key is not base64"),
            (format!("a {}", &key[..40]), "line 1: the key has to have 32 bytes"),
            (format!("{} {key}", "n".repeat(65)), "line 1: the name has to be"),
            ("# nothing\n".to_owned(), "there is no master key"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(problem) && !error.contains(&key[..40]), "{error}");
        }
        assert_eq!(new_master_key("two words"), None);
    }

    #[test]
    fn only_its_own_row_unwraps_a_key() {
        let keys = parse(&new_master_key("a").unwrap()).unwrap();
        let (one, other) = (KeyHolder::of_text("1"), KeyHolder::of_text("2"));
        let key = UserKey::random();
        let row = keys.wrap(&one, &key);
        assert_eq!(keys.unwrap(&one, &row).unwrap().secret.bytes(), key.secret.bytes());
        assert!(matches!(keys.unwrap(&other, &row), Err(KeyError::NotUnwrapped(_))));
        let moved = KeyRow { id: UserKey::random().id, ..row.clone() };
        assert!(matches!(keys.unwrap(&one, &moved), Err(KeyError::NotUnwrapped(_))));
        let others = parse(&new_master_key("b").unwrap()).unwrap();
        assert!(matches!(others.unwrap(&one, &row), Err(KeyError::NoMasterKey(name)) if name == "a"));
    }
}
