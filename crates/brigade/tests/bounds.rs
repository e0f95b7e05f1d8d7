//! What a pool takes of memory and of disk stays within bounds, however long it is held.

use brigade::Pool;
use std::fs;
use std::path::Path;
use std::process;
use std::time::Duration;

brigade::test_entry!(in_tests);

fn pool(procs: u32) -> Pool {
    in_tests();
    Pool::builder().procs(procs).build().expect("a pool")
}

fn calls(pool: &Pool) -> u64 {
    pool.loads().iter().map(|load| load.calls).sum()
}

#[test]
fn chunks_are_as_large_as_their_results_allow() {
    let pool_here = pool(2);
    let long = |n: u32| "x".repeat(100_000 + n as usize);
    assert!(
        (0..64)
            .zip(pool_here.map(long, 0..64))
            .all(|(n, text)| text.map(|text| text.len()) == Ok(100_000 + n))
    );
    assert_eq!(calls(&pool_here), 64, "one each");
    let pool_here = pool(2);
    assert_eq!(pool_here.map(|n: u32| n, 0..50_000).map(Result::ok).collect::<Vec<_>>().len(), 50_000);
    assert!(calls(&pool_here) < 200, "{} calls for 50,000 short results", calls(&pool_here));
    let pool_here = pool(2);
    let later = |n: u32| "x".repeat(if n < 1_000 { 1 } else { 10_000 });
    assert_eq!(pool_here.map(later, 0..2_000).filter(Result::is_ok).count(), 2_000);
    let least = 1_000 * 10_000 / (64 << 10);
    assert!(calls(&pool_here) > least / 2, "{} calls for 10 MB", calls(&pool_here));
}

/// Bytes of the story that this directory has of a run, in how many files.
fn story(dir: &Path) -> (u64, usize) {
    let run = fs::read_dir(dir.join("runs")).expect("runs").flatten().next().expect("a run").path();
    let files = fs::read_dir(run).expect("its files").flatten();
    let events: Vec<u64> = files
        .filter(|file| file.file_name().to_string_lossy().starts_with("events.ndjson"))
        .map(|file| file.metadata().map_or(0, |meta| meta.len()))
        .collect();
    (events.iter().sum(), events.len())
}

fn exit(code: i32) {
    process::exit(code)
}

#[test]
fn the_story_of_a_pool_does_not_grow_for_ever() {
    in_tests();
    let dir = std::env::temp_dir().join(format!("brigade-story-{}", process::id()));
    let pool = Pool::builder().procs(2).attempts(1).state_dir(&dir).build().expect("a pool");
    // A death is told in some hundred bytes, and what is kept is two million of them.
    for told in 0.. {
        let jobs: Vec<_> = (0..50).map(|n| pool.submit(exit, n)).collect();
        assert!(jobs.into_iter().all(|job| job.join().is_err()));
        let (bytes, files) = story(&dir);
        assert!(bytes < 2_200_000 && files <= 2, "{bytes} bytes in {files} files");
        if files == 2 && bytes < 1_500_000 && told > 0 {
            println!("begun anew after {} deaths", (told + 1) * 50);
            break;
        }
        assert!(told < 1_000, "{bytes} bytes in {files} files");
    }
    drop(pool);
    fs::remove_dir_all(&dir).expect("it was there");
}

#[test]
fn times_that_never_come_are_no_times_at_all() {
    in_tests();
    let builder = Pool::builder().procs(1).birth_timeout(Duration::MAX).grace(Duration::MAX);
    let pool = builder.task_timeout(Duration::MAX).build().expect("a pool");
    assert_eq!(pool.submit(|n: u32| n + 1, 41).join(), Ok(42));
}
