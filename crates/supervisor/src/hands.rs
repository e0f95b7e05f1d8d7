//! The hands: what the supervisor holds of each living worker, by slot.

use brigade_link::{Door, Impostor, Link, Tombstone};
use brigade_os::Body;
use brigade_wire::{SlotId, WorkerId};
use std::sync::Arc;

/// One worker, from its order until it is gone.
#[derive(Debug)]
pub(crate) struct Hand {
    pub(crate) worker: WorkerId,
    pub(crate) link: Link,
    pub(crate) voice: Voice,
    pub(crate) presence: Presence,
    /// Under chaos alone.
    pub(crate) impostor: Option<Impostor>,
}

/// What may be expected of its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    /// A hello.
    Unheard,
    /// Endings, each with a lease or a credit to it.
    Met,
    /// Nothing: it has garbled once.
    Garbled,
}

/// Whether its process exists, as far as was told.
#[derive(Debug)]
pub(crate) enum Presence {
    /// Ordered. `doomed`: it is to be killed as soon as it exists.
    Awaited { tombstone: Tombstone, door: Option<Door>, doomed: bool },
    /// Born.
    Here { body: Arc<Body>, born_ns: u64 },
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Hands {
    slots: Vec<Option<Hand>>,
}

impl Hands {
    pub(crate) fn new() -> Hands {
        Hands { slots: Vec::new() }
    }

    /// The hand of this very incarnation.
    pub(crate) fn get(&mut self, worker: WorkerId) -> Option<&mut Hand> {
        self.slots.get_mut(worker.slot.0 as usize)?.as_mut().filter(|hand| hand.worker == worker)
    }

    pub(crate) fn insert(&mut self, hand: Hand) {
        let slot = hand.worker.slot.0 as usize;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot] = Some(hand);
    }

    pub(crate) fn remove(&mut self, worker: WorkerId) -> Option<Hand> {
        self.slots.get_mut(worker.slot.0 as usize)?.take_if(|hand| hand.worker == worker)
    }

    /// Those that have a process.
    pub(crate) fn here(&self) -> impl Iterator<Item = (WorkerId, &Arc<Body>, u64)> {
        self.slots.iter().flatten().filter_map(|hand| match &hand.presence {
            Presence::Here { body, born_ns } => Some((hand.worker, body, *born_ns)),
            Presence::Awaited { .. } => None,
        })
    }

    /// Those that have said hello and nothing wrong.
    pub(crate) fn met(&self) -> impl Iterator<Item = &Arc<Body>> {
        self.slots.iter().flatten().filter(|hand| hand.voice == Voice::Met).filter_map(Hand::body)
    }

    pub(crate) fn in_slot(&self, slot: SlotId) -> Option<(&Arc<Body>, u64)> {
        match &self.slots.get(slot.0 as usize)?.as_ref()?.presence {
            Presence::Here { body, born_ns } => Some((body, *born_ns)),
            Presence::Awaited { .. } => None,
        }
    }
}

impl Hand {
    pub(crate) fn body(&self) -> Option<&Arc<Body>> {
        match &self.presence {
            Presence::Here { body, .. } => Some(body),
            Presence::Awaited { .. } => None,
        }
    }

    pub(crate) fn is_doomed(&self) -> bool {
        match self.presence {
            Presence::Awaited { doomed, .. } => doomed,
            Presence::Here { .. } => false,
        }
    }
}
