//! `cargo xtask demo`.

use std::process::ExitCode;

fn main() -> ExitCode {
    nsp_tests::demo::main()
}
