//! `cargo xtask`: everything a developer types. Each command does its own set-up first.

mod bench;
mod cards;
mod demo;
mod fuzz;
mod lint;
mod plugins;
mod setup;
mod shell;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

  demo            an authority, a device and the story of one session
  demo card       an empty device, and a smart card that makes it manageable
  test [ARGS]     every test; ARGS go to `cargo test`, for example a filter or `-p bailiwick`
  lint            format, clippy, dependencies, documentation
  plugins         builds every plug-in into target/plugins/
  crash [IMAGES]  power cuts and kills of the daemon, with that many crash images
  fuzz [ARGS]     the parsers of what smart cards say; ARGS: a target, seconds
  bench [ARGS]    measures release builds, with and without the compiler
  setup           what all of the above need; they do it themselves
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, arguments) = match arguments.split_first() {
        Some((command, arguments)) => (command.as_str(), arguments),
        None => ("help", [].as_slice()),
    };
    let result = match command {
        "demo" => demo::demo(arguments),
        "test" => test::test(arguments),
        "lint" => lint::lint(),
        "plugins" => plugins::plugins().map(drop),
        "crash" => test::crash(arguments),
        "fuzz" => fuzz::fuzz(arguments),
        "bench" => bench::bench(arguments),
        "setup" => setup::setup().map(|missing| setup::report(&missing)),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        _ => {
            eprint!("There is no `{command}`.\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{} {error:#}", shell::red("xtask failed:"));
            ExitCode::FAILURE
        }
    }
}
