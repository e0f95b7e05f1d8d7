//! A lease that is dropped at once puts its item back.

#![deny(unused_must_use)]

fn main() {
    let queue = brigade::Queue::<u32>::new().expect("a queue");
    queue.lease().expect("an item");
}
