//! What there is to know of a machine.

use super::value::Metrics;
use crate::codec::is_default;
use crate::live::tracked;
use minicbor::{Decode, Encode};

/// Versions of the programs on a server; empty = not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Versions {
    /// The PM2 it behaves as.
    #[cbor(n(0), skip_if = "is_default")]
    pub pm2: String,
    /// Node that apps run with.
    #[cbor(n(1), skip_if = "is_default")]
    pub node: String,
    /// The agent.
    #[cbor(n(2), skip_if = "is_default")]
    pub agent: String,
}

/// What does not change while an agent is linked.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct ServerFacts {
    /// The label the user gave.
    #[n(0)]
    pub name: String,
    /// Host name.
    #[cbor(n(1), skip_if = "is_default")]
    pub hostname: String,
    /// User the daemon runs as.
    #[cbor(n(2), skip_if = "is_default")]
    pub user: String,
    /// Operating system, `linux`.
    #[cbor(n(3), skip_if = "is_default")]
    pub platform: String,
    /// Its release, for instance the kernel version.
    #[cbor(n(4), skip_if = "is_default")]
    pub release: String,
    /// Processor architecture, `x86_64`.
    #[cbor(n(5), skip_if = "is_default")]
    pub arch: String,
    /// Logical processors.
    #[cbor(n(6), skip_if = "is_default")]
    pub cpus: u32,
    /// Model of the processor.
    #[cbor(n(7), skip_if = "is_default")]
    pub cpu_model: String,
    /// Memory in bytes.
    #[cbor(n(8), skip_if = "is_default")]
    pub total_mem: u64,
    /// Versions.
    #[cbor(n(9), skip_if = "is_default")]
    pub versions: Versions,
    /// The `$PM2_HOME`.
    #[cbor(n(10), skip_if = "is_default")]
    pub home: String,
    /// Changes with each boot of the machine.
    #[cbor(n(11), skip_if = "is_default")]
    pub boot_id: String,
}

tracked! {
    /// What changes on a machine from second to second.
    pub struct Host / HostChange {
        /// Free memory in bytes.
        0 free_mem: u64;
        /// Load of the last minute.
        1 load1: f64, with "crate::codec::number" / "crate::codec::optional_number";
        /// Load of the last five minutes.
        2 load5: f64, with "crate::codec::number" / "crate::codec::optional_number";
        /// Load of the last fifteen minutes.
        3 load15: f64, with "crate::codec::number" / "crate::codec::optional_number";
        /// When the machine booted; uptime is counted from it.
        4 booted_at: u64;
        /// Address in the local network.
        5 internal_ip: String;
        /// Further figures: processor use, disks, networks.
        6 metrics: Metrics;
    }
}
