//! The list of what leaves a host, held against the types that leave it: read from their source, since nothing else knows the
//! names of fields.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Fields by type, with the names of the types that they are of.
type Types = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn sources(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

fn names(of_type: &str) -> BTreeSet<String> {
    of_type
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| word.starts_with(char::is_uppercase))
        .map(str::to_owned)
        .collect()
}

/// Every `struct` and every sum of the crate. What `tracked!` makes of one (`Host / HostChange`) has the same fields.
fn types(source: &str) -> (Types, BTreeMap<String, String>) {
    let (mut types, mut same) = (Types::new(), BTreeMap::new());
    let mut open: Option<(String, usize)> = None;
    for line in source.lines() {
        let (indent, text) = (line.len() - line.trim_start().len(), line.trim());
        if let Some((name, depth)) = &open {
            if indent == *depth && text == "}" {
                open = None;
                continue;
            }
            let words = text.strip_prefix("pub ").unwrap_or(text);
            let field = match words.split_once(": ") {
                Some((field, of)) if !text.starts_with(['/', '#']) => {
                    field.split(' ').next_back().map(|field| (field, of))
                }
                // A variant of a sum: `3 Delta(Delta),`
                _ => words
                    .split_once(' ')
                    .filter(|(number, _)| number.parse::<u32>().is_ok())
                    .and_then(|(_, rest)| rest.split_once('(')),
            };
            if let Some((field, of)) = field {
                types
                    .entry(name.clone())
                    .or_default()
                    .insert(field.to_owned(), names(of));
            }
            continue;
        }
        let Some(head) = text
            .strip_prefix("pub struct ")
            .or_else(|| text.strip_prefix("pub enum "))
        else {
            continue;
        };
        let name: String = head.chars().take_while(|c| c.is_alphanumeric()).collect();
        if let Some((_, of)) = head.split_once("(pub ") {
            // Figures by name.
            types.entry(name).or_default().insert("(name)".into(), names(of));
        } else if head.ends_with('{') {
            if let Some((_, change)) = head.trim_end_matches(" {").split_once(" / ") {
                same.insert(change.to_owned(), name.clone());
            }
            open = Some((name, indent));
        }
    }
    (types, same)
}

#[test]
fn the_manifest_names_every_field_that_leaves_a_host_and_none_that_does_not() {
    let mut source = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut source);
    let (types, same) = types(&source);
    // Which packets each type is in.
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (packet, first) in &types["AgentMessage"] {
        let mut todo: Vec<String> = first.iter().cloned().collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = todo.pop() {
            let name = same.get(&name).cloned().unwrap_or(name);
            // `Metrics` has changes of its own, though it is told apart like the others.
            let Some(fields) = types.get(&name).filter(|_| seen.insert(name.clone())) else {
                continue;
            };
            found.entry(name).or_default().insert(packet.clone());
            todo.extend(fields.values().flatten().cloned());
            if packet == "Delta" && seen.contains("Metrics") {
                todo.push("MetricsChange".into());
            }
        }
    }
    let shown = |sections: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>| {
        sections
            .into_iter()
            .map(|(name, (packets, fields))| format!("{name} in {packets:?}: {fields:?}"))
            .collect::<Vec<_>>()
    };
    let real = found
        .into_iter()
        // A sum is what it holds.
        .filter(|(name, _)| name != "ReportBody" && name != "Value")
        .map(|(name, packets)| {
            let fields = types[&name].keys().cloned().collect();
            (name, (packets, fields))
        })
        .collect();
    let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let listed = wire::manifest::sections()
        .into_iter()
        .map(|section| {
            let fields: Vec<&str> = section.fields.iter().map(|field| field.name).collect();
            (section.name.to_owned(), (set(&section.packets), set(&fields)))
        })
        .collect();
    assert_eq!(
        shown(listed),
        shown(real),
        "left: src/manifest.txt; right: the types"
    );
}

#[test]
fn every_line_of_the_manifest_says_something() {
    let sections = wire::manifest::sections();
    let lines: usize = sections.iter().map(|section| section.fields.len() + 2).sum();
    let lines = lines + wire::manifest::preamble().lines().count();
    let written = wire::manifest::TEXT
        .lines()
        .filter(|line| !line.is_empty())
        .count();
    assert_eq!(lines, written, "a line was not understood");
    for section in sections {
        for field in section.fields {
            assert!(
                !field.what.is_empty() && !field.example.is_empty(),
                "{}.{}",
                section.name,
                field.name
            );
        }
    }
}
