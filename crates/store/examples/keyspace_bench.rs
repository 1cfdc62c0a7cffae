//! What one command costs the keyspace alone, at a million keys, and what a key weighs.
//! `cargo run --release -p raftpbx-store --example keyspace_bench`

use std::hint::black_box;
use std::io::Write;

use bytes::Bytes;
use raftpbx_store::testing::Space;

const KEYS: usize = 1_000_000;
const VALUE_BYTES: usize = 100;

/// Resident memory of this process.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4_096
}

/// Time this thread has had a processor: what others do on the machine does not count.
fn on_processor_ns() -> u128 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let spent = stat.split(' ').next().and_then(|spent| spent.parse().ok());
    spent.unwrap_or(0)
}

/// Every number below [`KEYS`] once, in an order that looks random.
fn shuffled() -> impl Iterator<Item = usize> {
    (0..KEYS).map(|number| number * 7_919 % KEYS)
}

/// A command whose words share one buffer, as they do in a log entry.
fn command(words: &[&[u8]]) -> Vec<Bytes> {
    let buffer = Bytes::from(words.concat());
    let mut at = 0;
    let mut word = |length: usize| {
        at += length;
        buffer.slice(at - length..at)
    };
    words.iter().map(|text| word(text.len())).collect()
}

fn measure(
    name: &str,
    space: &mut Space,
    make: impl Fn(usize) -> Vec<Bytes>,
) -> std::io::Result<()> {
    const CHUNK: usize = 1_024;
    let numbers: Vec<usize> = shuffled().collect();
    let mut spent_ns = 0;
    for chunk in numbers.chunks(CHUNK) {
        let commands: Vec<_> = chunk.iter().map(|number| make(*number)).collect();
        let started = on_processor_ns();
        for command in &commands {
            black_box(space.apply(command));
        }
        spent_ns += on_processor_ns() - started;
    }
    let each = spent_ns / KEYS as u128;
    writeln!(std::io::stdout(), "{name:<24} {each:>6} ns")
}

fn main() -> std::io::Result<()> {
    let mut space = Space::default();
    space.advance(1_700_000_000_000);
    let value = [b'v'; VALUE_BYTES];
    let key = |number: usize| format!("key:{number:012}").into_bytes();
    let before = resident_bytes();
    let set = |number| command(&[b"SET", &key(number), &value]);
    measure("SET, new keys", &mut space, set)?;
    let each = (resident_bytes() - before) / KEYS;
    measure("SET, present keys", &mut space, set)?;
    measure("GET", &mut space, |number| command(&[b"GET", &key(number)]))?;
    let started = on_processor_ns();
    black_box(space.freeze());
    let freeze_ns = on_processor_ns() - started;
    measure("HSET, 100,000 hashes", &mut space, |number| {
        let key = format!("hash:{}", number / 10);
        command(&[b"HSET", key.as_bytes(), &number.to_le_bytes(), b"value"])
    })?;
    measure("HSET, present fields", &mut space, |number| {
        let key = format!("hash:{}", number / 10);
        command(&[b"HSET", key.as_bytes(), &number.to_le_bytes(), b"value"])
    })?;
    measure("LPUSH, one list", &mut space, |_| {
        command(&[b"LPUSH", b"list", b"element"])
    })?;
    measure("ZADD, one sorted set", &mut space, |number| {
        let score = number.to_string();
        command(&[b"ZADD", b"scores", score.as_bytes(), &number.to_le_bytes()])
    })?;
    writeln!(
        std::io::stdout(),
        "freezing                 {freeze_ns:>6} ns"
    )?;
    writeln!(
        std::io::stdout(),
        "a key of {VALUE_BYTES} bytes       {each:>6} bytes"
    )
}
