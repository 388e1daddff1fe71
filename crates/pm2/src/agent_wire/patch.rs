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

/// What a patch replaced, so that it can be put back.
#[derive(Clone, Debug, Default)]
pub(super) struct Undo(Vec<(String, Value)>);

impl Undo {
    /// Puts everything back, in a document in which nothing else changed since.
    pub(super) fn put_back(self, document: &mut Value, limits: &PatchLimits) {
        for (pointer, before) in self.0.into_iter().rev() {
            // What was found once is found again.
            if let Ok(place) = target(document, &pointer, limits) {
                *place = before;
            }
        }
    }
}

/// Whether the patch does nothing but replace, as that of an ordinary second does: then [`replace`] is for it.
pub(super) fn only_replaces(patch: &Value) -> bool {
    patch
        .as_array()
        .is_some_and(|operations| operations.iter().all(|one| one["op"] == "replace"))
}

/// Applies a patch that [only replaces](only_replaces), in place: no copy of the document is needed. After an error the
/// document is as it was.
pub(super) fn replace(document: &mut Value, patch: Value, limits: &PatchLimits) -> Result<Undo, PatchError> {
    let Value::Array(operations) = patch else {
        return Err(PatchError {
            index: 0,
            reason: "the patch is not an array",
        });
    };
    if operations.len() > limits.operations {
        return Err(PatchError {
            index: limits.operations,
            reason: "too many operations",
        });
    }
    let mut undo = Undo(Vec::with_capacity(operations.len()));
    for (index, operation) in operations.into_iter().enumerate() {
        match replace_one(document, operation, limits) {
            Ok(before) => undo.0.push(before),
            Err(reason) => {
                undo.put_back(document, limits);
                return Err(PatchError { index, reason });
            }
        }
    }
    Ok(undo)
}

fn replace_one(
    document: &mut Value,
    mut operation: Value,
    limits: &PatchLimits,
) -> Result<(String, Value), &'static str> {
    let Some(Value::String(pointer)) = operation.get_mut("path").map(Value::take) else {
        return Err("path is missing");
    };
    let value = operation
        .get_mut("value")
        .map(Value::take)
        .ok_or("value is missing")?;
    let place = target(document, &pointer, limits)?;
    let before = std::mem::replace(place, value);
    Ok((pointer, before))
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
    if pointer.contains('~') {
        let steps = steps(pointer, limits)?;
        return steps
            .iter()
            .try_fold(document, |value, step| step_into(value, step));
    }
    // The ordinary case, without memory of its own.
    let Some(rest) = pointer.strip_prefix('/') else {
        return if pointer.is_empty() {
            Ok(document)
        } else {
            Err("the pointer does not begin with /")
        };
    };
    if rest.split('/').take(limits.depth + 1).count() > limits.depth {
        return Err("the pointer is too long");
    }
    rest.split('/').try_fold(document, step_into)
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

    proptest! {
        /// In place and on a copy is the same, also where it fails; and what was replaced can be put back.
        #[test]
        fn replacing_in_place_is_applying(
            operations in prop::collection::vec((prop::sample::select(vec![
                "", "/a", "/a/0", "/a/1", "/a/7", "/m", "/m/x", "/m/x~1y", "/m/x/deep", "no", "/m/~0",
            ]), prop::sample::select(vec![json!(1), json!("s"), json!({ "x": { "deep": 1 } }), json!([5, 6]), Value::Null])), 0..8)
        ) {
            let before = json!({ "a": [1, [2]], "m": { "x/y": 1, "x": { "deep": 3 }, "~": 0 } });
            let patch: Value = operations
                .into_iter()
                .map(|(path, value)| json!({ "op": "replace", "path": path, "value": value }))
                .collect();
            prop_assert!(only_replaces(&patch));
            let limits = PatchLimits::default();
            let (mut copied, mut in_place) = (before.clone(), before.clone());
            let applied = apply(&mut copied, patch.clone(), &limits);
            match replace(&mut in_place, patch, &limits) {
                Ok(undo) => {
                    prop_assert_eq!(applied, Ok(()));
                    prop_assert_eq!(&in_place, &copied);
                    undo.put_back(&mut in_place, &limits);
                }
                Err(error) => prop_assert_eq!(applied, Err(error)),
            }
            prop_assert_eq!(in_place, before);
        }
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
