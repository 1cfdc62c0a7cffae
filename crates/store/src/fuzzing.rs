//! Entrances for fuzzers: any bytes into everything that reads bytes it did not write.
//!
//! Each function checks more than the absence of panics; `crates/store/fuzz` and the property
//! tests in `tests/hostile_bytes.rs` call the same ones.

use bytes::{Bytes, BytesMut};

use crate::limits::{ARGUMENTS_MAX, BULK_MAX};

pub use crate::raft::fuzz_frame as raft_frame;
pub use crate::wal::fuzz_recovery as wal_recovery;

/// Bytes of an untrusted Redis client, in one piece and in two.
pub fn resp(input: &[u8]) {
    let whole = parse(BytesMut::from(input));
    for cut in [input.len() / 2, input.len().saturating_sub(1)] {
        let mut buffer = BytesMut::from(&input[..cut]);
        let mut found = take(&mut buffer);
        if found.1.is_none() {
            buffer.extend_from_slice(&input[cut..]);
            let rest = take(&mut buffer);
            found.0.extend(rest.0);
            found.1 = rest.1;
        }
        assert_eq!(found, whole, "a command depends on how its bytes arrived");
    }
}

type Commands = (Vec<Vec<Bytes>>, Option<&'static str>);

fn parse(mut buffer: BytesMut) -> Commands {
    take(&mut buffer)
}

fn take(buffer: &mut BytesMut) -> Commands {
    let mut commands = Vec::new();
    loop {
        let before = buffer.len();
        match crate::resp::next(buffer, crate::resp::TRUSTED) {
            Ok(Some(command)) => {
                assert!(buffer.len() < before, "a command of no bytes");
                assert!(command.len() <= ARGUMENTS_MAX);
                assert!(command.iter().all(|argument| argument.len() <= BULK_MAX));
                commands.push(command);
            }
            Ok(None) => return (commands, None),
            Err(error) => return (commands, Some(error.0)),
        }
    }
}
