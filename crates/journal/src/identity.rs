//! Whose journal it is.

use serde::{Deserialize, Serialize};
use std::fmt::{self, Display};
use std::path::PathBuf;

/// What a run is: results are used again only where all of it agrees, except the name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The run's name, for people: a directory may be renamed.
    pub run: String,
    /// The name of the task function.
    pub function: String,
    /// What the tasks are made of, as a person would say it.
    pub parameters: String,
    /// How many tasks there are.
    pub tasks: u64,
    /// A hash of the input, where there is any beside the parameters.
    pub input_hash: u64,
    /// [`PROTOCOL`](brigade_wire::PROTOCOL) of the build: results are encoded as it does it.
    pub protocol: u64,
}

/// One thing in which two runs differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Of what.
    pub what: &'static str,
    /// As the journal has it.
    pub journal: String,
    /// As the run that wants to go on has it.
    pub here: String,
}

/// A journal is another run's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityError {
    /// Which journal.
    pub path: PathBuf,
    /// In what it differs: one at least.
    pub differences: Vec<Difference>,
}

impl Identity {
    /// In what the run `here` differs from this one.
    ///
    /// ```
    /// # use brigade_journal::Identity;
    /// # let journal = Identity { run: "a".into(), function: "range-sum".into(), parameters: "1..=9".into(), tasks: 3,
    /// #     input_hash: 0, protocol: 1 };
    /// let here = Identity { run: "b".into(), tasks: 4, ..journal.clone() };
    /// let differences = journal.differences(&here);
    /// assert_eq!(differences[0].to_string(), "number of tasks 3 there, 4 here");
    /// assert_eq!(differences.len(), 1);
    /// ```
    #[must_use]
    pub fn differences(&self, here: &Identity) -> Vec<Difference> {
        let hex = |number: u64| format!("{number:016x}");
        let all = [
            ("task function", self.function.clone(), here.function.clone()),
            ("parameters", self.parameters.clone(), here.parameters.clone()),
            ("number of tasks", self.tasks.to_string(), here.tasks.to_string()),
            ("input hash", hex(self.input_hash), hex(here.input_hash)),
            ("protocol", hex(self.protocol), hex(here.protocol)),
        ];
        let pairs = all.into_iter().map(|(what, journal, here)| Difference { what, journal, here });
        pairs.filter(|difference| difference.journal != difference.here).collect()
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} there, {} here", self.what, self.journal, self.here)
    }
}

impl Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "journal {} is of another run: ", self.path.display())?;
        for difference in &self.differences {
            write!(f, "{difference}; ")?;
        }
        f.write_str("resume it as it was begun, or start a new run")
    }
}

impl std::error::Error for IdentityError {}
