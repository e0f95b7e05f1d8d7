//! A way into a program before its `main`, where somebody else owns that.

/// Has the loader call a function before `main`, as it calls constructors of C++: for programs whose `main` is libtest's.
/// There is one thread then, and the program's arguments and environment can be read; `std` has set up nothing else yet.
///
/// ```
/// # mod program {
/// fn enter() {
///     assert_eq!(std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count), 1);
/// }
/// brigade_os::before_main!(enter);
/// # }
/// ```
#[macro_export]
macro_rules! before_main {
    ($enter:path) => {
        const _: () = {
            // Items of a macro are not hygienic: a name that nobody passes.
            extern "C" fn __brigade_before_main() {
                $enter();
            }

            // The linker keeps what is `used`, in the program itself: nothing depends on what else is linked.
            #[used]
            #[unsafe(link_section = ".init_array")]
            static __BRIGADE_ENTER: extern "C" fn() = __brigade_before_main;
        };
    };
}
