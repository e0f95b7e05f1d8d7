//! What a pool offers beside plain calls, tried with real processes.

use brigade::{Pool, TaskError};
use std::process;

brigade::test_entry!(in_tests);

fn pool(procs: u32) -> Pool {
    in_tests();
    Pool::builder().procs(procs).build().expect("a pool")
}

fn print_sum(a: u64, b: u64) -> u64 {
    println!("{}", a + b);
    a + b
}

fn volume(a: u32, b: u32, c: u32) -> (u32, u32) {
    (a * b * c, process::id())
}

#[test]
fn a_function_of_several_arguments_is_mapped_over_tuples() {
    let pool = pool(2);
    let sums: Result<Vec<u64>, TaskError> = pool.starmap(print_sum, [(1, 2), (2, 3), (3, 4)]).collect();
    assert_eq!(sums, Ok(vec![3, 5, 7]));
    for (at, one) in (1..).zip(pool.starmap(volume, (1..20).map(|n| (n, 2, 3))).chunk_size(4)) {
        let (volume, pid) = one.expect("a volume");
        assert!(volume == at * 6 && pid != process::id());
    }
    let four = |a: String, b: u8, c: Option<u8>, d: bool| format!("{a} {b} {c:?} {d}");
    assert_eq!(pool.apply_async(four, ("a".into(), 2, None, true)).join(), Ok("a 2 None true".into()));
    let lost = pool.apply_async(|a: u32, b: u32| a / b, (1, 0)).join();
    assert!(matches!(lost, Err(TaskError::Panicked { .. })), "{lost:?}");
}
