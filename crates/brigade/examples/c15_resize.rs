//! C15: pictures are made 128 by 128 pixels large, in parallel. A picture that crashes its decoder costs itself alone.

mod article;

use article::{seconds, timed};
use brigade::Pool;
use image::imageops::FilterType;
use image::{Rgb, RgbImage};
use std::error::Error;
use std::path::PathBuf;

fn resize(input: PathBuf) -> PathBuf {
    let picture = image::open(&input).expect("a picture that can be read");
    let output = input.with_extension("small.png");
    picture.resize_exact(128, 128, FilterType::Triangle).save(&output).expect("room for a small one");
    output
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let dir = tempfile::tempdir()?;
    let inputs: Vec<PathBuf> = (0..4).map(|i| dir.path().join(format!("{i}.png"))).collect();
    for (shade, input) in (0..).step_by(60).zip(&inputs) {
        RgbImage::from_pixel(640, 480, Rgb([shade, 0, 0])).save(input)?;
    }

    let pool = Pool::builder().procs(4).build()?;
    let (outputs, time) = timed(|| pool.map(resize, inputs).collect::<Result<Vec<_>, _>>());
    for (shade, output) in (0..).step_by(60).zip(outputs?) {
        let small = image::open(&output)?.into_rgb8();
        println!("{}: {:?}", output.file_name().unwrap_or_default().display(), small.dimensions());
        assert_eq!((small.dimensions(), small.get_pixel(64, 64)), ((128, 128), &Rgb([shade, 0, 0])));
    }
    seconds([time]);
    Ok(())
}
