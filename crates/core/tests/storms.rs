//! Seeded storms: a hundred thousand short runs, each with its own faults. `STORM_SCHEDULES` sets how many,
//! `STORM_SEED` replays one.

mod storm;

use brigade_core::Core;
use std::env;
use std::panic;
use std::thread;
use storm::{Weather, World};

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

fn live(seed: u64) -> Weather {
    let outcome = panic::catch_unwind(|| World::live(seed, Core::new));
    outcome.unwrap_or_else(|cause| {
        eprintln!("replay with: STORM_SEED={seed} cargo test -p brigade-core --test storms");
        panic::resume_unwind(cause)
    })
}

fn and(one: Weather, other: Weather) -> Weather {
    Weather {
        events: one.events + other.events,
        births: one.births + other.births,
        deaths: one.deaths + other.deaths,
        shared: one.shared + other.shared,
        hangs: one.hangs + other.hangs,
        echoes: one.echoes + other.echoes,
        unsent: one.unsent + other.unsent,
        unborn: one.unborn + other.unborn,
        sleeps: one.sleeps + other.sleeps,
        recycled: one.recycled + other.recycled,
        resized: one.resized + other.resized,
        lost: one.lost + other.lost,
        found: one.found + other.found,
        bloated: one.bloated + other.bloated,
        retried: one.retried + other.retried,
        recalled: one.recalled + other.recalled,
        cancelled: one.cancelled + other.cancelled,
        revoked: one.revoked + other.revoked,
        taken_back: one.taken_back + other.taken_back,
        timed_out: one.timed_out + other.timed_out,
        late_together: one.late_together + other.late_together,
        stuck: one.stuck + other.stuck,
        quarantined: one.quarantined + other.quarantined,
        split: one.split + other.split,
        halted: one.halted + other.halted,
        complete: one.complete + other.complete,
        steps_max: one.steps_max.max(other.steps_max),
    }
}

/// Every `share`-th seed, starting at this one.
fn sail(first: u64, schedules: u64, share: usize) -> Weather {
    (first..schedules).step_by(share).map(live).fold(Weather::default(), and)
}

#[test]
fn every_task_is_settled_exactly_once_whatever_befalls_its_workers() {
    if let Some(seed) = number("STORM_SEED") {
        println!("{:?}", live(seed));
        return;
    }
    let schedules = number("STORM_SCHEDULES").unwrap_or(100_000);
    let share = thread::available_parallelism().map_or(1, usize::from);
    let sailors: Vec<_> =
        (0..share).map(|first| thread::spawn(move || sail(first as u64, schedules, share))).collect();
    let weather = sailors
        .into_iter()
        .map(|sailor| sailor.join().unwrap_or_else(|cause| panic::resume_unwind(cause)))
        .fold(Weather::default(), and);
    println!("{schedules} schedules: {weather:?}");
    assert_a_storm(&weather, schedules);
}

/// A sea without waves proves nothing.
fn assert_a_storm(weather: &Weather, schedules: u64) {
    let tenth = schedules / 10;
    assert!(weather.deaths > schedules && weather.complete > schedules / 2, "{weather:?}");
    assert!(weather.hangs > tenth && weather.echoes > tenth && weather.unsent > tenth, "{weather:?}");
    assert!(weather.sleeps > tenth && weather.retried > tenth && weather.recalled > tenth, "{weather:?}");
    assert!(weather.recycled > tenth && weather.bloated > tenth && weather.stuck > tenth, "{weather:?}");
    assert!(weather.cancelled > tenth && weather.revoked > tenth / 20, "{weather:?}");
    assert!(weather.taken_back > tenth / 20 && weather.shared > tenth, "{weather:?}");
    assert!(weather.late_together > tenth / 20, "{weather:?}");
    assert!(weather.halted > tenth / 4 && weather.split > tenth, "{weather:?}");
    assert!(weather.resized > tenth && weather.lost > tenth / 2 && weather.found > tenth / 20, "{weather:?}");
    assert!(
        weather.unborn > tenth && weather.quarantined > tenth && weather.timed_out > tenth,
        "{weather:?}"
    );
}
