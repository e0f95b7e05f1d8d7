//! Locks and the like between processes that are killed, tried with real ones.

mod kit;

use brigade::sync::{
    Barrier, BarrierError, BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore, watch_locks_with,
};
use brigade::{Job, Pool, Process, StartMethod, TaskError};
use kit::{METHODS, kill, tireless};
use std::collections::BTreeSet;
use std::process;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

brigade::test_entry!(in_tests);

const LONG: Duration = Duration::from_secs(60);

/// Whose calls die with their workers.
fn fragile(procs: u32, method: StartMethod) -> Pool {
    in_tests();
    Pool::builder().procs(procs).attempts(1).start_method(method).build().expect("a pool")
}

fn is_lost<R: brigade::Value>(job: Job<R>) -> bool {
    matches!(job.join(), Err(TaskError::Quarantined { .. }))
}

fn hang() -> ! {
    loop {
        thread::park();
    }
}

/// What a call of a storm brings: who did it, and what it counted.
type Gust = (u32, u64);

/// Kills so many workers at random moments while they do `call` again and again.
fn storm<A: brigade::Value + Clone>(kills: usize, call: fn(A) -> Gust, argument: A) -> u64 {
    let pool = tireless(3, StartMethod::Fork);
    let (mut killed, mut seed, mut sum) = (BTreeSet::new(), 0x9e37_79b9_7f4a_7c15_u64, 0);
    let mut gusts = pool.map_unordered(call, std::iter::repeat(argument)).chunk_size(1);
    while killed.len() < kills {
        let (pid, count) = gusts.next().expect("without end").expect("it is tried again");
        sum += count;
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        if killed.insert(pid) {
            // A pace: the moment is the point.
            thread::sleep(Duration::from_micros(seed % 1_000));
            kill("KILL", pid);
        }
    }
    sum
}

#[test]
fn a_lock_whose_holder_is_killed_goes_to_the_next_who_is_told() {
    for method in METHODS {
        let pool = fragile(1, method);
        let (lock, held) = (Lock::new().expect("a lock"), Event::new().expect("an event"));
        let job = pool.submit(
            |(lock, held): (Lock, Event)| {
                let _guard = lock.acquire();
                held.set();
                hang()
            },
            (lock.clone(), held.clone()),
        );
        let job: Job<()> = job;
        held.wait();
        let pid = job.pid().expect("it is lent");
        assert_eq!(lock.holder().expect("somebody").pid, pid, "{method:?}");
        assert!(lock.try_acquire().expect("nobody is dead yet").is_none());
        assert!(lock.acquire_timeout(Duration::from_millis(20)).expect("nor now").is_none());
        kill("KILL", pid);
        let died = lock.acquire().expect_err("its holder was killed");
        drop(died.into_inner());
        assert!(lock.acquire().is_ok(), "it is told once");
        assert!(is_lost(job));
    }
}

#[test]
fn locks_travel_several_levels_deep_and_in_whatever() {
    fn add(depth: u32, locks: Vec<(String, RLock)>) -> u32 {
        let _guards: Vec<_> = locks.iter().map(|(_, lock)| lock.acquire().expect("nobody dies")).collect();
        depth
    }
    fn deep((depth, locks): (u32, Vec<(String, RLock)>)) -> u32 {
        match depth {
            3 => add(depth, locks),
            _ => Pool::builder()
                .procs(1)
                .build()
                .expect("a pool")
                .submit(deep, (depth + 1, locks))
                .join()
                .expect("a depth"),
        }
    }
    let pool = tireless(1, StartMethod::Fork);
    let lock = RLock::new().expect("a lock");
    assert_eq!(pool.submit(deep, (0, vec![("a".into(), lock.clone()), ("b".into(), lock)])).join(), Ok(3));
}

#[test]
fn processes_get_all_of_it_in_their_argument_and_their_death_is_told() {
    type All = (Lock, RLock, Semaphore, Event, Condition, Barrier);
    fn meet((lock, rlock, semaphore, event, condition, barrier): All) {
        barrier.wait().expect("both come");
        let _held = (lock.acquire(), rlock.acquire(), semaphore.acquire(), condition.acquire());
        event.set();
        hang()
    }
    in_tests();
    for method in METHODS {
        let all: All = (
            Lock::new().unwrap(),
            RLock::new().unwrap(),
            Semaphore::new(1).unwrap(),
            Event::new().unwrap(),
            Condition::new().unwrap(),
            Barrier::new(2).unwrap(),
        );
        let process = Process::builder(meet, all.clone()).start_method(method).daemon(true).start().unwrap();
        let (lock, rlock, semaphore, event, condition, barrier) = all;
        barrier.wait().unwrap();
        event.wait();
        assert!(lock.try_acquire().unwrap().is_none() && condition.lock().try_acquire().unwrap().is_none());
        process.kill();
        assert!(lock.acquire().is_err() && rlock.acquire().is_err(), "{method:?}");
        assert!(semaphore.acquire().is_err() && condition.acquire().is_err());
        assert_eq!(barrier.wait(), Err(BarrierError::Died { pid: process.pid() }));
        process.join();
    }
}

#[test]
fn a_lock_is_never_lost_however_often_its_holders_are_killed() {
    let (lock, rlock) = (Lock::new().unwrap(), RLock::new().unwrap());
    let churn = |(lock, rlock): (Lock, RLock)| {
        let mut deaths = 0;
        for _ in 0..1_000 {
            let guard = lock.acquire();
            let inner = rlock.acquire();
            let again = rlock.acquire();
            deaths += u64::from(guard.is_err()) + u64::from(inner.is_err());
            drop((guard, inner, again));
        }
        (process::id(), deaths)
    };
    let deaths = storm(300, churn, (lock.clone(), rlock.clone()));
    assert!(deaths > 0, "of 300 who were killed, none had it");
    drop((lock.acquire_timeout(LONG), rlock.acquire_timeout(LONG)));
    assert!(lock.try_acquire().unwrap().is_some() && rlock.try_acquire().unwrap().is_some());
}

#[test]
fn a_semaphore_never_loses_permits_however_often_those_are_killed_who_have_some() {
    let semaphore = Semaphore::new(2).unwrap();
    let churn = |semaphore: Semaphore| {
        (process::id(), (0..1_000).map(|_| u64::from(semaphore.acquire().is_err())).sum())
    };
    let deaths = storm(300, churn, semaphore.clone());
    assert!(deaths > 0, "of 300 who were killed, none had one");
    let permits: Vec<_> = (0..2).map(|_| semaphore.acquire_timeout(LONG)).collect();
    let permits = permits.into_iter().filter_map(|got| got.unwrap_or_else(|died| Some(died.into_inner())));
    let permits: Vec<_> = permits.collect();
    assert_eq!((permits.len(), semaphore.available()), (2, 0));
    drop(permits);
    assert_eq!(semaphore.available(), 2, "no more than there were");
}

#[test]
fn nobody_waits_in_vain_on_a_condition_however_often_others_are_killed() {
    let condition = Condition::new().unwrap();
    let churn = |condition: Condition| {
        let mut woken = 0;
        for _ in 0..50 {
            let guard = condition.acquire().unwrap_or_else(|died| died.into_inner());
            let waited = condition.wait_timeout(guard, Duration::from_micros(500));
            let (guard, is_awake) = waited.unwrap_or_else(|died| died.into_inner());
            woken += u64::from(is_awake);
            condition.notify();
            drop(guard);
        }
        (process::id(), woken)
    };
    let woken = storm(300, churn, condition.clone());
    assert!(woken > 0);
    drop(condition.lock().acquire_timeout(LONG));
    assert!(condition.lock().try_acquire().unwrap().is_some());
}

#[test]
fn a_barrier_is_whole_after_a_reset_however_often_its_parties_are_killed() {
    let barrier = Barrier::new(2).unwrap();
    let churn = |barrier: Barrier| {
        let mut passed = 0;
        for _ in 0..50 {
            match barrier.wait_timeout(Duration::from_millis(20)) {
                Ok(_) => passed += 1,
                Err(_) => barrier.reset(),
            }
        }
        (process::id(), passed)
    };
    assert!(storm(200, churn, barrier.clone()) > 0);
    let is_passed = || {
        thread::scope(|scope| {
            let other = scope.spawn(|| barrier.wait_timeout(LONG));
            barrier.wait_timeout(LONG).is_ok() && other.join().unwrap().is_ok()
        })
    };
    barrier.reset();
    // Of those who were killed last it is told perhaps once more.
    assert!(
        is_passed()
            || (0..3).any(|_| {
                barrier.reset();
                is_passed()
            })
    );
}

#[test]
fn permits_of_the_dead_come_back_and_whoever_gets_one_is_told() {
    for method in METHODS {
        let pool = fragile(1, method);
        let (semaphore, held) = (Semaphore::new(2).unwrap(), Event::new().unwrap());
        let job = pool.submit(
            |(semaphore, held): (Semaphore, Event)| {
                let _permits = [semaphore.acquire(), semaphore.acquire()];
                held.set();
                hang()
            },
            (semaphore.clone(), held.clone()),
        );
        let job: Job<()> = job;
        held.wait();
        assert_eq!(semaphore.available(), 0);
        assert!(
            semaphore.acquire_timeout(Duration::from_millis(100)).unwrap().is_none(),
            "{method:?}: it lives"
        );
        kill("KILL", job.pid().unwrap());
        let one = semaphore.acquire().expect_err("from the dead");
        let two = semaphore.acquire().expect_err("from the dead");
        drop((one, two));
        assert_eq!(semaphore.available(), 2);
        assert!(semaphore.acquire().is_ok(), "it is told once for each");
        assert!(is_lost(job));
    }
}

#[test]
fn a_semaphore_counts_and_a_bounded_one_no_further_than_at_first() {
    let semaphore = Semaphore::new(0).unwrap();
    assert!(semaphore.try_acquire().unwrap().is_none());
    semaphore.release(3);
    semaphore.acquire().unwrap().forget();
    let kept = semaphore.acquire().unwrap();
    assert_eq!(semaphore.available(), 1);
    drop(kept);
    assert_eq!(semaphore.available(), 2);
    let bounded = BoundedSemaphore::new(1).unwrap();
    assert_eq!(
        bounded.release().unwrap_err().to_string(),
        "released more often than acquired: 1 permits are the most"
    );
    bounded.acquire().unwrap().forget();
    assert!(bounded.acquire_timeout(Duration::from_millis(1)).unwrap().is_none());
    assert_eq!((bounded.release(), bounded.available()), (Ok(()), 1));
    let other = bounded.clone();
    thread::spawn(move || drop(other.acquire())).join().unwrap();
    assert_eq!(bounded.available(), 1);
}

#[test]
fn an_event_wakes_all_who_wait_in_all_processes_until_it_is_cleared() {
    for method in METHODS {
        let pool = tireless(2, method);
        let (event, there) = (Event::new().unwrap(), Semaphore::new(0).unwrap());
        let wait = |(event, there): (Event, Semaphore)| {
            there.release(1);
            event.wait();
            event.wait_timeout(Duration::from_secs(3_600))
        };
        let jobs: Vec<_> = (0..2).map(|_| pool.submit(wait, (event.clone(), there.clone()))).collect();
        (0..2).for_each(|_| there.acquire().unwrap().forget());
        assert!(!event.is_set() && jobs.iter().all(|job| !job.is_done()));
        event.set();
        event.set();
        assert!(jobs.into_iter().all(|job| job.join() == Ok(true)), "{method:?}");
        event.clear();
        event.clear();
        assert!(!event.is_set() && !event.wait_timeout(Duration::from_millis(10)));
    }
}

#[test]
fn who_waits_for_an_event_is_woken_even_if_it_is_cleared_at_once() {
    let (event, there) = (Event::new().unwrap(), Semaphore::new(0).unwrap());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let before = event.clone();
            there.release(1);
            before.wait_timeout(LONG)
        });
        there.acquire().unwrap().forget();
        // It waits, or is about to: then it sees this one, or the next.
        while !waiting.is_finished() {
            event.set();
            event.clear();
            thread::yield_now();
        }
        assert!(waiting.join().unwrap());
    });
}

#[test]
fn a_condition_is_waited_for_across_processes_and_every_waiter_is_woken() {
    for method in METHODS {
        let pool = tireless(3, method);
        let (condition, there, go) =
            (Condition::new().unwrap(), Semaphore::new(0).unwrap(), Event::new().unwrap());
        let wait = |(condition, there, go): (Condition, Semaphore, Event)| {
            let guard = condition.acquire().unwrap();
            there.release(1);
            let guard = condition.wait_for(guard, || go.is_set()).unwrap();
            let (_guard, is_so) =
                condition.wait_for_timeout(guard, Duration::from_millis(5), || !go.is_set()).unwrap();
            is_so
        };
        let jobs: Vec<_> =
            (0..3).map(|_| pool.submit(wait, (condition.clone(), there.clone(), go.clone()))).collect();
        (0..3).for_each(|_| there.acquire().unwrap().forget());
        let guard = condition.acquire().unwrap();
        go.set();
        condition.notify();
        drop(guard);
        assert!(jobs.into_iter().all(|job| job.join() == Ok(false)), "{method:?}");
        let guard = condition.acquire().unwrap();
        let (_guard, is_awake) = condition.wait_timeout(guard, Duration::from_millis(5)).unwrap();
        assert!(!is_awake);
    }
}

#[test]
fn who_waits_on_a_condition_is_told_when_the_one_dies_who_was_to_notify() {
    let pool = fragile(1, StartMethod::Fork);
    let condition = Condition::new().unwrap();
    let guard = condition.acquire().unwrap();
    let job = pool.submit(
        |condition: Condition| {
            let _guard = condition.acquire();
            process::abort()
        },
        condition.clone(),
    );
    let job: Job<()> = job;
    // A wait may end without a reason, before somebody dies.
    let mut guard = Ok(guard);
    while let Ok(held) = guard {
        guard = condition.wait(held);
    }
    assert!(is_lost(job));
}

#[test]
fn all_who_wait_for_it_see_what_somebody_did_who_died_before_it_rang() {
    fn go_and_die((condition, go, has_lock): (Condition, Event, bool)) {
        let guard = condition.acquire().unwrap();
        go.set();
        drop((!has_lock).then_some(guard));
        process::abort()
    }
    for has_lock in [true, false] {
        let pool = fragile(1, StartMethod::Fork);
        let (condition, go, (done, all)) = (Condition::new().unwrap(), Event::new().unwrap(), channel());
        for _ in 0..3 {
            let (condition, go, done) = (condition.clone(), go.clone(), done.clone());
            thread::spawn(move || {
                let guard = condition.acquire().unwrap_or_else(|died| died.into_inner());
                let waited = condition.wait_for(guard, || go.is_set());
                drop(waited.unwrap_or_else(|died| died.into_inner()));
                done.send(()).unwrap();
            });
        }
        assert!(is_lost(pool.submit(go_and_die, (condition, go, has_lock))));
        assert!((0..3).all(|_| all.recv_timeout(LONG).is_ok()), "with the lock in hand: {has_lock}");
    }
}

#[test]
fn who_has_no_descriptor_left_to_look_at_itself_keeps_its_permit_while_it_lives() {
    const TEST: &str = "who_has_no_descriptor_left_to_look_at_itself_keeps_its_permit_while_it_lives";
    if std::env::var_os("FEW_FILES").is_some() {
        let semaphore = Semaphore::new(1).unwrap();
        let files: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        let permit = semaphore.acquire().unwrap();
        drop(files);
        assert!(semaphore.try_acquire().unwrap().is_none(), "whoever has it lives");
        drop(permit);
        assert_eq!(semaphore.available(), 1);
        return;
    }
    let own = std::env::current_exe().expect("this test has a file");
    let mut again = process::Command::new("sh");
    again.args(["-c", "ulimit -n 64 && exec \"$0\" --exact \"$1\""]).arg(own).arg(TEST);
    let told = again.env("FEW_FILES", "1").output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stdout));
}

#[test]
#[should_panic(expected = "of another lock")]
fn a_condition_refuses_the_guard_of_another_lock() {
    let (condition, lock) = (Condition::new().unwrap(), Lock::new().unwrap());
    drop(condition.wait(lock.acquire().unwrap()));
}

#[test]
fn a_barrier_lets_all_through_together_a_thousand_times() {
    fn rounds(barrier: Barrier) -> u64 {
        (0..1_000).map(|_| u64::from(barrier.wait().expect("nobody breaks it"))).sum()
    }
    for method in METHODS {
        let pool = tireless(3, method);
        let barrier = Barrier::new(4).unwrap();
        let jobs: Vec<_> = (0..3).map(|_| pool.submit(rounds, barrier.clone())).collect();
        let here = rounds(barrier.clone());
        let all: u64 = jobs.into_iter().map(|job| job.join().expect("a sum")).sum();
        assert_eq!(all + here, 1_000 * (1 + 2 + 3), "{method:?}: in each round they arrive in some order");
        assert_eq!((barrier.parties(), barrier.n_waiting(), barrier.broken()), (4, 0, None));
    }
}

#[test]
fn a_barrier_is_broken_by_abort_and_time_and_made_whole_by_reset() {
    let barrier = Barrier::new(2).unwrap();
    assert_eq!(barrier.wait_timeout(Duration::from_millis(5)), Err(BarrierError::TimedOut));
    assert_eq!(barrier.wait(), Err(BarrierError::TimedOut), "until it is reset");
    barrier.reset();
    let waits = |until: &dyn Fn()| {
        thread::scope(|scope| {
            let waiting = scope.spawn(|| barrier.wait());
            while barrier.n_waiting() == 0 {
                thread::yield_now();
            }
            until();
            waiting.join().unwrap()
        })
    };
    assert_eq!(waits(&|| barrier.abort()), Err(BarrierError::Aborted));
    barrier.reset();
    assert_eq!(waits(&|| barrier.reset()), Err(BarrierError::Reset));
    assert_eq!(waits(&|| assert_eq!(barrier.wait(), Ok(1))), Ok(0));
    assert!(Barrier::new(0).is_err());
}

#[test]
fn a_party_that_dies_breaks_the_barrier_in_a_wait_and_between_two() {
    for method in METHODS {
        let pool = fragile(2, method);
        let (barrier, between) = (Barrier::new(3).unwrap(), Event::new().unwrap());
        let doomed = pool.submit(
            |(barrier, between): (Barrier, Event)| {
                barrier.wait().expect("the first round");
                between.set();
                hang()
            },
            (barrier.clone(), between.clone()),
        );
        let doomed: Job<()> = doomed;
        let other = pool.submit(
            |barrier: Barrier| {
                barrier.wait().expect("the first round");
                format!("{:?}", barrier.wait())
            },
            barrier.clone(),
        );
        barrier.wait().expect("the first round");
        between.wait();
        let pid = doomed.pid().unwrap();
        kill("KILL", pid);
        assert_eq!(other.join(), Ok(format!("{:?}", Err::<(), _>(BarrierError::Died { pid }))), "{method:?}");
        assert_eq!(barrier.wait(), Err(BarrierError::Died { pid }));
        barrier.reset();
        assert_eq!(barrier.broken(), None, "it is told once");
        assert!(is_lost(doomed));
    }
}

#[test]
fn whoever_died_a_moment_before_the_last_one_came_is_not_let_through_with_it() {
    in_tests();
    for _ in 0..20 {
        let barrier = Barrier::new(2).unwrap();
        let wait = |barrier: Barrier| {
            let _ = barrier.wait();
        };
        let party = Process::builder(wait, barrier.clone()).start().unwrap();
        while barrier.n_waiting() == 0 {
            thread::yield_now();
        }
        assert_eq!(barrier.broken(), None, "all have just been looked for");
        party.kill();
        party.join();
        assert_eq!(barrier.wait(), Err(BarrierError::Died { pid: party.pid() }));
    }
}

#[test]
fn a_party_that_leaves_breaks_nothing() {
    let pool = tireless(1, StartMethod::Fork);
    let barrier = Barrier::new(2).unwrap();
    for _ in 0..3 {
        let job = pool.submit(|barrier: Barrier| (barrier.wait().is_ok(), process::id()), barrier.clone());
        assert!(barrier.wait().is_ok());
        let (is_through, pid) = job.join().expect("it comes back");
        kill("KILL", pid);
        assert!(is_through);
    }
}

#[test]
fn locks_taken_in_both_orders_are_reported_here_and_across_processes() {
    let (sender, reports) = channel();
    // Other tests have locks, too.
    watch_locks_with(move |report| {
        let report = report.to_string();
        if report.contains("watched-") {
            drop(sender.send(report));
        }
    });
    let (first, second, third) = (
        Lock::named("watched-first").unwrap(),
        Lock::named("watched-second").unwrap(),
        Lock::named("watched-third").unwrap(),
    );
    let both = |one: &Lock, two: &Lock| {
        let _one = one.acquire().unwrap();
        drop(two.acquire().unwrap());
    };
    both(&first, &second);
    both(&second, &third);
    assert!(reports.try_recv().is_err());
    both(&third, &first);
    let report = reports.try_recv().expect("it goes round by three");
    assert!(report.contains("watched-third#") && report.contains("watched-first#"), "{report}");
    assert_eq!(report.matches("tests/sync.rs:").count(), 2, "{report}");
    let pool = tireless(1, StartMethod::Fork);
    let (one, two) = (Lock::named("watched-one").unwrap(), RLock::named("watched-two").unwrap());
    let job = pool.submit(
        |(one, two): (Lock, RLock)| {
            let _two = two.acquire().unwrap();
            drop(one.acquire().unwrap());
        },
        (one.clone(), two.clone()),
    );
    job.join().unwrap();
    let guard = one.acquire().unwrap();
    drop(two.acquire().unwrap());
    let report = reports.try_recv().expect("a worker had them in the other order");
    assert!(report.contains("watched-one#") && report.contains("watched-two#"), "{report}");
    let other = one.clone();
    let waiting = thread::spawn(move || drop(other.acquire()));
    let report = reports.recv_timeout(LONG).expect("somebody waits");
    let words = format!("held by process {}, thread ", process::id());
    assert!(
        report.contains("lock watched-one#") && report.contains(&words) && report.contains(", for "),
        "{report}"
    );
    drop(guard);
    waiting.join().unwrap();
    brigade::sync::watch_locks(false);
}

#[test]
fn a_variable_of_the_environment_has_locks_watched_and_told_on_stderr() {
    const TEST: &str = "a_variable_of_the_environment_has_locks_watched_and_told_on_stderr";
    if std::env::var_os("BRIGADE_WATCH_LOCKS").is_some() {
        let (one, two) = (Lock::named("left").unwrap(), Lock::named("right").unwrap());
        drop((one.acquire(), two.acquire()));
        drop((two.acquire(), one.acquire()));
        return;
    }
    let own = std::env::current_exe().expect("this test has a file");
    let mut again = process::Command::new(own);
    let told = again.args(["--exact", TEST, "--nocapture"]).env("BRIGADE_WATCH_LOCKS", "1").output().unwrap();
    let words = String::from_utf8_lossy(&told.stderr);
    let lines: Vec<&str> = words.lines().filter(|line| line.starts_with("lock order: ")).collect();
    assert!(told.status.success() && lines.len() == 1 && lines[0].contains("left#"), "{words}");
}
