//! The shapes of the top level, brought into one.

use crate::{Diagnostic, Fault, Format, Loaded};
use pm2::Object;
use serde_json::Value;

/// `{apps}`, `{pm2}`, a list, or a single app; beside it `deploy` and `static`.
pub(crate) fn take_apart(name: &str, value: Value, format: Format) -> Result<Loaded, Diagnostic> {
    let mut loaded = Loaded {
        apps: Vec::new(),
        deploy: None,
        static_sites: Vec::new(),
        path: None,
        format,
        name: name.to_owned(),
        text: String::new(),
    };
    let mut map = match value {
        Value::Array(items) => {
            loaded.apps = objects(name, "the list", items)?;
            return Ok(loaded);
        }
        Value::Object(map) => map,
        other => {
            return Err(Diagnostic::new(
                Fault::Shape,
                name,
                format!("it holds {}, an object with `apps` is expected", kind(&other)),
            )
            .help(example(format)));
        }
    };
    // A module that was compiled, or loaded by import, has its value behind `default`.
    if let Some(Value::Object(inner)) = map.get("default")
        && !map.contains_key("apps")
        && !map.contains_key("script")
    {
        let inner = inner.clone();
        map = inner;
    }
    loaded.deploy = match map.shift_remove("deploy") {
        Some(Value::Object(deploy)) => Some(deploy),
        None | Some(Value::Null) => None,
        Some(other) => {
            return Err(Diagnostic::new(
                Fault::Shape,
                name,
                format!("deploy is {}, an object is expected", kind(&other)),
            ));
        }
    };
    if let Some(sites) = map.shift_remove("static") {
        loaded.static_sites = list(name, "static", sites)?;
    }
    let section = ["apps", "pm2"]
        .into_iter()
        .find_map(|key| Some((key, map.shift_remove(key)?)));
    loaded.apps = match section {
        Some((key, Value::Object(mut inner))) if inner.contains_key("apps") => {
            let apps = inner.shift_remove("apps").unwrap_or_default();
            list(name, &format!("{key}.apps"), apps)?
        }
        Some((key, apps)) => list(name, key, apps)?,
        None if is_package_json(name, &map) => {
            return Err(Diagnostic::new(
                Fault::Shape,
                name,
                "this package.json has neither `apps` nor `pm2`",
            )
            .help("add a \"pm2\" section, or start the script that \"main\" names"));
        }
        None if loaded.deploy.is_some() || !loaded.static_sites.is_empty() => Vec::new(),
        None if map.is_empty() => {
            return Err(Diagnostic::new(Fault::Shape, name, "there is no app in it").help(example(format)));
        }
        None => vec![map],
    };
    Ok(loaded)
}

/// How an app is written in such a file.
fn example(format: Format) -> &'static str {
    match format {
        Format::Json => "write { \"apps\": [ { \"name\": \"api\", \"script\": \"app.js\" } ] }",
        Format::Yaml => "write apps: and below it, indented, - script: app.js",
        Format::Toml => "write [[apps]] and below it script = \"app.js\"",
        Format::JavaScript => "a JavaScript file exports them: module.exports = { apps: [ … ] }",
    }
}

fn is_package_json(name: &str, map: &Object) -> bool {
    name.rsplit('/').next() == Some("package.json") && !map.contains_key("script")
}

fn list(name: &str, section: &str, value: Value) -> Result<Vec<Object>, Diagnostic> {
    match value {
        Value::Array(items) => objects(name, section, items),
        Value::Object(map) => Ok(vec![map]),
        Value::Null => Ok(Vec::new()),
        other => Err(Diagnostic::new(
            Fault::Shape,
            name,
            format!("{section} is {}, a list is expected", kind(&other)),
        )),
    }
}

fn objects(name: &str, section: &str, items: Vec<Value>) -> Result<Vec<Object>, Diagnostic> {
    items
        .into_iter()
        .enumerate()
        .map(|(at, item)| match item {
            Value::Object(map) => Ok(map),
            other => {
                let message = format!(
                    "{section}: element {at} is {}, an object is expected",
                    kind(&other)
                );
                Err(Diagnostic::new(Fault::Shape, name, message)
                    .help("each app is an object such as { \"script\": \"app.js\" }"))
            }
        })
        .collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(value: Value) -> Result<Loaded, String> {
        take_apart("dir/x.json", value, Format::Json).map_err(|d| d.to_string())
    }

    #[test]
    fn every_shape_gives_apps() {
        for value in [
            json!({ "apps": [{ "script": "a" }] }),
            json!({ "apps": { "script": "a" } }),
            json!({ "pm2": [{ "script": "a" }] }),
            json!({ "name": "package", "pm2": { "apps": [{ "script": "a" }] } }),
            json!([{ "script": "a" }]),
            json!({ "script": "a" }),
            json!({ "default": { "apps": [{ "script": "a" }] } }),
        ] {
            let loaded = run(value.clone()).unwrap();
            assert_eq!(loaded.apps.len(), 1, "{value}");
            assert_eq!(loaded.apps[0].get("script"), Some(&json!("a")), "{value}");
        }
        let loaded = run(json!({ "deploy": { "prod": {} }, "static": { "path": "." } })).unwrap();
        assert_eq!(
            (
                loaded.apps.len(),
                loaded.deploy.is_some(),
                loaded.static_sites.len()
            ),
            (0, true, 1)
        );
    }

    #[test]
    fn what_has_no_apps_is_refused() {
        for (value, part) in [
            (json!("x"), "it holds text"),
            (json!({}), "there is no app in it"),
            (json!({ "apps": ["app.js"] }), "apps: element 0 is text"),
            (json!({ "apps": 5 }), "apps is a number, a list is expected"),
            (json!([{ "script": "a" }, 7]), "the list: element 1 is a number"),
            (json!({ "apps": [], "deploy": [] }), "deploy is a list"),
        ] {
            assert!(run(value.clone()).unwrap_err().contains(part), "{value}");
        }
        let error = take_apart(
            "/x/package.json",
            json!({ "name": "p", "main": "i.js" }),
            Format::Json,
        )
        .unwrap_err();
        assert!(error.message.contains("neither `apps` nor `pm2`"));
    }
}
