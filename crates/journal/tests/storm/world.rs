//! One schedule: a run, its supervisors one after the other, and what happens to them and to the disk.

use super::dice::Dice;
use super::disk::Disk;
use super::expected::{Expected, expected};
use brigade_journal::{Durability, Identity, Journal, JournalError, OpenError, Record, Settled};
use brigade_wire::{Attempt, Exit, FailedAttempt, Mishap, Outcome, SlotId, TaskId, WorkerId};

pub(crate) const TASKS: u64 = 40;

/// What happened, so that a calm sea is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) lives: u64,
    pub(crate) records: u64,
    pub(crate) shared: u64,
    pub(crate) kills: u64,
    pub(crate) power_losses: u64,
    pub(crate) bends: u64,
    pub(crate) full: u64,
    pub(crate) failed_syncs: u64,
    pub(crate) torn: u64,
    pub(crate) refused: u64,
    pub(crate) unborn: u64,
    pub(crate) lost_unsynced: u64,
}

impl Weather {
    pub(crate) fn and(self, other: Weather) -> Weather {
        Weather {
            lives: self.lives + other.lives,
            records: self.records + other.records,
            shared: self.shared + other.shared,
            kills: self.kills + other.kills,
            power_losses: self.power_losses + other.power_losses,
            bends: self.bends + other.bends,
            full: self.full + other.full,
            failed_syncs: self.failed_syncs + other.failed_syncs,
            torn: self.torn + other.torn,
            refused: self.refused + other.refused,
            unborn: self.unborn + other.unborn,
            lost_unsynced: self.lost_unsynced + other.lost_unsynced,
        }
    }
}

pub(crate) fn identity() -> Identity {
    Identity {
        run: "storm".into(),
        function: "weather".into(),
        parameters: "all of it".into(),
        tasks: TASKS,
        input_hash: 7,
        protocol: 9,
    }
}

/// What befell the journal since its last supervisor came.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    power_lost: bool,
    damage: Damage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Damage {
    #[default]
    None,
    /// One bit: one record.
    Bit,
    /// Up to 24 bytes: three records or marks at most, the smallest takes 10.
    Bytes,
}

impl Damage {
    fn records(self) -> usize {
        match self {
            Damage::None => 0,
            Damage::Bit => 1,
            Damage::Bytes => 3,
        }
    }
}

pub(crate) struct World {
    seed: u64,
    dice: Dice,
    disk: Disk,
    durability: Durability,
    /// Everything that was appended since the file had nothing else.
    log: Vec<Record>,
    /// Where in the log the file's records begin: values may share one.
    begins: Vec<usize>,
    /// So many of them were flushed and synced.
    flushed: usize,
    synced: usize,
    /// The file says, in front of a later record, that so many were synced; the oldest mark first.
    marks: Vec<usize>,
    is_created: bool,
    weather: Weather,
}

impl World {
    pub(crate) fn live(seed: u64) -> Weather {
        let mut dice = Dice::new(seed);
        let durability = if dice.once_in(2) { Durability::Power } else { Durability::Kill };
        let disk = Disk::new(seed.wrapping_add(1 << 40));
        let mut world = World {
            seed,
            dice,
            disk,
            durability,
            log: Vec::new(),
            begins: Vec::new(),
            flushed: 0,
            synced: 0,
            marks: Vec::new(),
            is_created: false,
            weather: Weather::default(),
        };
        world.draw_faults();
        let first = Journal::create(world.disk.clone(), &identity(), durability);
        let mut journal = first.ok();
        world.is_created = journal.is_some();
        for _ in 0..1 + world.dice.below(4) {
            world.weather.lives += 1;
            if let Some(journal) = journal.take() {
                world.supervise(journal);
            }
            let fate = world.befall();
            journal = world.resume(fate);
            if journal.is_none() {
                break;
            }
            world.draw_faults();
        }
        world.weather
    }

    fn draw_faults(&mut self) {
        let state = &mut *self.disk.0.borrow_mut();
        match self.dice.below(8) {
            0..4 => state.kill_in = Some(self.dice.below(12)),
            4 => state.capacity = state.cache.len() + self.dice.below(400) as usize,
            5 => state.fail_sync_in = Some(self.dice.below(5)),
            _ => {}
        }
    }

    /// A supervisor at work, until it ends or an error ends it.
    fn supervise(&mut self, mut journal: Journal<Disk>) {
        for _ in 0..self.dice.below(24) {
            let done = match self.dice.below(8) {
                0 => self.sync(&mut journal),
                1 | 2 => self.flush(&mut journal),
                _ => self.append(&mut journal),
            };
            if done.is_err() {
                return self.expect_broken(journal);
            }
        }
    }

    fn append(&mut self, journal: &mut Journal<Disk>) -> Result<(), JournalError> {
        let record = record(&mut self.dice, &self.log);
        journal.append(&record)?;
        self.weather.records += 1;
        match self.log.last().is_some_and(|last| share(last, &record)) && self.log.len() > self.flushed {
            true => self.weather.shared += 1,
            false => self.begins.push(self.log.len()),
        }
        self.log.push(record);
        Ok(())
    }

    fn flush(&mut self, journal: &mut Journal<Disk>) -> Result<(), JournalError> {
        journal.flush()?;
        self.note_flushed();
        Ok(())
    }

    fn sync(&mut self, journal: &mut Journal<Disk>) -> Result<(), JournalError> {
        journal.sync()?;
        self.note_flushed();
        self.synced = self.log.len();
        Ok(())
    }

    /// A mark of the last sync stands in front of the first record behind it.
    fn note_flushed(&mut self) {
        let is_due = self.marks.last() != Some(&self.synced) && self.durability == Durability::Power;
        if is_due && self.log.len() > self.synced {
            self.marks.push(self.synced);
        }
        self.flushed = self.log.len();
    }

    /// Once broken, always broken, and nothing arrives any more.
    fn expect_broken(&mut self, mut journal: Journal<Disk>) {
        let seed = self.seed;
        let before = self.disk.bytes();
        let state = self.disk.0.borrow();
        let (is_dead, sync_failed) = (state.is_dead, state.sync_failed);
        self.weather.failed_syncs += u64::from(sync_failed);
        self.weather.full += u64::from(!is_dead && !sync_failed);
        drop(state);
        self.disk.rest();
        self.disk.0.borrow_mut().sync_failed = sync_failed;
        assert!(journal.broken().is_some(), "seed {seed}: an error that leaves no trace");
        assert!(
            journal.append(&record(&mut self.dice, &self.log)).is_err(),
            "seed {seed}: appended to a broken journal"
        );
        assert!(journal.flush().is_err() && journal.sync().is_err(), "seed {seed}: a broken journal works");
        assert_eq!(self.disk.bytes(), before, "seed {seed}: a broken journal wrote");
    }

    /// The supervisor is gone; now for the disk.
    fn befall(&mut self) -> Fate {
        self.weather.kills += 1;
        if self.disk.0.borrow().sync_failed && self.durability == Durability::Power {
            // The journal has cut off what it could not sync, and the marks with it.
            self.flushed = self.flushed.min(self.synced);
            self.marks.retain(|mark| *mark < self.synced);
        }
        let power_lost = self.dice.once_in(3);
        if power_lost {
            self.disk.lose_power();
            self.weather.power_losses += 1;
        }
        let damage = self.damage();
        self.disk.rest();
        Fate { power_lost, damage }
    }

    fn damage(&mut self) -> Damage {
        let bytes = self.disk.bytes().len();
        if bytes == 0 || !self.dice.once_in(4) {
            return Damage::None;
        }
        self.weather.bends += 1;
        let at = self.dice.below(bytes as u64) as usize;
        if self.dice.once_in(3) {
            let with = if self.dice.once_in(2) { 0 } else { self.dice.below(256) as u8 };
            self.disk.wipe(at, 1 + self.dice.below(24) as usize, with);
            return Damage::Bytes;
        }
        self.disk.bend(at, self.dice.below(8));
        Damage::Bit
    }

    /// The next supervisor; `None` if the journal is refused.
    fn resume(&mut self, fate: Fate) -> Option<Journal<Disk>> {
        let before = self.disk.bytes();
        let opened = Journal::open(self.disk.clone()).and_then(|replay| {
            assert_eq!(replay.check(&identity()), Ok(()), "seed {}: another identity", self.seed);
            assert_eq!(replay.durability(), self.durability, "seed {}", self.seed);
            replay.collect()
        });
        match opened {
            Ok((journal, recovered, settled)) => {
                let records = usize::try_from(recovered.records).expect("there are few");
                self.check_recovered(fate, records);
                self.weather.torn += u64::from(recovered.torn_bytes > 0);
                let found = Expected::found(recovered, settled);
                assert_eq!(found, expected(&self.log[..records]), "seed {}: invented", self.seed);
                self.go_on_from(records);
                Some(journal)
            }
            Err(error) => {
                assert_eq!(self.disk.bytes(), before, "seed {}: refused and yet changed", self.seed);
                self.check_refusal(fate, &error);
                None
            }
        }
    }

    fn check_recovered(&mut self, fate: Fate, records: usize) {
        let (seed, log) = (self.seed, self.log.len());
        assert!(records <= log, "seed {seed}: {records} records of {log}");
        self.weather.lost_unsynced += u64::from(fate.power_lost && records < self.flushed);
        let damaged = fate.damage.records();
        let before = |all: &[usize]| all.iter().rev().nth(damaged.saturating_sub(1)).copied().unwrap_or(0);
        let flushed = self.begins.partition_point(|begin| *begin < self.flushed);
        let promised = match (self.durability, fate.power_lost) {
            // Of two faults at once nothing is promised but that nothing is invented.
            (_, true) if damaged > 0 => 0,
            (Durability::Kill, true) => 0,
            // Only the last record, or what was not marked as synced, may be taken for torn.
            (Durability::Kill, false) if damaged > 0 => before(&self.begins[..flushed]),
            (Durability::Kill, false) => self.flushed,
            (Durability::Power, false) if damaged > 0 => before(&self.marks),
            (Durability::Power, false) => self.flushed,
            (Durability::Power, true) => self.synced,
        };
        assert!(records >= promised, "seed {seed}: {records} of {promised} that were promised, {fate:?}");
    }

    fn check_refusal(&mut self, fate: Fate, error: &OpenError) {
        let seed = self.seed;
        let is_damaged =
            fate.damage != Damage::None || (fate.power_lost && self.durability == Durability::Kill);
        let is_unborn = matches!(error, OpenError::Unborn { .. });
        self.weather.unborn += u64::from(is_unborn);
        self.weather.refused += u64::from(!is_unborn);
        assert!(
            is_damaged || !self.is_created && (is_unborn || fate.power_lost),
            "seed {seed}: {error}, {fate:?}, created: {}",
            self.is_created
        );
    }

    fn go_on_from(&mut self, records: usize) {
        self.is_created = true;
        self.log.truncate(records);
        self.begins.retain(|begin| *begin < records);
        self.flushed = records;
        self.synced = if self.durability == Durability::Power { records } else { 0 };
        self.marks.retain(|mark| *mark < records);
    }
}

/// Whether two that are appended one after the other and flushed together stand in one record of the file.
fn share(one: &Record, next: &Record) -> bool {
    let author = |record: &Record| match record {
        Record::Settled(Settled { attempt, worker, outcome: Outcome::Value(_), .. }) => {
            Some((*attempt, *worker))
        }
        _ => None,
    };
    author(one).is_some_and(|of_one| author(next) == Some(of_one))
}

fn record(dice: &mut Dice, log: &[Record]) -> Record {
    let task = TaskId(dice.below(TASKS));
    let attempt = if dice.once_in(8) { Attempt(1 + dice.below(300) as u32) } else { Attempt::FIRST };
    let incarnation = if dice.once_in(8) { 1 + dice.below(400) as u32 } else { 1 };
    let worker = WorkerId { slot: SlotId(dice.once_in(4).into()), incarnation };
    let failed = FailedAttempt { attempt, worker, end: Mishap::Crashed(Exit::Signal(dice.below(32) as i32)) };
    match dice.below(16) {
        0 => Record::Resumed { at_unix_s: dice.below(1 << 31) },
        12 | 13 => Record::Reopened { task },
        14 => Record::Dropped { task },
        15 => Record::Split { task, parts: expected(log).next() },
        1 | 2 => Record::Blamed { task, attempt: failed },
        _ => Record::Settled(Settled { task, attempt, worker, outcome: outcome(dice, failed) }),
    }
}

fn outcome(dice: &mut Dice, failed: FailedAttempt) -> Outcome {
    match dice.below(10) {
        0 => Outcome::Failed("it says no".into()),
        1 => Outcome::Panicked { message: "it fell".into(), location: "a.rs:1:2".into() },
        2 => Outcome::Quarantined { attempts: vec![failed; 3] },
        3 => Outcome::Value(vec![dice.below(256) as u8; dice.below(300) as usize]),
        _ => Outcome::Value((0..16).map(|_| dice.below(256) as u8).collect()),
    }
}
