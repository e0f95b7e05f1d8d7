//! An item of any size as packets of a pipe, each with what it needs to be told from a stranger.
//!
//! ```text
//! total u64 │ offset u64 │ crc u32, of all the rest │ bytes of the item from offset on        one packet, 4,096 bytes at most
//! ```
//!
//! Packets are written and read whole, so nobody's death leaves half of one. Whoever dies between two packets of an item is
//! noticed by the next one, which begins another item.

use brigade_os::pipe::PACKET_BYTES;
use brigade_wire::VALUE_BYTES_MAX;

pub(crate) const HEAD_BYTES: usize = 8 + 8 + 4;

const PART_BYTES: usize = PACKET_BYTES - HEAD_BYTES;

/// The packets of an item: the head of each, and its bytes. An item of no bytes has one, too.
pub(crate) fn packets(item: &[u8]) -> impl Iterator<Item = ([u8; HEAD_BYTES], &[u8])> {
    let count = item.len().div_ceil(PART_BYTES).max(1);
    (0..count).map(|n| {
        let offset = n * PART_BYTES;
        let part = &item[offset..item.len().min(offset + PART_BYTES)];
        let mut head = [0; HEAD_BYTES];
        head[..8].copy_from_slice(&(item.len() as u64).to_le_bytes());
        head[8..16].copy_from_slice(&(offset as u64).to_le_bytes());
        let sum = sum(&head[..16], part);
        head[16..].copy_from_slice(&sum.to_le_bytes());
        (head, part)
    })
}

fn sum(head: &[u8], part: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(head), part)
}

/// What is there of the item under way.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    total: Option<usize>,
    bytes: Vec<u8>,
}

/// What a packet was instead of the next one of its item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The first of another item: of the one before there are so many bytes, and no more will come.
    BrokenOff { there: usize, total: usize },
    /// Not as it was written.
    Damaged { there: usize },
    /// Of an item for which there is no memory.
    TooLarge { total: usize },
}

impl Parcel {
    /// How much there is of how much; `None` between two items.
    pub(crate) fn under_way(&self) -> Option<(usize, usize)> {
        self.total.map(|total| (self.bytes.len(), total))
    }

    /// The whole item, if it is there.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        self.total.take_if(|total| *total == self.bytes.len())?;
        Some(std::mem::take(&mut self.bytes))
    }

    /// Adds a packet. Whatever is wrong, the next whole item will be there all the same.
    pub(crate) fn add(&mut self, packet: &[u8]) -> Result<(), Fault> {
        let there = self.bytes.len();
        let Some((total, offset, part)) = opened(packet) else {
            *self = Parcel::default();
            return Err(Fault::Damaged { there });
        };
        match self.total {
            Some(expected) if expected == total && offset == there => {}
            Some(expected) if offset == 0 => {
                self.begin(total, part)?;
                return Err(Fault::BrokenOff { there, total: expected });
            }
            Some(_) => {
                *self = Parcel::default();
                return Err(Fault::Damaged { there });
            }
            None if offset == 0 => return self.begin(total, part),
            // The rest of one that was given up, or that somebody else had begun to read.
            None => return Ok(()),
        }
        self.bytes.extend_from_slice(part);
        Ok(())
    }

    fn begin(&mut self, total: usize, part: &[u8]) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        *self = Parcel::default();
        bytes.try_reserve_exact(total).map_err(|_| Fault::TooLarge { total })?;
        bytes.extend_from_slice(part);
        *self = Parcel { total: Some(total), bytes };
        Ok(())
    }
}

/// Total, offset and bytes, if it is a packet as [`packets`] makes them.
fn opened(packet: &[u8]) -> Option<(usize, usize, &[u8])> {
    let (head, part) = packet.split_at_checked(HEAD_BYTES)?;
    let word = |at: usize| Some(u64::from_le_bytes(head[at..at + 8].try_into().ok()?) as usize);
    let (total, offset) = (word(0)?, word(8)?);
    let is_whole = sum(&head[..16], part).to_le_bytes() == head[16..];
    let is_inside = total <= VALUE_BYTES_MAX && offset.checked_add(part.len())? <= total;
    (is_whole && is_inside).then_some((total, offset, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(item: &[u8]) -> Vec<Vec<u8>> {
        packets(item).map(|(head, part)| [&head[..], part].concat()).collect()
    }

    #[test]
    fn items_of_all_sizes_are_put_together_again() {
        let mut parcel = Parcel::default();
        for size in [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 5 * PART_BYTES, 100_000] {
            let item: Vec<u8> = (0..size).map(|n| n as u8).collect();
            let packets = all(&item);
            assert!(packets.iter().all(|packet| packet.len() <= PACKET_BYTES));
            for packet in packets {
                assert_eq!(parcel.take(), None);
                parcel.add(&packet).unwrap();
            }
            assert_eq!(parcel.take(), Some(item));
        }
    }

    #[test]
    fn whoever_dies_within_an_item_costs_that_item_alone() {
        let (mut parcel, long, short) = (Parcel::default(), all(&[7; 9_000]), all(b"next"));
        parcel.add(&long[0]).unwrap();
        let broken_off = Fault::BrokenOff { there: PART_BYTES, total: 9_000 };
        assert_eq!(parcel.add(&short[0]), Err(broken_off));
        assert_eq!(parcel.take().as_deref(), Some(b"next".as_slice()));
        // A reader that takes over where another one has died.
        let mut parcel = Parcel::default();
        parcel.add(&long[1]).unwrap();
        parcel.add(&long[2]).unwrap();
        parcel.add(&short[0]).unwrap();
        assert_eq!(parcel.take().as_deref(), Some(b"next".as_slice()));
    }

    #[test]
    fn no_changed_bit_goes_unnoticed_and_the_next_item_is_whole() {
        let (long, short) = (all(&[7; 5_000]), all(b"next"));
        for bit in 0..8 * (HEAD_BYTES + 2) {
            let mut parcel = Parcel::default();
            let mut bent = long[0].clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parcel.add(&bent), Err(Fault::Damaged { there: 0 }), "bit {bit}");
            parcel.add(&long[1]).unwrap();
            parcel.add(&short[0]).unwrap();
            assert_eq!(parcel.take().as_deref(), Some(b"next".as_slice()));
        }
        assert_eq!(Parcel::default().add(b"short"), Err(Fault::Damaged { there: 0 }));
    }

    #[test]
    fn a_packet_out_of_its_turn_is_damage() {
        let (mut parcel, long) = (Parcel::default(), all(&[7; 20_000]));
        parcel.add(&long[0]).unwrap();
        assert_eq!(parcel.add(&long[2]), Err(Fault::Damaged { there: PART_BYTES }));
        assert_eq!(parcel.under_way(), None);
    }
}
