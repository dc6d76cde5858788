//! The tests of the guide. The guide contains their exact text.

mod lost_response;
mod moving;
mod waits;

#[test]
fn guide_holds_the_tests_that_run() {
    let guide = include_str!("../../docs/testing.md");
    for test in [
        include_str!("guide/lost_response.rs"),
        include_str!("guide/waits.rs"),
        include_str!("guide/moving.rs"),
    ] {
        assert!(guide.contains(&format!("\n```rust\n{test}```\n")), "{test}");
    }
}
