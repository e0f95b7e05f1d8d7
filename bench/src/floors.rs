//! What the machine and ipc-channel can do at best.

use crate::table::median;
use std::hint::black_box;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

/// A process on the other side, so that a wake-up is one of a process.
const ECHO: &str = "brigade-bench-echo";

pub fn memcpy() -> f64 {
    let (from, mut to) = (vec![7_u8; 64 << 20], vec![0_u8; 64 << 20]);
    let began = Instant::now();
    for _ in 0..4 {
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
    }
    (4 * from.len()) as f64 / began.elapsed().as_secs_f64()
}

/// `cat` answers each byte with itself.
pub fn pipe_round_trip() -> f64 {
    let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat");
    let (mut there, mut back) = (cat.stdin.take().expect("a pipe"), cat.stdout.take().expect("a pipe"));
    let mut once = |_| {
        let began = Instant::now();
        let mut byte = [7];
        there.write_all(&byte).and_then(|()| back.read_exact(&mut byte)).expect("cat lives");
        began.elapsed().as_secs_f64()
    };
    let p50 = median((0..5_000).map(&mut once).collect());
    drop(there);
    cat.wait().expect("cat ends");
    p50
}

/// A task as it would be sent, and the word back, over two channels of ipc-channel.
pub fn ipc_round_trip() -> f64 {
    use ipc_channel::ipc::{IpcOneShotServer, IpcReceiver, IpcSender};
    let (server, name) =
        IpcOneShotServer::<(IpcSender<Vec<u8>>, IpcReceiver<Vec<u8>>)>::new().expect("a server");
    let me = std::env::current_exe().expect("this program");
    let mut child = Command::new(me).env(ECHO, name).spawn().expect("this program again");
    let (_, (there, back)) = server.accept().expect("it comes");
    let once = |_| {
        let began = Instant::now();
        there.send(vec![7; 40]).expect("it lives");
        assert_eq!(back.recv().expect("it lives").len(), 40);
        began.elapsed().as_secs_f64()
    };
    let p50 = median((0..5_000).map(once).collect());
    drop(there);
    child.wait().expect("it ends");
    p50
}

/// The other side of [`ipc_round_trip`], if this process is that.
pub fn echo_if_asked() {
    use ipc_channel::ipc::{IpcReceiver, IpcSender, channel};
    let Ok(name) = std::env::var(ECHO) else { return };
    let (there, here): (IpcSender<Vec<u8>>, _) = channel().expect("a channel");
    let (back, theirs): (_, IpcReceiver<Vec<u8>>) = channel().expect("a channel");
    IpcSender::connect(name)
        .and_then(|door| Ok(door.send((there, theirs))))
        .expect("somebody waits")
        .expect("sent");
    while let Ok(bytes) = here.recv() {
        if back.send(bytes).is_err() {
            break;
        }
    }
    std::process::exit(0);
}
