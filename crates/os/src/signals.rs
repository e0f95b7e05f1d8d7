//! Signals to bells: a handler only rings, a thread tells.

use nix::sys::signal::{SigSet, Signal};
use signal_hook::consts::signal;
use signal_hook::iterator::Signals;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread;

/// What a signal to the supervisor means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bell {
    /// SIGINT, SIGTERM, SIGHUP or SIGQUIT: the number that an exit code is made of.
    End(i32),
    /// SIGTSTP, as Ctrl-Z sends it. Does not come if we were started to ignore it.
    Pause,
    /// SIGCHLD: some child died, stopped or went on. Many may share one ring, so look at all of them.
    Child,
    /// SIGUSR1: whoever asks has renamed the logs.
    Reopen,
    /// SIGUSR2: whoever asks wants to see what everybody does now.
    Show,
    /// SIGTTIN from a process: one worker more.
    More,
    /// SIGTTOU from a process: one worker fewer.
    Fewer,
}

/// The signals that end a run, unless we were started to ignore them, as `nohup` does with SIGHUP and a shell with SIGINT
/// for what it starts in the background.
const ENDS: [libc::c_int; 4] = [signal::SIGINT, signal::SIGTERM, signal::SIGHUP, signal::SIGQUIT];

/// Lets the signals that end a run end this process at once again: there is nothing left that would have to be ended in
/// order.
pub fn let_go() {
    for signal in ENDS.into_iter().filter(|signal| !is_ignored(*signal)) {
        // SAFETY: SIG_DFL is no handler, so no code of ours can run in a signal's context.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// What the terminal sends to whoever reads from it or writes to it in the background, and people who want one worker
/// more or fewer.
const RESIZES: [Signal; 2] = [Signal::SIGTTIN, Signal::SIGTTOU];

/// How often processes have asked for one worker more, and one fewer.
static ASKED: [AtomicU32; 2] = [AtomicU32::new(0), AtomicU32::new(0)];

/// Counts what a process has sent. The terminal has no process: what it sends comes from the kernel.
fn count_resizes() -> io::Result<()> {
    for (signal, asked) in RESIZES.into_iter().zip(&ASKED) {
        let count = |info: &libc::siginfo_t| {
            if matches!(info.si_code, libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL) {
                asked.fetch_add(1, Relaxed);
            }
        };
        if !is_ignored(signal as libc::c_int) {
            // SAFETY: an addition to an atomic is all that the handler does.
            unsafe { signal_hook_registry::register_sigaction(signal as libc::c_int, count) }?;
        }
    }
    Ok(())
}

fn resizes() -> SigSet {
    RESIZES.into_iter().collect()
}

/// Starts the thread that turns signals into bells. `ring` must not block for long.
///
/// # Errors
/// If the handlers or the thread cannot be had.
pub fn ring(mut ring: impl FnMut(Bell) + Send + 'static) -> io::Result<()> {
    let asked = [signal::SIGTSTP, signal::SIGUSR1, signal::SIGUSR2, signal::SIGTTIN, signal::SIGTTOU];
    // Before the bell, so that whoever hears it finds the count.
    count_resizes()?;
    let heard = ENDS.into_iter().chain(asked).filter(|signal| !is_ignored(*signal));
    let mut signals = Signals::new(heard.chain([signal::SIGCHLD]))?;
    let told = move || {
        // In this thread alone: whoever has them blocked may read and write in the background, and is not stopped.
        let _ = resizes().thread_unblock();
        for signal in signals.forever() {
            let resize = match signal {
                signal::SIGTTIN => Some((0, Bell::More)),
                signal::SIGTTOU => Some((1, Bell::Fewer)),
                _ => None,
            };
            if let Some((which, bell)) = resize {
                (0..ASKED[which].swap(0, Relaxed)).for_each(|_| ring(bell));
                continue;
            }
            ring(match signal {
                signal::SIGCHLD => Bell::Child,
                signal::SIGTSTP => Bell::Pause,
                signal::SIGUSR1 => Bell::Reopen,
                signal::SIGUSR2 => Bell::Show,
                signal => Bell::End(signal),
            });
        }
    };
    thread::Builder::new().name("bell".into()).stack_size(64 << 10).spawn(told)?;
    Ok(())
}

/// Starts a thread that hears no signal: what is sent to this process is for the others.
pub fn deaf<T>(start: impl FnOnce() -> T) -> T {
    // Inherited by whoever is born in between.
    let before = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK);
    let started = start();
    let _ = before.and_then(|before| before.thread_set_mask());
    started
}

/// Stops this process, all threads of it, and returns when somebody continues it; at once as PID 1, which the kernel
/// does not stop. Sent to this thread, so that it gets no further than here.
pub fn stop_here() {
    let _ = nix::sys::signal::raise(Signal::SIGSTOP);
}

/// Whether this process ignores a signal, as it was perhaps started to.
pub(crate) fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: all zero is a valid sigaction, and a null new action makes the call a question.
    let (told, action) = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (libc::sigaction(signal, std::ptr::null(), &raw mut action), action)
    };
    told == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Lets the signals that end a run or ask it something wait until somebody listens: between the first instruction and
/// [`ring`] they would end this process without a word.
pub fn hold_back() {
    let mut set = resizes();
    for signal in ENDS.into_iter().chain([signal::SIGUSR1, signal::SIGUSR2]) {
        let signal = Signal::try_from(signal).expect("these have names");
        set.add(signal);
    }
    let _ = set.thread_block();
}

/// Ctrl-C is for somebody else: this process ends when that one needs it no more.
pub fn ignore_interrupts() {
    use nix::sys::signal::{SigHandler, signal as set};
    // SAFETY: SIG_IGN is no handler, so no code of ours can run in a signal's context.
    let _ = unsafe { set(Signal::SIGINT, SigHandler::SigIgn) };
}

/// Undoes what whoever started us may have left behind: an ignored SIGCHLD, for then the kernel would bury our children
/// unseen. Before [`ring`].
///
/// # Errors
/// If the kernel refuses; it does not.
pub fn see_children() -> io::Result<()> {
    use nix::sys::signal::{SigHandler, signal as set};
    // SAFETY: SIG_DFL is no handler, so no code of ours can run in a signal's context.
    unsafe { set(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    Ok(())
}

/// The same, and no more than that: whoever hears of children by a handler of its own goes on to.
///
/// # Errors
/// If the kernel refuses; it does not.
pub fn see_children_if_ignored() -> io::Result<()> {
    if is_ignored(signal::SIGCHLD) { see_children() } else { Ok(()) }
}

/// Undoes [`hold_back`], and a mask that whoever started us may have left behind: a child that inherits a blocked SIGTERM
/// cannot be asked to end. SIGTTIN and SIGTTOU stay blocked but in the thread that [`ring`] has started: the terminal
/// stops nobody who does not hear them. What is executed from here is to begin with [`block_nothing`]. After [`ring`].
///
/// # Errors
/// If the kernel refuses; it does not.
pub fn hold_back_no_more() -> io::Result<()> {
    Ok(resizes().thread_set_mask()?)
}

/// The program that `command` starts begins with no signal blocked: what is blocked here is not its affair.
pub fn block_nothing(command: &mut Command) {
    let unblock = || Ok(SigSet::empty().thread_set_mask()?);
    // SAFETY: the closure makes one system call; it neither allocates nor locks.
    unsafe { command.pre_exec(unblock) };
}

/// The program that `command` starts begins with every signal blocked: a template, which is to outlive what a terminal sends to
/// the group. Its children undo that by [`hear_signals`](crate::kin::hear_signals).
pub fn block_everything(command: &mut Command) {
    let block = || Ok(SigSet::all().thread_set_mask()?);
    // SAFETY: the closure makes one system call; it neither allocates nor locks.
    unsafe { command.pre_exec(block) };
}

/// Blocks no signal in this thread.
pub(crate) fn hold_nothing() -> io::Result<()> {
    Ok(SigSet::empty().thread_set_mask()?)
}

/// Ignores no signal, but those that shells and `nohup` let their children ignore, and SIGPIPE, which Rust does.
pub(crate) fn default_the_ignored() -> io::Result<()> {
    use nix::sys::signal::{SigHandler, signal as set};
    const KEPT: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGPIPE];
    let is_ours = |signal: &Signal| !KEPT.contains(signal) && is_ignored(*signal as libc::c_int);
    for signal in Signal::iterator().filter(is_ours) {
        // SAFETY: SIG_DFL is no handler, so no code of ours can run in a signal's context.
        unsafe { set(signal, SigHandler::SigDfl) }?;
    }
    Ok(())
}

/// Set by SIGUSR1, until somebody takes notice.
static REOPEN: AtomicBool = AtomicBool::new(false);

/// Lets SIGUSR1 ask this process to open its log anew; [`asked_to_reopen`] tells. What it interrupts goes on.
///
/// # Errors
/// If the handler cannot be had.
pub fn hear_reopen() -> io::Result<()> {
    // SAFETY: a store into an atomic is all that the handler does.
    unsafe { signal_hook_registry::register(signal::SIGUSR1, || REOPEN.store(true, Relaxed)) }?;
    Ok(())
}

/// Whether SIGUSR1 came since the last call.
#[must_use]
pub fn asked_to_reopen() -> bool {
    REOPEN.load(Relaxed) && REOPEN.swap(false, Relaxed)
}

/// Lets the supervisor ask where this process is: SIGABRT from its parent makes it write the stack of the interrupted
/// thread to stderr before it dies. From anybody else, or of its own making, SIGABRT ends it as ever.
///
/// Places in modules, no names: those take 30 to 100 ms of reading debug information, and whoever hangs is killed after 30.
///
/// # Errors
/// If the handler cannot be had.
pub fn tell_where_on_abort() -> io::Result<()> {
    let tell = |info: &libc::siginfo_t| {
        // SAFETY: si_pid is set for signals that a process sent; for others the number matches no parent.
        let sender = unsafe { info.si_pid() };
        if crate::Pid::parent().is_some_and(|parent| i64::from(parent.number()) == i64::from(sender)) {
            write_who();
            write_stack();
        }
        let _ = signal_hook::low_level::emulate_default_handler(signal::SIGABRT);
    };
    // SAFETY: the handler walks the stack and writes it, without a lock or an allocation.
    unsafe { signal_hook_registry::register_sigaction(signal::SIGABRT, tell) }?;
    Ok(())
}

/// Who is asked, to stderr: the process, or one of its threads by name.
fn write_who() {
    let mut name = [0_u8; 16];
    // SAFETY: a name is written into the sixteen bytes that it takes at most; both calls are system calls and no more.
    let is_first = unsafe {
        libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr());
        libc::gettid() == libc::getpid()
    };
    let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let words: [&[u8]; 3] = match is_first {
        true => [b"asked by the supervisor where it is", b"", b":\n"],
        false => [b"asked by the supervisor where it is in thread ", &name[..length], b":\n"],
    };
    // One write, so that nobody's line comes between; without an allocation.
    let (mut line, mut end) = ([0_u8; 80], 0);
    for word in words {
        line[end..end + word.len()].copy_from_slice(word);
        end += word.len();
    }
    let _ = rustix::io::write(rustix::stdio::stderr(), &line[..end]);
}

/// The innermost frames of this thread, a line each, to stderr: `module(+0xplace)[address]`, which `addr2line -e module`
/// names.
fn write_stack() {
    const FRAMES_MAX: usize = 64;
    let mut frames = [std::ptr::null_mut(); FRAMES_MAX];
    // SAFETY: the room is as long as is said, and as much of it is read as was written. Both are made for handlers, once
    // the unwinder is loaded, and with ours it always is.
    unsafe {
        let found = libc::backtrace(frames.as_mut_ptr(), FRAMES_MAX as libc::c_int);
        libc::backtrace_symbols_fd(frames.as_ptr(), found, libc::STDERR_FILENO);
    }
}

/// Lets SIGSEGV and SIGBUS end this process even when somebody sent them. Rust's handler for stack overflows
/// takes the first one that was not caused by an access of ours, and the process runs on.
///
/// # Errors
/// If the kernel refuses; it does not.
pub fn crash_plainly() -> io::Result<()> {
    use nix::sys::signal::{SigHandler, signal as set};
    for crash in [Signal::SIGSEGV, Signal::SIGBUS] {
        // SAFETY: SIG_DFL is no handler, so no code of ours can run in a signal's context.
        unsafe { set(crash, SigHandler::SigDfl) }?;
    }
    Ok(())
}
