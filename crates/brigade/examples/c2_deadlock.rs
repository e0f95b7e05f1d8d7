//! C2: two processes need the same two locks, and take them in opposite order: a deadlock, if neither gave up. Who waits too
//! long for the second gives the first back, and tries again. And what is better: one order for all, which `watch_locks` holds.

mod article;

use article::{second, seconds, timed};
use brigade::Pool;
use brigade::sync::{Barrier, Lock, watch_locks, watch_locks_with};
use std::error::Error;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Takes both, and says at which try.
fn take_both((first, second, both_begin, patience): (Lock, Lock, Barrier, Duration)) -> u32 {
    for tried in 1.. {
        let _first = first.acquire().expect("nobody dies with it");
        if tried == 1 {
            both_begin.wait().expect("nobody dies before");
        }
        if let Some(_second) = second.acquire_timeout(patience).expect("nobody dies with it") {
            return tried;
        }
    }
    unreachable!("it tries for ever")
}

/// Takes one within the other.
fn nest(outer: &Lock, inner: &Lock) {
    let _outer = outer.acquire().expect("nobody dies with it");
    let _inner = inner.acquire().expect("nobody dies with it");
}

/// How many inversions are reported of two that are taken in one order, and then in the other.
fn inversions() -> Result<[usize; 2], Box<dyn Error>> {
    let (a, b) = (Lock::new()?, Lock::new()?);
    let (sender, reports) = channel();
    watch_locks_with(move |report| drop(sender.send(report.to_string())));
    nest(&a, &b);
    nest(&a, &b);
    let in_order = reports.try_iter().count();
    nest(&b, &a);
    watch_locks(false);
    let inverted: Vec<String> = reports.try_iter().collect();
    inverted.iter().for_each(|report| println!("{report}"));
    Ok([in_order, inverted.len()])
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let pool = Pool::builder().procs(2).build()?;
    let (a, b, both_begin) = (Lock::new()?, Lock::new()?, Barrier::new(2)?);
    let (short, long) = (second() / 10, 10 * second());

    let patient = pool.submit(take_both, (a.clone(), b.clone(), both_begin.clone(), long));
    let hasty = pool.submit(take_both, (b, a, both_begin, short));
    let (tries, time) = timed(|| Ok::<_, brigade::TaskError>([patient.join()?, hasty.join()?]));
    let [patient, hasty] = tries?;

    println!("the patient one has both at try {patient}, the hasty one at try {hasty}");
    assert!(patient == 1 && hasty > 1);
    assert_eq!(inversions()?, [0, 1]);
    seconds([time]);
    Ok(())
}
