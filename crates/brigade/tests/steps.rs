//! Killed at any instruction: copies of this process do one thing each, and are killed after 1, 2, 3 … instructions of it.
//! Some of them in every run, evenly; `STEPS=n` says how many.

use brigade::shared::{SharedArray, SharedValue};
use brigade::sync::{Barrier, Condition, Event, Lock, RLock, Semaphore};
use brigade_os::steps::killed_after;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// Kills `body` at so many places, and has `check` look after each.
fn sweep(body: impl Fn(), check: impl Fn(u64)) {
    let kills: u64 = std::env::var("STEPS").map_or(8, |kills| kills.parse().expect("STEPS is a number"));
    let (all, has_ended) = killed_after(None, &body);
    assert!(has_ended && all > 100, "{all} instructions");
    check(all);
    for kill in 0..kills.min(all) {
        let at = all * kill / kills.min(all);
        killed_after(Some(at), &body);
        check(at);
    }
}

#[test]
fn a_lock_is_had_by_the_next_wherever_its_holder_is_killed() {
    let (lock, rlock) = (Lock::new().unwrap(), RLock::new().unwrap());
    let body = || {
        let _guards = (lock.acquire(), rlock.acquire(), rlock.acquire());
    };
    sweep(body, |at| {
        let (guard, rguard) = (lock.acquire_timeout(LONG), rlock.acquire_timeout(LONG));
        assert!(!matches!(guard, Ok(None)) && !matches!(rguard, Ok(None)), "killed at {at}");
    });
}

#[test]
fn a_semaphore_has_all_its_permits_wherever_a_holder_is_killed() {
    let semaphore = Semaphore::new(2).unwrap();
    sweep(
        || drop((semaphore.acquire(), semaphore.acquire())),
        |at| {
            let permits = [(); 2]
                .map(|()| semaphore.acquire_timeout(LONG).unwrap_or_else(|died| Some(died.into_inner())));
            assert!(permits.iter().all(Option::is_some), "killed at {at}");
            assert_eq!(semaphore.available(), 0, "killed at {at}");
        },
    );
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn a_spent_permit_is_spent_or_back_wherever_its_spender_is_killed() {
    let semaphore = Semaphore::new(1).unwrap();
    let body = || semaphore.acquire().unwrap_or_else(|died| died.into_inner()).forget();
    sweep(body, |at| {
        // Back within some tens of milliseconds, or never.
        let permit = semaphore
            .acquire_timeout(Duration::from_millis(300))
            .unwrap_or_else(|died| Some(died.into_inner()));
        assert_eq!(semaphore.available(), 0, "killed at {at}");
        if permit.is_none() {
            semaphore.release(1);
        }
    });
    assert_eq!(semaphore.available(), 1);
}

#[test]
fn an_element_is_old_or_new_wherever_its_writer_is_killed() {
    let array = SharedArray::<[u32; 5]>::zeroed(3).unwrap();
    sweep(
        || {
            let old = array.get(1)[0];
            array.set(1, [old + 1; 5]);
        },
        |at| {
            let all = array.to_vec();
            assert!(all[1].iter().all(|one| *one == all[1][0]), "killed at {at}: {all:?}");
            assert_eq!((all[0], all[2]), ([0; 5], [0; 5]), "killed at {at}");
        },
    );
}

#[test]
fn every_element_is_whole_wherever_somebody_is_killed_who_replaces_all() {
    let array = SharedArray::<[u64; 16]>::zeroed(2).unwrap();
    sweep(
        || {
            let guard = array.lock().unwrap_or_else(|died| died.into_inner());
            let next = guard.get(0)[0] + 1;
            guard.copy_from_slice(&[[next; 16]; 2]);
        },
        |at| {
            let all = array.to_vec();
            assert!(all.iter().all(|one| one.iter().all(|part| *part == one[0])), "killed at {at}: {all:?}");
        },
    );
}

#[test]
fn the_next_is_told_of_a_death_with_a_guard_wherever_whoever_was_to_be_told_is_killed() {
    let array = SharedArray::new(&[0_u8]).unwrap();
    let die_with_it = || std::mem::forget(array.lock());
    killed_after(None, die_with_it);
    sweep(die_with_it, |at| {
        assert!(array.lock().is_err(), "killed at {at}");
        killed_after(None, die_with_it);
    });
}

#[test]
fn an_update_is_done_or_not_wherever_it_is_killed_and_a_guard_is_told() {
    let (value, pair) = (SharedValue::new(0_u16).unwrap(), SharedArray::new(&[0_u64, 0]).unwrap());
    let before = std::cell::Cell::new(0);
    sweep(
        || {
            value.update(|value| value + 1);
            let guard = pair.lock().unwrap_or_else(|died| died.into_inner());
            guard.set(0, guard.get(0) + 1);
            guard.set(1, guard.get(1) + 1);
        },
        |at| {
            let now = value.get();
            assert!([before.get(), before.get() + 1].contains(&now), "killed at {at}: {now}");
            before.set(now);
            match pair.lock() {
                Ok(guard) => assert_eq!(guard.get(0), guard.get(1), "killed at {at}, and nobody was told"),
                Err(died) => died.into_inner().copy_from_slice(&[0, 0]),
            }
        },
    );
}

#[test]
fn an_event_and_a_condition_wake_others_wherever_somebody_is_killed() {
    let (event, condition) = (Event::new().unwrap(), Condition::new().unwrap());
    sweep(
        || {
            event.set();
            event.wait();
            let guard = condition.acquire().unwrap_or_else(|died| died.into_inner());
            condition.notify();
            let _ = condition.wait_timeout(guard, Duration::ZERO);
            event.clear();
        },
        |at| {
            event.set();
            assert!(event.wait_timeout(LONG), "killed at {at}");
            event.clear();
            assert!(!event.is_set());
            let guard = condition.acquire().unwrap_or_else(|died| died.into_inner());
            drop(condition.wait_timeout(guard, Duration::from_micros(1)));
        },
    );
}

#[test]
fn a_barrier_is_passed_or_says_who_died_wherever_a_party_is_killed() {
    let barrier = Barrier::new(1).unwrap();
    sweep(
        || {
            let _ = barrier.wait();
            barrier.reset();
        },
        |at| {
            let is_passed = |_| {
                barrier.reset();
                barrier.wait_timeout(LONG).is_ok()
            };
            assert!((0..3).any(is_passed), "killed at {at}");
        },
    );
}
