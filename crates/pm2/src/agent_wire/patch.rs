//! RFC 6902 patches, as far as agents send them: `replace`, `add` and `remove`.

use serde_json::Value;
use thiserror::Error;

/// Bounds of what a patch may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchLimits {
    /// Operations in one patch.
    pub operations: usize,
    /// Steps of one pointer.
    pub depth: usize,
    /// Elements of one array.
    pub elements: usize,
}

impl Default for PatchLimits {
    fn default() -> Self {
        PatchLimits {
            operations: 50_000,
            depth: 64,
            elements: 20_000,
        }
    }
}

/// A patch that can't be applied.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("applying a patch: operation {index}: {reason}")]
pub struct PatchError {
    /// Which operation, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Applies the operations in order. After an error the document is half changed: apply to a copy.
pub fn apply(document: &mut Value, patch: Value, limits: &PatchLimits) -> Result<(), PatchError> {
    let error = |index, reason| PatchError { index, reason };
    let Value::Array(operations) = patch else {
        return Err(error(0, "the patch is not an array"));
    };
    if operations.len() > limits.operations {
        return Err(error(limits.operations, "too many operations"));
    }
    for (index, operation) in operations.into_iter().enumerate() {
        one(document, operation, limits).map_err(|reason| error(index, reason))?;
    }
    Ok(())
}

fn one(document: &mut Value, operation: Value, limits: &PatchLimits) -> Result<(), &'static str> {
    let Value::Object(mut operation) = operation else {
        return Err("it is not an object");
    };
    let Some(Value::String(pointer)) = operation.remove("path") else {
        return Err("path is missing");
    };
    let value = operation.remove("value");
    match operation.get("op").and_then(Value::as_str) {
        Some("add") => add(document, &pointer, value.ok_or("value is missing")?, limits),
        Some("replace") => {
            *target(document, &pointer, limits)? = value.ok_or("value is missing")?;
            Ok(())
        }
        Some("remove") => remove(document, &pointer, limits),
        _ => Err("op is none of add, replace and remove"),
    }
}

fn steps<'a>(pointer: &'a str, limits: &PatchLimits) -> Result<Vec<std::borrow::Cow<'a, str>>, &'static str> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let rest = pointer
        .strip_prefix('/')
        .ok_or("the pointer does not begin with /")?;
    let steps: Vec<_> = rest
        .split('/')
        .take(limits.depth + 1)
        .map(|step| {
            if step.contains('~') {
                step.replace("~1", "/").replace("~0", "~").into()
            } else {
                step.into()
            }
        })
        .collect();
    if steps.len() > limits.depth {
        Err("the pointer is too long")
    } else {
        Ok(steps)
    }
}

fn step_into<'a>(value: &'a mut Value, step: &str) -> Result<&'a mut Value, &'static str> {
    match value {
        Value::Object(map) => map.get_mut(step),
        Value::Array(items) => index(step).and_then(|at| items.get_mut(at)),
        _ => None,
    }
    .ok_or("nothing is at the path")
}

fn index(step: &str) -> Option<usize> {
    let plain = step.bytes().all(|b| b.is_ascii_digit()) && (step.len() == 1 || !step.starts_with('0'));
    if plain { step.parse().ok() } else { None }
}

fn target<'a>(
    document: &'a mut Value,
    pointer: &str,
    limits: &PatchLimits,
) -> Result<&'a mut Value, &'static str> {
    steps(pointer, limits)?
        .iter()
        .try_fold(document, |value, step| step_into(value, step))
}

fn add(document: &mut Value, pointer: &str, value: Value, limits: &PatchLimits) -> Result<(), &'static str> {
    let mut steps = steps(pointer, limits)?;
    let Some(last) = steps.pop() else {
        *document = value;
        return Ok(());
    };
    match steps
        .iter()
        .try_fold(document, |value, step| step_into(value, step))?
    {
        Value::Object(map) => {
            map.insert(last.into_owned(), value);
            Ok(())
        }
        Value::Array(items) if items.len() >= limits.elements => Err("the array is full"),
        Value::Array(items) => {
            let at = if last == "-" {
                items.len()
            } else {
                index(&last).ok_or("the index is no number")?
            };
            if at > items.len() {
                return Err("the index is behind the end");
            }
            items.insert(at, value);
            Ok(())
        }
        _ => Err("the path leads into a plain value"),
    }
}

fn remove(document: &mut Value, pointer: &str, limits: &PatchLimits) -> Result<(), &'static str> {
    let mut steps = steps(pointer, limits)?;
    let Some(last) = steps.pop() else {
        *document = Value::Null;
        return Ok(());
    };
    match steps
        .iter()
        .try_fold(document, |value, step| step_into(value, step))?
    {
        Value::Object(map) => map
            .shift_remove(last.as_ref())
            .map(drop)
            .ok_or("nothing is at the path"),
        Value::Array(items) => {
            let at = index(&last)
                .filter(|at| *at < items.len())
                .ok_or("nothing is at the path")?;
            items.remove(at);
            Ok(())
        }
        _ => Err("the path leads into a plain value"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn run(document: Value, patch: Value) -> Result<Value, &'static str> {
        let mut document = document;
        apply(&mut document, patch, &PatchLimits::default()).map_err(|e| e.reason)?;
        Ok(document)
    }

    #[test]
    fn the_three_operations() {
        let before = json!({ "a": [1, 2, 3], "m": { "x/y": 1, "t~": 2, "sp ace": 3 } });
        let patch = json!([
            { "op": "replace", "path": "/m/x~1y", "value": 9 },
            { "op": "remove", "path": "/m/t~0" },
            { "op": "replace", "path": "/m/sp ace", "value": "s" },
            { "op": "add", "path": "/a/1", "value": "in" },
            { "op": "add", "path": "/a/-", "value": "end" },
            { "op": "remove", "path": "/a/0" },
            { "op": "add", "path": "/new", "value": null },
        ]);
        assert_eq!(
            run(before, patch).unwrap(),
            json!({ "a": ["in", 2, 3, "end"], "m": { "x/y": 9, "sp ace": "s" }, "new": null })
        );
        assert_eq!(
            run(json!(1), json!([{ "op": "replace", "path": "", "value": 2 }])).unwrap(),
            json!(2)
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let doc = || json!({ "a": [1], "s": "x" });
        for (operation, reason) in [
            (
                json!({ "op": "replace", "path": "/b", "value": 1 }),
                "nothing is at the path",
            ),
            (
                json!({ "op": "remove", "path": "/a/1" }),
                "nothing is at the path",
            ),
            (
                json!({ "op": "remove", "path": "/a/00" }),
                "nothing is at the path",
            ),
            (
                json!({ "op": "add", "path": "/a/2", "value": 1 }),
                "the index is behind the end",
            ),
            (
                json!({ "op": "add", "path": "/s/0", "value": 1 }),
                "the path leads into a plain value",
            ),
            (
                json!({ "op": "add", "path": "a", "value": 1 }),
                "the pointer does not begin with /",
            ),
            (json!({ "op": "add", "path": "/a/-" }), "value is missing"),
            (
                json!({ "op": "move", "path": "/a", "from": "/s" }),
                "op is none of add, replace and remove",
            ),
            (json!({ "op": "add", "value": 1 }), "path is missing"),
            (json!(5), "it is not an object"),
            (
                json!({ "op": "remove", "path": "/x".repeat(100) }),
                "the pointer is too long",
            ),
        ] {
            assert_eq!(
                run(doc(), json!([operation.clone()])).unwrap_err(),
                reason,
                "{operation}"
            );
        }
        assert_eq!(run(doc(), json!({})).unwrap_err(), "the patch is not an array");
        let limits = PatchLimits {
            operations: 1,
            depth: 2,
            elements: 1,
        };
        let mut document = doc();
        let two = json!([{ "op": "remove", "path": "/a" }, { "op": "remove", "path": "/s" }]);
        assert_eq!(
            apply(&mut document, two, &limits).unwrap_err().reason,
            "too many operations"
        );
        let full = json!([{ "op": "add", "path": "/a/-", "value": 1 }]);
        assert_eq!(
            apply(&mut document, full, &limits).unwrap_err().reason,
            "the array is full"
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            "[a-c/~ ]{0,3}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::vec(("[a-c/~ 0]{0,3}", inner), 0..5)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    /// The patch that an agent would send, by the rules of RFC 6902 alone.
    fn difference(at: &str, from: &Value, to: &Value, out: &mut Vec<Value>) {
        let child = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        match (from, to) {
            (Value::Object(a), Value::Object(b)) => {
                for (key, value) in b {
                    match a.get(key) {
                        Some(old) => difference(&child(key), old, value, out),
                        None => out.push(json!({ "op": "add", "path": child(key), "value": value })),
                    }
                }
                for key in a.keys().filter(|k| !b.contains_key(*k)) {
                    out.push(json!({ "op": "remove", "path": child(key) }));
                }
            }
            (Value::Array(a), Value::Array(b)) => {
                for (n, value) in b.iter().enumerate() {
                    match a.get(n) {
                        Some(old) => difference(&child(&n.to_string()), old, value, out),
                        None => {
                            out.push(json!({ "op": "add", "path": child(&n.to_string()), "value": value }));
                        }
                    }
                }
                for n in (b.len()..a.len()).rev() {
                    out.push(json!({ "op": "remove", "path": child(&n.to_string()) }));
                }
            }
            (a, b) if a != b => out.push(json!({ "op": "replace", "path": at, "value": b })),
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn a_difference_leads_from_one_document_to_the_other(from in value(), to in value()) {
            let mut patch = Vec::new();
            difference("", &from, &to, &mut patch);
            prop_assert_eq!(run(from, patch.into()).unwrap(), to);
        }

        #[test]
        fn no_patch_makes_it_panic(document in value(), op in "add|remove|replace|copy", path in "(/[a-c~01-]{0,3}){0,4}|.{0,6}", value in value()) {
            let _ = run(document, json!([{ "op": op, "path": path, "value": value }]));
        }
    }
}
