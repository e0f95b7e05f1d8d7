//! Who is still there of those that share a file: each sits on a byte of it, which it locks, and the kernel frees that with
//! the last descriptor of whoever sat there, however it ended. No number that names a process is kept, so none can be reused.
//!
//! A seat belongs to an opening of the file: duplicates of a descriptor share it, and whoever opens the file anew needs one of
//! its own.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::io;
use std::os::fd::AsFd;

/// Behind whatever a file may hold.
const FIRST: i64 = 1 << 62;

/// Takes a seat; false if somebody sits there.
///
/// # Errors
/// If the kernel has no locks left, or the file was not opened to write.
pub fn sit(file: impl AsFd, seat: u32) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&lock(seat))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether somebody else sits there.
///
/// # Errors
/// What the kernel says; it does not fail.
pub fn is_taken(file: impl AsFd, seat: u32) -> io::Result<bool> {
    let mut lock = lock(seat);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

fn lock(seat: u32) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: FIRST + i64::from(seat),
        l_len: 1,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lend::{Access, Loan};
    use crate::rows::Rows;

    #[test]
    fn a_seat_is_free_again_when_whoever_sat_there_has_closed_all_its_descriptors() {
        let (_rows, file) = Rows::create(c"seats", 1).unwrap();
        let open = || Loan::of(&file).unwrap().open(Access::Both).unwrap();
        let (first, second) = (open(), open());
        assert!(sit(&first, 0).unwrap() && sit(&second, 7).unwrap());
        assert!(!sit(&second, 0).unwrap());
        assert!(is_taken(&second, 0).unwrap() && is_taken(&first, 7).unwrap());
        assert!(!is_taken(&first, 0).unwrap(), "by oneself");
        assert!(!is_taken(&first, 1).unwrap());
        let again = first.try_clone().unwrap();
        drop(first);
        assert!(is_taken(&second, 0).unwrap());
        drop(again);
        assert!(!is_taken(&second, 0).unwrap() && sit(&second, 0).unwrap());
    }
}
