//! Seeded storms over a simulated disk. `STORM_SCHEDULES` sets how many, `STORM_SEED` replays one.

pub(crate) mod dice;
pub(crate) mod disk;
mod expected;
pub(crate) mod world;

use std::{env, panic, thread};
use world::{Weather, World};

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

fn live(seed: u64) -> Weather {
    panic::catch_unwind(|| World::live(seed)).unwrap_or_else(|cause| {
        eprintln!("replay with: STORM_SEED={seed} cargo test -p brigade-journal storm");
        panic::resume_unwind(cause)
    })
}

#[test]
fn nothing_promised_is_lost_and_nothing_invented_whatever_befalls_process_and_disk() {
    if let Some(seed) = number("STORM_SEED") {
        println!("{:?}", live(seed));
        return;
    }
    let schedules = number("STORM_SCHEDULES").unwrap_or(100_000);
    let share = thread::available_parallelism().map_or(1, usize::from);
    let sail =
        move |first: u64| (first..schedules).step_by(share).map(live).fold(Weather::default(), Weather::and);
    let sailors: Vec<_> = (0..share).map(|first| thread::spawn(move || sail(first as u64))).collect();
    let weather = sailors
        .into_iter()
        .map(|sailor| sailor.join().unwrap_or_else(|cause| panic::resume_unwind(cause)))
        .fold(Weather::default(), Weather::and);
    println!("{schedules} schedules: {weather:?}");
    assert_a_storm(&weather, schedules);
}

/// A sea without waves proves nothing.
fn assert_a_storm(weather: &Weather, schedules: u64) {
    let (tenth, hundredth) = (schedules / 10, schedules / 100);
    assert!(weather.lives > schedules && weather.records > 5 * schedules, "{weather:?}");
    assert!(weather.shared > schedules / 4, "{weather:?}");
    assert!(weather.power_losses > tenth && weather.bends > tenth && weather.refused > tenth, "{weather:?}");
    assert!(
        weather.torn > tenth && weather.full > hundredth && weather.failed_syncs > hundredth,
        "{weather:?}"
    );
    assert!(weather.unborn > hundredth && weather.lost_unsynced > hundredth, "{weather:?}");
}
