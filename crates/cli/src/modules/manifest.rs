//! A module's `package.json`. Pure, but for the reading of the file.

use crate::failure::Failure;
use pm2::Object;
use serde_json::Value;
use std::io::Read as _;
use std::path::Path;

/// Larger ones are no manifests.
const MAX_BYTES: u64 = 4 << 20;

/// What counts of a `package.json`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Manifest {
    /// Its name: may hold one slash, behind a scope.
    pub(super) name: String,
    pub(super) version: Option<String>,
    /// What to run, each with a script.
    pub(super) apps: Vec<Object>,
    /// Defaults of its configuration.
    pub(super) config: Object,
}

impl Manifest {
    /// Reads the manifest in a folder.
    pub(super) fn read(folder: &Path) -> Result<Manifest, Failure> {
        let path = folder.join("package.json");
        let mut text = String::new();
        let file = std::fs::File::open(&path).map_err(Failure::file("opening the module's", &path))?;
        file.take(MAX_BYTES)
            .read_to_string(&mut text)
            .map_err(Failure::file("reading the module's", &path))?;
        Manifest::parse(&text).map_err(|reason| Failure::Error(format!("{}: {reason}", path.display())))
    }

    /// Reads a manifest's text.
    pub(super) fn parse(text: &str) -> Result<Manifest, String> {
        let value: Value =
            serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|e| e.to_string())?;
        let Value::Object(mut map) = value else {
            return Err("it holds no object".into());
        };
        let name = match map.get("name").and_then(Value::as_str) {
            Some(name) if is_name(name) => name.to_owned(),
            Some(name) => return Err(format!("{name:?} can be no module's name")),
            None => return Err("it has no name".into()),
        };
        let config = match map.shift_remove("config") {
            Some(Value::Object(config)) => config,
            _ => Object::new(),
        };
        let mut apps = Vec::new();
        for key in ["apps", "pm2"] {
            apps.extend(match map.shift_remove(key) {
                Some(Value::Array(list)) => list,
                Some(Value::Object(mut inner)) if inner.contains_key("apps") => {
                    match inner.shift_remove("apps") {
                        Some(Value::Array(list)) => list,
                        Some(one) => vec![one],
                        None => Vec::new(),
                    }
                }
                Some(one @ Value::Object(_)) => vec![one],
                _ => Vec::new(),
            });
            if !apps.is_empty() {
                break;
            }
        }
        let mut apps = apps
            .into_iter()
            .map(|app| match app {
                Value::Object(app) => Ok(app),
                _ => Err("an element of apps is no object".to_owned()),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if apps.is_empty() {
            let Some(script) = script_of(&map) else {
                return Err("it names nothing to run: no apps, no bin, no main".into());
            };
            let mut app = Object::new();
            app.insert("script".into(), script.into());
            apps.push(app);
        }
        for app in &mut apps {
            app.entry("name").or_insert_with(|| name.as_str().into());
        }
        let version = map.get("version").and_then(Value::as_str).map(str::to_owned);
        Ok(Manifest {
            name,
            version,
            apps,
            config,
        })
    }

    /// Puts the module's name before those of its apps, unless it is its only app's own.
    pub(super) fn prefix_names(&mut self) {
        let alone = self.apps.len() == 1;
        for app in &mut self.apps {
            let name = app.get("name").and_then(Value::as_str).unwrap_or_default();
            if !alone || name != self.name {
                let prefixed = format!("{}:{name}", self.name);
                app.insert("name".into(), prefixed.into());
            }
        }
    }
}

fn script_of(map: &Object) -> Option<String> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let bin = map.get("bin").and_then(|bin| match bin {
        Value::Object(all) => all.values().next().and_then(text),
        one => text(one),
    });
    bin.or_else(|| map.get("main").and_then(text))
}

/// Whether a folder and a section may be called so: one name, or a scope and a name, none of which leads elsewhere.
pub(super) fn is_name(name: &str) -> bool {
    let bare = match name.strip_prefix('@') {
        Some(scoped) => match scoped.split_once('/') {
            Some((scope, bare)) if is_part(scope) => bare,
            _ => return false,
        },
        None => name,
    };
    is_part(bare)
}

fn is_part(part: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
    !part.is_empty() && part.len() <= 214 && !part.starts_with('.') && part.chars().all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<Manifest, String> {
        Manifest::parse(&value.to_string())
    }

    #[test]
    fn what_is_run() {
        for (rest, script) in [
            (json!({ "apps": [{ "script": "a.js" }], "main": "m.js" }), "a.js"),
            (json!({ "pm2": { "script": "b.js" } }), "b.js"),
            (json!({ "pm2": { "apps": [{ "script": "c.js" }] } }), "c.js"),
            (
                json!({ "apps": [], "bin": { "x": "d.js", "y": "e.js" }, "main": "m.js" }),
                "d.js",
            ),
            (json!({ "bin": "f.js" }), "f.js"),
            (json!({ "main": "m.js" }), "m.js"),
        ] {
            let mut value = rest.clone();
            value["name"] = json!("mod");
            let manifest = parse(value).unwrap();
            assert_eq!(manifest.apps.len(), 1, "{rest}");
            assert_eq!(manifest.apps[0]["script"], script, "{rest}");
            assert_eq!(manifest.apps[0]["name"], "mod", "{rest}");
        }
    }

    #[test]
    fn names_of_several_apps_begin_with_the_modules() {
        let names = |apps: Value| -> Vec<String> {
            let mut manifest = parse(json!({ "name": "mod", "apps": apps })).unwrap();
            manifest.prefix_names();
            manifest
                .apps
                .iter()
                .map(|app| app["name"].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(names(json!([{ "script": "a" }])), ["mod"]);
        assert_eq!(names(json!([{ "script": "a", "name": "one" }])), ["mod:one"]);
        assert_eq!(
            names(json!([{ "script": "a", "name": "mod" }, { "script": "b", "name": "two" }])),
            ["mod:mod", "mod:two"]
        );
    }

    #[test]
    fn what_is_refused() {
        for (value, part) in [
            (json!([]), "no object"),
            (json!({ "main": "m.js" }), "no name"),
            (
                json!({ "name": "../up", "main": "m.js" }),
                "can be no module's name",
            ),
            (
                json!({ "name": "@s/../../up", "main": "m.js" }),
                "can be no module's name",
            ),
            (json!({ "name": "mod" }), "nothing to run"),
            (json!({ "name": "mod", "apps": [5] }), "no object"),
        ] {
            assert!(parse(value.clone()).unwrap_err().contains(part), "{value}");
        }
        assert!(is_name("@scope/mod.x") && !is_name(".hidden") && !is_name("a/b") && !is_name("@/x"));
        assert!(Manifest::parse("{").is_err());
    }
}
