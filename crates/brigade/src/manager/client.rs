//! A client's side of the conversation: connections that wait for the next question, and what can go wrong.

use super::ManagerError;
use super::talk::{self, Answer, Ask, Blob, Instance, Lost, OfDict, OfList, Unmet};
use crate::carry;
use brigade_os::clock::Deadline;
use brigade_wire::{Damage, decode_value, encode_value};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where a manager is, and how it is known there; goes along in every proxy.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) address: String,
    pub(super) key: Vec<u8>,
    pub(super) instance: Instance,
    /// How long an answer is waited for; for ever, if not said.
    pub(super) timeout: Option<Duration>,
}

/// Connections of this process that nobody uses now. Each thread that asks takes one, or makes one.
static IDLE: LazyLock<Mutex<HashMap<Instance, Vec<UnixStream>>>> = LazyLock::new(Mutex::default);

fn idle() -> MutexGuard<'static, HashMap<Instance, Vec<UnixStream>>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// To whoever serves that address now.
    pub(super) fn to(address: &str, key: &[u8]) -> Result<Line, ManagerError> {
        if key.is_empty() {
            return Err(ManagerError::EmptyKey);
        }
        let (stream, instance) = greet(address, key, None)?;
        idle().entry(instance).or_default().push(stream);
        Ok(Line { address: address.to_owned(), key: key.to_vec(), instance, timeout: None })
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask(&self, ask: &Ask) -> Result<Answer, ManagerError> {
        let until = self.timeout.map(Deadline::after);
        let stream = self.take(until)?;
        let answer = talk::say(&stream, ask, until).and_then(|()| talk::hear(&stream, until));
        match answer {
            Ok(Answer::Damaged(bytes, sum, told)) => {
                Err(self.damaged("question", Damage { bytes, sum, told }))
            }
            Ok(answer) => {
                // One that keeps a time for the next, who may have another, is not kept.
                if until.is_none() || talk::untimed(&stream).is_ok() {
                    idle().entry(self.instance).or_default().push(stream);
                }
                Ok(answer)
            }
            Err(Lost::Io(source)) => {
                // The others lead to the same end.
                self.hang_up();
                Err(gone(&self.address, source))
            }
            Err(Lost::Late) => Err(ManagerError::TimedOut { address: self.address.clone() }),
            Err(Lost::Damaged(damage)) => Err(self.damaged("answer", damage)),
            Err(Lost::Strange(message)) => {
                Err(ManagerError::Strange { address: self.address.clone(), message })
            }
            Err(Lost::Unsaid(message)) => Err(ManagerError::Encode { message }),
        }
    }

    /// Closes the connections that nobody uses now.
    pub(super) fn hang_up(&self) {
        idle().remove(&self.instance);
    }

    fn take(&self, until: Option<Deadline>) -> Result<UnixStream, ManagerError> {
        if let Some(stream) = idle().get_mut(&self.instance).and_then(Vec::pop) {
            return Ok(stream);
        }
        let (stream, instance) = greet(&self.address, &self.key, until)?;
        match instance == self.instance {
            true => Ok(stream),
            false => Err(ManagerError::Replaced { address: self.address.clone() }),
        }
    }

    pub(super) fn make(&self, name: Option<&str>, is_list: bool, shape: &str) -> Result<u64, ManagerError> {
        let ask = Ask::Make { name: name.map(str::to_owned), is_list, shape: shape.to_owned() };
        match self.ask(&ask)? {
            Answer::Object(id) => Ok(id),
            Answer::OtherShape(has) => {
                let name = name.unwrap_or_default().to_owned();
                Err(ManagerError::OtherType { name, has, asked: shape.to_owned() })
            }
            _ => Err(self.strange()),
        }
    }

    fn damaged(&self, what: &'static str, damage: Damage) -> ManagerError {
        let Damage { bytes, sum, told } = damage;
        ManagerError::Damaged { address: self.address.clone(), what, bytes, sum, told }
    }

    /// An answer to another question.
    pub(super) fn strange(&self) -> ManagerError {
        let message = "it answers another question than was asked".to_owned();
        ManagerError::Strange { address: self.address.clone(), message }
    }
}

fn gone(address: &str, source: io::Error) -> ManagerError {
    ManagerError::Gone { address: address.to_owned(), source }
}

/// Each step has failures of its own: that nobody listens is news of the manager, and that there is no descriptor is none.
fn greet(address: &str, key: &[u8], until: Option<Deadline>) -> Result<(UnixStream, Instance), ManagerError> {
    let own = || address.to_owned();
    let stream = talk::connect(address, until).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => gone(address, source),
        io::ErrorKind::TimedOut => ManagerError::TimedOut { address: own() },
        _ => ManagerError::Unreachable { address: own(), source },
    })?;
    let instance = talk::introduce(&stream, key, until).map_err(|unmet| match unmet {
        Unmet::Denied => ManagerError::Denied { address: own() },
        Unmet::Stranger => {
            let message = "whoever listens there is no manager of this version".to_owned();
            ManagerError::Strange { address: own(), message }
        }
        Unmet::Lost(Lost::Late) => ManagerError::TimedOut { address: own() },
        Unmet::Lost(Lost::Io(source)) => match source.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                gone(address, source)
            }
            _ => ManagerError::Unreachable { address: own(), source },
        },
        Unmet::Lost(Lost::Damaged(damage)) => {
            ManagerError::Strange { address: own(), message: damage.to_string() }
        }
        Unmet::Lost(Lost::Strange(message) | Lost::Unsaid(message)) => {
            ManagerError::Strange { address: own(), message }
        }
    })?;
    Ok((stream, instance))
}

/// One object of a manager.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Object {
    pub(super) line: Line,
    pub(super) id: u64,
}

impl Object {
    pub(super) fn list(&self, ask: OfList) -> Result<Answer, ManagerError> {
        self.line.ask(&Ask::List(self.id, ask))
    }

    pub(super) fn dict(&self, ask: OfDict) -> Result<Answer, ManagerError> {
        self.line.ask(&Ask::Dict(self.id, ask))
    }

    pub(super) fn done(&self, answer: &Answer) -> Result<(), ManagerError> {
        matches!(answer, Answer::Done).then_some(()).ok_or_else(|| self.line.strange())
    }

    pub(super) fn found(&self, answer: Answer) -> Result<Option<Blob>, ManagerError> {
        match answer {
            Answer::Found(found) => Ok(found),
            _ => Err(self.line.strange()),
        }
    }

    pub(super) fn count(&self, answer: &Answer) -> Result<u64, ManagerError> {
        match answer {
            Answer::Count(count) => Ok(*count),
            _ => Err(self.line.strange()),
        }
    }

    pub(super) fn was(&self, answer: &Answer) -> Result<bool, ManagerError> {
        match answer {
            Answer::Was(was) => Ok(*was),
            _ => Err(self.line.strange()),
        }
    }
}

pub(super) fn encode<T: Serialize + 'static>(value: &T) -> Result<Blob, ManagerError> {
    let mut blob = Vec::new();
    let (encoded, carried) = carry::collect(|| encode_value(value, &mut blob));
    encoded.map_err(|error| ManagerError::Encode { message: error.to_string() })?;
    match carried.is_empty() {
        true => Ok(blob),
        // It would have to stay open here for as long as it lies there.
        false => Err(ManagerError::Encode { message: "a manager keeps data, and no shared objects".into() }),
    }
}

pub(super) fn decode<T: serde::de::DeserializeOwned + 'static>(blob: &[u8]) -> Result<T, ManagerError> {
    decode_value(blob).map_err(|error| ManagerError::Decode { message: error.to_string() })
}
