//! The format of a node's directory: a program never touches files of a later one.
//!
//! | format | log | snapshot | read by |
//! |---|---|---|---|
//! | 1 | segments without groups | any | this program: new segments have format 2 |
//! | 2 | segments of groups, `votes` | `RPBXSNP\x03` | the logs |
//! | 3 | the same | `RPBXSNP\x04`: removals | this program |
//!
//! Every change of a file's format that an older program would misread gets a new number here.

use std::path::Path;

use crate::disk::{Disk, RealDisk};
use crate::error::StoreError;

/// The format this program writes.
pub const FORMAT: u32 = 3;

/// Bytes of the file at most; it holds one number.
const FILE_BYTES_MAX: usize = 16;

/// Refuses a directory of a later format and writes ours into any other one.
///
/// # Errors
/// [`StoreError::Storage`] with `PBX_STORE_FORMAT_NEWER` or `PBX_STORE_FORMAT_UNREADABLE`.
pub fn check(directory: &Path) -> Result<(), StoreError> {
    let path = directory.join("format");
    let found = if RealDisk.exists(&path)? {
        parse(&RealDisk.read(&path)?).ok_or_else(|| {
            StoreError::Storage(format!(
                "[PBX_STORE_FORMAT_UNREADABLE] {} does not hold a number; write '{FORMAT}' into it \
                 if no later program has used this directory",
                path.display()
            ))
        })?
    } else {
        0
    };
    if found > FORMAT {
        return Err(StoreError::Storage(format!(
            "[PBX_STORE_FORMAT_NEWER] {} has format {found}, this program reads up to {FORMAT}; \
             start the program version that wrote it, or a later one",
            directory.display()
        )));
    }
    if found < FORMAT {
        RealDisk.replace(&path, format!("{FORMAT}\n").as_bytes())?;
    }
    Ok(())
}

fn parse(bytes: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(bytes.get(..bytes.len().min(FILE_BYTES_MAX))?).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_format_is_refused_and_an_earlier_one_becomes_ours() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("format");
        check(directory.path()).expect("a new directory");
        assert_eq!(std::fs::read_to_string(&file).expect("readable"), "3\n");
        std::fs::write(&file, "1\n").expect("written");
        check(directory.path()).expect("an old directory");
        assert_eq!(std::fs::read_to_string(&file).expect("readable"), "3\n");
        for (content, code) in [
            ("4\n", "PBX_STORE_FORMAT_NEWER"),
            ("\u{1}", "PBX_STORE_FORMAT_UNREADABLE"),
        ] {
            std::fs::write(&file, content).expect("written");
            let error = check(directory.path()).expect_err("refused").to_string();
            assert!(error.contains(code), "{error}");
            assert_eq!(std::fs::read_to_string(&file).expect("readable"), content);
        }
    }
}
