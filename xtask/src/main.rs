//! Chores of the repository. `cargo xtask help` lists them; the Makefile is the door for people.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "chores speak to the terminal"
)]

mod bench;
mod demo;
mod steps;
mod tidy;
mod web;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask <chore>

  demo      build everything, start a hub and two sample apps, link them, show where to look
  test      everything CI runs, with a closing line that counts
  lint      format check, clippy, dependency policy, tidy, web type check and lint
  tidy      arrows between crates, paths in ARCHITECTURE.md, tests in COMPAT.md, file sizes
  web       install the dashboard's packages and build web/dist
  bench     side by side with the real pm2
  dist      release binary with the dashboard inside, in dist/
  fmt       format Rust and TypeScript
";

fn main() -> ExitCode {
    match chore() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A sentence and no trace: what failed is said above, and stays in sight.
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn chore() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    std::env::set_current_dir(steps::root())?;
    match name.as_str() {
        "demo" => demo::run(&rest),
        "test" => steps::test(),
        "lint" => steps::lint(),
        "tidy" => tidy::run(),
        "web" => web::build(),
        "bench" => bench::run(&rest),
        "dist" => steps::dist(),
        "fmt" => steps::fmt(),
        "" | "help" | "--help" | "-h" => {
            eprint!("{HELP}");
            Ok(())
        }
        other => bail!("unknown chore {other:?}\n\n{HELP}"),
    }
}
