//! The function of a process captures nothing: what it needs is its argument.

use brigade::Process;

fn main() {
    let factor = 3;
    drop(Process::builder(|n: u32| println!("{}", n * factor), 2).start());
}
