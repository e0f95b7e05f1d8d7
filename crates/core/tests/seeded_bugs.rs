//! Proof that the storms see something: each known bug is built in, and caught within some
//! thousand schedules. `cargo test -p brigade-core --features seeded-bugs`

mod storm;

use brigade_core::{Bug, Core};
use std::panic;
use storm::World;

/// A bug that hides longer than this would hide in an ordinary run of the storms as well.
const SEEDS_MAX: u64 = 20_000;

/// The first seed whose storm sees the bug, and what it says.
fn first_to_see(bug: Bug) -> Option<(u64, String)> {
    (0..SEEDS_MAX).find_map(|seed| {
        let outcome = panic::catch_unwind(|| World::live(seed, |policy| Core::with_bug(policy, bug)));
        outcome.err().map(|cause| (seed, said(cause.as_ref())))
    })
}

fn said(cause: &(dyn std::any::Any + Send)) -> String {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("?");
    text.lines().take(3).collect::<Vec<_>>().join(" ").chars().take(90).collect()
}

#[test]
fn every_seeded_bug_is_caught_by_the_storms() {
    panic::set_hook(Box::new(|_| {}));
    let sightings: Vec<_> = Bug::ALL.iter().map(|&bug| (bug, first_to_see(bug))).collect();
    drop(panic::take_hook());
    for (bug, sighting) in &sightings {
        match sighting {
            Some((seed, said)) => println!("{bug:?}: seed {seed}: {said}"),
            None => println!("{bug:?}: never seen"),
        }
    }
    let unseen: Vec<_> = sightings.iter().filter(|(_, sighting)| sighting.is_none()).collect();
    assert!(unseen.is_empty(), "the storms are blind to {unseen:?}");
}
