//! Tasks of a user.
#![forbid(unsafe_code)]

/// The sum of a range.
pub fn range_sum((from, to): (u64, u64)) -> u64 {
    (from..to).sum()
}

/// How many words a text has.
pub fn word_count(text: String) -> usize {
    text.split_whitespace().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    brigade::test_entry!(in_tests);

    #[test]
    fn unit_tests_may_have_pools() {
        in_tests();
        let pool = brigade::Pool::builder().procs(2).build().unwrap();
        let counts: Result<Vec<usize>, _> = pool.map(word_count, ["a b", "c", ""].map(String::from)).collect();
        assert_eq!(counts, Ok(vec![2, 1, 0]));
    }

    #[test]
    fn another_unit_test_may_have_one_beside_it() {
        in_tests();
        let pool = brigade::Pool::builder().procs(1).build().unwrap();
        assert_eq!(pool.submit(range_sum, (0, 10)).join(), Ok(45));
    }
}
