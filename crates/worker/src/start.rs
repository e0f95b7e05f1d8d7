//! What this process is to be: its arguments are written by the supervisor or the template, not by people.

use crate::allowance::Allowance;
use crate::{Table, Trade, exit, log, serve, template};
use brigade_link::Spawned;
use brigade_os::cgroup::Cgroup;
use brigade_os::page::Pages;
use brigade_os::{birth, heap, inherit, signals};
use brigade_wire::{Exit, PROTOCOL};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// The arguments that make a process a template, and those that make it a worker.
#[derive(Debug)]
pub(crate) enum Role {
    /// `template CGROUP DOOR PAGES LOGS`; a cgroup `-` is none.
    Template { door: String, pages: i32, logs: i32, cgroup: Option<PathBuf> },
    /// `born DOOR PAGES`
    Born { door: String, pages: i32 },
}

/// What a person gets who starts a worker by hand.
#[derive(Debug)]
pub(crate) enum Told {
    Version,
    Help,
    Misuse,
}

/// Reads the arguments.
pub(crate) fn role(args: impl Iterator<Item = String>) -> Result<Role, Told> {
    let args: Vec<String> = args.collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["template", cgroup, door, pages, logs] => {
            let (pages, logs) = (number(pages)?, number(logs)?);
            let cgroup = (cgroup != "-").then(|| PathBuf::from(cgroup));
            Ok(Role::Template { door: door.into(), pages, logs, cgroup })
        }
        ["born", door, pages] => Ok(Role::Born { door: door.into(), pages: number(pages)? }),
        ["--version" | "-V"] => Err(Told::Version),
        ["--help" | "-h"] => Err(Told::Help),
        _ => Err(Told::Misuse),
    }
}

fn number(text: &str) -> Result<i32, Told> {
    text.parse().map_err(|_| Told::Misuse)
}

/// Plays the role to its end.
pub(crate) fn play(role: Role, trade: Trade<'_>) -> ExitCode {
    heap::keep_message_buffers();
    let ended = listen().and_then(|()| match role {
        Role::Template { door, pages, logs, cgroup } => template(&door, pages, logs, cgroup, trade),
        Role::Born { door, pages } => born(&door, pages, trade),
    });
    ended.unwrap_or_else(|error| {
        log::line(format_args!("cannot run: {error}"));
        exit::code(Exit::CANNOT_RUN)
    })
}

/// What signals mean here; a forked child inherits it.
fn listen() -> io::Result<()> {
    signals::crash_plainly()?;
    signals::tell_where_on_abort()?;
    signals::hear_reopen()
}

fn template(
    door: &str,
    pages: i32,
    logs: i32,
    cgroup: Option<PathBuf>,
    trade: Trade<'_>,
) -> io::Result<ExitCode> {
    let (pages, logs) = (inherit::take(pages)?, inherit::take(logs)?);
    let cgroup = cgroup.and_then(|path| {
        let gone = |error: &io::Error| log::line(format_args!("without cgroup {}: {error}", path.display()));
        Cgroup::open(&path).inspect_err(gone).ok()
    });
    let template = template::Template::begin(door, Pages::map(pages)?, logs, cgroup, trade.tasks)?;
    match template.serve()? {
        template::Ended::SupervisorGone => Ok(ExitCode::SUCCESS),
        template::Ended::Child(calling) => live(*calling, trade),
        template::Ended::NotExecuted(error) => {
            log::line(format_args!("{error}"));
            Ok(exit::code(Exit::NOT_EXECUTED))
        }
    }
}

/// Under `spawn`: the template's child has executed this binary anew.
fn born(door: &str, pages: i32, trade: Trade<'_>) -> io::Result<ExitCode> {
    let pages = Pages::map(inherit::take(pages)?)?;
    let Spawned { charter, worker, ends } = match Spawned::fetch(door) {
        // An accident of this birth (one in 30,000 was seen), and no reason not to try another.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            log::line(format_args!("the door was closed: {error}"));
            return Ok(ExitCode::FAILURE);
        }
        fetched => fetched?,
    };
    birth::set_name(&format!("worker-{}", worker.slot));
    let page = pages.own(worker.slot)?;
    drop(pages);
    live(serve::Calling { charter, worker, page, end: ends.into() }, trade)
}

/// A worker serves, if it can live on what it may have.
fn live(calling: serve::Calling, trade: Trade<'_>) -> io::Result<ExitCode> {
    Allowance::admit(calling.charter.rss_bytes_max)?;
    serve::serve(calling, trade)
}

impl Told {
    pub(crate) fn say(self, table: Table<'_>) -> ExitCode {
        let version = format!("worker {} (protocol {PROTOCOL:016x})", env!("CARGO_PKG_VERSION"));
        let names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        let written = match self {
            Told::Version => writeln!(io::stdout(), "{version}"),
            Told::Help => writeln!(
                io::stdout(),
                "{version}\nA worker of Brigade; it has the tasks: {names}.\n\
                 It is started by the supervisor: try 'supervisor --procs 4'."
            ),
            Told::Misuse => {
                let _ = writeln!(
                    io::stderr(),
                    "error: worker is started by supervisor: try 'supervisor --procs 4'"
                );
                return ExitCode::from(2);
            }
        };
        // A closed stdout is no reason to complain.
        let _ = written;
        ExitCode::SUCCESS
    }
}
