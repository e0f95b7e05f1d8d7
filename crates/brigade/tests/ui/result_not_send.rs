//! A result comes by another thread.

use std::marker::PhantomData;

#[derive(serde::Serialize, serde::Deserialize)]
struct Local(PhantomData<*const ()>);

fn make(_: u32) -> Local {
    Local(PhantomData)
}

fn main() {
    let pool = brigade::Pool::new().expect("a pool");
    drop(pool.submit(make, 1));
}
