//! The program is linked to a fixed address, as Go's are. Its addresses are then final in the file; if they were put right at each
//! start, each process would pay for a megabyte of tables of its own, and each command would wait for it.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = |part: &str| env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    // Elsewhere the start-up objects are chosen without asking.
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
