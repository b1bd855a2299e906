//! Records survive encoding and decoding, and no other bytes pass as a record.

use proptest::{collection::vec, prelude::*};
use rand::{Rng, RngExt, SeedableRng};

use super::*;
use crate::{
    cache::testing::{key, partial, parts, snapshot},
    model::{Generator, Section, State, section::DOCUMENT_ORDER, snapshot::Part, snapshot::SectionFacts},
    testing::withstands_mutated,
};

fn parts_of_any_section() -> impl Strategy<Value = Part> {
    let state = prop::sample::select(vec![State::Ok, State::Stale, State::Failed, State::NotFound]);
    let generator = prop::sample::select(vec![Generator::Database, Generator::Rules, Generator::Model]);
    let times = (0..4_000_000_000_000_000_i64, any::<u64>(), any::<i64>());
    (
        state,
        generator,
        times,
        (".{0,20}", vec(".{0,40}", 0..4), ".{0,20}"),
        (vec(any::<u8>(), 0..3000), vec(any::<u8>(), 0..300)),
    )
        .prop_map(
            |(state, generator, (read_at, took, read_position), (reason, warnings, detail), (bytes, rows))| {
                let facts = SectionFacts {
                    section: Section::Unspecified,
                    state,
                    generator,
                    read_at: DateTime::from_timestamp_micros(read_at).unwrap(),
                    took: std::time::Duration::from_nanos(took),
                    reason,
                    warnings,
                    detail,
                };
                Part { facts, read_position, bytes: bytes.into(), rows: rows.into() }
            },
        )
}

fn snapshots() -> impl Strategy<Value = Snapshot> {
    let user = "[a-zA-Z0-9é_ ]{1,40}";
    (
        user,
        prop::option::of(1..i64::MAX),
        "[a-z0-9-]{0,36}",
        vec(parts_of_any_section(), 7),
        0..4_000_000_000_000_000_i64,
    )
        .prop_map(|(user, strategy, epoch, sections, time)| {
            let parts = sections
                .into_iter()
                .zip(DOCUMENT_ORDER)
                .map(|(part, section)| Part { facts: SectionFacts { section, ..part.facts.clone() }, ..part })
                .collect();
            let as_of = DateTime::from_timestamp_micros(time).unwrap();
            let expires_at = as_of + chrono::TimeDelta::hours(1);
            Snapshot::seal(key(&user, strategy), epoch.into(), as_of, expires_at, parts)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn what_is_decoded_is_what_was_encoded(snapshot in snapshots(), compress_above in 0_usize..20_000) {
        let decoded = decode(&encode(&snapshot, compress_above), &snapshot.key).unwrap();
        prop_assert_eq!(&*decoded, &*snapshot);
    }
}

#[test]
fn an_uncompressed_payload_is_a_slice_of_what_was_received() {
    let snapshot = snapshot("1", None, 0);
    let record = encode(&snapshot, usize::MAX);
    let payload = &decode(&record, &snapshot.key).unwrap().payload;
    assert!(record.as_ptr_range().contains(&payload.as_ptr()));
}

#[test]
fn payloads_above_the_limit_are_compressed_if_that_helps() {
    let large = |bytes: Vec<u8>| {
        let mut parts = parts(1);
        parts[0].bytes = bytes.into();
        let now = DateTime::from_timestamp_micros(1).unwrap();
        Snapshot::seal(key("1", None), "log".into(), now, now, parts)
    };
    let text = large(b"competitor ".repeat(1000));
    assert!(encode(&text, 1024).len() < 1500);
    assert!(encode(&text, 20_000).len() > 11_000);
    let mut noise = vec![0; 10_000];
    rand::rngs::StdRng::seed_from_u64(1).fill_bytes(&mut noise);
    assert_eq!(encode(&large(noise.clone()), 1024)[9] & COMPRESSED, 0);
}

#[test]
fn another_documents_record_is_refused() {
    let record = encode(&snapshot("1", None, 0), 1024);
    for other in [key("2", None), key("1", Some(1)), key("01", None)] {
        assert_eq!(decode(&record, &other).unwrap_err(), RecordError::Identity);
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let snapshot = snapshot("1", Some(7), 3);
    let record = encode(&snapshot, 0);
    for place in 0..record.len() {
        let mut changed = record.to_vec();
        changed[place] ^= 0x10;
        assert!(decode(&changed.into(), &snapshot.key).is_err(), "byte {place}");
        assert!(decode(&record.slice(..place), &snapshot.key).is_err(), "cut at {place}");
    }
}

/// With the checksum made right again, so that the mutations reach the decoder behind it.
#[test]
fn mutated_records_never_panic_nor_grow() {
    let mut random = rand::rngs::StdRng::seed_from_u64(42);
    let snapshot = snapshot("1", Some(7), 3);
    let originals = [encode(&snapshot, 0), encode(&snapshot, usize::MAX)];
    let mut accepted = 0;
    for round in 0..200_000 {
        let mut record = originals[round % 2].to_vec();
        for _ in 0..random.random_range(1..4) {
            let place = random.random_range(9..record.len());
            match random.random_range(0..4) {
                0 => record[place] = random.random(),
                1 => record[place] = [0x00, 0x7f, 0x80, 0xff][random.random_range(0..4)],
                2 => record.truncate(place.max(HEAD)),
                _ => record.insert(place, random.random()),
            }
        }
        let checksum = crc32fast::hash(&record[9..]).to_be_bytes();
        record[5..9].copy_from_slice(&checksum);
        if let Ok(decoded) = decode(&record.into(), &snapshot.key) {
            accepted += 1;
            assert!(decoded.payload.len() <= PAYLOAD_BYTES_MAX);
            assert_eq!(decoded.sections.last().map_or(0, |s| s.range.end), decoded.payload.len());
            assert_eq!(decoded.select(crate::model::SectionSet::ALL).len(), decoded.payload.len());
        }
    }
    assert!(accepted > 0, "some mutations only change what a record says");
}

#[test]
fn a_forged_length_allocates_nothing() {
    let snapshot = snapshot("1", None, 0);
    let bomb = |payload_len: u64| {
        let mut header = Header::of(&snapshot);
        header.claim(payload_len);
        let header = header.encode_to_vec();
        let frame = zstd::bulk::compress(&vec![0; 64 * 1024 * 1024], 1).unwrap();
        let mut record = BytesMut::from(&encode(&snapshot, 0)[..34]);
        record[9] |= COMPRESSED;
        record.put_u32(u32::try_from(header.len()).unwrap());
        record.put_slice(&header);
        record.put_slice(&frame);
        let checksum = crc32fast::hash(&record[9..]).to_be_bytes();
        record[5..9].copy_from_slice(&checksum);
        decode(&record.freeze(), &snapshot.key).unwrap_err()
    };
    assert_eq!(bomb(u64::MAX), RecordError::Invalid("section length"));
    assert_eq!(bomb(64 * 1024 * 1024), RecordError::Invalid("section length"));
    assert_eq!(bomb(PAYLOAD_BYTES_MAX as u64), RecordError::Invalid("compression"));
}

/// As a forger or a defect would change it: the checksum is right again.
fn with_checksum(mut record: Vec<u8>) -> Vec<u8> {
    if record.len() >= HEAD {
        let checksum = crc32fast::hash(&record[9..]);
        record[5..9].copy_from_slice(&checksum.to_be_bytes());
    }
    record
}

#[test]
fn any_bytes_give_a_snapshot_or_an_error_and_take_no_more_than_a_document() {
    let snapshots = [snapshot("1", None, 0), snapshot("1", None, 3600), partial("1", None, 1)];
    let valid: Vec<Vec<u8>> =
        snapshots.iter().flat_map(|of| [encode(of, 0), encode(of, usize::MAX)].map(|record| record.to_vec())).collect();
    let key = &snapshots[0].key;
    let (mut read, mut refused) = (0, 0);
    // A compressed payload may be as large as it says, up to the bound; an empty section of a header takes a hundred
    // times its two bytes.
    withstands_mutated(
        &valid,
        |length| PAYLOAD_BYTES_MAX as u64 + 512 * length + 64 * 1024,
        |record| match decode(&with_checksum(record).into(), key) {
            Ok(snapshot) => {
                read += 1;
                assert!(snapshot.sections.iter().all(|section| section.range.end <= snapshot.payload.len()));
                assert!(snapshot.payload.len() <= PAYLOAD_BYTES_MAX);
            }
            Err(_) => refused += 1,
        },
    );
    assert!(read > 100 && refused > 100, "{read} read, {refused} refused: the inputs are not nearly right");
}
