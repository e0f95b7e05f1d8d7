//! Functions of several arguments as functions of one tuple, so that their place can be sent as that of any other.

use std::mem::size_of;
use std::ptr::NonNull;

/// What can be called with the parts of `T`, a tuple of two, three or four.
pub trait Spread<T>: Copy + Send + Sync + 'static {
    /// What it returns.
    type Output;

    /// Calls it.
    fn spread(self, arguments: T) -> Self::Output;
}

macro_rules! spread {
    ($($name:ident)+) => {
        impl<F, R, $($name),+> Spread<($($name,)+)> for F
        where
            F: Fn($($name),+) -> R + Copy + Send + Sync + 'static,
        {
            type Output = R;

            #[allow(non_snake_case, reason = "an argument has the name of its type here")]
            fn spread(self, ($($name,)+): ($($name,)+)) -> R {
                self($($name),+)
            }
        }
    };
}

spread!(A B);
spread!(A B C);
spread!(A B C D);

/// The same function, of one tuple. `function` is named, or a closure that captures nothing: any other is refused when the
/// program is built, for a plain function has no place for what was captured.
///
/// ```
/// # use brigade_os::spread::of_tuple;
/// fn add(a: u32, b: u32) -> u32 { a + b }
/// let add_pair: fn((u32, u32)) -> u32 = of_tuple(add);
/// assert_eq!(add_pair((1, 2)), 3);
/// ```
///
/// ```compile_fail
/// # use brigade_os::spread::of_tuple;
/// let three = 3;
/// let add: fn((u32, u32)) -> u32 = of_tuple(move |a: u32, b: u32| a + b + three);
/// ```
#[must_use]
pub fn of_tuple<F: Spread<T>, T>(function: F) -> fn(T) -> F::Output {
    fn call<F: Spread<T>, T>(arguments: T) -> F::Output {
        // SAFETY: `F` has no bytes, which is asserted where `call` is named, so any aligned pointer reads one. That there is
        // a value at all was seen there, too; it is `Copy` and outlives everything, so there may be one more, and `Send`
        // and `Sync`, so there may be one anywhere.
        let function = unsafe { NonNull::<F>::dangling().read() };
        function.spread(arguments)
    }
    const {
        assert!(
            size_of::<F>() == 0,
            "a function that goes to a worker captures nothing, and is named: a pointer is not enough"
        );
    }
    let _seen: F = function;
    call::<F, T>
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(a: u8, b: &'static str, c: Option<char>, d: bool) -> String {
        format!("{a} {b} {c:?} {d}")
    }

    #[test]
    fn functions_of_two_three_and_four_are_functions_of_a_tuple() {
        assert_eq!(of_tuple(u32::pow)((2, 10)), 1_024);
        assert_eq!(of_tuple(|a: u32, b: u32, c: u32| a * b + c)((2, 3, 4)), 10);
        assert_eq!(of_tuple(told)((1, "b", Some('c'), true)), "1 b Some('c') true");
    }
}
