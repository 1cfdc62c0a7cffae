//! The reference of commands is made from the table.

#[test]
fn the_reference_of_commands_is_up_to_date() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/store-commands.md"
    );
    let written = std::fs::read_to_string(path).expect("docs/reference/store-commands.md");
    let made = raftpbx_store::testing::reference();
    assert_eq!(written, made, "run make fix");
}
