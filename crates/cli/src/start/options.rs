//! Options of the command line as attributes of an app.

use crate::args::Typed;
use crate::failure::Failure;
use pm2::Object;
use pm2::schema::ATTRIBUTES;
use pm2::units::{parse_watch_delay, split_words};
use serde_json::Value;
use std::path::Path;

/// The attributes that were typed, under the names of the schema; `filter_env` is there even if nothing was, as node's client sends it.
pub(crate) fn options(typed: &Typed, cwd: &Path) -> Result<Object, Failure> {
    let mut out = Object::new();
    let filters: Vec<Value> = typed.texts("filter-env").into_iter().map(Value::from).collect();
    out.insert("filter_env".into(), filters.into());
    for attribute in ATTRIBUTES
        .iter()
        .filter(|a| !a.flag.is_empty() && a.name != "filter_env")
    {
        if let Some(name) = attribute.flag.strip_prefix("no-") {
            if typed.off(name) {
                out.insert(attribute.name.into(), false.into());
            }
        } else if let Some(text) = typed.text(attribute.flag) {
            out.insert(attribute.name.into(), text.into());
        } else if typed.on(attribute.flag) {
            out.insert(attribute.name.into(), true.into());
        }
    }
    for (flag, name) in [
        ("interpreter-args", "node_args"),
        ("cron", "cron_restart"),
        ("user", "uid"),
    ] {
        // Of node_args this is the spelling that PM2 takes where both are given.
        let wins = flag == "interpreter-args";
        if let (Some(text), true) = (typed.text(flag), wins || !out.contains_key(name)) {
            out.insert(name.into(), text.into());
        }
    }
    // Without a number it changes nothing.
    if typed.text("max-restarts").is_none() {
        out.shift_remove("max_restarts");
    }
    if let Some(text) = typed.text("stop-exit-codes") {
        out.insert("stop_exit_codes".into(), exit_codes(text)?);
    }
    if let Some(text) = typed.text("watch-delay") {
        let ms = parse_watch_delay(text).ok_or_else(|| {
            Failure::Error(format!(
                "--watch-delay {text}: say seconds, such as 4, or milliseconds, such as 4000ms"
            ))
        })?;
        out.insert("watch_delay".into(), ms.into());
    }
    let paths: Vec<Value> = typed.texts("watch").into_iter().map(Value::from).collect();
    if !paths.is_empty() {
        out.insert("watch".into(), paths.into());
    }
    if let Some(endings) = typed.text("ext") {
        out.insert("ignore_watch".into(), other_endings(endings, cwd).into());
    }
    if !typed.rest.is_empty() {
        out.insert("args".into(), typed.rest.clone().into());
    }
    Ok(out)
}

fn exit_codes(text: &str) -> Result<Value, Failure> {
    let codes: Option<Vec<Value>> = split_words(&text.replace(',', " "))
        .iter()
        .map(|word| word.parse::<i64>().ok().map(Value::from))
        .collect();
    codes.map(Value::from).ok_or_else(|| {
        Failure::Error(format!(
            "--stop-exit-codes {text}: say numbers, such as \"0 143\""
        ))
    })
}

/// `--ext js,json`: every file below the folder whose name ends otherwise is ignored by the watcher.
fn other_endings(endings: &str, cwd: &Path) -> Vec<String> {
    const MOST: usize = 10_000;
    let wanted: Vec<&str> = endings
        .split(',')
        .map(|e| e.trim().trim_start_matches('.'))
        .collect();
    let mut out = Vec::new();
    let mut folders = vec![cwd.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if out.len() >= MOST || name == "node_modules" {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(_)
                    if !path
                        .extension()
                        .and_then(|e| e.to_str())
                        .is_some_and(|e| wanted.contains(&e)) =>
                {
                    out.push(path.to_string_lossy().into_owned());
                }
                _ => {}
            }
        }
    }
    out.sort();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::parse;

    fn of(line: &[&str]) -> Value {
        let words: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
        options(&parse(&words).unwrap(), Path::new("/nowhere"))
            .map_or_else(|e| e.to_string().into(), Value::Object)
    }

    #[test]
    fn a_plain_start_sets_nothing() {
        insta::assert_json_snapshot!(of(&["start", "app.js"]), @r#"
        {
          "filter_env": []
        }
        "#);
    }

    #[test]
    fn each_option_reaches_its_attribute() {
        insta::assert_json_snapshot!(
            of(&[
                "start", "app.js", "-n", "api", "-i", "max", "--no-autorestart", "--watch", "src", "--watch", "lib", "-l", "--max-restarts",
                "-c", "0", "--interpreter-args", "--harmony --x", "--stop-exit-codes", "0 143", "--watch-delay", "4", "--time", "-u", "www",
                "--filter-env", "SECRET", "--", "-p", "80",
            ]),
            @r#"
        {
          "filter_env": [
            "SECRET"
          ],
          "name": "api",
          "log_file": true,
          "time": true,
          "instances": "max",
          "autorestart": false,
          "stop_exit_codes": [
            0,
            143
          ],
          "watch_delay": 4000,
          "watch": [
            "src",
            "lib"
          ],
          "node_args": "--harmony --x",
          "cron_restart": "0",
          "uid": "www",
          "args": [
            "-p",
            "80"
          ]
        }
        "#
        );
    }

    #[test]
    fn bad_values_are_refused() {
        assert!(
            of(&["start", "a", "--watch-delay", "soon"])
                .as_str()
                .unwrap()
                .contains("--watch-delay soon")
        );
        assert!(
            of(&["start", "a", "--stop-exit-codes", "x"])
                .as_str()
                .unwrap()
                .contains("say numbers")
        );
    }

    #[test]
    fn files_with_other_endings_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("node_modules")).unwrap();
        std::fs::create_dir_all(dir.path().join("src")).unwrap();
        for name in ["a.js", "src/b.txt", "node_modules/c.txt", "README"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let found = other_endings("js,json", dir.path());
        assert_eq!(found.len(), 2);
        assert!(found[0].ends_with("README") && found[1].ends_with("src/b.txt"));
    }
}
