//! Connections to sockets by their address, for whoever does not wait for ever.

use crate::body::retry;
use crate::clock::Deadline;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

/// Connects; waits until that time at most for whoever listens there and does not accept.
///
/// # Errors
/// `TimedOut`; and if nobody listens there, or the system refuses.
pub fn dial(address: &SocketAddr, until: Deadline) -> io::Result<UnixStream> {
    let address = match (address.as_pathname(), address.as_abstract_name()) {
        (Some(path), _) => SocketAddrUnix::new(path)?,
        (None, Some(name)) => SocketAddrUnix::new_abstract_name(name)?,
        (None, None) => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The kernel takes the time to send for the time to connect; none at all would be for ever.
    let left = until.left().ok_or(io::ErrorKind::TimedOut)?;
    set_socket_timeout(&socket, Timeout::Send, Some(left))?;
    retry(|| connect(&socket, &address)).map_err(|errno| match io::Error::from(errno) {
        error if error.kind() == io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        error => error,
    })?;
    set_socket_timeout(&socket, Timeout::Send, None)?;
    Ok(UnixStream::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{bind, listen};
    use std::time::Duration;

    #[test]
    fn whoever_accepts_nobody_is_waited_for_until_the_time_is_over() {
        let name = format!("brigade-dial-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let soon = || Deadline::after(Duration::from_millis(20));
        let none = dial(&address, soon()).expect_err("nobody is there");
        assert_eq!(none.kind(), io::ErrorKind::ConnectionRefused);
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        bind(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()).unwrap();
        listen(&socket, 0).unwrap();
        let waiting: Vec<_> = (0..3).map(|_| dial(&address, soon())).collect();
        assert!(waiting[0].is_ok(), "the first one has a place to wait");
        let late = waiting.into_iter().find_map(Result::err).expect("three have not");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }
}
