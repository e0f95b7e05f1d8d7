//! One conversation with one worker, over ipc-channel; no type of ipc-channel shows outside.
//!
//! ```text
//!   Link ══ commands: one packet a frame, at most 16 unanswered ══▶ WorkerEnd
//!   Ear  ◀═ reports, each naming the commands consumed ═══════════ WorkerEnd
//!    ▲
//!    └──── Tombstone: posted into the same channel when the body is reaped, so it comes last
//! ```
//!
//! What no packet holds lies in a file that both sides know, and a packet says where (`blob.rs`).
//! What ipc-channel forces on us, and how it was measured, is in `docs/LINK.md`.
#![forbid(unsafe_code)]

mod birth;
mod blob;
mod ear;
mod link;
mod worker_end;

pub use birth::{
    Answer, AnswerEar, Charter, Door, Order, Spawned, Stranger, TemplateEnd, TemplateLink, Visitor,
    introduce, put_sockets_into,
};
pub use blob::{Letter, Notice};
pub use ear::{Death, Ear, Heard, Impostor, Tombstone};
pub use link::{Ends, Link, Packets, Sent, WINDOW_FRAMES, conversation};
pub use worker_end::{Mouth, Wanted, WorkerEnd};

use std::io;

/// Repeats a call that a signal interrupted. A packet is sent or received whole or not at all, so nothing is
/// done twice.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// ipc-channel's error as the system's.
fn io_error(error: ipc_channel::IpcError) -> io::Error {
    match error {
        ipc_channel::IpcError::Io(error) => error,
        ipc_channel::IpcError::Disconnected => io::ErrorKind::UnexpectedEof.into(),
        ipc_channel::IpcError::SerializationError(error) => io::Error::other(error.to_string()),
    }
}

/// The peer may have left by closing (end of file) or by dying with unread packets (reset).
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}
