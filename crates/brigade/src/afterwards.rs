//! What is somebody else's code, and is to be called when a call has its final word: wakers of futures, and callbacks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::task::Waker;
use std::thread::{self, JoinHandle};

/// Calls what is somebody else's, one after the other, on a thread that is there once it is wanted: nothing of theirs runs on
/// the loop's, unless there is no thread to be had.
pub(crate) struct Caller {
    name: &'static str,
    thread: Option<(Sender<Callback>, JoinHandle<()>)>,
}

pub(crate) type Callback = Box<dyn FnOnce() + Send>;

/// What is to be called when a call has its final word: whoever awaits it, and callbacks. A callback may wait for another call
/// that is awaited, so wakes never stand behind one.
#[derive(Default)]
pub(crate) struct Afterwards {
    pub(crate) waker: Option<Waker>,
    pub(crate) callbacks: Vec<Callback>,
}

impl Afterwards {
    pub(crate) fn wake(&mut self) -> Option<Callback> {
        self.waker.take().map(|waker| Box::new(move || waker.wake()) as Callback)
    }

    /// All of them, here.
    pub(crate) fn call(mut self) {
        self.wake().into_iter().chain(self.callbacks).for_each(call_back);
    }
}

impl Caller {
    pub(crate) fn new(name: &'static str) -> Caller {
        Caller { name, thread: None }
    }

    pub(crate) fn call(&mut self, callback: Callback) {
        if self.thread.is_none() {
            let (sender, receiver) = channel::<Callback>();
            let body = move || receiver.into_iter().for_each(call_back);
            let thread = thread::Builder::new().name(self.name.into()).spawn(body);
            self.thread = thread.ok().map(|thread| (sender, thread));
        }
        match &self.thread {
            Some((sender, _)) => drop(sender.send(callback)),
            None => call_back(callback),
        }
    }

    /// Nothing more is to be called.
    pub(crate) fn end(self) -> Option<JoinHandle<()>> {
        self.thread.map(|(_, thread)| thread)
    }
}

/// A panic in it harms nobody; its words were printed by the hook.
pub(crate) fn call_back(callback: Callback) {
    drop(catch_unwind(AssertUnwindSafe(callback)));
}
