//! Integration tests of a user.

brigade::test_entry!(in_tests);

#[test]
fn integration_tests_may_have_pools() {
    in_tests();
    let pool = brigade::Pool::builder().procs(2).build().unwrap();
    assert_eq!(pool.submit(consumer::range_sum, (0, 10)).join(), Ok(45));
}

#[test]
fn the_worker_program_is_called_by_name() {
    let pool = brigade::Pool::builder().procs(2).worker(env!("CARGO_BIN_EXE_w")).build().unwrap();
    let word_count = pool.task::<String, usize>("word_count").unwrap();
    assert_eq!(word_count.submit("to be or not".into()).join(), Ok(4));
    let none = pool.task::<String, usize>("words").unwrap_err().to_string();
    assert!(none.ends_with("w has no task `words`; it has: range_sum((u64, u64)) -> u64, word_count(alloc::string::String) -> usize"), "{none}");
}
