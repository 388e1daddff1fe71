//! What the memory is made of, as a `.heapprofile`.

use os::proc::MemoryUse;
use serde_json::{Value, json};

use super::cpu::frame;

/// What is held, in bytes.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Entries of the list, by label.
    pub(super) processes: Vec<(String, u64)>,
    /// What waits for clients of the bus.
    pub(super) bus: u64,
    /// Space for reading channels.
    pub(super) scratch: u64,
    /// What the kernel says.
    pub(super) usage: Option<MemoryUse>,
}

/// The parts add up to the resident memory, as far as the kernel tells it.
pub(super) fn profile(held: &Held) -> Value {
    let mut next = 0;
    let mut node = |name: &str, size: u64, children: Vec<Value>| {
        next += 1;
        json!({ "callFrame": frame(name), "selfSize": size, "id": next, "children": children })
    };
    let processes: Vec<Value> = held
        .processes
        .iter()
        .map(|(label, size)| node(label, *size, Vec::new()))
        .collect();
    let known = held.processes.iter().map(|(_, size)| size).sum::<u64>() + held.bus + held.scratch;
    let usage = held.usage.unwrap_or_default();
    let children = vec![
        node("processes", 0, processes),
        node("waiting for clients of the bus", held.bus, Vec::new()),
        node("space for reading", held.scratch, Vec::new()),
        node(
            "allocator, stacks and the rest",
            usage.anonymous_bytes.saturating_sub(known),
            Vec::new(),
        ),
        node("code and libraries", usage.file_bytes, Vec::new()),
        node("shared with the keeper", usage.shared_bytes, Vec::new()),
    ];
    json!({ "head": node("(root)", 0, children), "samples": [] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up() {
        let held = Held {
            processes: vec![("api:0".into(), 100), ("web:1".into(), 50)],
            bus: 20,
            scratch: 30,
            usage: Some(MemoryUse {
                anonymous_bytes: 1000,
                file_bytes: 500,
                shared_bytes: 7,
            }),
        };
        fn sum(node: &Value) -> u64 {
            let below: u64 = node["children"].as_array().unwrap().iter().map(sum).sum();
            node["selfSize"].as_u64().unwrap() + below
        }
        let profile = profile(&held);
        assert_eq!(sum(&profile["head"]), 1507);
        let api = &profile["head"]["children"][0]["children"][0];
        assert_eq!(api["callFrame"]["functionName"], "api:0");
        // Without the kernel's figures it is what was counted.
        let profile = super::profile(&Held { usage: None, ..held });
        assert_eq!(sum(&profile["head"]), 200);
    }
}
