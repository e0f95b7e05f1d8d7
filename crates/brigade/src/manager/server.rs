//! The manager's process: objects behind one lock, and a thread for each connection.

use super::talk::{self, Answer, Ask, Blob, Instance, Lost, OfDict, OfList};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What a manager is told at its birth.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Charge {
    pub(super) address: String,
    pub(super) key: Vec<u8>,
    pub(super) instance: Instance,
}

/// All objects. A number is never given again.
#[derive(Default)]
struct Objects {
    last: u64,
    /// By name: number, and what it holds.
    names: HashMap<String, (u64, bool, String)>,
    lists: HashMap<u64, Vec<Blob>>,
    dicts: HashMap<u64, BTreeMap<Blob, Blob>>,
}

/// Serves until it is killed; if it cannot, its exit code is the system's error number.
pub(super) fn serve(charge: Charge) -> ExitCode {
    // Ctrl-C is for the program, which ends its manager when it needs that no more.
    brigade_os::signals::ignore_interrupts();
    let number =
        |error: io::Error| error.raw_os_error().and_then(|errno| u8::try_from(errno).ok()).unwrap_or(1);
    let listener = match talk::listen(&charge.address) {
        Ok(listener) => listener,
        Err(error) => return ExitCode::from(number(error)),
    };
    let (charge, objects) = (Arc::new(charge), Arc::new(Mutex::new(Objects::default())));
    loop {
        let Ok((stream, _)) = listener.accept() else {
            // No descriptor is to be had until somebody hangs up: a pace.
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        let (charge, objects) = (Arc::clone(&charge), Arc::clone(&objects));
        let body = move || drop(attend(&stream, &charge, &objects));
        // Without a thread the connection is closed, and the client told so.
        let _ = thread::Builder::new().name("manager".into()).stack_size(256 << 10).spawn(body);
    }
}

/// Answers one client until it hangs up, or dies in the middle of a word.
fn attend(stream: &UnixStream, charge: &Charge, objects: &Mutex<Objects>) -> Result<(), Lost> {
    talk::admit(stream, &charge.key, &charge.instance)?;
    loop {
        let answer = match talk::hear::<Ask>(stream, None) {
            // The lock is not held while somebody may be slow to read.
            Ok(ask) => objects.lock().unwrap_or_else(PoisonError::into_inner).answer(ask),
            // Where the next one begins is not known any more: it is told, and hung up on.
            Err(Lost::Damaged(damage)) => {
                return talk::say(stream, &Answer::Damaged(damage.bytes, damage.sum, damage.told), None);
            }
            Err(lost) => return Err(lost),
        };
        talk::say(stream, &answer, None)?;
    }
}

impl Objects {
    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Make { name, is_list, shape } => self.make(name, is_list, shape),
            Ask::List(id, of_list) => {
                self.lists.get_mut(&id).map_or(Answer::Nonsense, |list| list_does(list, of_list))
            }
            Ask::Dict(id, of_dict) => {
                self.dicts.get_mut(&id).map_or(Answer::Nonsense, |dict| dict_does(dict, of_dict))
            }
        }
    }

    fn make(&mut self, name: Option<String>, is_list: bool, shape: String) -> Answer {
        if let Some((id, was_list, has)) = name.as_ref().and_then(|name| self.names.get(name)) {
            return match (*was_list, has) == (is_list, &shape) {
                true => Answer::Object(*id),
                false => Answer::OtherShape(has.clone()),
            };
        }
        self.last += 1;
        match is_list {
            true => drop(self.lists.insert(self.last, Vec::new())),
            false => drop(self.dicts.insert(self.last, BTreeMap::new())),
        }
        if let Some(name) = name {
            self.names.insert(name, (self.last, is_list, shape));
        }
        Answer::Object(self.last)
    }
}

fn list_does(list: &mut Vec<Blob>, ask: OfList) -> Answer {
    let len = list.len() as u64;
    let at = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
    match ask {
        OfList::Extend(values) => {
            list.extend(values);
            Answer::Done
        }
        OfList::Insert(index, _) if index > len => Answer::OutOfRange(len),
        OfList::Insert(index, value) => {
            list.insert(at(index), value);
            Answer::Done
        }
        OfList::Get(index) => Answer::Found(list.get(at(index)).cloned()),
        OfList::Set { index, value, if_is } => match list.get_mut(at(index)) {
            None => Answer::OutOfRange(len),
            Some(there) if if_is.is_some_and(|seen| seen != *there) => Answer::Was(false),
            Some(there) => {
                *there = value;
                Answer::Was(true)
            }
        },
        OfList::Remove(Some(index)) if index >= len => Answer::Found(None),
        OfList::Remove(Some(index)) => Answer::Found(Some(list.remove(at(index)))),
        OfList::Remove(None) => Answer::Found(list.pop()),
        OfList::Len => Answer::Count(len),
        OfList::All => Answer::Values(list.clone()),
        OfList::Clear => {
            list.clear();
            Answer::Done
        }
    }
}

fn dict_does(dict: &mut BTreeMap<Blob, Blob>, ask: OfDict) -> Answer {
    match ask {
        OfDict::Put(key, value) => Answer::Found(put(dict, key, value)),
        OfDict::Exchange { key, value, if_is } => {
            if dict.get(&key) != if_is.as_ref() {
                return Answer::Was(false);
            }
            put(dict, key, value);
            Answer::Was(true)
        }
        OfDict::Get(key) => Answer::Found(dict.get(&key).cloned()),
        OfDict::Extend(items) => {
            dict.extend(items);
            Answer::Done
        }
        OfDict::Len => Answer::Count(dict.len() as u64),
        OfDict::All => Answer::Items(dict.iter().map(|(key, value)| (key.clone(), value.clone())).collect()),
        OfDict::Clear => {
            dict.clear();
            Answer::Done
        }
    }
}

/// Replaces one, or removes it; what was there.
fn put(dict: &mut BTreeMap<Blob, Blob>, key: Blob, value: Option<Blob>) -> Option<Blob> {
    match value {
        Some(value) => dict.insert(key, value),
        None => dict.remove(&key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_question_that_is_damaged_is_not_done_and_its_client_is_told() {
        let (one, other) = UnixStream::pair().unwrap();
        let charge = Charge { address: "@here".into(), key: b"key".to_vec(), instance: [7; 16] };
        let objects = Mutex::new(Objects::default());
        thread::scope(|scope| {
            let attending = scope.spawn(|| attend(&one, &charge, &objects));
            assert_eq!(talk::introduce(&other, b"key", None).unwrap(), [7; 16]);
            let (mut from, to) = UnixStream::pair().unwrap();
            talk::say(&to, &Ask::Make { name: None, is_list: true, shape: "a list".into() }, None).unwrap();
            drop(to);
            let mut frame = Vec::new();
            from.read_to_end(&mut frame).unwrap();
            *frame.last_mut().unwrap() ^= 1;
            (&other).write_all(&frame).unwrap();
            let told: Answer = talk::hear(&other, None).unwrap();
            assert!(
                matches!(told, Answer::Damaged(bytes, sum, told) if bytes > 0 && sum != told),
                "{told:?}"
            );
            assert!(attending.join().unwrap().is_ok(), "and hung up on");
        });
        assert_eq!(objects.into_inner().unwrap().last, 0, "nothing was made");
    }
}
