//! C14: three tables are read, a column of each is doubled, and three tables are written, by three processes.

mod article;

use article::{seconds, timed};
use brigade::Pool;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fs;
use std::path::PathBuf;

#[derive(Serialize, Deserialize)]
struct Row {
    name: String,
    value: i64,
}

fn process(input: PathBuf) -> Result<PathBuf, String> {
    let output =
        input.with_file_name(format!("processed_{}", input.file_name().unwrap_or_default().display()));
    double(&input, &output).map_err(|error| format!("{}: {error}", input.display()))?;
    Ok(output)
}

fn double(input: &PathBuf, output: &PathBuf) -> csv::Result<()> {
    let mut writer = csv::Writer::from_path(output)?;
    for row in csv::Reader::from_path(input)?.into_deserialize() {
        let Row { name, value } = row?;
        writer.serialize(Row { name, value: 2 * value })?;
    }
    Ok(writer.flush()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let dir = tempfile::tempdir()?;
    let inputs = [1, 2, 3].map(|i| dir.path().join(format!("data{i}.csv")));
    for (i, input) in (1..).zip(&inputs) {
        fs::write(input, format!("name,value\nfirst,{i}\nsecond,{}\n", 10 * i))?;
    }

    let pool = Pool::builder().procs(3).build()?;
    let (outputs, time) = timed(|| pool.map(process, inputs).collect::<Result<Vec<_>, _>>());
    for (i, output) in (1..).zip(outputs?) {
        let output = output?;
        println!("{} is written", output.file_name().unwrap_or_default().display());
        assert!(output.ends_with(format!("processed_data{i}.csv")));
        assert_eq!(fs::read_to_string(&output)?, format!("name,value\nfirst,{}\nsecond,{}\n", 2 * i, 20 * i));
    }
    seconds([time]);
    Ok(())
}
