//! Build, test, demo, checks.
fn main() {}
