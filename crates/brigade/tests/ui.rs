//! What must not compile, and what the compiler says then. The words are those of the compiler that the manifest names;
//! `TRYBUILD=overwrite cargo test -p brigade --test ui` takes them down anew, to be read before they are kept.

#[test]
fn what_cannot_go_to_a_worker_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
