//! What all of these are: a descriptor that travels, and the memory behind it.

use crate::carry::Carried;
use brigade_os::lend::Access;
use brigade_os::region::{Region, Shared};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ffi::CString;
use std::fmt;
use std::fs;
use std::io;
use std::ops::Deref;
use std::os::fd::AsRawFd;

/// A handle on shared memory.
pub(crate) struct Handle<T: Shared> {
    carried: Carried,
    region: Region<T>,
}

impl<T: Shared> Handle<T> {
    /// Of new memory, with so many bytes behind its value.
    pub(crate) fn create(name: &str, tail_bytes: usize) -> io::Result<Handle<T>> {
        let name = CString::new(name)?;
        let (region, fd) = Region::create(&name, tail_bytes)?;
        Ok(Handle { carried: Carried::new(fd, Access::Both), region })
    }

    /// What it is called, by itself and in `/proc`.
    pub(crate) fn name(&self) -> String {
        let link = fs::read_link(format!("/proc/self/fd/{}", self.carried.fd().as_raw_fd()));
        let link = link.map(|link| link.to_string_lossy().into_owned()).unwrap_or_default();
        let name = link.strip_prefix("/memfd:").and_then(|name| name.strip_suffix(" (deleted)"));
        format!("{}#{}", name.unwrap_or("shared"), self.id())
    }
}

impl<T: Shared> Clone for Handle<T> {
    fn clone(&self) -> Handle<T> {
        Handle { carried: self.carried.clone(), region: self.region.clone() }
    }
}

impl<T: Shared> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl<T: Shared> Deref for Handle<T> {
    type Target = Region<T>;

    fn deref(&self) -> &Region<T> {
        &self.region
    }
}

impl<T: Shared> Serialize for Handle<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.carried.serialize(serializer)
    }
}

impl<'de, T: Shared> Deserialize<'de> for Handle<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Handle<T>, D::Error> {
        let carried = Carried::deserialize(deserializer)?;
        let region = Region::open(carried.fd());
        let region = region.map_err(|error| D::Error::custom(format!("shared object: {error}")))?;
        Ok(Handle { carried, region })
    }
}
