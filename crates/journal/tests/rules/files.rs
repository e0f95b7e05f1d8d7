//! The real file.

use super::kit::{identity, value};
use brigade_journal::{Durability, Journal, JournalFile};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

/// A directory that is gone when the test is.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Home {
        let path = std::env::temp_dir().join(format!("brigade-journal-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("temporary files can be made");
        Home(path)
    }

    fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn a_file_does_what_the_simulated_disk_does() {
    let home = Home::new("both");
    for durability in [Durability::Kill, Durability::Power] {
        let mut journal =
            Journal::create(JournalFile::create(&home.journal()).unwrap(), &identity(), durability).unwrap();
        (0..10).for_each(|task| journal.append(&value(task, &[7; 16])).unwrap());
        journal.commit().unwrap();
        journal.append(&value(10, b"not flushed")).unwrap();
        let simulated = super::kit::journal(
            durability,
            &[&(0..10).map(|task| value(task, &[7; 16])).collect::<Vec<_>>()],
        );
        assert_eq!(fs::read(home.journal()).unwrap(), simulated.0.bytes());

        let torn = fs::metadata(home.journal()).unwrap().len() - 3;
        fs::OpenOptions::new().write(true).open(home.journal()).unwrap().set_len(torn).unwrap();
        let (mut journal, recovered, _) =
            Journal::open(JournalFile::open(&home.journal()).unwrap()).unwrap().collect().unwrap();
        assert_eq!((recovered.records, recovered.torn_bytes), (0, 189));
        journal.append(&value(0, b"again")).unwrap();
        journal.commit().unwrap();
        let (_, recovered, _) =
            Journal::open(JournalFile::open(&home.journal()).unwrap()).unwrap().collect().unwrap();
        assert_eq!((recovered.records, recovered.torn_bytes), (1, 0));
        fs::remove_file(home.journal()).unwrap();
    }
}

#[test]
fn only_its_owner_can_read_it() {
    let home = Home::new("mode");
    drop(JournalFile::create(&home.journal()).unwrap());
    assert_eq!(fs::metadata(home.journal()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn creating_overwrites_nothing_and_follows_no_link() {
    let home = Home::new("link");
    fs::write(home.0.join("victim"), "precious").unwrap();
    symlink(home.0.join("victim"), home.journal()).unwrap();
    let said = JournalFile::create(&home.journal()).unwrap_err().to_string();
    assert!(said.starts_with("create journal ") && said.ends_with("resume its run, or remove it"), "{said}");
    symlink(home.0.join("nowhere"), home.0.join("dangling")).unwrap();
    assert!(JournalFile::create(&home.0.join("dangling")).is_err());
    assert!(!home.0.join("nowhere").exists());
    assert_eq!(fs::read(home.0.join("victim")).unwrap(), b"precious");
}

#[test]
fn only_a_regular_file_is_opened() {
    let home = Home::new("kind");
    assert!(
        JournalFile::open(&home.journal()).unwrap_err().to_string().contains("is this the run's directory?")
    );
    assert!(JournalFile::open(&home.0).is_err());
    let said = JournalFile::open("/dev/null".as_ref()).unwrap_err().to_string();
    assert!(said.contains("not a regular file"), "{said}");
}
