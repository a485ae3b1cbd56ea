//! The `kamaji` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    kamaji_operator::main()
}
