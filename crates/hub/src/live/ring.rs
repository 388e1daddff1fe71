//! The last minute of a process, kept open so that a page shows a line at once instead of an empty box.

use serde_json::{Value, json};

use super::model::{Millis, Process, number_json};

/// Values kept: one a second for a minute.
pub const LENGTH: usize = 60;
/// Milliseconds between two values.
pub const STEP: Millis = 1000;

/// CPU and memory of the last minute on a fixed grid of seconds; a second without data is a gap.
#[derive(Clone, Debug)]
pub struct Recent {
    /// Number of the newest second (epoch ms / [`STEP`]).
    newest: i64,
    cpu: [f32; LENGTH],
    memory: [f64; LENGTH],
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            newest: 0,
            cpu: [f32::NAN; LENGTH],
            memory: [f64::NAN; LENGTH],
        }
    }
}

impl Recent {
    /// Notes what `process` shows at `at`. Older than the window: ignored. Two in one second: the later one stays.
    pub fn note(&mut self, at: Millis, process: &Process) {
        if process.pid == 0 || at < 0 {
            return;
        }
        let second = at / STEP;
        if second > self.newest {
            // Seconds that nobody reported become gaps; at most one turn of the ring needs clearing.
            let missed = (second - self.newest).min(LENGTH as i64);
            for gap in 0..missed {
                self.clear(second - gap);
            }
            self.newest = second;
        } else if self.newest - second >= LENGTH as i64 {
            return;
        }
        let slot = (second % LENGTH as i64) as usize;
        self.cpu[slot] = process.cpu as f32;
        self.memory[slot] = process.memory as f64;
    }

    fn clear(&mut self, second: i64) {
        let slot = (second % LENGTH as i64) as usize;
        self.cpu[slot] = f32::NAN;
        self.memory[slot] = f64::NAN;
    }

    /// The minute that ends at `now`, oldest first, gaps as `null`.
    pub fn to_json(&self, now: Millis) -> Value {
        let last = now / STEP;
        let window = (0..LENGTH as i64)
            .rev()
            .map(|back| Some(last - back).filter(|s| *s >= 0));
        let read = |second: Option<i64>, values: &dyn Fn(usize) -> f64| -> Value {
            match second {
                Some(s) if s <= self.newest && self.newest - s < LENGTH as i64 => {
                    number_json(values((s % LENGTH as i64) as usize))
                }
                _ => Value::Null,
            }
        };
        let cpu: Vec<Value> = window
            .clone()
            .map(|s| read(s, &|slot| f64::from((self.cpu[slot] * 10.0).round()) / 10.0))
            .collect();
        let memory: Vec<Value> = window.map(|s| read(s, &|slot| self.memory[slot])).collect();
        json!({ "at": last * STEP, "step": STEP, "cpu": cpu, "memory": memory })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn process(cpu: f64) -> Process {
        Process {
            pm_id: 0,
            facts: Arc::default(),
            pid: 1,
            status: "online".into(),
            cpu,
            memory: 1024,
            restart_time: 0,
            pm_uptime: None,
            metrics: Vec::new(),
        }
    }

    fn cpu_at(recent: &Recent, now: Millis) -> Vec<Value> {
        recent.to_json(now)["cpu"].as_array().unwrap().clone()
    }

    #[test]
    fn gaps_stay_gaps_and_old_values_leave() {
        let mut recent = Recent::default();
        let start = 1_700_000_000_000;
        recent.note(start, &process(1.0));
        recent.note(start + 3000, &process(4.0));
        let seen = cpu_at(&recent, start + 3000);
        assert_eq!(seen.len(), LENGTH);
        assert_eq!(seen[LENGTH - 4..], [json!(1), Value::Null, Value::Null, json!(4)]);

        let later = cpu_at(&recent, start + 61_000);
        assert_eq!(
            later.iter().filter(|v| !v.is_null()).count(),
            1,
            "only the second value is younger than a minute"
        );

        recent.note(start + 600_000, &process(9.0));
        let seen = cpu_at(&recent, start + 600_000);
        assert_eq!(seen.iter().filter(|v| !v.is_null()).count(), 1);
        recent.note(start, &process(1.0));
        assert_eq!(
            cpu_at(&recent, start + 600_000),
            seen,
            "a late value outside the window changes nothing"
        );
    }

    #[test]
    fn a_late_value_inside_the_window_fills_its_gap() {
        let mut recent = Recent::default();
        let start = 1_700_000_000_000;
        recent.note(start + 5000, &process(5.0));
        recent.note(start + 2000, &process(2.0));
        assert_eq!(cpu_at(&recent, start + 5000)[LENGTH - 4], json!(2));
    }
}
