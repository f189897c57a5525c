//! The one executable: the daemon, its command line, and the roles that the daemon starts it in again.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Roles first, before anything else has been set up: they lock themselves in.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|word| word == "role") {
        return bailiwick::cli::role(arguments);
    }
    bailiwick::cli::main()
}
