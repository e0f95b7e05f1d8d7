//! What can be wrong with a journal, and what to do about it.

use brigade_wire::RECORD_BYTES_MAX;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a journal does not take a record, or does not keep it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The system refused. A journal that could not be written or synced once is broken for good, and says this again
    /// at every later call.
    #[error("{doing} journal {}: {cause}: {}", path.display(), advice(cause))]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        cause: Arc<io::Error>,
    },
    /// A record is larger than any may be. It was not written, and the journal is as good as before.
    #[error(
        "journal {}: {what} takes more than {RECORD_BYTES_MAX} bytes: make it smaller, or run without a journal",
        path.display()
    )]
    TooLarge {
        /// Which journal.
        path: PathBuf,
        /// What is too large.
        what: &'static str,
    },
    /// A new journal was to begin where there is something already.
    #[error("journal {} is not empty: resume its run, or remove it", path.display())]
    NotEmpty {
        /// Which journal.
        path: PathBuf,
    },
}

impl JournalError {
    pub(crate) fn io(doing: &'static str, path: &Path, cause: io::Error) -> JournalError {
        JournalError::Io { doing, path: path.into(), cause: Arc::new(cause) }
    }
}

fn advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "make room there, then resume the run"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "let its owner write there, then resume the run"
        }
        io::ErrorKind::InvalidInput => "somebody has put something else in its place",
        io::ErrorKind::NotFound => "is this the run's directory?",
        io::ErrorKind::AlreadyExists => "resume its run, or remove it",
        _ => "do not trust this disk: copy the run directory to another one and resume the run from there",
    }
}

/// Why a journal cannot be gone on with. None of these changes the file.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system refused.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Its supervisor died before the header was written: nothing has been settled.
    #[error("journal {} ends within its header: the run died before it began, start it again", path.display())]
    Unborn {
        /// Which journal.
        path: PathBuf,
    },
    /// Some other file.
    #[error("{} is not a journal of ours: is this the run's directory?", path.display())]
    NotAJournal {
        /// Which file.
        path: PathBuf,
    },
    /// A journal of a later or earlier Brigade.
    #[error(
        "journal {} has format version {found}, this build reads {ours}: resume the run with the build that began it",
        path.display()
    )]
    Version {
        /// Which journal.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        ours: u32,
    },
    /// Bytes that had been written properly are not what they were.
    #[error(
        "journal {} is damaged at byte {offset}, and not just torn at its end: restore it from a copy, or start the run again",
        path.display()
    )]
    Damaged {
        /// Which journal.
        path: PathBuf,
        /// Where the first record begins that is not what it was; 0 for the header.
        offset: u64,
    },
}
