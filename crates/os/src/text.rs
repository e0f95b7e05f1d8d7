//! Functions by their position in this program's own text, so that another process of the same program can call them.
//!
//! A program that is executed anew lies elsewhere in memory (ASLR), but what is `n` bytes behind its start is so there, too.
//! That is all that crosses: a number, which means something only to the very same build.

use std::ffi::c_void;
use std::mem::size_of;
use std::sync::OnceLock;

/// Where a function stands, in bytes from where the program is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position(u64);

impl Position {
    /// For sending it to a process of the same build.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// As it was sent; `None` if no code of this program is there. Whoever receives one believes its sender in all else: a
    /// number that was never a position of a function of the types that are asked for is a call into the middle of anything.
    #[must_use]
    pub fn received(number: u64) -> Option<Position> {
        address(Position(number)).map(|_| Position(number))
    }
}

/// What takes bytes and a function, and gives bytes: the one shape that is called by a number alone. Whoever wrote the
/// number knows what the function in it takes, and so does this, for it is of the same build.
pub type Caller = fn(Position, &[u8]) -> Result<Vec<u8>, String>;

/// Where the program's own code is.
#[derive(Clone, Copy, Debug)]
struct Text {
    base: usize,
    start: usize,
    end: usize,
}

/// Where `f` stands; `None` for a function of a shared library, which may lie anywhere in another process.
///
/// ```
/// # use brigade_os::text::{function_at, position};
/// fn double(n: u32) -> u32 { 2 * n }
/// let at = position(double).expect("it is in this program");
/// assert_eq!(function_at::<u32, u32>(at).map(|double| double(21)), Some(42));
/// ```
#[must_use]
pub fn position<A, R>(f: fn(A) -> R) -> Option<Position> {
    place(f as *const () as usize)
}

/// The same for a caller.
#[must_use]
pub fn position_of_caller(caller: Caller) -> Option<Position> {
    place(caller as *const () as usize)
}

/// The function there. The types must be those that its position was taken with, in this build: whoever sends positions
/// sends them together with a caller that knows.
#[must_use]
pub fn function_at<A, R>(position: Position) -> Option<fn(A) -> R> {
    let address = address(position)?;
    const { assert!(size_of::<fn(A) -> R>() == size_of::<*const c_void>()) };
    // SAFETY: the address lies in this program's code, and a position is only ever made of a function of this type: the
    // handshake has refused every other build.
    Some(unsafe { std::mem::transmute::<*const c_void, fn(A) -> R>(address) })
}

/// The caller there; as [`function_at`].
#[must_use]
pub fn caller_at(position: Position) -> Option<Caller> {
    let address = address(position)?;
    // SAFETY: as above.
    Some(unsafe { std::mem::transmute::<*const c_void, Caller>(address) })
}

/// A number that two processes share exactly if they are of the same build: the linker's own, or else how the program's
/// text is laid out.
#[must_use]
pub fn build_id() -> u64 {
    static ID: OnceLock<u64> = OnceLock::new();
    *ID.get_or_init(|| loaded().map_or(0, |found| found.1))
}

fn place(address: usize) -> Option<Position> {
    let text = text()?;
    (text.start..text.end).contains(&address).then(|| Position((address - text.base) as u64))
}

fn address(Position(position): Position) -> Option<*const c_void> {
    let text = text()?;
    let address = text.base.checked_add(usize::try_from(position).ok()?)?;
    (text.start..text.end).contains(&address).then_some(address as *const c_void)
}

fn text() -> Option<Text> {
    static TEXT: OnceLock<Option<Text>> = OnceLock::new();
    *TEXT.get_or_init(|| loaded().map(|found| found.0))
}

/// The program's code and its build id: the first object that the loader names is the program itself.
fn loaded() -> Option<(Text, u64)> {
    unsafe extern "C" fn first(info: *mut libc::dl_phdr_info, _: usize, found: *mut c_void) -> libc::c_int {
        // SAFETY: the loader passes a valid description, and `found` is the local of `loaded`.
        let (info, found) = unsafe { (&*info, &mut *found.cast::<Option<(Text, u64)>>()) };
        // SAFETY: the loader says how many headers stand there.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        let base = info.dlpi_addr as usize;
        let code = headers.iter().find(|it| it.p_type == libc::PT_LOAD && it.p_flags & libc::PF_X != 0);
        *found = code.map(|code| {
            let start = base + code.p_vaddr as usize;
            let text = Text { base, start, end: start + code.p_memsz as usize };
            let notes = headers.iter().filter(|it| it.p_type == libc::PT_NOTE);
            // SAFETY: notes are mapped with the program, for as long as it runs.
            let bytes = |it: &libc::Elf64_Phdr| unsafe {
                std::slice::from_raw_parts((base + it.p_vaddr as usize) as *const u8, it.p_memsz as usize)
            };
            let shape = [code.p_vaddr, code.p_memsz, code.p_offset].map(u64::to_le_bytes).concat();
            let id = notes.map(bytes).find_map(gnu_build_id).map_or_else(|| fnv1a(&shape), fnv1a);
            (text, id)
        });
        1
    }
    let mut found: Option<(Text, u64)> = None;
    // SAFETY: `first` is called before this returns, with a pointer to what outlives it.
    unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut found).cast()) };
    found
}

/// Of a note segment, what `NT_GNU_BUILD_ID` holds.
fn gnu_build_id(mut notes: &[u8]) -> Option<&[u8]> {
    const NT_GNU_BUILD_ID: u32 = 3;
    let word = |bytes: &[u8], at: usize| -> Option<u32> {
        Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
    };
    loop {
        let (name, length, kind) = (word(notes, 0)? as usize, word(notes, 4)? as usize, word(notes, 8)?);
        let content = 12 + name.next_multiple_of(4);
        if kind == NT_GNU_BUILD_ID && notes.get(12..12 + name)? == b"GNU\0" {
            return notes.get(content..content + length);
        }
        notes = notes.get(content + length.next_multiple_of(4)..)?;
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn triple(n: u64) -> u64 {
        3 * n
    }

    fn call(function: Position, args: &[u8]) -> Result<Vec<u8>, String> {
        let triple = function_at::<u64, u64>(function).ok_or("no function")?;
        let n = u64::from_le_bytes(args.try_into().map_err(|_| "eight bytes")?);
        Ok(triple(n).to_le_bytes().to_vec())
    }

    #[test]
    fn a_function_and_its_caller_are_found_by_their_numbers() {
        let (function, caller) = (position(triple).unwrap(), position_of_caller(call).unwrap());
        let called = caller_at(caller).unwrap()(function, &14_u64.to_le_bytes());
        assert_eq!(called, Ok(42_u64.to_le_bytes().to_vec()));
        let capture_free: fn(u64) -> u64 = |n| n + 1;
        let closure = function_at::<u64, u64>(position(capture_free).unwrap()).unwrap();
        assert_eq!(closure(1), 2);
    }

    #[test]
    fn what_is_not_of_this_program_has_no_position() {
        // SAFETY: only its address is looked at.
        let foreign: fn(i32) -> i32 = unsafe { std::mem::transmute(libc::abs as *const ()) };
        assert_eq!(position(foreign), None);
        assert!(function_at::<(), ()>(Position(u64::MAX)).is_none());
        assert!(function_at::<(), ()>(Position(0)).is_none(), "the header of the program is no code");
        assert_eq!((Position::received(0), Position::received(u64::MAX)), (None, None));
        let known = position(triple).unwrap();
        assert_eq!(Position::received(known.number()), Some(known));
    }

    #[test]
    fn the_build_id_is_that_of_the_linker() {
        assert_ne!(build_id(), 0);
        let note = [&4_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), &3_u32.to_le_bytes(), b"GNU\0", b"abc\0"]
            .concat();
        let other =
            [&4_u32.to_le_bytes()[..], &2_u32.to_le_bytes(), &9_u32.to_le_bytes(), b"XYZ\0", b"ab\0\0"]
                .concat();
        assert_eq!(gnu_build_id(&[other.clone(), note].concat()), Some(&b"abc"[..]));
        assert_eq!(gnu_build_id(&other), None);
        assert_eq!(gnu_build_id(&[0; 7]), None);
    }
}
