//! Inputs that are nearly right, for tests of decoders whose input comes from outside.
//!
//! Made from valid ones by what breaks decoders: bits, cuts, pieces of others, lengths, extremes, depth. Each has a
//! number, and a failure says it: the same number makes the same input.

#![expect(clippy::print_stderr, reason = "the failing input, and the allocated bytes")]

use std::ops::Range;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// As many as a debug build decodes in a second or two; `USERDATA_MUTATIONS` says another number.
const INPUTS: u64 = 20_000;
/// No input grows beyond this: above what any of the readers accepts.
const BYTES_MAX: usize = 80 * 1024;
/// Numbers that are the last of their kind, and lengths that lie.
const EXTREMES: [u64; 10] = [0, 1, 0x7f, 0xff, 0x7fff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, 1 << 63, u64::MAX];
/// What is special in JSON, in protobuf and in texts.
const PIECES: [&[u8]; 18] = [
    b"null",
    b"1e999",
    b"-0",
    b"0.1e-400",
    b"99999999999999999999",
    b"\"\\u0000\"",
    b"\"\\ud800\"",
    b"\xf0\x9f\x98\x80",
    b"\xc3\x28",
    b"{\"\":",
    b",",
    b"\"",
    b":",
    b"\n",
    b"[]",
    b"{}",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\x0f",
];
const DEPTH: Range<usize> = 20..300;

/// Decodes nearly valid inputs. None may make `decode` panic, or allocate more in all than `allocated_max` says of the
/// input's length.
pub(crate) fn withstands_mutated(
    valid: &[Vec<u8>],
    allocated_max: impl Fn(u64) -> u64,
    mut decode: impl FnMut(Vec<u8>),
) {
    #[expect(clippy::disallowed_methods, reason = "how long a test runs is no setting of the service")]
    let inputs = std::env::var("USERDATA_MUTATIONS").map_or(INPUTS, |text| text.parse().expect("a number"));
    let mut largest = 0;
    for number in 0..inputs {
        let said = InputNumber(number);
        let input = mutated(number, valid);
        let length = input.len() as u64;
        let allocated = allocation_counter::measure(|| decode(input)).bytes_max;
        assert!(allocated <= allocated_max(length), "{allocated} bytes allocated for {length}");
        largest = largest.max(allocated);
        drop(said);
    }
    eprintln!("{inputs} inputs; {largest} bytes at once at most");
}

/// Names the input during which something panicked.
struct InputNumber(u64);

impl Drop for InputNumber {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it was input {}", self.0);
        }
    }
}

fn mutated(number: u64, valid: &[Vec<u8>]) -> Vec<u8> {
    let mut draw = StdRng::seed_from_u64(number);
    let mut input = valid[draw.random_range(0..valid.len())].clone();
    for _ in 0..draw.random_range(1..=4) {
        mutate(&mut input, valid, &mut draw);
    }
    input.truncate(BYTES_MAX);
    input
}

fn mutate(input: &mut Vec<u8>, valid: &[Vec<u8>], draw: &mut StdRng) {
    let at = draw.random_range(0..=input.len());
    let piece = range(input.len(), draw);
    let extreme = EXTREMES[draw.random_range(0..EXTREMES.len())];
    match draw.random_range(0..10) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << draw.random_range(0..8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = [0, 1, 0x7f, 0x80, 0xff][draw.random_range(0..5)];
            }
        }
        2 => input.truncate(at),
        3 => drop(input.drain(piece)),
        4 => {
            let times = draw.random_range(1..64);
            let repeated = input[piece].repeat(times);
            insert(input, at, &repeated);
        }
        5 => {
            let other = &valid[draw.random_range(0..valid.len())];
            let other = &other[range(other.len(), draw)];
            insert(input, at, other);
        }
        6 => insert(input, at, PIECES[draw.random_range(0..PIECES.len())]),
        7 => {
            // A length or a number where one may stand, in either order of bytes.
            let bytes = if draw.random() { extreme.to_be_bytes() } else { extreme.to_le_bytes() };
            let width = [1, 2, 4, 8][draw.random_range(0..4)];
            let from = if draw.random() { 0 } else { 8 - width };
            let end = (at + width).min(input.len());
            input[at..end].copy_from_slice(&bytes[from..from + end - at]);
        }
        8 => insert(input, at, extreme.to_string().as_bytes()),
        _ => {
            let (open, close) = [("[", "]"), ("{\"a\":", "}"), ("\x0a\x7f", "")][draw.random_range(0..3)];
            let levels = draw.random_range(DEPTH);
            insert(input, at, [open.repeat(levels), close.repeat(levels)].concat().as_bytes());
        }
    }
}

fn range(length: usize, draw: &mut StdRng) -> Range<usize> {
    let start = draw.random_range(0..=length);
    start..draw.random_range(start..=length)
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let piece = &piece[..piece.len().min(BYTES_MAX)];
    input.splice(at..at, piece.iter().copied());
}

#[test]
fn a_number_makes_the_same_input_and_another_one_another() {
    let valid = [br#"{"a": [1, 2]}"#.to_vec(), b"0123456789".to_vec()];
    let inputs: std::collections::BTreeSet<_> = (0..1000).map(|number| mutated(number, &valid)).collect();
    assert!(inputs.len() > 800, "{} of 1,000 differ", inputs.len());
    assert!((0..1000).all(|number| mutated(number, &valid) == mutated(number, &valid)));
}

#[test]
#[should_panic(expected = "bytes allocated for")]
fn what_allocates_as_a_length_says_is_found() {
    let valid = [[&4_u32.to_be_bytes()[..], b"four"].concat()];
    withstands_mutated(
        &valid,
        |length| 4096 + 16 * length,
        |input| {
            let length = input.first_chunk().map_or(0, |length| u32::from_be_bytes(*length));
            drop(Vec::<u8>::with_capacity(length.min(1 << 24) as usize));
        },
    );
}
