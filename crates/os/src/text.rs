//! Functions by their position in this program's own text, so that another process of the same program can call them.
//!
//! A program that is executed anew lies elsewhere in memory (ASLR), but what is `n` bytes behind its start is so there, too.
//! That is all that crosses: numbers, which mean something only to the very same build, and are known as its own by a seal in them.

use std::ffi::c_void;
use std::mem::size_of;
use std::sync::OnceLock;

/// What calls a function with what bytes say, and gives bytes. The compiler makes one for each type of function.
pub type Caller<A, R> = fn(fn(A) -> R, &[u8]) -> Result<Vec<u8>, String>;

/// A function and who calls it, by their places in the program. Whoever makes one has both, and the compiler sees that they fit;
/// they go together from there on, so nobody is ever asked of which type a place is.
///
/// ```
/// # use brigade_os::text::Errand;
/// fn double(n: u8) -> u8 { 2 * n }
/// fn call(function: fn(u8) -> u8, bytes: &[u8]) -> Result<Vec<u8>, String> {
///     Ok(bytes.iter().map(|n| function(*n)).collect())
/// }
/// let errand = Errand::of(call, double).expect("both are in this program");
/// let received = Errand::received(errand.numbers()).expect("it is of this build");
/// assert_eq!(received.run(&[1, 21]), Ok(vec![2, 42]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errand {
    caller: Place,
    function: Place,
}

/// In bytes from where the program is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u64);

/// Bits of a number that are the place: a program has no terabyte of code. The others are half of a seal.
const PLACE_BITS: u32 = 40;

impl Errand {
    /// `None` if either is of a shared library, which may lie anywhere in another process.
    #[must_use]
    pub fn of<A, R>(caller: Caller<A, R>, function: fn(A) -> R) -> Option<Errand> {
        let caller = place(caller as *const () as usize)?;
        Some(Errand { caller, function: place(function as *const () as usize)? })
    }

    /// For sending it to a process of the same build. Neither is ever 0.
    #[must_use]
    pub fn numbers(self) -> [u64; 2] {
        let [first, second] = self.seal();
        [self.caller.0 | first << PLACE_BITS, self.function.0 | second << PLACE_BITS]
    }

    /// As it was sent; `None` unless these are the numbers of one that was made in this build. The seal says so: any other numbers
    /// have it with a chance of 1 in 2^48, unless somebody computes it for them, which is no accident any more.
    #[must_use]
    pub fn received(numbers: [u64; 2]) -> Option<Errand> {
        let [caller, function] = numbers.map(|number| Place(number & ((1 << PLACE_BITS) - 1)));
        let errand = Errand { caller, function };
        (errand.numbers() == numbers && address(caller).is_some() && address(function).is_some())
            .then_some(errand)
    }

    /// Has the caller call the function.
    ///
    /// # Errors
    /// Whatever the caller says.
    pub fn run(self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        const NOBODY: &str = "a call of what is no function of this program";
        let (caller, function) = address(self.caller).zip(address(self.function)).ok_or(NOBODY)?;
        const { assert!(size_of::<Caller<(), ()>>() == size_of::<*const c_void>()) };
        // SAFETY: both places were taken of functions of this very build, together, and the compiler has seen that the one takes
        // the other: `of` is where they come from, here or in a process of the same build, and the seal tells them from others.
        // Of which types they are is not known here, nor needed: a caller is passed a pointer to a function, and the pointers to
        // any two functions are passed alike. This one is called by its caller only, which knows its type.
        let (caller, function) = unsafe {
            let caller =
                std::mem::transmute::<*const c_void, fn(fn(), &[u8]) -> Result<Vec<u8>, String>>(caller);
            (caller, std::mem::transmute::<*const c_void, fn()>(function))
        };
        caller(function, bytes)
    }

    /// What belongs to these two places in this build, 24 bits each.
    fn seal(self) -> [u64; 2] {
        let words = [build_id(), self.caller.0, self.function.0];
        let hash = words.iter().flat_map(|word| word.to_le_bytes()).fold(FNV_OFFSET, fnv1a_step);
        [hash >> PLACE_BITS, hash & ((1 << (64 - PLACE_BITS)) - 1)]
    }
}

/// Where the program's own code is.
#[derive(Clone, Copy, Debug)]
struct Text {
    base: usize,
    start: usize,
    end: usize,
}

/// A number that two processes share exactly if they are of the same build: the linker's own, or else how the program's
/// text is laid out.
#[must_use]
pub fn build_id() -> u64 {
    static ID: OnceLock<u64> = OnceLock::new();
    *ID.get_or_init(|| loaded().map_or(0, |found| found.1))
}

fn place(address: usize) -> Option<Place> {
    let text = text()?;
    let place = (address.checked_sub(text.base)?) as u64;
    ((text.start..text.end).contains(&address) && place >> PLACE_BITS == 0).then_some(Place(place))
}

fn address(Place(place): Place) -> Option<*const c_void> {
    let text = text()?;
    let address = text.base.checked_add(usize::try_from(place).ok()?)?;
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

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().copied().fold(FNV_OFFSET, fnv1a_step)
}

fn fnv1a_step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn triple(n: u64) -> u64 {
        3 * n
    }

    fn call(function: fn(u64) -> u64, args: &[u8]) -> Result<Vec<u8>, String> {
        let n = u64::from_le_bytes(args.try_into().map_err(|_| "eight bytes")?);
        Ok(function(n).to_le_bytes().to_vec())
    }

    fn shout(function: fn(String) -> String, args: &[u8]) -> Result<Vec<u8>, String> {
        Ok(function(String::from_utf8_lossy(args).into_owned()).into_bytes())
    }

    #[test]
    fn a_function_and_its_caller_are_found_by_their_numbers() {
        let received = |errand: Option<Errand>| Errand::received(errand.unwrap().numbers()).unwrap();
        let called = received(Errand::of(call, triple)).run(&14_u64.to_le_bytes());
        assert_eq!(called, Ok(42_u64.to_le_bytes().to_vec()));
        let called = received(Errand::of(call, |n| n + 1)).run(&1_u64.to_le_bytes());
        assert_eq!(called, Ok(2_u64.to_le_bytes().to_vec()), "a closure that captures nothing");
        let called = received(Errand::of(shout, |text| text.to_uppercase())).run(b"hello");
        assert_eq!(called, Ok(b"HELLO".to_vec()));
    }

    #[test]
    fn what_is_not_of_this_program_has_no_place() {
        // SAFETY: only its address is looked at.
        let foreign: fn(u64) -> u64 = unsafe { std::mem::transmute(libc::abs as *const ()) };
        assert_eq!(Errand::of(call, foreign), None);
        assert_eq!(address(Place(0)), None, "the header of the program is no code");
        assert_eq!(address(Place(u64::MAX)), None);
    }

    #[test]
    fn numbers_that_were_not_made_together_are_those_of_nothing() {
        let numbers = Errand::of(call, triple).unwrap().numbers();
        let [caller, function] = numbers;
        let others = Errand::of(shout, |text| text.to_lowercase()).unwrap().numbers();
        for mixed in [[0, 0], [u64::MAX; 2], [function, caller], [caller, others[1]], [others[0], function]] {
            assert_eq!(Errand::received(mixed), None, "{mixed:x?}");
        }
        for bit in 0..128 {
            let mut bent = numbers;
            bent[bit / 64] ^= 1 << (bit % 64);
            assert_eq!(Errand::received(bent), None, "bit {bit}");
        }
        // Two places of this program's code, without a seal.
        let bare = numbers.map(|number| number & ((1 << PLACE_BITS) - 1));
        assert_eq!(Errand::received(bare), None);
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
