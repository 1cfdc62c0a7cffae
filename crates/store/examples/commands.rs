//! Prints the reference of commands: `cargo run -p raftpbx-store --example commands`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    let text = raftpbx_store::testing::reference();
    std::io::stdout().write_all(text.as_bytes())
}
