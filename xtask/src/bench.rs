//! `make bench`: release binary and the peer's packages, then the runs in `bench/`.

use anyhow::Result;

use crate::steps::{self, build_binary, cargo, command};
use crate::web;

/// Builds what is measured, installs the peer, runs `bench/run.mjs`; arguments choose rows.
pub(crate) fn run(rest: &[String]) -> Result<()> {
    web::build()?;
    let binary = build_binary(true)?;
    for (package, example) in [("hub", "history"), ("agent", "fleet")] {
        steps::run(&mut cargo(&[
            "build",
            "--release",
            "--package",
            package,
            "--example",
            example,
        ]))?;
    }
    let examples = binary.with_file_name("examples");
    web::install("bench")?;
    steps::run(
        command("node")
            .arg("run.mjs")
            .args(rest)
            .current_dir("bench")
            .env("PILOTHOUSE_BIN", &binary)
            .env("HISTORY_BIN", examples.join("history"))
            .env("FLEET_BIN", examples.join("fleet")),
    )
}
