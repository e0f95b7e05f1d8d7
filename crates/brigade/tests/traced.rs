//! What a subscriber of `tracing` sees of a pool and its calls.

use brigade::Pool;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

brigade::test_entry!(in_tests);

/// Every span by its number, with its name and fields; and the words of every event.
static SPANS: Mutex<BTreeMap<u64, BTreeMap<String, String>>> = Mutex::new(BTreeMap::new());
static EVENTS: Mutex<Vec<BTreeMap<String, String>>> = Mutex::new(Vec::new());

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().into(), format!("{value:?}"));
    }
}

struct Everything;

impl Subscriber for Everything {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut fields = BTreeMap::from([("name".into(), span.metadata().name().into())]);
        span.record(&mut Fields(&mut fields));
        SPANS.lock().expect("alone").insert(number, fields);
        Id::from_u64(number)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut spans = SPANS.lock().expect("alone");
        values.record(&mut Fields(spans.entry(span.into_u64()).or_default()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        EVENTS.lock().expect("alone").push(fields);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_subscriber_sees_calls_with_pid_attempts_and_end_and_the_deaths_of_workers() {
    in_tests();
    tracing::subscriber::set_global_default(Everything).expect("nobody else listens");
    let pool = Pool::builder().procs(1).build().expect("a pool");
    let good = pool.submit(|n: u32| (n + 1, process::id()), 1).join().expect("a number");
    let bad: Result<(), _> = pool.submit(|_: ()| process::abort(), ()).join();
    let bad = bad.expect_err("it never returns").to_string();
    drop(pool);
    let spans = SPANS.lock().expect("alone");
    let named = |name: &str| spans.values().filter(|span| span["name"] == name).collect::<Vec<_>>();
    assert_eq!(named("pool").iter().map(|span| span["procs"].as_str()).collect::<Vec<_>>(), ["1"]);
    let calls = named("call");
    let told = |field: &str| calls.iter().map(|span| span[field].as_str()).collect::<Vec<_>>();
    assert_eq!(
        (told("items"), told("id"), told("attempts")),
        (vec!["1", "1"], vec!["0", "1"], vec!["1", "3"])
    );
    assert_eq!(told("end"), [format!("{:?}", "value"), bad]);
    assert_eq!(told("pid")[0], good.1.to_string());
    let events = EVENTS.lock().expect("alone");
    let deaths = events.iter().filter(|event| event.get("message").is_some_and(|it| it == "worker has died"));
    assert_eq!(deaths.map(|event| event["exit"].as_str()).collect::<Vec<_>>(), ["SIGABRT"; 3]);
}
