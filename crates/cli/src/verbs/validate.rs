//! `validate`: what is wrong with configuration files, and where; `schema`: what may stand in them.

use super::Then;
use crate::args::nearest;
use crate::context::Context;
use crate::failure::Failure;
use crate::start::order::{Needs, OrderError, steps};
use crate::start::{Machine, Source, checked, config_source, load, misordered, name_of};
use config::{Diagnostic, Loaded};
use pm2::Object;
use pm2::schema::{ATTRIBUTES, Level, Origin, attribute, camel_case, is_overlay, json_schema};
use serde_json::{Value, json};

const DEFAULT_FILE: &str = "ecosystem.config.js";

/// One complaint about an app.
struct Complaint {
    warning: bool,
    app: Option<String>,
    attribute: Option<String>,
    diagnostic: Diagnostic,
}

pub(crate) fn validate(context: &Context<'_>) -> Result<Then, Failure> {
    let default = [DEFAULT_FILE.to_owned()];
    let files: &[String] = if context.typed.operands.is_empty() {
        &default
    } else {
        &context.typed.operands
    };
    let mut complaints = Vec::new();
    for file in files {
        let source = config_source(file).unwrap_or_else(|| Source::File(file.clone()));
        let loaded = match load(&source) {
            Ok(loaded) => loaded,
            Err(Failure::Config(diagnostic)) => {
                complaints.push(Complaint {
                    warning: false,
                    app: None,
                    attribute: None,
                    diagnostic,
                });
                continue;
            }
            Err(other) => return Err(other),
        };
        let found = look_at(context, &loaded);
        if found.is_empty() && !context.typed.on("json") {
            context.console.info(format_args!(
                "{file}: {}, nothing to complain about",
                count(loaded.apps.len(), "app")
            ));
        }
        complaints.extend(found);
    }
    let errors = complaints.iter().filter(|complaint| !complaint.warning).count();
    if context.typed.on("json") {
        let list: Vec<Value> = complaints.iter().map(as_json).collect();
        context.console.put(format_args!("{:#}\n", Value::Array(list)));
    } else {
        for complaint in &complaints {
            if complaint.warning {
                context.console.warn(&complaint.diagnostic);
            } else {
                context.console.error(&complaint.diagnostic);
            }
        }
    }
    match errors {
        0 => Ok(Then::Done),
        _ if context.typed.on("json") => Err(Failure::Told),
        n => Err(Failure::Plain(format!(
            "{}, {}",
            count(n, "error"),
            count(complaints.len() - n, "warning")
        ))),
    }
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn as_json(complaint: &Complaint) -> Value {
    let diagnostic = &complaint.diagnostic;
    json!({
        "severity": if complaint.warning { "warning" } else { "error" },
        "file": diagnostic.file,
        "line": diagnostic.line,
        "column": diagnostic.column,
        "app": complaint.app,
        "attribute": complaint.attribute,
        "message": diagnostic.message,
        "help": diagnostic.help,
    })
}

fn look_at(context: &Context<'_>, loaded: &Loaded) -> Vec<Complaint> {
    let caller = context.caller();
    let mut out = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for (at, app) in loaded.apps.iter().enumerate() {
        let name = name_of(app);
        let mut complain = |warning: bool, about: Option<&str>, text: &str, help: Option<String>| {
            let mut diagnostic = loaded.complain(at, &spellings(about), text);
            if let Some(help) = help {
                diagnostic = diagnostic.help(help);
            }
            out.push(Complaint {
                warning,
                app: name.clone(),
                attribute: about.map(str::to_owned),
                diagnostic,
            });
        };
        for key in unknown(app) {
            let names = ATTRIBUTES
                .iter()
                .flat_map(|a| std::iter::once(a.name).chain(a.aliases.iter().copied()));
            let near = nearest(key, names).map(|near| format!("did you mean {near}?"));
            complain(
                true,
                Some(key),
                &format!("the attribute {key} is not known and means nothing"),
                near,
            );
        }
        if let Some(name) = name.as_ref().filter(|name| seen.contains(name)) {
            let text = format!("another app is called {name} too: commands by name act on both");
            complain(true, Some("name"), &text, None);
        }
        seen.extend(name.clone());
        let origin = Origin::File {
            env_name: context.typed.text("env"),
            deploy: loaded.deploy.as_ref(),
        };
        // The first mistake ends a start. Here it is taken out, and what is left looked at again.
        let mut rest = app.clone();
        loop {
            let resolved =
                checked(context, &rest, &caller).and_then(|app| Ok(app.resolve(&caller, &Machine, &origin)?));
            match resolved {
                Ok(resolved) => {
                    for note in resolved.notes.iter().filter(|note| note.level != Level::Info) {
                        complain(true, note.about.as_deref(), &note.text, None);
                    }
                    break;
                }
                Err(Failure::Rejected(rejected)) => {
                    let before = rest.len();
                    for note in &rejected.messages {
                        let about = note.about.as_deref();
                        complain(false, about, note.text.trim(), about.and_then(advice));
                        for name in about
                            .map(|name| spellings(Some(name)))
                            .into_iter()
                            .flatten()
                            .filter(|name| !SCRIPT.contains(name))
                        {
                            rest.shift_remove(name);
                            rest.shift_remove(&camel_case(name));
                        }
                    }
                    if rest.len() == before {
                        break;
                    }
                }
                Err(other) => {
                    complain(false, None, &other.to_string(), None);
                    break;
                }
            }
        }
    }
    let needs: Vec<Needs> = loaded
        .apps
        .iter()
        .map(|app| Needs::of(&name_of(app).unwrap_or_default(), app))
        .collect();
    if let Err(error) = steps(&needs, |_| false) {
        out.push(Complaint {
            // A name that is not in this file may run already.
            warning: matches!(error, OrderError::Unknown { .. }),
            app: Some(error.app().to_owned()),
            attribute: Some("depends_on".into()),
            diagnostic: misordered(loaded, &error),
        });
    }
    out
}

/// Without it there is nothing to look at.
const SCRIPT: [&str; 4] = ["script", "exec", "cmd", "command"];

/// What to do about a mistake, where its text does not say so.
fn advice(about: &str) -> Option<String> {
    (about == "script").then(|| "say what to run, such as script: './app.js'".to_owned())
}

/// All names under which an attribute may have been written.
fn spellings(about: Option<&str>) -> Vec<&str> {
    let Some(about) = about else { return Vec::new() };
    let mut out = vec![about];
    if let Some(attribute) = attribute(about) {
        out.push(attribute.name);
        out.extend(attribute.aliases);
    }
    if about == "script" {
        out.extend(["cmd", "command"]);
    }
    out
}

fn unknown(app: &Object) -> impl Iterator<Item = &str> {
    app.keys().map(String::as_str).filter(|key| {
        let camel = ATTRIBUTES.iter().any(|a| camel_case(a.name) == *key);
        !(camel || attribute(key).is_some() || is_overlay(key) || matches!(*key, "cmd" | "command"))
    })
}

pub(crate) fn schema(context: &Context<'_>) -> Result<Then, Failure> {
    context.console.put(format_args!("{:#}\n", json_schema()));
    Ok(Then::Done)
}
