//! The order that `depends_on` asks for. Pure: names in, steps out.

use std::collections::BTreeMap;
use std::fmt;

use pm2::Object;
use serde_json::Value;
use thiserror::Error;

/// An app with what it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) name: String,
    pub(crate) on: Vec<String>,
}

impl Needs {
    /// What the attributes of an app say: a list of names, or names in one text.
    pub(crate) fn of(name: &str, app: &Object) -> Needs {
        let on = match app.get("depends_on").or_else(|| app.get("dependsOn")) {
            Some(Value::String(names)) => names.split_whitespace().map(str::to_owned).collect(),
            Some(Value::Array(names)) => names
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            _ => Vec::new(),
        };
        Needs {
            name: name.to_owned(),
            on,
        }
    }
}

/// An order that there is not.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum OrderError {
    /// An app would have to be ready before itself.
    #[error("depends_on goes in a circle: {0}; take one of these out")]
    Circle(Chain),
    /// Nobody has this name.
    #[error("app {app} depends on {on}, which is neither among these apps nor running; check the name")]
    Unknown { app: String, on: String },
}

impl OrderError {
    /// The app to complain about.
    pub(crate) fn app(&self) -> &str {
        match self {
            OrderError::Circle(Chain(way)) => way.first().map_or("", String::as_str),
            OrderError::Unknown { app, .. } => app,
        }
    }
}

/// `a -> b -> a`
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chain(Vec<String>);

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" -> "))
    }
}

/// Sorts apps into steps: whatever an app needs is in an earlier step than the app. Within a step the order stays. Several apps
/// may have one name; who needs it needs all of them. A name that is not among the apps has to satisfy `elsewhere`.
pub(crate) fn steps(apps: &[Needs], elsewhere: impl Fn(&str) -> bool) -> Result<Vec<Vec<usize>>, OrderError> {
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, app) in apps.iter().enumerate() {
        by_name.entry(&app.name).or_default().push(at);
    }
    for app in apps {
        if let Some(on) = app
            .on
            .iter()
            .find(|on| !by_name.contains_key(on.as_str()) && !elsewhere(on))
        {
            return Err(OrderError::Unknown {
                app: app.name.clone(),
                on: on.clone(),
            });
        }
    }
    let mut placed = vec![false; apps.len()];
    let mut steps = Vec::new();
    while placed.contains(&false) {
        let is_free = |app: &Needs| {
            let waits_for = |on: &String| {
                by_name
                    .get(on.as_str())
                    .is_some_and(|at| at.iter().any(|&at| !placed[at]))
            };
            !app.on.iter().any(waits_for)
        };
        let step: Vec<usize> = (0..apps.len())
            .filter(|&at| !placed[at] && is_free(&apps[at]))
            .collect();
        if step.is_empty() {
            return Err(OrderError::Circle(circle(apps, &by_name, &placed)));
        }
        for &at in &step {
            placed[at] = true;
        }
        steps.push(step);
    }
    Ok(steps)
}

/// Every app that is left waits for another one that is left, so whoever follows the first need of each comes round.
fn circle(apps: &[Needs], by_name: &BTreeMap<&str, Vec<usize>>, placed: &[bool]) -> Chain {
    let left = |name: &str| by_name.get(name)?.iter().copied().find(|&at| !placed[at]);
    let mut at = placed.iter().position(|placed| !placed).unwrap_or(0);
    let mut way = Vec::new();
    loop {
        let name = &apps[at].name;
        if let Some(first) = way.iter().position(|seen| seen == name) {
            way.drain(..first);
            way.push(name.clone());
            return Chain(way);
        }
        way.push(name.clone());
        match apps[at].on.iter().find_map(|on| left(on)) {
            Some(next) => at = next,
            None => return Chain(way),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(apps: &[(&str, &[&str])]) -> Vec<Needs> {
        let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        apps.iter()
            .map(|(name, on)| Needs {
                name: (*name).to_owned(),
                on: owned(on),
            })
            .collect()
    }

    fn check(apps: &[(&str, &[&str])]) -> Result<Vec<Vec<usize>>, String> {
        steps(&needs(apps), |name| name == "running").map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_needed_comes_first_and_the_rest_stays() {
        assert_eq!(check(&[("a", &[]), ("b", &[])]), Ok(vec![vec![0, 1]]));
        assert_eq!(
            check(&[
                ("web", &["api"]),
                ("api", &["db", "cache"]),
                ("db", &[]),
                ("cache", &["running"])
            ]),
            Ok(vec![vec![2, 3], vec![1], vec![0]])
        );
        // All instances of a name.
        assert_eq!(
            check(&[("db", &["disk"]), ("api", &["db"]), ("db", &[]), ("disk", &[])]),
            Ok(vec![vec![2, 3], vec![0], vec![1]])
        );
        assert_eq!(check(&[]), Ok(vec![]));
    }

    #[test]
    fn circles_and_strangers_are_named() {
        let text = |apps: &[(&str, &[&str])]| check(apps).unwrap_err();
        assert!(
            text(&[("x", &["a"]), ("a", &["b"]), ("b", &["c"]), ("c", &["a"])]).contains("a -> b -> c -> a;")
        );
        assert!(text(&[("a", &["a"])]).contains("a -> a;"));
        assert!(text(&[("a", &["nobody"])]).contains("app a depends on nobody"));
    }
}
