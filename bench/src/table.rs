//! Medians, spreads and ratios, as Markdown.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What is measured.
pub struct Figure {
    pub name: &'static str,
    pub unit: &'static str,
    pub better: Better,
    /// Whom we are to be so many times better than (or, where less is better, at most so many times worse than).
    pub bar: Option<(&'static str, f64)>,
}

/// Which way is up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Better {
    More,
    Less,
}

impl Figure {
    /// A row for each contestant, the first of whom is ours; its ratio to us is the median of those of the rounds.
    pub fn markdown(&self, names: &[&str], rows: &[Vec<Option<f64>>]) -> String {
        let mut text = format!(
            "### {} ({})\n\n| who | median | spread | ours is |\n|---|---|---|---|\n",
            self.name, self.unit
        );
        let ours = &rows[0];
        let mut best: Option<f64> = None;
        for (name, row) in names.iter().zip(rows) {
            let values: Vec<f64> = row.iter().flatten().copied().collect();
            if values.is_empty() {
                _ = writeln!(text, "| {name} | absent | | |");
                continue;
            }
            let ratios: Vec<f64> = ours
                .iter()
                .zip(row)
                .filter_map(|(ours, theirs)| Some(self.gain((*ours)?, (*theirs)?)))
                .collect();
            let ratio = median(ratios);
            let (low, high) =
                values.iter().fold((f64::MAX, f64::MIN), |(low, high), it| (low.min(*it), high.max(*it)));
            let told = if *name == names[0] { String::new() } else { format!("{ratio:.2} x as good") };
            if *name != names[0]
                && self.bar.is_some_and(|(whom, _)| whom == *name || whom == "the best of them")
            {
                best = Some(best.map_or(ratio, |it: f64| it.min(ratio)));
            }
            _ = writeln!(
                text,
                "| {name} | {} | {} to {} | {told} |",
                short(median(values)),
                short(low),
                short(high)
            );
        }
        if let Some(((whom, bar), gain)) = self.bar.zip(best) {
            let (bar, verb) = match self.better {
                Better::More => (bar, "at least"),
                Better::Less => (1.0 / bar, "at least"),
            };
            let held = if gain >= bar { "held" } else { "**missed**" };
            _ = writeln!(text, "\nBar: {verb} {bar:.2} x {whom}: {gain:.2}, {held}.");
        }
        text
    }

    /// How many times better ours is.
    fn gain(&self, ours: f64, theirs: f64) -> f64 {
        match self.better {
            Better::More => ours / theirs,
            Better::Less => theirs / ours,
        }
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Three digits and a prefix.
fn short(value: f64) -> String {
    let scales = [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "u")];
    let (scale, prefix) = scales.into_iter().find(|(scale, _)| value >= *scale).unwrap_or((1e-9, "n"));
    let scaled = value / scale;
    let digits = if scaled >= 100.0 {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    format!("{scaled:.digits$} {prefix}")
}

/// What machine this is, and of which versions everything is.
pub fn preamble(python: Option<&Path>, rounds: usize) -> String {
    let first = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .find_map(|line| Some(line.strip_prefix(key)?.trim_start_matches([' ', '\t', ':']).to_owned()))
    };
    let said = |command: &mut Command| {
        let output =
            command.output().ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        output.filter(|text| !text.is_empty()).unwrap_or_else(|| "absent".to_owned())
    };
    let model = first("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    let python = python.map_or_else(|| "absent".to_owned(), |python| {
        let modules = "import sys, importlib.metadata as m\nprint(sys.version.split()[0], *[n + ' ' + m.version(n) for n in ('loky', 'pebble', 'joblib')], sep=', ')";
        said(Command::new(python).args(["-c", modules]))
    });
    let rust = said(Command::new("rustc").arg("--version"));
    format!(
        "# Benchmarks\n\nWritten by `make bench`; not by hand. Medians of {rounds} rounds with their whole spread; contestants take \
         turns within a round, and \"ours is\" is the median of the ratios of the rounds.\n\n\
         Machine: {cores} x {model}, Linux {}. {rust}; Python {python}.\n",
        kernel.trim()
    )
}
