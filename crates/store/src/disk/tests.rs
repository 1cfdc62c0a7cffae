//! The simulated disk keeps and loses what a real one may.

use std::path::Path;

use super::*;

#[test]
fn a_power_loss_keeps_what_was_synced_and_any_part_of_the_rest() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..64 {
        let disk = SimulatedDisk::new(seed);
        let path = Path::new("/d/a");
        let file = disk.create_filled(path, 4 * SECTOR_BYTES).expect("room");
        disk.sync_directory(Path::new("/d")).expect("synced");
        file.write_all_at(&[1; 512], 0).expect("room");
        file.sync().expect("synced");
        file.write_all_at(&[2; 1_024], 512).expect("room");
        disk.lose_power();
        assert!(file.sync().is_err(), "an open file dies with the power");
        let bytes = disk.read(path).expect("its name was synced");
        assert_eq!(bytes[..512], [1; 512]);
        outcomes.insert((bytes[512], bytes[1_024]));
    }
    assert_eq!(outcomes.len(), 4, "all subsets occur: {outcomes:?}");
}

#[test]
fn names_that_were_not_synced_may_be_lost() {
    let kept = (0..64).filter(|seed| {
        let disk = SimulatedDisk::new(*seed);
        let path = Path::new("/d/a");
        disk.create(path).expect("room").sync().expect("synced");
        disk.lose_power();
        disk.exists(path).expect("readable")
    });
    let kept = kept.count();
    assert!((1..64).contains(&kept), "{kept} of 64");
}

#[test]
fn a_full_disk_says_so_and_a_real_one_knows_its_room() {
    let disk = SimulatedDisk::new(1);
    disk.set_capacity(1_000);
    let error = disk
        .create_filled(Path::new("/d/a"), 2_000)
        .err()
        .expect("no room");
    assert!(is_full(&error), "{error}");
    assert!(RealDisk.free_bytes(Path::new("/")).expect("readable") > 0);
}
