//! JavaScript configurations by the real node; it has to be in PATH.

use config::{Format, Loaded, Options, load, load_stdin, recognise};
use std::fs;
use std::path::Path;
use std::time::Duration;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Folder {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Folder(dir)
    }

    fn load(&self, name: &str) -> Result<Loaded, String> {
        self.load_with(name, &Options::default())
    }

    /// The complaint's text, with the folder cut out.
    fn load_with(&self, name: &str, options: &Options) -> Result<Loaded, String> {
        let real = fs::canonicalize(self.0.path()).unwrap();
        load(&self.0.path().join(name), options).map_err(|d| {
            let text = d.to_string();
            let text = text.replace(&format!("{}/", self.0.path().display()), "");
            text.replace(&format!("{}/", real.display()), "")
        })
    }
}

fn fail(files: &[(&str, &str)]) -> String {
    Folder::new(files).load(files[0].0).unwrap_err()
}

#[test]
fn kinds_are_told_by_name() {
    assert_eq!(recognise("ecosystem.config.js"), Some(Format::JavaScript));
    assert_eq!(recognise("a.json5"), Some(Format::Json));
    assert_eq!(recognise("x.yaml.tmpl"), Some(Format::Yaml));
    assert_eq!(recognise("app.js"), None);
    assert_eq!(recognise("0"), None);
}

#[test]
fn modules_see_what_they_are_used_to() {
    let folder = Folder::new(&[
        (
            "ecosystem.config.js",
            "const path = require('path'); const other = require('./lib/other'); console.log('noise on stdout')\n\
             module.exports = { apps: [{ name: other.name, script: path.basename(__filename), cwd: __dirname,\n\
             env: { FROM: process.env.PILOTHOUSE_TEST, main: typeof require.main }, f () {}, u: undefined, n: NaN,\n\
             argv: process.argv.length }], deploy: { prod: { ref: 'x' } } }",
        ),
        ("lib/other.js", "exports.name = 'other'"),
    ]);
    let options = Options {
        env: vec![("PILOTHOUSE_TEST".into(), "given".into())],
        ..Options::default()
    };
    let loaded = folder.load_with("ecosystem.config.js", &options).unwrap();
    let app = &loaded.apps[0];
    assert_eq!(app["name"], "other");
    assert_eq!(app["script"], "ecosystem.config.js");
    assert_eq!(
        app["cwd"],
        fs::canonicalize(folder.0.path()).unwrap().to_str().unwrap()
    );
    assert_eq!(app["env"]["FROM"], "given");
    assert!(!app.contains_key("f") && !app.contains_key("u") && app["n"].is_null());
    assert_eq!(app["argv"], 2);
    assert!(loaded.deploy.is_some() && loaded.path.unwrap().is_absolute());
}

/// The test runs itself again with the variables of a managed process, which a program other than node would hand on.
#[test]
fn a_managed_caller_can_read_them_too() {
    let folder = Folder::new(&[(
        "x.config.js",
        "module.exports = [{ script: typeof process.send }]",
    )]);
    if std::env::var_os("NODE_CHANNEL_FD").is_some() {
        assert_eq!(folder.load("x.config.js").unwrap().apps[0]["script"], "undefined");
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_managed_caller_can_read_them_too"])
        .envs([("NODE_CHANNEL_FD", "3"), ("NODE_UNIQUE_ID", "1")])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn es_modules_of_every_kind() {
    let body = "{ apps: [{ script: 'a.js' }] }";
    for (name, text, package) in [
        ("a.config.mjs", format!("export default {body}"), "{}"),
        (
            "b.config.mjs",
            "export const apps = [{ script: 'a.js' }]".to_owned(),
            "{}",
        ),
        (
            "c.config.js",
            format!("export default {body}"),
            "{\"type\":\"module\"}",
        ),
        (
            "d.config.js",
            format!("import os from 'node:os'; export default {body}"),
            "{}",
        ),
        (
            "e.config.cjs",
            format!("module.exports = {body}"),
            "{\"type\":\"module\"}",
        ),
        (
            "f.config.js",
            format!("module.exports = Promise.resolve({body})"),
            "{}",
        ),
        (
            "g.config.js",
            format!("exports.__esModule = true; exports.default = {body}"),
            "{}",
        ),
        (
            "h.config.mjs",
            format!("const x = await Promise.resolve({body}); export default x"),
            "{}",
        ),
    ] {
        let folder = Folder::new(&[(name, &text), ("package.json", package)]);
        let loaded = folder.load(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(loaded.apps[0]["script"], "a.js", "{name}");
    }
}

#[test]
fn a_syntax_error_has_its_place() {
    insta::assert_snapshot!(fail(&[("x.config.js", "module.exports = {\n  apps: [{\n    name: 'a'\n    script: 'b'\n  }]\n}")]), @r"
    x.config.js:4:5: SyntaxError: Unexpected identifier 'script'
     4 |     script: 'b'
       |     ^
    ");
}

#[test]
fn what_it_throws_has_its_place() {
    insta::assert_snapshot!(fail(&[("x.config.js", "const a = {}\nmodule.exports = { apps: a.b.c }")]), @r"
    x.config.js:2:30: TypeError: Cannot read properties of undefined (reading 'c')
     2 | module.exports = { apps: a.b.c }
       |                              ^
    ");
    insta::assert_snapshot!(fail(&[("x.config.js", "throw 'words'")]), @"x.config.js: it threw words");
    insta::assert_snapshot!(fail(&[("x.config.js", "module.exports = { apps: require('./bad') }"), ("bad.js", "\n  nope()")]), @r"
    bad.js:2:3: ReferenceError: nope is not defined
     2 |   nope()
       |   ^
    ");
}

#[test]
fn a_missing_module_says_what_to_run() {
    let text = fail(&[("x.config.js", "require('@scope/dotenv/config')")]);
    assert!(
        text.starts_with("x.config.js:1:1: Cannot find module '@scope/dotenv/config'"),
        "{text}"
    );
    assert!(
        text.contains("run `npm install @scope/dotenv` in the folder"),
        "{text}"
    );
}

#[test]
fn what_it_exports_is_looked_at() {
    for (text, part) in [
        ("", "there is no app in it"),
        ("module.exports = undefined", "it exports nothing"),
        ("module.exports = () => ({})", "it exports a function"),
        (
            "const a = {}; a.a = a; module.exports = { apps: [a] }",
            "the value has no JSON form: Converting circular structure",
        ),
        ("module.exports = { apps: [1n] }", "the value has no JSON form"),
        ("process.exit(3)", "node ended without a value (exit status: 3)"),
        ("module.exports = 5", "it holds a number"),
    ] {
        let error = fail(&[("x.config.js", text)]);
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn a_configuration_that_never_ends_is_killed() {
    let options = Options {
        timeout: Duration::from_millis(700),
        ..Options::default()
    };
    for text in [
        "while (true);",
        "module.exports = new Promise(() => setInterval(() => {}, 1000))",
    ] {
        let folder = Folder::new(&[("x.config.js", text)]);
        let error = folder.load_with("x.config.js", &options).unwrap_err();
        assert!(
            error.contains("still being evaluated after 0.7 s and was killed"),
            "{error}"
        );
    }
}

#[test]
fn a_timer_left_running_does_not_hold_it_up() {
    let folder = Folder::new(&[(
        "x.config.js",
        "setInterval(() => {}, 1000); module.exports = [{ script: 'a' }]",
    )]);
    assert_eq!(folder.load("x.config.js").unwrap().apps.len(), 1);
}

#[test]
fn json_that_is_code_goes_to_node() {
    let folder = Folder::new(&[(
        "x.json",
        "{ apps: [{ script: 'a' + '.js', n: Math.max(1, 2) }] } // end",
    )]);
    assert_eq!(folder.load("x.json").unwrap().apps[0]["script"], "a.js");
    assert_eq!(
        load_stdin("[{\"script\":\"a\"}]", &Options::default())
            .unwrap()
            .apps
            .len(),
        1
    );
}

#[test]
fn without_node_it_says_so() {
    let folder = Folder::new(&[("x.config.js", "module.exports = []")]);
    let options = Options {
        node: Some("/nonexistent/node".into()),
        ..Options::default()
    };
    let error = folder.load_with("x.config.js", &options).unwrap_err();
    assert!(
        error.contains("neither `node` nor `bun` nor `deno` is in PATH")
            && error.contains("help: install Node.js"),
        "{error}"
    );
}

#[test]
fn files_that_are_none() {
    let folder = Folder::new(&[("dir.json/x", ""), ("l.yaml", "")]);
    assert!(
        folder
            .load("none.json")
            .unwrap_err()
            .contains("none.json not found")
    );
    assert!(folder.load("dir.json").unwrap_err().contains("this is a folder"));
    fs::write(folder.0.path().join("l.yaml"), b"apps: \xff").unwrap();
    let error = folder.load("l.yaml").unwrap_err();
    assert!(error.contains("l.yaml:1:7: this is not UTF-8 text"), "{error}");
    assert!(load(Path::new("app.js"), &Options::default()).is_err());
}

/// Each runtime is stood in for by a script that looks at how it is called, and hands over to node.
#[test]
fn without_node_the_next_runtime_evaluates() {
    use std::os::unix::fs::PermissionsExt as _;
    let node = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|folder| folder.join("node"))
        .find(|file| file.exists())
        .unwrap();
    let folder = Folder::new(&[(
        "ecosystem.config.js",
        "module.exports = { apps: [{ name: process.env.RUNTIME, script: 'a.js' }] }",
    )]);
    let bin = folder.0.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let options = Options {
        path: Some(bin.clone().into()),
        ..Options::default()
    };
    let error = folder.load_with("ecosystem.config.js", &options).unwrap_err();
    assert!(error.contains("neither `node` nor `bun` nor `deno`"), "{error}");
    for (name, word) in [("deno", "eval"), ("bun", "-e")] {
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = {word} ] || exit 9\nshift\nRUNTIME={name} exec '{}' -e \"$@\"\n",
            node.display()
        );
        let file = bin.join(name);
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let loaded = folder.load_with("ecosystem.config.js", &options).unwrap();
        // bun comes after deno here, and is preferred.
        assert_eq!(loaded.apps[0]["name"], name);
    }
}
