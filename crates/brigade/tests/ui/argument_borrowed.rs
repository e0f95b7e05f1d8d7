//! What is borrowed here is not there: a worker has memory of its own.

fn length(text: &str) -> usize {
    text.len()
}

fn main() {
    let pool = brigade::Pool::new().expect("a pool");
    let text = String::from("to be");
    drop(pool.submit(length, &text));
}
