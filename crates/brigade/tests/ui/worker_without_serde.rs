//! What a worker with a state is asked crosses as arguments do.

use brigade::{Pool, Worker};

struct Question(u32);

struct Oracle;

impl Worker for Oracle {
    type Init = ();
    type Request = Question;
    type Reply = u32;

    fn start((): ()) -> Result<Oracle, String> {
        Ok(Oracle)
    }

    fn handle(&mut self, question: Question) -> u32 {
        question.0
    }
}

fn main() {
    let pool = Pool::builder().workers::<Oracle>(()).expect("a pool");
    drop(pool.submit(Question(2)));
}
