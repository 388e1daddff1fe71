//! Figures of the host, in the form of PM2's metrics: what `slist` prints and `list` shows in its last line.
//!
//! They are taken by the disk thread, because a file system may be slow to answer; the owner loop gives out the last ones. Rates are
//! between two looks: one is taken with each run of the worker, so that no rate is about a time long past.

use std::sync::{Arc, Mutex, PoisonError};

use os::devices::{DiskCounters, FileSystem, Interface};
use os::host::{CpuTimes, Memory};
use serde_json::{Map, Value, json};
use supervisor::Mono;

use crate::clock;
use crate::owner::Daemon;

/// Looks closer together than this say little.
const SHORTEST_INTERVAL_MS: u64 = 1000;
const MIB: f64 = 1024.0 * 1024.0;
const GIB: f64 = 1024.0 * MIB;

/// The figures, shared with the disk thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostMetrics {
    is_off: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Look>,
    metrics: Value,
}

/// What one look found.
#[derive(Debug, Default)]
struct Look {
    at: Mono,
    cpu: CpuTimes,
    memory: Memory,
    temperature: Option<f64>,
    interfaces: Vec<Interface>,
    disks: DiskCounters,
    file_systems: Vec<FileSystem>,
}

impl HostMetrics {
    /// As `module_conf.json` wants it: `pm2:sysmonit false` switches the figures off.
    pub(crate) fn wanted(settings: &str) -> Self {
        let stored: Value = serde_json::from_str(settings).unwrap_or_default();
        let asked = stored.get("pm2").and_then(|section| section.get("sysmonit"));
        Self {
            is_off: asked.and_then(pm2::js::as_bool) == Some(false),
            state: Arc::default(),
        }
    }

    /// Look again and compare. It reads files and may block.
    pub(crate) fn take(&self) {
        let look = Look::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.metrics = metrics(state.last.as_ref(), &look);
        state.last = Some(look);
    }

    fn metrics(&self) -> Value {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.metrics {
            Value::Null => json!({}),
            metrics => metrics.clone(),
        }
    }

    fn is_older_than(&self, ms: u64, now: Mono) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state
            .last
            .as_ref()
            .is_none_or(|look| now.0.saturating_sub(look.at.0) >= ms)
    }
}

impl Daemon {
    /// The metrics as they were taken last. The next caller gets newer ones, if these are not fresh.
    pub(crate) fn host_metrics(&self) -> Value {
        self.look_at_host();
        self.host.metrics()
    }

    /// Let the figures be taken.
    pub(crate) fn look_at_host(&self) {
        if !self.host.is_off && self.host.is_older_than(SHORTEST_INTERVAL_MS, clock::mono()) {
            self.disk.look_at_host(self.host.clone());
        }
    }
}

impl Look {
    /// What can't be read is missing or 0: a container may hide any of it.
    fn now() -> Self {
        Self {
            at: clock::mono(),
            cpu: os::host::cpu_times().unwrap_or_default(),
            memory: os::host::memory().unwrap_or_default(),
            temperature: os::devices::cpu_temperature(),
            interfaces: os::devices::interfaces().unwrap_or_default(),
            disks: os::devices::disks().unwrap_or_default(),
            file_systems: os::devices::file_systems().unwrap_or_default(),
        }
    }
}

/// Names, order and units are PM2's. Without a look before, all rates are 0.
fn metrics(before: Option<&Look>, now: &Look) -> Value {
    let mut map = Map::new();
    let mut put = |name: String, value: f64, unit: &str| {
        let value = pm2::js::json_number(value);
        let metric = json!({ "value": value, "type": "metric", "unit": unit, "historic": true });
        map.insert(name, metric);
    };
    let seconds = before.map_or(0.0, |before| now.at.0.saturating_sub(before.at.0) as f64 / 1000.0);
    // Counters of a device that was replaced begin anew; that is no traffic.
    let per_second = |before: u64, after: u64| {
        if seconds > 0.0 {
            after.saturating_sub(before) as f64 / seconds
        } else {
            0.0
        }
    };
    let busy = before.map_or(0.0, |before| now.cpu.busy_percent_since(&before.cpu));
    put("CPU Usage".into(), rounded(busy, 10.0), "%");
    put(
        "CPU Temperature".into(),
        now.temperature.map_or(-1.0, |degrees| rounded(degrees, 10.0)),
        "°C",
    );
    let active = now.memory.total_bytes.saturating_sub(now.memory.available_bytes);
    let ram = percent(active, now.memory.total_bytes);
    put("RAM Usage".into(), rounded(ram, 10.0), "%");
    put("RAM Total".into(), now.memory.total_bytes as f64, "b");
    put("RAM Available".into(), now.memory.available_bytes as f64, "b");
    put("RAM Active".into(), active as f64, "b");
    for after in &now.interfaces {
        let known = before.and_then(|look| look.interfaces.iter().find(|i| i.name == after.name));
        let first = known.unwrap_or(after);
        let mb = |before, after| rounded(per_second(before, after) / MIB, 100.0);
        let per_minute = |before, after| rounded(per_second(before, after) * 60.0, 1.0);
        let name = &after.name;
        let rates = [
            ("rx_5", mb(first.received_bytes, after.received_bytes), "mb/s"),
            ("tx_5", mb(first.sent_bytes, after.sent_bytes), "mb/s"),
            (
                "rx_errors_60",
                per_minute(first.receive_errors, after.receive_errors),
                "/min",
            ),
            (
                "tx_errors_60",
                per_minute(first.send_errors, after.send_errors),
                "/min",
            ),
            (
                "rx_dropped_60",
                per_minute(first.receive_dropped, after.receive_dropped),
                "/min",
            ),
            (
                "tx_dropped_60",
                per_minute(first.send_dropped, after.send_dropped),
                "/min",
            ),
        ];
        for (kind, value, unit) in rates {
            put(format!("net:{kind}:{name}"), value, unit);
        }
    }
    let disks = before.map_or(now.disks, |before| before.disks);
    let moved = |before, after| rounded(per_second(before, after) / MIB, 100.0);
    let (reads, writes) = (
        moved(disks.read_bytes, now.disks.read_bytes),
        moved(disks.written_bytes, now.disks.written_bytes),
    );
    put("Disk Reads".into(), reads, "mb/s");
    put("Disk Writes".into(), writes, "mb/s");
    for found in &now.file_systems {
        let mount = found.mount.display();
        let reachable = found.used_bytes.saturating_add(found.available_bytes);
        let used = percent(found.used_bytes, reachable);
        put(format!("fs:use:{mount}"), rounded(used, 100.0), "%");
        put(
            format!("fs:size:{mount}"),
            rounded(found.total_bytes as f64 / GIB, 100.0),
            "gb",
        );
    }
    Value::Object(map)
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 * 100.0 / whole as f64
    }
}

fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at_ms: u64, moved: u64) -> Look {
        Look {
            at: Mono(at_ms),
            cpu: CpuTimes {
                total_ticks: moved,
                idle_ticks: moved / 2,
            },
            memory: Memory {
                total_bytes: 1000,
                free_bytes: 100,
                available_bytes: 750,
            },
            interfaces: vec![Interface {
                name: "eth0".into(),
                received_bytes: moved * 1024 * 1024,
                receive_errors: moved,
                ..Interface::default()
            }],
            disks: DiskCounters {
                read_bytes: 0,
                written_bytes: moved * 1024 * 512,
            },
            file_systems: vec![FileSystem {
                mount: "/".into(),
                total_bytes: 10 << 30,
                used_bytes: 3 << 30,
                available_bytes: 6 << 30,
            }],
            temperature: None,
        }
    }

    #[test]
    fn rates_are_between_two_looks_and_the_rest_is_now() {
        let metrics = metrics(Some(&look(1000, 100)), &look(11_000, 200));
        let value = |name: &str| metrics[name]["value"].clone();
        assert_eq!(value("CPU Usage"), json!(50));
        assert_eq!(value("CPU Temperature"), json!(-1));
        assert_eq!((value("RAM Usage"), value("RAM Active")), (json!(25), json!(250)));
        assert_eq!(value("net:rx_5:eth0"), json!(10));
        assert_eq!(value("net:rx_errors_60:eth0"), json!(600));
        assert_eq!(value("Disk Writes"), json!(5));
        assert_eq!((value("fs:use:/"), value("fs:size:/")), (json!(33.33), json!(10)));
        assert_eq!(metrics["Disk Reads"]["unit"], "mb/s");
    }

    #[test]
    fn the_first_look_and_a_counter_that_went_back_have_no_rates() {
        for before in [None, Some(look(1000, 500)), Some(look(11_000, 0))] {
            let metrics = metrics(before.as_ref(), &look(11_000, 200));
            for rate in ["net:rx_5:eth0", "net:rx_errors_60:eth0", "Disk Writes"] {
                assert_eq!(metrics[rate]["value"], json!(0), "{before:?} {rate}");
            }
        }
    }

    #[test]
    fn one_setting_switches_them_off() {
        for (settings, is_off) in [
            (r#"{"pm2":{"sysmonit":"false"}}"#, true),
            (r#"{"pm2":{"sysmonit":false}}"#, true),
            (r#"{"pm2":{"sysmonit":"true"}}"#, false),
            (r#"{"pm2":{"sysmonit":5}}"#, false),
            ("{}", false),
            ("{", false),
            ("", false),
        ] {
            assert_eq!(HostMetrics::wanted(settings).is_off, is_off, "{settings}");
        }
    }

    #[test]
    fn this_host_is_told() {
        let host = HostMetrics::default();
        assert_eq!(host.metrics(), json!({}));
        assert!(host.is_older_than(1000, clock::mono()));
        host.take();
        assert!(host.metrics()["RAM Total"]["value"].as_u64().unwrap() > 0);
        assert!(!host.is_older_than(60_000, clock::mono()));
    }
}
