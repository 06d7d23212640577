//! The `nsp` command.

fn main() -> std::process::ExitCode {
    nsp_agent::cli::main()
}
