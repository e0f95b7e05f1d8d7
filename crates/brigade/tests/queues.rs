//! What people rely on in queues between processes, tried with real ones.

use brigade::connection::wait;
use brigade::{Pool, Process, Queue, QueueError, Receiver, Sender, StartMethod, pipe};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::process;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

brigade::test_entry!(in_tests);

/// Longer than anything takes, and short enough that a test which hangs says where.
const MINUTE: Duration = Duration::from_secs(60);

fn pool(procs: u32) -> Pool {
    in_tests();
    Pool::builder().procs(procs).attempts(1).build().expect("a pool")
}

fn queue<T: brigade::Value>(places: usize) -> Queue<T> {
    in_tests();
    Queue::bounded(places).expect("a queue")
}

fn count((numbers, upto): (Queue<u64>, u64)) {
    (0..upto).for_each(|n| numbers.put(&n).expect("it is open"));
}

fn collect(numbers: Queue<u64>) -> Vec<u64> {
    numbers.iter().map(|n| n.expect("a number")).collect()
}

#[test]
fn items_come_in_the_order_they_were_put_under_both_start_methods() {
    for method in [StartMethod::Fork, StartMethod::Spawn] {
        let numbers = queue(10);
        let pool = Pool::builder().procs(2).start_method(method).build().expect("a pool");
        let (counting, collecting) =
            (pool.submit(count, (numbers.clone(), 1_000)), pool.submit(collect, numbers.clone()));
        assert_eq!(counting.join(), Ok(()));
        numbers.close();
        assert_eq!(collecting.join(), Ok((0..1_000).collect()), "{method:?}");
        let process =
            Process::builder(count, (queue(10), 10)).start_method(method).start().expect("a process");
        assert_eq!(process.join(), brigade::Exit::Code(0));
    }
    let numbers = queue(10);
    let counting = thread::spawn({
        let numbers = numbers.clone();
        move || count((numbers, 1_000))
    });
    let first: Vec<u64> = (0..1_000).map(|_| numbers.get().expect("it comes")).collect();
    assert_eq!(first, (0..1_000).collect::<Vec<u64>>());
    counting.join().expect("it counts");
}

/// Hands the queue on to a worker of its own, and so on.
fn hand_down((depth, numbers): (u32, Queue<u64>)) {
    match depth {
        0 => count((numbers, 3)),
        _ => pool(1).submit(hand_down, (depth - 1, numbers)).join().expect("the one below does it"),
    }
}

#[test]
fn a_queue_is_used_before_a_pool_is_there_and_handed_down_several_levels() {
    let numbers = queue(10);
    numbers.put(&7).expect("it is open");
    pool(1).submit(hand_down, (3, numbers.clone())).join().expect("it is handed down");
    numbers.close();
    assert_eq!(collect(numbers), [7, 0, 1, 2]);
}

#[test]
fn full_and_empty_and_their_number_are_exact_and_time_outs_are_kept() {
    let numbers = queue::<u64>(2);
    let patience = Duration::from_millis(30);
    assert!(numbers.empty() && !numbers.full() && numbers.qsize() == 0);
    for end in [Some(Duration::ZERO), Some(patience)] {
        let begun = Instant::now();
        let told = end.map_or_else(|| numbers.try_get(), |patience| numbers.get_timeout(patience));
        assert!(matches!(told, Err(QueueError::Empty)), "{told:?}");
        assert!(begun.elapsed() >= end.unwrap_or_default());
    }
    numbers.try_put(&1).expect("there is room");
    assert!(!numbers.empty() && !numbers.full() && numbers.qsize() == 1);
    numbers.put(&2).expect("there is room");
    assert!(numbers.full() && numbers.qsize() == 2);
    assert!(matches!(numbers.try_put(&3), Err(QueueError::Full)));
    let begun = Instant::now();
    assert!(matches!(numbers.put_timeout(&3, patience), Err(QueueError::Full)));
    assert!(begun.elapsed() >= patience);
    // A leased item keeps its place.
    let lease = numbers.try_lease().expect("there is one");
    assert!(numbers.full() && numbers.qsize() == 1);
    assert!(matches!(numbers.try_put(&3), Err(QueueError::Full)));
    assert_eq!(lease.done(), 1);
    numbers.try_put(&3).expect("there is room");
    assert_eq!((numbers.try_get().expect("two"), numbers.try_get().expect("three")), (2, 3));
    assert!(matches!(numbers.try_lease(), Err(QueueError::Empty)));
    assert!(Queue::<u64>::bounded(0).is_err() && Queue::<u64>::with_capacity(1, u64::MAX).is_err());
}

#[test]
fn who_waits_for_room_or_an_item_is_woken_by_another_process() {
    let (there, back) = (queue::<u64>(1), queue::<u64>(1));
    let process = Process::builder(
        |(there, back): (Queue<u64>, Queue<u64>)| {
            for n in there.iter() {
                back.put(&n.expect("a number")).expect("it is open");
            }
        },
        (there.clone(), back.clone()),
    );
    let process = process.start().expect("a process");
    for n in 0..2_000 {
        there.put_timeout(&n, MINUTE).expect("it is taken");
        assert_eq!(back.get_timeout(MINUTE).expect("it comes back"), n);
    }
    there.close();
    assert_eq!(process.join(), brigade::Exit::Code(0));
}

/// Cannot be written if it is odd, and not be read if it is 4.
#[derive(Debug)]
struct Moody(u32);

impl Serialize for Moody {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 2 {
            0 => serializer.serialize_u32(self.0),
            _ => Err(serde::ser::Error::custom("it is odd")),
        }
    }
}

impl<'de> Deserialize<'de> for Moody {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Moody, D::Error> {
        match u32::deserialize(deserializer)? {
            4 => Err(serde::de::Error::custom("it is four")),
            n => Ok(Moody(n)),
        }
    }
}

#[test]
fn an_item_that_cannot_be_written_or_read_costs_no_place() {
    let moods = queue(1);
    for _ in 0..100 {
        assert!(matches!(moods.put(&Moody(1)), Err(QueueError::Encode { .. })));
        assert!(moods.empty());
        moods.try_put(&Moody(4)).expect("there is room");
        assert!(matches!(moods.try_get(), Err(QueueError::Decode { .. })));
        moods.try_put(&Moody(4)).expect("there is room");
        assert!(matches!(moods.try_lease(), Err(QueueError::Decode { .. })));
        moods.try_put(&Moody(2)).expect("there is room");
        assert_eq!(moods.try_get().expect("it can be read").0, 2);
    }
    let (outer, inner) = (queue::<Queue<u64>>(1), queue::<u64>(1));
    assert!(matches!(outer.put(&inner), Err(QueueError::Encode { .. })), "no queue is an item");
}

#[test]
fn items_of_all_sizes_pass_and_what_can_never_fit_is_an_error() {
    in_tests();
    let texts = Queue::<String>::with_capacity(100, 300_000).expect("a queue");
    let process = Process::builder(
        |texts: Queue<String>| {
            for text in texts.leases() {
                let text = text.expect("a text").done();
                assert!(text.bytes().all(|byte| byte == b'x'));
            }
        },
        texts.clone(),
    );
    let process = process.start().expect("a process");
    for bytes in (0..1_000).map(|n| n * n * 7 % 200_000).chain([0, 31, 32, 33, 65_535, 65_536, 300_000]) {
        texts.put_timeout(&"x".repeat(bytes), MINUTE).expect("it is taken");
    }
    let told = texts.put(&"x".repeat(400_000));
    assert!(matches!(told, Err(QueueError::TooLarge { bytes: 400_005, .. })), "{told:?}");
    texts.close();
    assert_eq!(process.join(), brigade::Exit::Code(0));
    assert_eq!(texts.join_timeout(Duration::ZERO).ok(), Some(()));
    let large = queue(2);
    large.put(&"y".repeat(100_000_000)).expect("there is room");
    assert_eq!(large.get().expect("it is there").len(), 100_000_000);
}

#[test]
fn every_consumer_hears_of_the_end_after_the_last_item() {
    let numbers = queue::<u64>(1_000);
    let start = |_| Process::builder(|numbers: Queue<u64>| drop(collect(numbers)), numbers.clone()).start();
    let processes: Vec<Process> = (0..3).map(|n| start(n).expect("a process")).collect();
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let numbers = numbers.clone();
            thread::spawn(move || collect(numbers))
        })
        .collect();
    count((numbers.clone(), 500));
    numbers.close();
    assert!(threads.into_iter().all(|thread| thread.join().is_ok()));
    assert!(processes.iter().all(|process| process.join() == brigade::Exit::Code(0)));
    assert!(matches!(numbers.get(), Err(QueueError::Closed)) && numbers.is_closed());
    assert!(matches!(numbers.put(&1), Err(QueueError::Closed)));
    // Who waits for room hears of it, too.
    let numbers = queue(1);
    numbers.put(&1).expect("there is room");
    let waiting = thread::spawn({
        let numbers = numbers.clone();
        move || numbers.put(&2)
    });
    numbers.close();
    assert!(matches!(waiting.join().expect("no panic"), Err(QueueError::Closed)));
    assert_eq!(collect(numbers), [1]);
}

#[test]
fn who_put_much_ends_before_anybody_has_read_it() {
    let texts = queue::<String>(100);
    let process = Process::builder(
        |texts: Queue<String>| {
            (0..100).for_each(|_| texts.put(&"z".repeat(10_000)).expect("there is room"));
        },
        texts.clone(),
    );
    assert_eq!(process.start().expect("a process").join(), brigade::Exit::Code(0));
    assert_eq!(texts.qsize(), 100);
    assert!((0..100).all(|_| texts.try_get().is_ok_and(|text| text.len() == 10_000)));
}

fn take_two_and_die(numbers: Queue<u64>) {
    numbers.get().expect("it is there");
    std::mem::forget(numbers.lease().expect("it is there"));
    process::abort();
}

#[test]
fn join_waits_until_all_that_was_got_is_reported_and_not_for_the_dead() {
    let numbers = queue::<u64>(10);
    numbers.join();
    assert!(matches!(numbers.task_done(), Err(QueueError::NothingToDo)));
    count((numbers.clone(), 3));
    assert!(matches!(numbers.join_timeout(Duration::ZERO), Err(QueueError::Unfinished { unfinished: 3 })));
    numbers.get().expect("it is there");
    numbers.lease().expect("it is there").done();
    assert!(matches!(numbers.join_timeout(Duration::ZERO), Err(QueueError::Unfinished { unfinished: 2 })));
    let joining = thread::spawn({
        let numbers = numbers.clone();
        move || numbers.join()
    });
    numbers.task_done().expect("one was got");
    numbers.get().expect("it is there");
    assert!(!joining.is_finished());
    // Reported by somebody else, as Python allows.
    let process =
        Process::builder(|numbers: Queue<u64>| numbers.task_done().expect("one was got"), numbers.clone());
    assert_eq!(process.start().expect("a process").join(), brigade::Exit::Code(0));
    joining.join().expect("no panic");
    // Got by one who is dead: it counts as done. Leased by it: it does not.
    count((numbers.clone(), 2));
    Process::builder(take_two_and_die, numbers.clone()).start().expect("a process").join();
    assert!(matches!(numbers.join_timeout(Duration::ZERO), Err(QueueError::Unfinished { unfinished: 1 })));
    assert_eq!(numbers.lease().expect("it is there again").done(), 1);
    numbers.join();
}

#[test]
fn what_is_leased_and_not_done_is_the_first_again_with_its_attempts_counted() {
    let numbers = queue::<u64>(10);
    count((numbers.clone(), 3));
    let (zero, one) = (numbers.lease().expect("zero"), numbers.lease().expect("one"));
    assert_eq!((*zero, zero.attempt(), *one, one.attempt()), (0, 1, 1, 1));
    drop(zero);
    drop(one);
    let zero = numbers.lease().expect("zero again");
    assert_eq!((*zero, zero.attempt()), (0, 2));
    let panicked = thread::spawn(move || {
        let _lease = zero;
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(panicked.join().is_err());
    let zero = numbers.lease().expect("zero again");
    assert_eq!((zero.attempt(), zero.done()), (3, 0));
    numbers.close();
    assert_eq!(collect(numbers.clone()), [1, 2]);
    assert!(matches!(numbers.lease(), Err(QueueError::Closed)));
}

/// Says that it has an item, and then nothing more.
fn sit_on_one((numbers, told): (Queue<u64>, Sender<u64>)) {
    let lease = numbers.lease().expect("there is one");
    told.send(&lease).expect("somebody reads");
    thread::sleep(Duration::from_secs(3_600));
}

#[test]
fn what_a_dead_had_leased_goes_to_who_waits_also_in_a_closed_queue() {
    let numbers = queue::<u64>(10);
    count((numbers.clone(), 2));
    for close in [false, true] {
        let (receiver, told) = pipe().expect("a pipe");
        let process = Process::builder(sit_on_one, (numbers.clone(), told)).start().expect("a process");
        let number = receiver.recv_timeout(MINUTE).expect("it has one");
        if close {
            numbers.close();
        } else {
            assert_eq!(numbers.get().expect("the other one"), 1);
        }
        let (sender, got) = channel();
        let waiting = thread::spawn({
            let numbers = numbers.clone();
            move || sender.send(numbers.lease().map(|lease| (lease.attempt(), *lease)))
        });
        assert!(got.recv_timeout(Duration::from_millis(120)).is_err(), "it waits for what may come back");
        process.kill();
        let (attempt, item) = got.recv_timeout(MINUTE).expect("it waits no more").expect("an item");
        assert_eq!((attempt > 1, item), (true, number));
        waiting.join().expect("no panic").expect("it was heard");
    }
    // It was leased and not done, twice: it is there still, and who has it hears nobody else say so.
    let lease = numbers.lease().expect("it is there");
    assert!(matches!(numbers.lease(), Err(QueueError::Closed)), "who has one does not wait for itself");
    lease.done();
    assert!(matches!(numbers.lease(), Err(QueueError::Closed)));
}

#[test]
fn who_is_killed_while_it_waits_hinders_nobody() {
    let numbers = queue::<u64>(1);
    let start = |get: bool| {
        let (ready, told) = pipe::<u32>().expect("a pipe");
        let wait = |(numbers, told, get): (Queue<u64>, Sender<u32>, bool)| {
            told.send(&process::id()).expect("somebody reads");
            if get { drop(numbers.get()) } else { drop(numbers.put(&9)) }
        };
        let process =
            Process::builder(wait as fn((Queue<u64>, Sender<u32>, bool)), (numbers.clone(), told, get));
        let process = process.start().expect("a process");
        ready.recv_timeout(MINUTE).expect("it is about to wait");
        process
    };
    // One after the other is killed about when it falls asleep.
    for n in 0..20 {
        let process = start(true);
        thread::sleep(Duration::from_millis(n % 4));
        process.kill();
        process.join();
    }
    numbers.put(&1).expect("there is room");
    for n in 0..20 {
        let process = start(false);
        thread::sleep(Duration::from_millis(n % 4));
        process.kill();
        process.join();
    }
    assert_eq!((numbers.qsize(), numbers.get().expect("it is there")), (1, 1));
    numbers.put_timeout(&2, MINUTE).expect("there is room");
    assert_eq!(numbers.get_timeout(MINUTE).expect("it is there"), 2);
}

/// What a process of the storm says.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Word {
    /// It has put this item.
    Put(u64),
    /// It has this item, for the so-manieth time.
    Seen(u64, u32),
    /// It has done it.
    Done(u64),
}

type Item = (u64, Vec<u8>);

/// Small, larger, and large.
fn body(item: u64) -> Vec<u8> {
    let bytes = match item % 16 {
        0 => 80_000,
        1..4 => 3_000,
        4..8 => 40,
        _ => 0,
    };
    vec![item as u8; bytes]
}

fn produce((items, words, life): (Queue<Item>, Sender<Word>, u64)) {
    for n in 0.. {
        let item = life << 32 | n;
        if items.put(&(item, body(item))).is_err() {
            return;
        }
        words.send(&Word::Put(item)).expect("somebody reads");
    }
}

fn consume((items, words, _): (Queue<Item>, Sender<Word>, u64)) {
    for lease in items.leases() {
        let lease = lease.expect("nobody can tear an item");
        let (item, bytes) = &*lease;
        assert_eq!(*bytes, body(*item));
        words.send(&Word::Seen(*item, lease.attempt())).expect("somebody reads");
        let (item, _) = lease.done();
        words.send(&Word::Done(item)).expect("somebody reads");
    }
}

type Role = fn((Queue<Item>, Sender<Word>, u64));

/// A process of the storm.
struct Life {
    role: Role,
    number: u64,
    process: Process,
    words: Receiver<Word>,
}

impl Life {
    fn start(role: Role, number: u64, items: &Queue<Item>) -> Life {
        let (words, sender) = pipe().expect("a pipe");
        let process = Process::builder(role, (items.clone(), sender, number)).daemon(true);
        Life { role, number, process: process.start().expect("a process"), words }
    }
}

/// What was heard in the storm.
#[derive(Default)]
struct Heard {
    put: BTreeSet<u64>,
    /// Who has seen an item at which attempt.
    seen: BTreeMap<u64, BTreeMap<u32, u64>>,
    /// Who has done it, each time.
    done: BTreeMap<u64, Vec<u64>>,
    killed: BTreeSet<u64>,
}

impl Heard {
    fn hear(&mut self, life: u64, word: Word) {
        match word {
            Word::Put(item) => assert!(self.put.insert(item), "{item:x} is put once"),
            Word::Seen(item, attempt) => {
                let other = self.seen.entry(item).or_default().insert(attempt, life);
                assert_eq!(other, None, "{item:x}, attempt {attempt}");
            }
            Word::Done(item) => self.done.entry(item).or_default().push(life),
        }
    }

    /// All that it has said, to its end.
    fn hear_out(&mut self, life: &Life) {
        for word in life.words.iter() {
            self.hear(life.number, word.expect("it is said whole or not at all"));
        }
    }

    fn check(&self) {
        for item in &self.put {
            assert!(self.seen.contains_key(item), "{item:x} was put and is lost");
        }
        for (item, seen) in &self.seen {
            let (_, last) = seen.last_key_value().expect("somebody has seen it");
            let done = self.done.get(item).cloned().unwrap_or_default();
            assert!(done.len() <= 1, "{item:x} was done by {done:?}");
            match done.first() {
                Some(by) => assert_eq!(by, last, "{item:x} was done, and seen again: {seen:?}"),
                None => assert!(self.killed.contains(last), "{item:x} was seen and not done: {seen:?}"),
            }
            let others = seen.values().rev().skip(1);
            assert!(others.into_iter().all(|life| self.killed.contains(life)), "{item:x}: {seen:?}");
        }
    }
}

fn dice(seed: &mut u64) -> u64 {
    // xorshift64.
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
fn nothing_put_is_lost_and_nothing_done_twice_while_hundreds_are_killed() {
    const KILLS: u64 = 400;
    in_tests();
    let items = Queue::<Item>::with_capacity(24, 500_000).expect("a queue");
    let (mut heard, mut seed, mut next) = (Heard::default(), 0x9E37_79B9_7F4A_7C15, 6);
    let mut lives: Vec<Life> =
        (0..6).map(|n| Life::start(if n < 3 { produce } else { consume }, n, &items)).collect();
    while heard.killed.len() < KILLS as usize {
        let until = Instant::now() + Duration::from_micros(dice(&mut seed) % 4_000);
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let words: Vec<&Receiver<Word>> = lives.iter().map(|life| &life.words).collect();
            for at in wait(&words, Some(left)).expect("wait") {
                let word = lives[at].words.recv().expect("nobody of these is dead");
                heard.hear(lives[at].number, word);
            }
        }
        let victim = &mut lives[(dice(&mut seed) % 6) as usize];
        victim.process.kill();
        victim.process.join();
        heard.killed.insert(victim.number);
        heard.hear_out(victim);
        *victim = Life::start(victim.role, next, &items);
        next += 1;
    }
    items.close();
    let last: Vec<u64> = lives.iter().map(|life| life.number).collect();
    thread::scope(|scope| {
        let words = lives.into_iter().map(|life| {
            scope.spawn(move || (life.number, life.words.iter().collect::<Vec<_>>(), life.process.join()))
        });
        for (life, words, exit) in
            words.collect::<Vec<_>>().into_iter().map(|it| it.join().expect("no panic"))
        {
            assert_eq!(exit, brigade::Exit::Code(0), "{life} of {last:?} went on to the end");
            words.into_iter().for_each(|word| heard.hear(life, word.expect("it is said whole")));
        }
    });
    heard.check();
    assert!(items.empty() && matches!(items.try_get(), Err(QueueError::Closed)));
    items.join();
    let again = heard.seen.values().filter(|seen| seen.len() > 1).count();
    println!("{} items put, {} seen, {again} again", heard.put.len(), heard.seen.len());
    assert!(heard.put.len() > 1_000, "{} items were put", heard.put.len());
}
