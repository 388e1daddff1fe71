//! Static web sites as apps: this binary in its role of a web server, with its configuration in `PM2_SERVE_*`.

use crate::failure::Failure;
use pm2::{Object, js};
use serde_json::{Value, json};

/// The script of a configuration file that stands for the web server.
const SCRIPT: &str = "serve";
/// The role of this binary that serves.
const ROLE: &str = "static-server";
/// The port, unless one is named.
pub(crate) const PORT: &str = "8080";

/// A site as it is asked for.
#[derive(Debug, Default)]
pub(crate) struct Site {
    /// The folder.
    pub(crate) path: Option<String>,
    /// A number, or the text of one.
    pub(crate) port: Option<Value>,
    /// An address or a name.
    pub(crate) host: Option<String>,
    /// Answer what is not there with the home page.
    pub(crate) spa: bool,
    /// List folders.
    pub(crate) listing: bool,
    /// User and password.
    pub(crate) credentials: Option<(String, String)>,
}

impl Site {
    /// The name that the app has unless one is given.
    pub(crate) fn name(&self) -> String {
        let port = self.port.as_ref().map_or_else(|| PORT.into(), js::to_text);
        format!("static-page-server-{port}")
    }

    /// The variables of the app.
    pub(crate) fn env(&self) -> Object {
        let mut env = Object::new();
        let mut set = |name: &str, value: Value| env.insert(format!("PM2_SERVE_{name}"), value);
        set("PORT", self.port.clone().unwrap_or_else(|| PORT.into()));
        set("PATH", self.path.clone().unwrap_or_else(|| ".".into()).into());
        if let Some(host) = &self.host {
            set("HOST", host.as_str().into());
        }
        if self.spa {
            set("SPA", true.into());
        }
        if self.listing {
            set("FTP", true.into());
        }
        if let Some((user, password)) = &self.credentials {
            set("BASIC_AUTH", true.into());
            set("BASIC_AUTH_USERNAME", user.as_str().into());
            set("BASIC_AUTH_PASSWORD", password.as_str().into());
        }
        env
    }
}

/// Makes an app run the web server.
pub(crate) fn run_server(app: &mut Object) -> Result<(), Failure> {
    let exe = std::env::current_exe().map_err(Failure::file("finding", "this program"))?;
    app.insert("script".into(), exe.to_string_lossy().into_owned().into());
    app.insert("exec_interpreter".into(), "none".into());
    app.insert("args".into(), json!([ROLE]));
    for other in ["exec", "interpreter", "node_args", "exec_mode", "instances"] {
        app.shift_remove(other);
    }
    Ok(())
}

/// Whether an app of a configuration file asks for the web server.
pub(crate) fn is_site(app: &Object) -> bool {
    let script = app.get("script").or_else(|| app.get("exec"));
    script.and_then(Value::as_str) == Some(SCRIPT)
}

/// An element of a file's `static` section as an app.
pub(crate) fn app_of(section: &Object) -> Result<Object, Failure> {
    let text = |key: &str| match section.get(key) {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    let on = |key: &str| section.get(key).is_some_and(js::truthy);
    let credentials = match section.get("basic_auth") {
        None | Some(Value::Null | Value::Bool(false)) => None,
        Some(auth) => {
            let part = |key: &str| {
                let part = auth
                    .get(key)
                    .and_then(Value::as_str)
                    .filter(|part| !part.is_empty());
                part.map(str::to_owned).ok_or_else(|| {
                    Failure::Error(format!("static: basic_auth has no {key}: nobody could get in"))
                })
            };
            Some((part("username")?, part("password")?))
        }
    };
    let site = Site {
        path: text("path"),
        port: section.get("port").filter(|port| !port.is_null()).cloned(),
        host: text("host"),
        spa: on("spa"),
        listing: on("ftp") || on("directory"),
        credentials,
    };
    let mut app = Object::new();
    app.insert("name".into(), text("name").unwrap_or_else(|| site.name()).into());
    // The attributes of any app may stand beside those of the site.
    app.extend(
        section
            .iter()
            .filter(|(key, _)| !OWN.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    app.insert("script".into(), SCRIPT.into());
    app.insert("env".into(), site.env().into());
    Ok(app)
}

/// What an element of the `static` section says about the site itself.
const OWN: [&str; 9] = [
    "path",
    "port",
    "host",
    "spa",
    "ftp",
    "directory",
    "basic_auth",
    "monitor",
    "name",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn app(section: Value) -> Result<Object, String> {
        app_of(section.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_section_becomes_an_app() {
        let made = app(
            json!({ "path": ".", "port": 81, "spa": true, "basic_auth": { "username": "u", "password": "p" }, "cwd": "/srv" }),
        );
        let expected = json!({ "name": "static-page-server-81", "cwd": "/srv", "script": "serve", "env": {
            "PM2_SERVE_PORT": 81, "PM2_SERVE_PATH": ".", "PM2_SERVE_SPA": true, "PM2_SERVE_BASIC_AUTH": true,
            "PM2_SERVE_BASIC_AUTH_USERNAME": "u", "PM2_SERVE_BASIC_AUTH_PASSWORD": "p" } });
        let mut made = made.unwrap();
        assert_eq!(Value::from(made.clone()), expected);
        assert!(is_site(&made));
        run_server(&mut made).unwrap();
        assert!(!is_site(&made) && made["args"] == json!([ROLE]) && made["exec_interpreter"] == "none");
        let bare = app(json!({ "name": "docs", "directory": true, "basic_auth": null })).unwrap();
        assert_eq!(bare["name"], "docs");
        assert_eq!(bare["env"]["PM2_SERVE_FTP"], true);
        assert_eq!(bare["env"]["PM2_SERVE_PORT"], "8080");
    }

    #[test]
    fn half_a_password_is_refused() {
        let told = app(json!({ "basic_auth": { "username": "u" } })).unwrap_err();
        assert!(told.contains("no password"), "{told}");
    }
}
