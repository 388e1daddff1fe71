//! Figures of the host, in the form of PM2's metrics: what `list` shows in its last line.

use os::host::CpuTimes;
use serde_json::{Map, Value, json};

use crate::owner::Daemon;

/// What is compared with the next time.
#[derive(Debug, Default)]
pub(crate) struct HostMetrics {
    cpu: CpuTimes,
}

impl Daemon {
    /// The metrics now; rates are since the last call.
    pub(crate) fn host_metrics(&mut self) -> Value {
        let mut map = Map::new();
        let mut put = |name: &str, value: Value, unit: &str| {
            let metric = json!({ "value": value, "type": "metric", "unit": unit, "historic": true });
            map.insert(name.to_owned(), metric);
        };
        if let Ok(cpu) = os::host::cpu_times() {
            let busy = cpu.busy_percent_since(&self.host.cpu);
            self.host.cpu = cpu;
            put("CPU Usage", rounded(busy), "%");
        }
        if let Ok(memory) = os::host::memory() {
            let used = memory.total_bytes.saturating_sub(memory.available_bytes);
            put("RAM Usage", rounded(percent(used, memory.total_bytes)), "%");
            put("RAM Total", memory.total_bytes.into(), "b");
            put("RAM Available", memory.available_bytes.into(), "b");
            put("RAM Active", used.into(), "b");
        }
        if let Ok(disk) = os::host::disk_space(std::path::Path::new("/")) {
            let used = disk.total_bytes.saturating_sub(disk.available_bytes);
            put("fs:use:/", rounded(percent(used, disk.total_bytes)), "%");
            put("fs:size:/", rounded(disk.total_bytes as f64 / 1e9), "gb");
        }
        Value::Object(map)
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 * 100.0 / whole as f64
    }
}

/// One decimal, and none where it would be 0.
fn rounded(value: f64) -> Value {
    pm2::js::json_number((value * 10.0).round() / 10.0)
}
