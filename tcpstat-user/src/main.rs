//! The binary `tcpstat`. The library has the code.

use std::{env, process::ExitCode};

use tcpstat_user::{commands, kernel::one_arena};

fn main() -> ExitCode {
    one_arena();
    commands::main(env::args_os())
}
