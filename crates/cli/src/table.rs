//! Columns under a head.

use std::iter::once;

/// Between two columns.
const GAP: &str = "  ";

/// A table with a head; columns whose head begins with `>` are right-aligned.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let names: Vec<String> = head.iter().map(|name| name.trim_start_matches('>').to_owned()).collect();
    let widths: Vec<usize> = (0..head.len()).map(|at| width(once(&names).chain(rows), at)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(head).zip(&widths);
        let cells: Vec<String> = cells.map(|((cell, name), width)| aligned(cell, name, *width)).collect();
        cells.join(GAP).trim_end().to_owned() + "\n"
    };
    once(&names).chain(rows).map(line).collect()
}

fn width<'a>(rows: impl Iterator<Item = &'a Vec<String>>, at: usize) -> usize {
    rows.filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
}

fn aligned(cell: &str, name: &str, width: usize) -> String {
    if name.starts_with('>') { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        let text =
            table(&["NAME", ">PID", "STATE"], &[row(["a", "7", "ready"]), row(["worker-12", "21841", "-"])]);
        assert_eq!(text, "NAME         PID  STATE\na              7  ready\nworker-12  21841  -\n");
    }
}
