//! From checked attributes to the resolved app that `prepare` takes.

use super::check::Checked;
use super::environment;
use super::{Caller, Host, Level, Note, Origin, Rejected};
use crate::{Object, js};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// An app that a daemon can run as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The argument of `prepare`, in PM2's order of keys.
    pub app: Object,
    /// What to tell the user.
    pub notes: Vec<Note>,
    /// Folders of log and pid files that were asked for; to be created if they are missing.
    pub folders: Vec<PathBuf>,
}

impl Checked {
    /// Resolves paths, interpreter, mode and environment.
    pub fn resolve(
        &self,
        caller: &Caller,
        host: &dyn Host,
        origin: &Origin<'_>,
    ) -> Result<Resolved, Rejected> {
        let mut app = self.app.clone();
        let cwd = match app.get("cwd").and_then(Value::as_str) {
            Some(cwd) => crate::home::clean(&caller.cwd.join(expand_home(cwd, caller))),
            None => caller.cwd.clone(),
        };
        let Some(script) = self.script().filter(|s| !s.is_empty()) else {
            return Err(Rejected::one(Level::Error, "No script path - aborting").about("script"));
        };
        let exec_path =
            find_script(&expand_home(script, caller), &cwd, host).map_err(|e| e.about("script"))?;
        app.entry("namespace").or_insert_with(|| "default".into());
        app.entry("node_args").or_insert_with(|| Value::Array(Vec::new()));
        app.insert("pm_exec_path".into(), text(&exec_path));
        app.insert("pm_cwd".into(), text(&cwd));
        let interpreter =
            interpreter(&mut app, &exec_path, caller, host).map_err(|e| e.about("exec_interpreter"))?;
        mode_and_instances(&mut app, &interpreter);
        let python = interpreter
            .rsplit('/')
            .next()
            .is_some_and(|name| name.starts_with("python"));
        let (env, mut notes) = environment::full(&app, caller, origin, python);
        app.insert("env".into(), env.into());
        let folders = files(&mut app, self.name(), &cwd, caller);
        app.insert("km_link".into(), caller.km_link.into());
        for key in ["script", "out_file", "error_file", "log_file", "pid_file"] {
            app.shift_remove(key);
        }
        notes.splice(0..0, self.notes.iter().cloned());
        Ok(Resolved { app, notes, folders })
    }
}

fn text(path: &Path) -> Value {
    path.to_string_lossy().into_owned().into()
}

fn expand_home(path: &str, caller: &Caller) -> PathBuf {
    match path.strip_prefix('~') {
        Some("") => caller.user_home.clone(),
        Some(rest) if rest.starts_with('/') => caller.user_home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(path),
    }
}

/// A file, or else a program in PATH.
fn find_script(script: &Path, cwd: &Path, host: &dyn Host) -> Result<PathBuf, Rejected> {
    let path = crate::home::clean(&cwd.join(script));
    if host.exists(&path) {
        return Ok(path);
    }
    host.find_program(&script.to_string_lossy())
        .ok_or_else(|| Rejected::one(Level::Error, format!("Script not found: {}", path.display())))
}

fn interpreter(
    app: &mut Object,
    exec_path: &Path,
    caller: &Caller,
    host: &dyn Host,
) -> Result<String, Rejected> {
    let given = app
        .get("exec_interpreter")
        .and_then(Value::as_str)
        .filter(|s| !s.is_empty())
        .map(str::to_owned);
    let chosen = match given {
        Some(given) => match given.strip_prefix("node@") {
            Some(version) => nvm_node(version, caller, host)?,
            None => given,
        },
        None => by_extension(app, exec_path, host)?,
    };
    let available = match chosen.as_str() {
        "none" => true,
        path if path.contains('/') => {
            let path = expand_home(path, caller);
            let base = app.get("pm_cwd").and_then(Value::as_str).unwrap_or("/");
            host.exists(&path) || host.exists(&crate::home::clean(&Path::new(base).join(path)))
        }
        name => host.find_program(name).is_some(),
    };
    if !available {
        return Err(Rejected::one(
            Level::Error,
            format!(
                "Interpreter {chosen} is NOT AVAILABLE in PATH. (type 'which {chosen}' to double check.)"
            ),
        ));
    }
    app.insert("exec_interpreter".into(), chosen.clone().into());
    Ok(chosen)
}

fn by_extension(app: &mut Object, exec_path: &Path, host: &dyn Host) -> Result<String, Rejected> {
    let extension = exec_path.extension().and_then(|e| e.to_str()).unwrap_or("");
    let absolute_node = || {
        host.find_program("node")
            .map_or_else(|| "node".to_owned(), |p| p.to_string_lossy().into_owned())
    };
    Ok(match extension {
        "sh" => "bash".into(),
        "py" if host.find_program("python").is_none() && host.find_program("python3").is_some() => {
            "python3".into()
        }
        "py" => "python".into(),
        "rb" => "ruby".into(),
        "php" => "php".into(),
        "pl" => "perl".into(),
        "js" => "node".into(),
        "coffee" => "coffee".into(),
        "ls" => "lsc".into(),
        "ts" | "tsx" => return typescript(app, extension, host),
        _ if host.looks_binary(exec_path) => "none".into(),
        _ => absolute_node(),
    })
}

/// bun, or a node that strips types by itself or when told to.
fn typescript(app: &mut Object, extension: &str, host: &dyn Host) -> Result<String, Rejected> {
    if let Some(bun) = host.find_program("bun") {
        return Ok(bun.to_string_lossy().into_owned());
    }
    match host.node_version() {
        Some(version) if extension == "ts" && version >= (22, 18) => Ok("node".into()),
        Some(version) if extension == "ts" && version >= (22, 6) => {
            if let Some(Value::Array(args)) = app.get_mut("node_args") {
                args.push("--experimental-strip-types".into());
            }
            Ok("node".into())
        }
        _ => Err(Rejected::one(Level::Error, {
            let runner = if extension == "ts" {
                "node 22.6 or newer, or bun"
            } else {
                "bun"
            };
            format!("a .{extension} script needs {runner}; install it or name an --interpreter")
        })),
    }
}

/// `node@x.y.z`: that release among those of nvm.
fn nvm_node(version: &str, caller: &Caller, host: &dyn Host) -> Result<String, Rejected> {
    let bare = version.trim_start_matches('v');
    let root = match caller
        .env
        .get("NVM_DIR")
        .and_then(Value::as_str)
        .filter(|d| !d.is_empty())
    {
        Some(dir) => PathBuf::from(dir),
        None => caller.user_home.join(".nvm"),
    };
    let proper = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let found = [
        format!("versions/node/v{bare}/bin/node"),
        format!("v{bare}/bin/node"),
    ]
    .iter()
    .map(|below| root.join(below))
    .find(|path| proper && host.exists(path));
    found
        .map(|path| path.to_string_lossy().into_owned())
        .ok_or_else(|| {
            let text = format!(
                "node {version} is not in {}; run `nvm install {bare}` first",
                root.display()
            );
            Rejected::one(Level::Error, text)
        })
}

fn mode_and_instances(app: &mut Object, interpreter: &str) {
    let name = interpreter.rsplit('/').next().unwrap_or(interpreter);
    let clusters = matches!(name, "node" | "bun");
    let wanted = app.get("instances").is_some_and(Value::is_number);
    match app.get("exec_mode").and_then(Value::as_str) {
        Some("cluster" | "cluster_mode") => app.insert("exec_mode".into(), "cluster_mode".into()),
        Some(_) => app.insert("exec_mode".into(), "fork_mode".into()),
        None => app.insert(
            "exec_mode".into(),
            if wanted && clusters {
                "cluster_mode"
            } else {
                "fork_mode"
            }
            .into(),
        ),
    };
    app.entry("instances").or_insert_with(|| 1.into());
}

/// Sets the paths of logs and pid file; gives the folders that somebody asked for.
fn files(app: &mut Object, name: &str, cwd: &Path, caller: &Caller) -> Vec<PathBuf> {
    let safe = file_name(name);
    let logs = &caller.home.log_dir;
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut place = |given: Option<&Value>, default: PathBuf| -> Value {
        let Some(given) = given.and_then(Value::as_str).filter(|s| !s.is_empty()) else {
            return text(&default);
        };
        if given == "NULL" || given == "/dev/null" {
            return "/dev/null".into();
        }
        let path = crate::home::clean(&cwd.join(expand_home(given, caller)));
        if let Some(folder) = path.parent().map(Path::to_owned).filter(|f| !folders.contains(f)) {
            folders.push(folder);
        }
        text(&path)
    };
    let combined = app.get("log_file").filter(|v| js::truthy(v)).cloned();
    let out = place(app.get("out_file"), logs.join(format!("{safe}-out.log")));
    let err = place(app.get("error_file"), logs.join(format!("{safe}-error.log")));
    let pid = place(
        app.get("pid_file"),
        caller.home.pid_dir.join(format!("{safe}.pid")),
    );
    if let Some(combined) = combined {
        let path = place(Some(&combined), logs.join(format!("{safe}.log")));
        app.insert("pm_log_path".into(), path);
    }
    app.insert("pm_out_log_path".into(), out);
    app.insert("pm_err_log_path".into(), err);
    app.insert("pm_pid_path".into(), pid);
    folders
}

/// The name as part of a file name.
fn file_name(name: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            c if keep(c) => out.push(c),
            // One dash per UTF-16 unit, as JavaScript replaces.
            c => out.extend(std::iter::repeat_n('-', c.len_utf16())),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::super::fake::{FakeHost, caller, object};
    use super::*;
    use serde_json::json;

    fn resolve_on(host: &FakeHost, raw: Value) -> Result<Resolved, String> {
        let checked = check(object(raw), &caller(), host).map_err(|e| e.to_string())?;
        checked
            .resolve(&caller(), host, &Origin::Options)
            .map_err(|e| e.to_string())
    }

    fn resolve(raw: Value) -> Result<Resolved, String> {
        resolve_on(&FakeHost::default(), raw)
    }

    fn attr(raw: Value, key: &str) -> Value {
        resolve(raw).unwrap().app.get(key).cloned().unwrap_or(Value::Null)
    }

    #[test]
    fn the_order_of_a_plain_start_is_pm2s() {
        // Compare the argument of `prepare` that node's CLI sends for `start app.js -n t --no-autostart -l x.log --cwd /tmp`.
        let app = resolve(json!({ "script": "/app/app.js", "name": "t", "filter_env": [], "namespace": "default", "watch": false,
            "autostart": false, "log": "x.log", "cwd": "/tmp" }))
        .unwrap()
        .app;
        let keys: Vec<_> = app.keys().map(String::as_str).collect();
        assert_eq!(
            keys.join(" "),
            "name filter_env namespace cwd env merge_logs vizion autostart autorestart watch instance_var pmx automation \
             treekill username windowsHide kill_retry_time node_args pm_exec_path pm_cwd exec_interpreter exec_mode \
             instances pm_log_path pm_out_log_path pm_err_log_path pm_pid_path km_link"
        );
        assert_eq!(app["pm_log_path"], "/tmp/x.log");
        assert_eq!(app["pm_out_log_path"], "/h/logs/t-out.log");
        assert_eq!(app["pm_pid_path"], "/h/pids/t.pid");
        assert_eq!(app["env"]["PWD"], "/tmp");
    }

    #[test]
    fn interpreters_by_extension() {
        for (script, interpreter) in [
            ("app.js", "node"),
            ("run.py", "python3"),
            ("x.sh", "bash"),
            ("tool", "/usr/bin/node"),
            ("bin", "none"),
            ("ls", "none"),
        ] {
            assert_eq!(
                attr(json!({ "script": script }), "exec_interpreter"),
                interpreter,
                "{script}"
            );
        }
        assert_eq!(attr(json!({ "script": "ls" }), "pm_exec_path"), "/usr/bin/ls");
        assert_eq!(
            attr(json!({ "script": "run.py" }), "env")["PYTHONUNBUFFERED"],
            "1"
        );
        assert_eq!(
            attr(
                json!({ "script": "app.js", "interpreter": "none" }),
                "exec_interpreter"
            ),
            "none"
        );
    }

    #[test]
    fn typescript_needs_a_runner() {
        let with = |node| FakeHost {
            node,
            ..FakeHost::default()
        };
        assert!(
            resolve_on(&with(Some((20, 0))), json!({ "script": "main.ts" }))
                .unwrap_err()
                .contains("needs node 22.6 or newer, or bun")
        );
        let app = resolve_on(&with(Some((22, 6))), json!({ "script": "main.ts" }))
            .unwrap()
            .app;
        assert_eq!(app["node_args"], json!(["--experimental-strip-types"]));
        let app = resolve_on(&with(Some((23, 0))), json!({ "script": "main.ts" }))
            .unwrap()
            .app;
        assert_eq!(
            (&app["exec_interpreter"], &app["node_args"]),
            (&json!("node"), &json!([]))
        );
    }

    #[test]
    fn modes() {
        let mode = |raw: Value| (attr(raw.clone(), "exec_mode"), attr(raw, "instances"));
        assert_eq!(
            mode(json!({ "script": "app.js" })),
            (json!("fork_mode"), json!(1))
        );
        assert_eq!(
            mode(json!({ "script": "app.js", "instances": "max" })),
            (json!("cluster_mode"), json!(0))
        );
        assert_eq!(
            mode(json!({ "script": "app.js", "instances": 2, "execute_command": true })),
            (json!("fork_mode"), json!(2))
        );
        assert_eq!(
            mode(json!({ "script": "run.py", "instances": 2 })),
            (json!("fork_mode"), json!(2))
        );
        assert_eq!(
            mode(json!({ "script": "app.js", "exec_mode": "cluster" })),
            (json!("cluster_mode"), json!(1))
        );
    }

    #[test]
    fn what_is_missing_is_said_in_pm2s_words() {
        assert_eq!(
            resolve(json!({ "script": "nosuch.js" })).unwrap_err(),
            "Script not found: /app/nosuch.js"
        );
        assert_eq!(
            resolve(json!({ "script": "app.js", "interpreter": "nosuchint" })).unwrap_err(),
            "Interpreter nosuchint is NOT AVAILABLE in PATH. (type 'which nosuchint' to double check.)"
        );
        assert!(resolve(json!({ "name": "x" })).is_err());
        assert!(
            resolve(json!({ "script": "app.js", "interpreter": "node@12.0.0" }))
                .unwrap_err()
                .contains("nvm install 12.0.0")
        );
    }

    #[test]
    fn files_and_their_folders() {
        let resolved = resolve(json!({ "script": "app.js", "name": "a b/é", "out": "logs/o.log", "error": "NULL", "pid": "~/x.pid" })).unwrap();
        assert_eq!(resolved.app["pm_out_log_path"], "/app/logs/o.log");
        assert_eq!(resolved.app["pm_err_log_path"], "/dev/null");
        assert_eq!(resolved.app["pm_pid_path"], "/root/x.pid");
        assert_eq!(resolved.folders, [Path::new("/app/logs"), Path::new("/root")]);
        assert_eq!(
            attr(
                json!({ "script": "app.js", "name": "a b/é", "log": true }),
                "pm_log_path"
            ),
            "/h/logs/a-b--.log"
        );
        assert!(!resolved.app.contains_key("out_file") && !resolved.app.contains_key("script"));
    }
}
