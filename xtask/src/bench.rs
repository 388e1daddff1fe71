//! `make bench`: release binary and the peer's packages, then the runs in `bench/`.

use anyhow::Result;

use crate::steps::{self, build_binary, cargo, command};
use crate::web;

/// Builds what is measured, installs the peer, runs `bench/run.mjs`; arguments choose rows.
pub(crate) fn run(rest: &[String]) -> Result<()> {
    web::build()?;
    let binary = build_binary(true)?;
    steps::run(&mut cargo(&[
        "build",
        "--release",
        "--package",
        "hub",
        "--example",
        "history",
    ]))?;
    let history = binary.with_file_name("examples").join("history");
    web::install("bench")?;
    steps::run(
        command("node")
            .arg("run.mjs")
            .args(rest)
            .current_dir("bench")
            .env("PILOTHOUSE_BIN", &binary)
            .env("HISTORY_BIN", &history),
    )
}
