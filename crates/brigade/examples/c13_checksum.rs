//! C13: data that goes to another process carries its checksum, which is verified on arrival.
//!
//! Brigade does the same below, for frames and blobs, where nothing outside can damage them (its own tests turn bits over); this
//! is for who wants to know it from their own end to the other.

mod article;

use article::{seconds, timed};
use brigade::{Pool, TaskError};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};

#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Sealed")]
struct Parcel(Sealed);

/// A parcel that nobody has looked into yet.
#[derive(Clone, Serialize, Deserialize)]
struct Sealed {
    data: Vec<u8>,
    checksum: u64,
}

fn checksum(data: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}

impl Parcel {
    fn new(data: &[u8]) -> Parcel {
        Parcel(Sealed { data: data.to_vec(), checksum: checksum(data) })
    }
}

impl TryFrom<Sealed> for Parcel {
    type Error = &'static str;

    fn try_from(sealed: Sealed) -> Result<Parcel, &'static str> {
        if checksum(&sealed.data) == sealed.checksum { Ok(Parcel(sealed)) } else { Err("damaged on its way") }
    }
}

fn receive(parcel: Parcel) -> String {
    String::from_utf8_lossy(&parcel.0.data).into_owned()
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let pool = Pool::builder().procs(1).build()?;
    let whole = Parcel::new(b"important data");
    let mut damaged = whole.clone();
    damaged.0.data[3] ^= 1;

    let (arrived, time) = timed(|| pool.submit(receive, whole).join());
    let refused = pool.submit(receive, damaged).join();
    println!("whole:   {arrived:?}");
    println!("damaged: {refused:?}");

    assert_eq!(arrived?, "important data");
    assert!(
        matches!(refused, Err(TaskError::Decode { message, .. }) if message.contains("damaged on its way"))
    );
    seconds([time]);
    Ok(())
}
