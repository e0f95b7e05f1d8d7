//! What must not compile, and what the compiler says then. The words are those of the compiler that the manifest names;
//! `TRYBUILD=overwrite cargo test -p brigade --test ui` takes them down anew, to be read before they are kept.

#[test]
fn what_cannot_go_to_a_worker_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    // Where one is to be run all are built: captures of several arguments are seen no earlier.
    cases.pass("tests/ui/built/*.rs");
}
