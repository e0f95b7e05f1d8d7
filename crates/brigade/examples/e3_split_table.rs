//! E3: a table is split into parts, a function is mapped over the parts, and what it gives is put together in order.

mod article;

use article::{seconds, timed};
use brigade::Pool;
use serde::{Deserialize, Serialize};
use std::error::Error;

/// Into how many parts.
const PARTS: usize = 4;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    id: u32,
    text: String,
    length: Option<usize>,
}

fn measure(mut part: Vec<Row>) -> Vec<Row> {
    part.iter_mut().for_each(|row| row.length = Some(row.text.len()));
    part
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let table: Vec<Row> =
        (0..10_000).map(|id| Row { id, text: "x".repeat(id as usize % 50), length: None }).collect();

    let pool = Pool::builder().procs(PARTS as u32).build()?;
    let parts = table.chunks(table.len().div_ceil(PARTS)).map(<[Row]>::to_vec);
    let (measured, time) = timed(|| pool.map(measure, parts).collect::<Result<Vec<_>, _>>());
    let measured = measured?.concat();

    println!("{} rows, the last: {:?}", measured.len(), measured.last());
    assert_eq!(measured, measure(table));
    seconds([time]);
    Ok(())
}
