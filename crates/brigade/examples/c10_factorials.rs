//! C10: the factorials of 100,000, 200,000, 300,000 and 400,000, each in a process of its own.

mod article;

use article::{seconds, sized, timed};
use brigade::Pool;
use num_bigint::BigUint;
use std::error::Error;

/// All numbers from `first` to `last`, multiplied by halves, so that the factors are of one size.
fn product(first: u64, last: u64) -> BigUint {
    if last - first < 16 {
        return (first..=last).map(BigUint::from).product();
    }
    let middle = (first + last) / 2;
    product(first, middle) * product(middle + 1, last)
}

fn factorial(n: u64) -> BigUint {
    product(1, n)
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let numbers = [1, 2, 3, 4].map(|i| sized(i * 100_000));
    let pool = Pool::builder().procs(4).build()?;
    let (factorials, time) = timed(|| pool.map(factorial, numbers).collect::<Result<Vec<_>, _>>());
    let factorials = factorials?;

    for (n, factorial) in numbers.iter().zip(&factorials) {
        println!("{n}! has {} bits", factorial.bits());
    }
    assert_eq!(factorials[0], factorial(numbers[0]));
    for i in 1..4 {
        assert_eq!(factorials[i], &factorials[i - 1] * product(numbers[i - 1] + 1, numbers[i]));
    }
    seconds([time]);
    Ok(())
}
