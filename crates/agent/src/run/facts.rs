//! What the agent itself measures: the machine.

use crate::api::AgentConfig;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use wire::telemetry::{Host, METRIC_CPU, Metric, ServerFacts, Value, Versions};

/// The time of day, milliseconds since the epoch.
pub(super) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(0))
}

/// What stays while the machine runs.
pub(super) fn server_facts(config: &AgentConfig) -> ServerFacts {
    let host = os::host::Host::read();
    let uid = os::users::effective_ids().0;
    ServerFacts {
        name: config.settings.machine_name.clone(),
        hostname: host.hostname,
        user: os::users::current().map_or_else(|| uid.to_string(), |user| user.name),
        platform: host.system.to_ascii_lowercase(),
        release: host.release,
        arch: host.machine,
        cpus: u32::try_from(host.cpus).unwrap_or(u32::MAX),
        cpu_model: host.cpu_model,
        total_mem: host.total_memory_bytes,
        versions: Versions {
            pm2: config.pm2_version.clone(),
            node: config.node_version.clone(),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
        },
        home: config.home.display().to_string(),
        boot_id: host.boot_id,
    }
}

/// Measures what changes.
pub(super) struct HostProbe {
    booted_at: u64,
    cpu: Option<os::host::CpuTimes>,
    pub(super) internal_ip: Option<IpAddr>,
}

impl HostProbe {
    pub(super) fn new() -> Self {
        let booted_at = now_ms().saturating_sub(os::host::uptime_seconds() * 1000);
        Self {
            booted_at,
            cpu: os::host::cpu_times().ok(),
            internal_ip: None,
        }
    }

    pub(super) fn read(&mut self) -> Host {
        let [load1, load5, load15] = os::host::load_average();
        let cpu = os::host::cpu_times().ok();
        let busy = match (&cpu, &self.cpu) {
            (Some(now), Some(before)) => {
                let percent = now.busy_percent_since(before);
                Some((percent * 10.0).round() / 10.0)
            }
            _ => None,
        };
        self.cpu = cpu;
        let metrics = busy.map(|percent| {
            let metric = Metric {
                value: Value::number(percent),
                unit: "%".to_owned(),
                historic: true,
                ..Metric::default()
            };
            (METRIC_CPU.to_owned(), metric)
        });
        Host {
            free_mem: os::host::memory().map_or(0, |m| m.available_bytes),
            load1: two_decimals(load1),
            load5: two_decimals(load5),
            load15: two_decimals(load15),
            booted_at: self.booted_at,
            internal_ip: self.internal_ip.map_or_else(String::new, |ip| ip.to_string()),
            metrics: metrics.into_iter().collect(),
        }
    }
}

fn two_decimals(v: f64) -> f64 {
    (v * 100.0).round() / 100.0
}
