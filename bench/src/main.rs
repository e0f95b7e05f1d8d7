//! Brigade's pools beside their peers, in one run: `brigade-bench [PYTHON]` writes the tables of docs/BENCHMARKS.md.
//!
//! Contestants take turns, round by round, so that whatever else the machine does befalls all of them; what is compared is the
//! ratio within a round. A peer that cannot be had is left out with a word.

mod floors;
mod ours;
mod rust_peers;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use table::{Better, Figure};

/// Workers of a pool, unless a figure says otherwise.
const WORKERS: u32 = 2;

/// Where the Python peers are.
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers.py");

/// How often each contestant is measured.
const ROUNDS: usize = 5;

/// Who runs a figure, and by what.
enum Contestant {
    Here(&'static str, fn() -> f64),
    Python(&'static str),
}

use Contestant::{Here, Python};

fn figures() -> Vec<(Figure, &'static str, Vec<Contestant>)> {
    use Better::{Less, More};
    let figure = |name, unit, better, bar| Figure { name, unit, better, bar };
    vec![
        (
            figure("`map` of no-ops, automatic chunks", "tasks/s", More, Some(("mp.Pool", 3.0))),
            "map",
            vec![
                Here("Brigade", ours::map_automatic),
                Python("mp.Pool"),
                Python("ProcessPoolExecutor"),
                Python("joblib"),
                Here("rayon, one process", rust_peers::rayon_map),
            ],
        ),
        (
            figure("`submit` one by one, all results", "tasks/s", More, Some(("the best of them", 25.0))),
            "submit",
            vec![
                Here("Brigade", ours::submit),
                Python("mp.Pool"),
                Here("procspawn", rust_peers::procspawn_submit),
                Python("pebble"),
                Python("loky"),
                Python("ProcessPoolExecutor"),
            ],
        ),
        (
            figure("`map`, chunk size 1", "tasks/s", More, Some(("the best of them", 10.0))),
            "map-singly",
            vec![Here("Brigade", ours::map_singly), Python("mp.Pool"), Python("imap_unordered")],
        ),
        (
            figure("round trip, idle warm pool, p50", "s", Less, Some(("raw ipc-channel", 1.4))),
            "round-trip",
            vec![
                Here("Brigade", ours::round_trip),
                Here("raw ipc-channel", floors::ipc_round_trip),
                Here("pipe", floors::pipe_round_trip),
                Here("procspawn", rust_peers::procspawn_round_trip),
                Python("mp.Pool"),
            ],
        ),
        (figure("pool of 2 ready", "s", Less, None), "ready-2", ready(ours::ready::<2>)),
        (figure("pool of 8 ready", "s", Less, None), "ready-8", ready(ours::ready::<8>)),
        (figure("pool of 64 ready", "s", Less, None), "ready-64", ready(ours::ready::<64>)),
        (figure("1 MiB there and back", "B/s", More, None), "echo-1M", echo(ours::echo::<20>)),
        (figure("64 MiB there and back", "B/s", More, None), "echo-64M", echo(ours::echo::<26>)),
        (
            figure("private memory of an idle worker", "B", Less, None),
            "private",
            vec![Here("Brigade", ours::private_memory), Python("mp.Pool")],
        ),
        (
            figure("share of two cores at work, tasks of 1 us", "of 1", More, None),
            "",
            share(ours::share::<1>, rust_peers::rayon_share::<1>),
        ),
        (
            figure("share of two cores at work, tasks of 10 us", "of 1", More, None),
            "",
            share(ours::share::<10>, rust_peers::rayon_share::<10>),
        ),
        (
            figure("share of two cores at work, tasks of 100 us", "of 1", More, None),
            "",
            share(ours::share::<100>, rust_peers::rayon_share::<100>),
        ),
    ]
}

fn ready(ours: fn() -> f64) -> Vec<Contestant> {
    vec![Here("Brigade", ours), Python("ProcessPoolExecutor"), Python("mp.Pool")]
}

fn echo(ours: fn() -> f64) -> Vec<Contestant> {
    vec![
        Here("Brigade", ours),
        Python("mp.Pipe"),
        Python("ProcessPoolExecutor"),
        Python("mp.Pool"),
        Here("memcpy, each way", floors::memcpy),
    ]
}

fn share(ours: fn() -> f64, rayon: fn() -> f64) -> Vec<Contestant> {
    vec![Here("Brigade", ours), Here("rayon, one process", rayon)]
}

impl Contestant {
    fn name(&self) -> &'static str {
        match self {
            Here(name, _) | Python(name) => name,
        }
    }

    /// One measurement; `None` if this one cannot be had.
    fn measure(&self, key: &str, python: Option<&Path>) -> Option<f64> {
        match self {
            Here(_, run) => Some(run()),
            Python(peer) => {
                use std::os::unix::process::CommandExt;
                let mut command = Command::new(python?);
                let output = command.args([PEERS, key, peer]).process_group(0).output().ok()?;
                let text = String::from_utf8_lossy(&output.stdout);
                let value = text.trim().parse().ok();
                if value.is_none() {
                    let words = String::from_utf8_lossy(&output.stderr);
                    eprintln!("{peer} is left out of {key}: {}", words.lines().last().unwrap_or("no word"));
                }
                value
            }
        }
    }
}

fn main() -> ExitCode {
    brigade::init();
    procspawn::init();
    floors::echo_if_asked();
    let mut args = std::env::args().skip(1);
    let python = args.next().map(PathBuf::from);
    let only = args.next();
    println!("{}", table::preamble(python.as_deref(), ROUNDS));
    for (figure, key, contestants) in figures() {
        if only.as_deref().is_some_and(|only| !figure.name.contains(only)) {
            continue;
        }
        let names: Vec<&str> = contestants.iter().map(Contestant::name).collect();
        let mut rows = vec![Vec::new(); contestants.len()];
        for _ in 0..ROUNDS {
            for (contestant, row) in contestants.iter().zip(&mut rows) {
                row.push(contestant.measure(key, python.as_deref()));
            }
        }
        println!("{}", figure.markdown(&names, &rows));
    }
    ExitCode::SUCCESS
}
