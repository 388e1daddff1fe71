//! Turns of the loop as a `.cpuprofile`.

use std::collections::HashMap;
use std::fmt::{self, Debug, Write};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// Turns that are kept; a daemon that does more is told by the first ones, and by how many are missing.
const MAX_TURNS: usize = 200_000;
const ROOT: u32 = 1;
const IDLE: u32 = 2;
const LOOP: u32 = 3;

/// Takes down turns.
#[derive(Debug)]
pub(crate) struct Recorder {
    began_us: u64,
    threads: Vec<(String, u64)>,
    names: HashMap<String, u32>,
    turns: Vec<Turn>,
    missing: u64,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    name: u32,
    began_us: u64,
    ended_us: u64,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        Self::at(now_us(), os::proc::thread_times())
    }

    fn at(began_us: u64, threads: Vec<(String, u64)>) -> Self {
        Self {
            began_us,
            threads,
            names: HashMap::new(),
            turns: Vec::new(),
            missing: 0,
        }
    }

    /// A turn from one time to another. Turns come in the order of time.
    pub(crate) fn turn(&mut self, name: String, began_us: u64, ended_us: u64) {
        if self.turns.len() >= MAX_TURNS {
            self.missing += 1;
            return;
        }
        let next = LOOP + 1 + u32::try_from(self.names.len()).unwrap_or(0);
        let name = *self.names.entry(name).or_insert(next);
        self.turns.push(Turn {
            name,
            began_us,
            ended_us,
        });
    }

    pub(crate) fn finish(self) -> Value {
        self.finish_at(now_us(), &os::proc::thread_times())
    }

    fn finish_at(self, ended_us: u64, threads: &[(String, u64)]) -> Value {
        let mut hits: HashMap<u32, u64> = HashMap::new();
        let (mut samples, mut deltas) = (vec![IDLE], vec![0]);
        let mut last = self.began_us;
        let mut sample = |name: u32, at: u64| {
            samples.push(name);
            deltas.push(at.saturating_sub(last));
            last = last.max(at);
        };
        for turn in &self.turns {
            *hits.entry(turn.name).or_default() += 1;
            sample(turn.name, turn.began_us);
            sample(IDLE, turn.ended_us);
        }
        sample(IDLE, ended_us);

        let mut names: Vec<(&str, u32)> = self.names.iter().map(|(name, id)| (name.as_str(), *id)).collect();
        names.sort_by_key(|(_, id)| *id);
        let mut next = LOOP + 1 + u32::try_from(names.len()).unwrap_or(0);
        let mut others = Vec::new();
        // What other threads did has no place in the loop's time; it is told by name.
        for (name, after) in threads {
            let before = self
                .threads
                .iter()
                .find(|(known, _)| known == name)
                .map_or(0, |(_, before)| *before);
            let ms = after.saturating_sub(before) as f64 / 1e6;
            others.push(node(next, &format!("(thread {name}: {ms:.1} ms of CPU)"), 0, &[]));
            next += 1;
        }
        if self.missing > 0 {
            others.push(node(
                next,
                &format!("(not recorded: {} more turns)", self.missing),
                0,
                &[],
            ));
        }
        let children: Vec<u32> = names.iter().map(|(_, id)| *id).collect();
        let mut top = vec![IDLE, LOOP];
        top.extend(
            others
                .iter()
                .filter_map(|node| u32::try_from(node["id"].as_u64()?).ok()),
        );
        let mut nodes = vec![
            node(ROOT, "(root)", 0, &top),
            node(IDLE, "(idle)", 0, &[]),
            node(LOOP, "owner loop", 0, &children),
        ];
        nodes.extend(
            names
                .iter()
                .map(|(name, id)| node(*id, name, hits.get(id).copied().unwrap_or(0), &[])),
        );
        nodes.extend(others);
        json!({
            "nodes": nodes, "startTime": self.began_us, "endTime": ended_us, "samples": samples, "timeDeltas": deltas,
        })
    }
}

pub(super) fn frame(name: &str) -> Value {
    json!({ "functionName": name, "scriptId": "0", "url": "", "lineNumber": -1, "columnNumber": -1 })
}

fn node(id: u32, name: &str, hits: u64, children: &[u32]) -> Value {
    json!({ "id": id, "callFrame": frame(name), "hitCount": hits, "children": children })
}

/// Microseconds since the machine was started.
pub(super) fn now_us() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1000
}

/// The name of an enum's variant as words, without looking at what is in it.
pub(super) fn variant_name(value: &impl Debug) -> String {
    struct Head(String);
    impl Write for Head {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for c in text.chars() {
                if !c.is_alphanumeric() {
                    return Err(fmt::Error);
                }
                if c.is_uppercase() && !self.0.is_empty() {
                    self.0.push(' ');
                }
                self.0.extend(c.to_lowercase());
            }
            Ok(())
        }
    }
    let mut head = Head(String::new());
    // It ends with an error on purpose, where the name ends.
    let _ = write!(head, "{value:?}");
    head.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_make_a_timeline() {
        let mut recorder = Recorder::at(1000, vec![("disk".into(), 1_000_000)]);
        recorder.turn("request ping".into(), 1100, 1150);
        recorder.turn("timer".into(), 2000, 2300);
        recorder.turn("request ping".into(), 2300, 2310);
        let profile = recorder.finish_at(5000, &[("disk".into(), 3_500_000), ("pump".into(), 0)]);
        assert_eq!(profile["samples"], json!([2, 4, 2, 5, 2, 4, 2, 2]));
        assert_eq!(profile["timeDeltas"], json!([0, 100, 50, 850, 300, 0, 10, 2690]));
        assert_eq!(
            (&profile["startTime"], &profile["endTime"]),
            (&json!(1000), &json!(5000))
        );
        let nodes = profile["nodes"].as_array().unwrap();
        let names: Vec<_> = nodes
            .iter()
            .map(|node| node["callFrame"]["functionName"].as_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "(root)",
                "(idle)",
                "owner loop",
                "request ping",
                "timer",
                "(thread disk: 2.5 ms of CPU)",
                "(thread pump: 0.0 ms of CPU)"
            ]
        );
        assert_eq!(nodes[3]["hitCount"], json!(2));
        assert_eq!(nodes[0]["children"], json!([2, 3, 6, 7]));
    }

    #[test]
    fn a_busy_daemon_is_told_in_bounds() {
        let mut recorder = Recorder::at(0, Vec::new());
        for at in 0..MAX_TURNS as u64 + 5 {
            recorder.turn("x".into(), at, at);
        }
        let profile = recorder.finish_at(1, &[]);
        assert!(profile["samples"].as_array().unwrap().len() <= 2 * MAX_TURNS + 2);
        assert!(profile["nodes"].to_string().contains("5 more turns"));
    }

    #[test]
    fn names_of_variants() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "only their names are looked at")]
        enum Some {
            BusJoined { number: u64 },
            Version(u8),
            Alone,
        }
        assert_eq!(variant_name(&Some::BusJoined { number: 1 }), "bus joined");
        assert_eq!(variant_name(&Some::Version(1)), "version");
        assert_eq!(variant_name(&Some::Alone), "alone");
    }
}
