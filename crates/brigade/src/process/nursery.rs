//! Where processes come from: one template for all processes of the program, started with the first and again when it was killed.

use super::ProcessError;
use crate::StartMethod;
use crate::carry::Kept;
use crate::error::BuildError;
use crate::init;
use brigade_os::blob::BlobFile;
use brigade_os::kin::Surroundings;
use brigade_os::page::Pages;
use brigade_os::post::{FILES_MAX, Post, Received};
use brigade_os::{Body, Pid, birth, inherit, limits, proc, signals};
use brigade_wire::{Exit, SlotId, decode_summed, encode_summed};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The word after the entry words that makes this program a template; a socket and the page follow.
pub(super) const NURSERY: &str = "nursery";

/// The one page: on it stands the number of the child that is being born.
pub(super) const CRADLE: SlotId = SlotId(0);

/// How long the template may take to answer: a new one may have a second's work before `init`.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How many templates may be killed during one birth.
const TRIES_MAX: u32 = 5;

/// What the template is told, beside files: errand, stdout, stderr, directory, and those that the argument carries.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Dies with the program.
    pub(super) daemon: bool,
    /// Executes the program anew.
    pub(super) anew: bool,
}

/// What the template answers: who was born stands on the page. Or why nobody was.
pub(super) type Answer = Result<(), String>;

/// The program and the words and environment that make it a template.
pub(super) struct Entry {
    program: PathBuf,
    words: Vec<String>,
    depth: (String, String),
}

impl Entry {
    pub(super) fn of_this_program() -> Result<Entry, ProcessError> {
        let wrong = |error| match error {
            BuildError::TooDeep { depth, most } => ProcessError::TooDeep { depth, most },
            other => ProcessError::NoInit(other),
        };
        let (program, words) = init::entry().map_err(wrong)?;
        Ok(Entry { program, words, depth: init::depth().map_err(wrong)? })
    }
}

/// The template, whichever process it is now, and the thread that starts it.
struct Nursery {
    template: Option<Template>,
    keeper: Option<Sender<Box<dyn FnOnce() + Send>>>,
}

static NURSERY_HERE: Mutex<Nursery> = Mutex::new(Nursery { template: None, keeper: None });

/// Brings a child into the world.
pub(super) fn bear(
    entry: &Entry,
    errand: &BlobFile,
    kept: &[Kept],
    daemon: bool,
    method: StartMethod,
) -> io::Result<Body> {
    let order = Order { daemon, anew: method == StartMethod::Spawn };
    let around = Surroundings::current()?;
    let [stdout, stderr, dir] = around.fds();
    let files = [errand.fd(), stdout, stderr, dir];
    if files.len() + kept.len() > FILES_MAX {
        let (given, most) = (kept.len(), FILES_MAX - files.len());
        return Err(io::Error::other(format!("its argument has {given} shared objects: {most} is the most")));
    }
    let files: Vec<BorrowedFd<'_>> = files.into_iter().chain(kept.iter().map(AsFd::as_fd)).collect();
    let mut nursery = NURSERY_HERE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut last = Exit::Unknown;
    for _ in 0..TRIES_MAX {
        let mut template = match nursery.template.take() {
            Some(template) => template,
            None => nursery.start(entry)?,
        };
        match template.bear(order, &files) {
            Ok(body) => {
                nursery.template = Some(template);
                return body;
            }
            Err(silence) => {
                let is_known = template.is_known;
                match (template.bury(), silence) {
                    ((_, Some(born)), _) => return take_hold(born),
                    ((Exit::Code(code), None), _) => {
                        return Err(io::Error::other(ended_with(code, is_known)));
                    }
                    // Another one would be as busy.
                    ((_, None), Silence::Mute) if !is_known => {
                        return Err(io::Error::other(init::never_came(ANSWER_WITHIN.as_secs())));
                    }
                    ((exit, None), Silence::Mute | Silence::Dead) => last = exit,
                }
            }
        }
    }
    Err(io::Error::other(format!("its template was killed {TRIES_MAX} times, the last time by {last}")))
}

/// Of a template that has ended by itself. One that never answered has not come to `init`.
fn ended_with(code: i32, is_known: bool) -> String {
    let hint = if is_known { "" } else { "does this program call brigade::init() first in main? " };
    format!("its template ended with exit code {code}: {hint}see its words on stderr")
}

/// Ends the template with its program, so that it is nobody else's to reap. Not if somebody waits for it still.
pub(super) fn close() {
    let template = NURSERY_HERE.try_lock().ok().and_then(|mut nursery| nursery.template.take());
    if let Some(template) = template {
        template.body.kill_alone();
        let _ = template.body.reap();
    }
}

impl Nursery {
    /// The template and its children are bound to the life of the thread that starts it.
    fn start(&mut self, entry: &Entry) -> io::Result<Template> {
        let keeper = match &self.keeper {
            Some(keeper) => keeper,
            None => {
                let (sender, jobs) = channel::<Box<dyn FnOnce() + Send>>();
                let keep = move || jobs.into_iter().for_each(|job| job());
                thread::Builder::new().name("brigade-nursery".into()).stack_size(256 << 10).spawn(keep)?;
                self.keeper.insert(sender)
            }
        };
        // The kernel would bury children unseen, and their exit codes with them.
        signals::see_children_if_ignored()?;
        let (done, started) = channel();
        let (post, end) = Post::pair()?;
        let pages = Pages::create(1)?;
        let mut command = entry.command(&end, &pages)?;
        let job = move || drop(done.send(command.spawn()));
        let ended = |_| io::Error::other("the thread that starts its template has ended");
        // If nobody takes it, nobody answers.
        let _ = keeper.send(Box::new(job));
        let child = started.recv().map_err(ended)??;
        let body = take_hold(Pid::new(child.id().cast_signed()).expect("a child has a pid"))?;
        Ok(Template { post, pages, body, is_known: false })
    }
}

impl Entry {
    fn command(&self, end: &Post, pages: &Pages) -> io::Result<Command> {
        let mut command = Command::new(&self.program);
        inherit::nothing_else(&mut command);
        let (end, pages) = (inherit::pass(&mut command, end.fd())?, inherit::pass(&mut command, pages.fd())?);
        birth::bind(&mut command);
        signals::block_everything(&mut command);
        let (name, depth) = &self.depth;
        command.env(name, depth).args(&self.words).arg(NURSERY).arg(end.to_string()).arg(pages.to_string());
        command.stdin(Stdio::null());
        Ok(command)
    }
}

/// A template at work.
struct Template {
    post: Post,
    pages: Pages,
    body: Body,
    /// It has answered once.
    is_known: bool,
}

/// Why there is no answer.
enum Silence {
    /// It is dead, or as good as that.
    Dead,
    /// It runs, and has said nothing in time.
    Mute,
}

impl Template {
    fn bear(&mut self, order: Order, files: &[BorrowedFd<'_>]) -> Result<io::Result<Body>, Silence> {
        let packet = encode_summed(&order).expect("two flags can be encoded");
        match self.post.send(&packet, files) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(Silence::Dead),
            Err(error) => return Ok(Err(error)),
        }
        let answer = self.hear()?;
        self.is_known = true;
        match answer {
            Ok(()) => self.take_born().map(take_hold).ok_or(Silence::Dead),
            // Whatever became of the answer, whoever stands on the page was born.
            Err(words) => Ok(self.take_born().map_or(Err(io::Error::other(words)), take_hold)),
        }
    }

    /// Its answer, if there is one in time. Who is stopped is not waited for.
    fn hear(&self) -> Result<Answer, Silence> {
        for _ in 0..ANSWER_WITHIN.as_millis() / LOOK_EVERY.as_millis() {
            match self.post.receive(Some(LOOK_EVERY)) {
                Ok(Received::Packet(answer, _)) => {
                    let wrong = |error| format!("the answer of its template: {error}");
                    return Ok(decode_summed(&answer).map_err(wrong).flatten());
                }
                Ok(Received::Nothing) if !self.is_stopped() => {}
                Ok(Received::Nothing | Received::End) | Err(_) => return Err(Silence::Dead),
            }
        }
        Err(Silence::Mute)
    }

    fn is_stopped(&self) -> bool {
        proc::stat(self.body.pid().number()).is_ok_and(|stat| matches!(stat.state, 'T' | 't'))
    }

    /// The kernel has written its number, whatever became of the template meanwhile.
    fn take_born(&self) -> Option<Pid> {
        let born = self.pages.pid(CRADLE);
        let _ = self.pages.take(CRADLE);
        born
    }

    /// Ends it, and says how it ended and whom it has left.
    fn bury(self) -> (Exit, Option<Pid>) {
        // It may be about to end by itself, and to say more by that.
        let _ = self.body.await_end(Some(ENDS_WITHIN));
        self.body.kill_alone();
        (self.body.reap(), self.take_born())
    }
}

/// How long a template that has closed its socket may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

fn take_hold(pid: Pid) -> io::Result<Body> {
    Body::of(pid).inspect_err(|error| {
        // For any other reason it is gone, reaped by somebody else in this program, and its number may be a stranger's.
        if limits::is_scarcity(error) {
            Body::end_unheld(pid);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use brigade_wire::SummedError;

    #[test]
    fn no_changed_bit_of_what_a_template_and_its_program_say_goes_unnoticed() {
        let order = encode_summed(&Order { daemon: true, anew: false }).unwrap();
        let answer = encode_summed(&Answer::Err("fork: no memory".into())).unwrap();
        for packet in [&order, &answer] {
            for bit in 0..8 * packet.len() {
                let mut bent = packet.clone();
                bent[bit / 8] ^= 1 << (bit % 8);
                let told = (decode_summed::<Order>(&bent).err(), decode_summed::<Answer>(&bent).err());
                let is_told = |told: Option<SummedError>| matches!(told, Some(SummedError::Damaged(_)));
                assert!(is_told(told.0) && is_told(told.1), "bit {bit}");
            }
        }
    }
}
