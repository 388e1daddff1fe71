//! The attribute `limits` (ours): what each process of an app may take, as people write it. The kernel holds it, by cgroup v2.

use serde_json::Value;

use crate::{Object, js, units};

/// Time slices of `cpu.max` are this long, in microseconds.
const CPU_PERIOD_US: u64 = 100_000;
/// Less memory than this starts nothing.
const LEAST_MEMORY: u64 = 1 << 20;
const MOST_CPUS: f64 = 1024.0;
const KEYS: [&str; 5] = ["memory_max", "memory_high", "cpu_max", "cpu_weight", "pids_max"];

/// The whole attribute. What is `None` is not limited.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// Bytes above which the kernel kills.
    pub memory_max: Option<u64>,
    /// Bytes above which it is slowed down and its memory taken back.
    pub memory_high: Option<u64>,
    /// So many processors' time at most; 0.5 is half of one.
    pub cpu_max: Option<f64>,
    /// Share of the processors where they are scarce, 1 to 10000; without it 100.
    pub cpu_weight: Option<u64>,
    /// Processes and threads at most.
    pub pids_max: Option<u64>,
}

/// One file of a cgroup, and what is written into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key of the attribute that it is made from.
    pub key: &'static str,
    /// The controller that has to be there.
    pub controller: &'static str,
    /// The file's name.
    pub file: &'static str,
    /// Its content.
    pub value: String,
}

impl Limits {
    /// Reads the attribute.
    ///
    /// # Errors
    /// What is wrong with it, to be shown behind its name.
    pub fn parse(text: &Object) -> Result<Self, String> {
        if let Some(key) = text.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(format!("\"{key}\" is not known; known are {}", KEYS.join(", ")));
        }
        let get = |key: &str| text.get(key).filter(|value| !value.is_null());
        let memory = |key: &str| {
            let Some(value) = get(key) else { return Ok(None) };
            units::parse_bytes(&js::to_text(value))
                .filter(|bytes| *bytes >= LEAST_MEMORY)
                .map(Some)
                .ok_or_else(|| format!("\"{key}\" should be bytes or a size such as \"300M\", from 1M on"))
        };
        let count = |key: &str, most: i64| {
            let Some(value) = get(key) else { return Ok(None) };
            js::to_text(value)
                .trim()
                .parse::<i64>()
                .ok()
                .filter(|n| (1..=most).contains(n))
                .and_then(|n| u64::try_from(n).ok())
                .map(Some)
                .ok_or_else(|| format!("\"{key}\" should be a whole number from 1 to {most}"))
        };
        let limits = Self {
            memory_max: memory("memory_max")?,
            memory_high: memory("memory_high")?,
            cpu_max: get("cpu_max").map(cpus).transpose()?,
            cpu_weight: count("cpu_weight", 10_000)?,
            pids_max: count("pids_max", 4_194_304)?,
        };
        match (limits.memory_high, limits.memory_max) {
            (Some(high), Some(max)) if high > max => {
                Err("\"memory_high\" should not be above \"memory_max\"".into())
            }
            _ if limits == Self::default() => Err(format!("it needs one of {}", KEYS.join(", "))),
            _ => Ok(limits),
        }
    }

    /// What has to be written into the files of a cgroup.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let setting = |key, controller, file, value: Option<String>| {
            value.map(|value| Setting {
                key,
                controller,
                file,
                value,
            })
        };
        let text = |number: Option<u64>| number.map(|number| number.to_string());
        let quota = self
            .cpu_max
            .map(|cpus| format!("{:.0} {CPU_PERIOD_US}", cpus * CPU_PERIOD_US as f64));
        [
            // The soft one first: a process that is moved in is never killed for want of the other.
            setting("memory_high", "memory", "memory.high", text(self.memory_high)),
            setting("memory_max", "memory", "memory.max", text(self.memory_max)),
            setting("cpu_max", "cpu", "cpu.max", quota),
            setting("cpu_weight", "cpu", "cpu.weight", text(self.cpu_weight)),
            setting("pids_max", "pids", "pids.max", text(self.pids_max)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// `1.5` and `"150%"` are the same.
fn cpus(value: &Value) -> Result<f64, String> {
    let text = js::to_text(value);
    let text = text.trim();
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse::<f64>(),
    };
    number
        .ok()
        .filter(|_| value.is_number() || value.is_string())
        .filter(|cpus| (0.01..=MOST_CPUS).contains(cpus))
        .ok_or_else(|| {
            "\"cpu_max\" should be a number of processors such as 0.5 or a share of one such as \"50%\", from 0.01 to 1024"
                .to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: &Value) -> Result<Limits, String> {
        Limits::parse(value.as_object().unwrap())
    }

    #[test]
    fn what_is_written_becomes_what_the_kernel_reads() {
        let limits = parse(&json!({
            "memory_max": "300M", "memory_high": 104_857_600, "cpu_max": "150%", "cpu_weight": "50", "pids_max": 64,
        }))
        .unwrap();
        let written: Vec<_> = limits
            .settings()
            .into_iter()
            .map(|setting| (setting.controller, setting.file, setting.value))
            .collect();
        assert_eq!(
            written,
            [
                ("memory", "memory.high", "104857600".to_owned()),
                ("memory", "memory.max", "314572800".to_owned()),
                ("cpu", "cpu.max", "150000 100000".to_owned()),
                ("cpu", "cpu.weight", "50".to_owned()),
                ("pids", "pids.max", "64".to_owned()),
            ]
        );
        assert_eq!(
            parse(&json!({ "cpu_max": 0.25 })).unwrap().settings()[0].value,
            "25000 100000"
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (wrong, text) in [
            (json!({}), "it needs one of"),
            (
                json!({ "memory": "1G" }),
                "\"memory\" is not known; known are memory_max",
            ),
            (json!({ "memory_max": "lots" }), "\"memory_max\" should be bytes"),
            (json!({ "memory_max": 12 }), "from 1M on"),
            (
                json!({ "memory_max": "10M", "memory_high": "20M" }),
                "not be above",
            ),
            (json!({ "cpu_max": 0 }), "\"cpu_max\" should be"),
            (json!({ "cpu_max": "NaN" }), "\"cpu_max\" should be"),
            (json!({ "cpu_max": [1] }), "\"cpu_max\" should be"),
            (json!({ "cpu_weight": 0 }), "\"cpu_weight\" should be"),
            (json!({ "pids_max": 1.5 }), "\"pids_max\" should be"),
        ] {
            let reason = parse(&wrong).unwrap_err();
            assert!(reason.contains(text), "{wrong}: {reason}");
        }
    }
}
