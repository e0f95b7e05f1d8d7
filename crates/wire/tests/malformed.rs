//! Malformed frames and records, by the hundred thousand: each is refused or is another one, and none panics.
//!
//! `MALFORMED=10000000` sets how many, as `make storm` does; `MALFORMED_SEED=n` plays one seed again.

use brigade_wire::{
    Attempt, Blob, Call, Command, Ended, Ending, Exit, FRAME_BYTES_MAX, FailedAttempt, Hello, LargeCall,
    LargeEnded, Mishap, Outcome, PROTOCOL, Report, SlotId, TaskId, WorkerId, decode, decode_record, encode,
    encode_record, seal,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

const MALFORMED_BY_DEFAULT: u64 = 200_000;

/// Lengths and tags that decoders have died of.
const WICKED: [u64; 10] =
    [0, 1, 250, 251, u32::MAX as u64, FRAME_BYTES_MAX as u64 + 1, 1 << 31, 1 << 40, (1 << 60) + 1, u64::MAX];

/// Xorshift64*: the same seed, the same storm.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (((self.roll() >> 32) * bound as u64) >> 32) as usize
    }
}

/// One step from what it was.
fn bend(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.below(bytes.len() + 1);
    match dice.below(7) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, dice.roll() as u8),
        2 if at < bytes.len() => drop(bytes.remove(at)),
        3 => {
            let wicked = WICKED[dice.below(WICKED.len())].to_le_bytes();
            bytes.iter_mut().skip(at).zip(wicked).for_each(|(byte, bad)| *byte = bad);
        }
        4 => bytes.splice(at.., other[at.min(other.len())..].iter().copied()).for_each(drop),
        5 => bytes.iter_mut().skip(at).for_each(|byte| *byte = dice.roll() as u8),
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
    }
}

/// Bends these until so many were refused; returns how many were something else instead. What is `sealed` gets a sum that
/// holds, three times in four: it is the decoder behind that which is to be met.
fn storm(
    (sound, sealed): (&[Vec<u8>], bool),
    count: u64,
    seed: u64,
    is_refused: impl Fn(&[u8]) -> bool,
) -> u64 {
    let (mut refused, mut others) = (0, 0);
    let mut dice = Dice(seed | 1);
    while refused < count {
        let mut bytes = sound[dice.below(sound.len())].clone();
        let other = &sound[dice.below(sound.len())];
        for _ in 0..=dice.below(4) {
            bend(&mut bytes, other, &mut dice);
        }
        if sealed && dice.below(4) > 0 {
            seal(&mut bytes);
        }
        match is_refused(&bytes) {
            true => refused += 1,
            false => others += 1,
        }
        assert!(others < 10 * count + 1_000, "seed {seed}: next to nothing is refused");
    }
    others
}

fn endings() -> [Ending; 3] {
    let panicked = Ending::Panicked { message: "out of bounds".into(), location: "a.rs:1:2".into() };
    [Ending::Value(vec![7; 16]), Ending::Failed("n\u{f6}".into()), panicked]
}

fn frames() -> Vec<Vec<u8>> {
    let call = |n: u64| Call { task: TaskId(n), attempt: Attempt::FIRST, args: vec![3; n as usize % 40] };
    let worker = WorkerId { slot: SlotId(2), incarnation: 5 };
    let ended: Vec<Ended> = (0..).zip(endings()).map(|(n, ending)| ended(n, ending)).collect();
    let blob = Blob { offset: 1 << 16, bytes: 1 << 20, crc: 77 };
    let (task, attempt) = (TaskId(5), Attempt::FIRST);
    let commands = [
        Command::Stop,
        Command::Run(vec![call(5)]),
        Command::Run((0..40).map(call).collect()),
        Command::RunLarge(LargeCall { task, attempt, file: 12, args: blob }),
    ];
    let reports = [
        Report::Hello(Hello { protocol: PROTOCOL, worker }),
        Report::Done { consumed: 1, ended: Vec::new() },
        Report::Done { consumed: 16, ended },
        Report::DoneLarge { consumed: 3, ended: LargeEnded { task, attempt, elapsed_ns: 9, value: blob } },
    ];
    let commands = commands.iter().map(|command| encode(command).expect("it fits"));
    commands.chain(reports.iter().map(|report| encode(report).expect("it fits"))).collect()
}

fn ended(n: u64, ending: Ending) -> Ended {
    Ended { task: TaskId(n), attempt: Attempt(2), elapsed_ns: n, ending }
}

fn records() -> Vec<Vec<u8>> {
    let worker = WorkerId { slot: SlotId(2), incarnation: 300 };
    let ends = [Mishap::Crashed(Exit::Signal(9)), Mishap::TimedOut, Mishap::Failed("no".into())];
    let attempts = (1..).zip(ends).map(|(n, end)| FailedAttempt { attempt: Attempt(n), worker, end });
    let quarantined = Outcome::Quarantined { attempts: attempts.collect() };
    let outcomes = endings().map(Outcome::from).into_iter().chain([quarantined]);
    let encoded = |outcome: Outcome| {
        let mut buffer = Vec::new();
        encode_record(&outcome, &mut buffer).expect("it is small");
        buffer
    };
    outcomes.map(encoded).collect()
}

/// What is taken for a frame is one: its bytes are the only ones that say it.
fn is_refused<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> bool {
    match decode::<T>(bytes) {
        Ok(value) => {
            assert_eq!(encode(&value).expect("it was a frame"), bytes);
            false
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            true
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn malformed_frames_and_records_are_refused_without_a_panic() {
    let (count, seed) = (number("MALFORMED", MALFORMED_BY_DEFAULT), number("MALFORMED_SEED", 4_711));
    println!("malformed: {count} frames, seed {seed}");
    let frames = frames();
    let (half, quarter) = (count / 2, count / 4);
    let mut others = storm((&frames, true), half, seed, is_refused::<Report>);
    others += storm((&frames, true), quarter, seed + 1, is_refused::<Command>);
    let is_no_record = |bytes: &[u8]| decode_record::<Outcome>(bytes).is_err();
    others += storm((&records(), false), quarter, seed + 2, is_no_record);
    println!("malformed: {count} refused, {others} were other frames");
}
