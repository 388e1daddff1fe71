//! What clients write to ask for an action, turned into a [`Request`]. Pure.

use serde::Deserialize;
use serde_json::Value;
use wire::action::Module;

use crate::api::ApiError;
use crate::live::bucket::Bucket;
use crate::live::link::{Request, ScaleTo, Target, Verb};
use crate::live::model::ProcessKey;
use crate::live::server::Server;

/// Longest name of an action.
const MAX_NAME: usize = 200;
/// Largest parameter of an action.
const MAX_PARAM: usize = 64 * 1024;

/// Our own form.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Ask {
    /// A verb of the process manager, `scale`, `install`, `uninstall`, or the name of an app's own action.
    pub(super) action: String,
    /// One entry: its number or its key.
    #[serde(default)]
    pub(super) process: Option<Value>,
    /// Or every instance of an app.
    #[serde(default)]
    pub(super) app: Option<String>,
    /// `{"number": …}` for `scale`, `{"name": …}` for modules; else the parameter of the app's action.
    #[serde(default)]
    pub(super) params: Option<Value>,
    /// The app's own action is meant, even if it is named like a verb.
    #[serde(default)]
    pub(super) custom: bool,
}

/// The number of an entry as clients write it: a number, a numeric text, or a key.
fn pm_id(value: &Value) -> Result<u32, ApiError> {
    let number = match value {
        Value::Number(n) => n.as_u64().and_then(|n| u32::try_from(n).ok()),
        Value::String(text) => text
            .parse()
            .ok()
            .or_else(|| ProcessKey::parse(text).map(|key| key.pm_id())),
        _ => None,
    };
    number.ok_or_else(|| ApiError::bad_request("process is a pm_id or a process key"))
}

/// The target that is meant.
pub(super) fn target(
    server: &Server,
    process: Option<&Value>,
    app: Option<&str>,
) -> Result<Target, ApiError> {
    match (process.filter(|p| !p.is_null()), app.filter(|a| !a.is_empty())) {
        (Some(process), _) => {
            let pm_id = pm_id(process)?;
            let (entry, _) = server
                .entry(pm_id)
                .ok_or_else(|| ApiError::not_found("process"))?;
            // Between the look at a list and the click, the number may have gone to another app.
            if let Some(key) = process.as_str().and_then(ProcessKey::parse)
                && key != entry.key()
            {
                return Err(ApiError::not_found("process"));
            }
            Ok(Target::Entry {
                pm_id,
                app: entry.facts.name.clone(),
            })
        }
        (None, Some(app)) => Ok(Target::App(app.to_owned())),
        (None, None) => Err(ApiError::bad_request("say which process or which app is meant")),
    }
}

/// The server with this id, if it shows.
pub(super) fn visible(bucket: &Bucket, id: crate::ids::ServerId) -> Result<&Server, ApiError> {
    bucket
        .server(id)
        .filter(|s| !s.is_hidden())
        .ok_or_else(|| ApiError::not_found("server"))
}

impl Ask {
    /// What is asked of `server`; an action that streams its output does so under `uuid`.
    pub(super) fn request(&self, server: &Server, uuid: &str) -> Result<Request, ApiError> {
        if let ("install" | "uninstall", false) = (self.action.as_str(), self.custom) {
            let name = self.params.as_ref().map(|p| p.get("name").unwrap_or(p));
            return module(self.action == "install", name.and_then(Value::as_str));
        }
        let target = target(server, self.process.as_ref(), self.app.as_deref())?;
        if self.action == "scale" && !self.custom {
            let number = self.params.as_ref().map(|p| p.get("number").unwrap_or(p));
            return scale(target.app(), number);
        }
        match Verb::parse(&self.action).filter(|_| !self.custom) {
            Some(verb) => Ok(Request::Manage { verb, target }),
            None => {
                let scope = is_scoped(server, &target, &self.action).then(|| uuid.to_owned());
                custom(&self.action, target, self.params.clone(), scope)
            }
        }
    }
}

/// Whether the app said that this action streams its output.
fn is_scoped(server: &Server, target: &Target, action: &str) -> bool {
    let meant = |pm_id: u32, app: &str| match target.pm_id() {
        Some(id) => id == pm_id,
        None => app == target.app(),
    };
    server
        .processes()
        .filter(|p| meant(p.pm_id, &p.facts.name))
        .flat_map(|p| &p.facts.actions)
        .any(|known| known.name == action && known.kind == "scoped")
}

/// A module comes or goes.
fn module(install: bool, name: Option<&str>) -> Result<Request, ApiError> {
    let name = name.map(str::trim).unwrap_or_default().to_owned();
    let module = Module { name };
    let refusal = if install {
        module.refusal()
    } else {
        module.refusal_as_installed()
    };
    match refusal {
        Some(why) => Err(ApiError::bad_request(why)),
        None => Ok(Request::Module {
            install,
            name: module.name,
        }),
    }
}

/// A change of the number of instances.
pub(super) fn scale(app: &str, number: Option<&Value>) -> Result<Request, ApiError> {
    let to = match number {
        Some(Value::Number(n)) => n
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
            .map(ScaleTo::Exactly),
        Some(Value::String(text)) => ScaleTo::parse(text),
        _ => None,
    };
    let to = to.ok_or_else(|| ApiError::bad_request("scale needs a number: 4, \"+2\" or \"-1\""))?;
    Ok(Request::Scale {
        app: app.to_owned(),
        to,
    })
}

/// An action of the app.
pub(super) fn custom(
    name: &str,
    target: Target,
    param: Option<Value>,
    scope: Option<String>,
) -> Result<Request, ApiError> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(ApiError::bad_request(format!(
            "the name of an action has 1 to {MAX_NAME} bytes"
        )));
    }
    let param = param.filter(|p| !p.is_null());
    if param.as_ref().is_some_and(|p| p.to_string().len() > MAX_PARAM) {
        return Err(ApiError::bad_request(format!(
            "the parameter of an action has at most {MAX_PARAM} bytes"
        )));
    }
    Ok(Request::Custom {
        name: name.to_owned(),
        target,
        param,
        scope,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_of_entries() {
        assert_eq!(pm_id(&json!(3)).ok(), Some(3));
        assert_eq!(pm_id(&json!("3")).ok(), Some(3));
        assert_eq!(pm_id(&json!("3:api")).ok(), Some(3));
        for bad in [json!(-1), json!("x"), json!({}), json!(1.5)] {
            assert!(pm_id(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_module_needs_a_name_that_may_stand_on_a_command_line() {
        assert_eq!(
            module(true, Some(" pm2-logrotate@3 ")).ok(),
            Some(Request::Module {
                install: true,
                name: "pm2-logrotate@3".into()
            })
        );
        for bad in [None, Some(""), Some("-g"), Some("../x"), Some("file:x")] {
            assert!(module(true, bad).is_err(), "{bad:?}");
        }
        assert!(module(false, Some("all")).is_err());
        assert!(module(false, Some("mod")).is_ok());
    }

    #[test]
    fn scale_takes_numbers_and_differences() {
        let to = |value: Value| scale("api", Some(&value)).ok();
        let expected = |to| {
            Some(Request::Scale {
                app: "api".into(),
                to,
            })
        };
        assert_eq!(to(json!(4)), expected(ScaleTo::Exactly(4)));
        assert_eq!(to(json!("+1")), expected(ScaleTo::By(1)));
        assert_eq!(to(json!(-4)), None);
        assert!(scale("api", None).is_err());
    }
}
