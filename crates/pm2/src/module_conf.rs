//! `module_conf.json`: what `set` stored for apps and modules, and which modules are installed.
//!
//! Pure text in and out. Where the file is, who else writes it at this moment, and what to do with a broken one is the caller's
//! business; a broken file must never be overwritten.

use crate::Object;
use serde::Serialize as _;
use serde_json::Value;
use thiserror::Error;

/// Section with the modules that came from npm, git or a folder: name → `{uid, gid}`.
pub const MODULES: &str = "module-db-v2";
/// Section with the modules that came as a tarball: name → `{source, install_url, installed_at}`.
pub const TARBALLS: &str = "tar-modules";

/// Parts of a key, at most: a deeper object is nobody's configuration, and would be a burden to every reader.
const MAX_DEPTH: usize = 32;
/// Names that mean something else to a JavaScript object.
const REFUSED: [&str; 3] = ["__proto__", "constructor", "prototype"];

/// A file that can't be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ModuleConfError {
    /// Not JSON.
    #[error("not JSON at line {line}, column {column}: {reason}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The parser's words.
        reason: String,
    },
    /// JSON, but no object.
    #[error("it holds no object")]
    NoObject,
}

/// A key that can't be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Nothing in it.
    #[error("the key is empty")]
    Empty,
    /// A part would change how JavaScript objects work.
    #[error("the key {0:?} is not allowed: __proto__, constructor and prototype are reserved")]
    Reserved(String),
    /// Too many parts.
    #[error("the key has {0} parts, {MAX_DEPTH} are allowed")]
    Deep(usize),
}

/// The parts of a key: split at dots if it has any, else at colons. What stands in double quotes is one part, its dots included.
///
/// # Errors
/// [`KeyError`].
pub fn parts(key: &str) -> Result<Vec<String>, KeyError> {
    let separator = if key.contains('.') { '.' } else { ':' };
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in key.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c == separator && !quoted => parts.push(String::new()),
            c => parts.last_mut().unwrap_or(&mut String::new()).push(c),
        }
    }
    parts.retain(|part| !part.is_empty());
    if let Some(reserved) = parts.iter().find(|part| REFUSED.contains(&part.as_str())) {
        return Err(KeyError::Reserved(reserved.clone()));
    }
    match parts.len() {
        0 => Err(KeyError::Empty),
        n if n > MAX_DEPTH => Err(KeyError::Deep(n)),
        _ => Ok(parts),
    }
}

/// `multiset`'s text: key, value, key, value …, split at blanks except within double quotes, which stay. A last key without a value
/// means nothing.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        if c == '"' {
            quoted = !quoted;
        }
        match words.last_mut() {
            Some(word) if quoted || !c.is_whitespace() => word.push(c),
            _ => words.push(String::new()),
        }
    }
    words.retain(|word| !word.is_empty());
    let mut words = words.into_iter();
    std::iter::from_fn(|| Some((words.next()?, words.next()?))).collect()
}

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModuleConf(Object);

impl ModuleConf {
    /// Reads the file's text; an empty one is an empty configuration.
    ///
    /// # Errors
    /// [`ModuleConfError`].
    pub fn parse(text: &str) -> Result<ModuleConf, ModuleConfError> {
        let text = text.trim_start_matches('\u{feff}');
        if text.trim().is_empty() {
            return Ok(ModuleConf::default());
        }
        match serde_json::from_str(text) {
            Ok(Value::Object(object)) => Ok(ModuleConf(object)),
            Ok(_) => Err(ModuleConfError::NoObject),
            Err(error) => Err(ModuleConfError::Syntax {
                line: error.line(),
                column: error.column(),
                reason: crate::dump::plain_reason(&error),
            }),
        }
    }

    /// The text of the file, indented by four blanks as PM2 does it.
    pub fn to_text(&self) -> String {
        let mut bytes = Vec::new();
        let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut writer = serde_json::Serializer::with_formatter(&mut bytes, format);
        // A map with text keys always has a JSON form, and JSON is always UTF-8.
        match self.0.serialize(&mut writer) {
            Ok(()) => String::from_utf8(bytes).unwrap_or_default(),
            Err(_) => "{}".into(),
        }
    }

    /// Everything, by app name.
    pub fn as_object(&self) -> &Object {
        &self.0
    }

    /// The same, given away.
    pub fn into_object(self) -> Object {
        self.0
    }

    /// What is stored under a key; the empty object and the empty text are values too.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn get(&self, key: &str) -> Result<Option<&Value>, KeyError> {
        let parts = parts(key)?;
        let (first, rest) = parts.split_first().ok_or(KeyError::Empty)?;
        Ok(rest
            .iter()
            .try_fold(self.0.get(first), |at, part| Some(at?.get(part)))
            .flatten())
    }

    /// Stores a value, as text. What stands in the way of a deeper key is replaced by an object.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn set(&mut self, key: &str, value: impl Into<Value>) -> Result<(), KeyError> {
        let parts = parts(key)?;
        let (last, way) = parts.split_last().ok_or(KeyError::Empty)?;
        let mut at = &mut self.0;
        for part in way {
            at = object_at(at, part);
        }
        at.insert(last.clone(), value.into());
        Ok(())
    }

    /// Removes what is stored under a key. `false`: nothing was.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn unset(&mut self, key: &str) -> Result<bool, KeyError> {
        let parts = parts(key)?;
        let (last, way) = parts.split_last().ok_or(KeyError::Empty)?;
        let mut at = &mut self.0;
        for part in way {
            match at.get_mut(part) {
                Some(Value::Object(next)) => at = next,
                _ => return Ok(false),
            }
        }
        Ok(at.shift_remove(last).is_some())
    }

    /// Removes everything, the list of modules too.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The section of an app or module of exactly this name.
    pub fn section(&self, name: &str) -> Option<&Object> {
        self.0.get(name)?.as_object()
    }

    /// Names of the modules from npm, git or a folder, in the order of their installation.
    pub fn modules(&self) -> impl Iterator<Item = (&str, ModuleUser)> {
        let section = self.section(MODULES).into_iter().flatten();
        section.map(|(name, value)| (name.as_str(), ModuleUser::read(value)))
    }

    /// Names of the modules that came as a tarball, with where from.
    pub fn tarballs(&self) -> impl Iterator<Item = (&str, &Value)> {
        let section = self.section(TARBALLS).into_iter().flatten();
        section.map(|(name, value)| (name.as_str(), value))
    }

    /// Notes a module from npm, git or a folder.
    pub fn note_module(&mut self, name: &str, user: &ModuleUser) {
        object_at(&mut self.0, MODULES).insert(name.to_owned(), user.write());
    }

    /// Notes a module that came as a tarball, from this path or URL, at this time in ms.
    pub fn note_tarball(&mut self, name: &str, install_url: &str, at_ms: i64) {
        let mut record = Object::new();
        record.insert("source".into(), "tarball".into());
        record.insert("install_url".into(), install_url.into());
        record.insert("installed_at".into(), at_ms.into());
        self.restore_tarball(name, record.into());
    }

    /// Puts back what was noted about a tarball.
    pub fn restore_tarball(&mut self, name: &str, record: Value) {
        object_at(&mut self.0, TARBALLS).insert(name.to_owned(), record);
    }

    /// Forgets a module of either kind; its configuration stays. `false`: there was none.
    pub fn forget_module(&mut self, name: &str) -> bool {
        [MODULES, TARBALLS].iter().fold(false, |found, section| {
            let Some(Value::Object(section)) = self.0.get_mut(*section) else {
                return found;
            };
            section.shift_remove(name).is_some() || found
        })
    }

    /// Stores those of a module's defaults that the user has not set.
    pub fn set_defaults(&mut self, name: &str, defaults: &Object) {
        let section = object_at(&mut self.0, name);
        for (key, value) in defaults {
            section.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// Whom a module runs as; `None`: whoever runs the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleUser {
    /// A name or a number.
    pub uid: Option<String>,
    /// A name or a number.
    pub gid: Option<String>,
}

impl ModuleUser {
    fn read(value: &Value) -> ModuleUser {
        let text = |key: &str| match value.get(key)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        ModuleUser {
            uid: text("uid"),
            gid: text("gid"),
        }
    }

    fn write(&self) -> Value {
        let mut out = Object::new();
        for (key, value) in [("uid", &self.uid), ("gid", &self.gid)] {
            if let Some(value) = value {
                out.insert(key.into(), value.as_str().into());
            }
        }
        out.into()
    }
}

/// The object under this name, made if something else or nothing is there.
fn object_at<'o>(object: &'o mut Object, name: &str) -> &'o mut Object {
    let slot = object.entry(name).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = Value::Object(Object::new());
    }
    match slot {
        Value::Object(inner) => inner,
        _ => unreachable!("it was made an object above"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn conf(value: Value) -> ModuleConf {
        ModuleConf::parse(&value.to_string()).unwrap()
    }

    /// Stored by PM2 7 in the same way.
    #[test]
    fn keys_become_objects() {
        for (key, expected) in [
            ("a", json!({ "a": "1" })),
            ("a.b.c", json!({ "a": { "b": { "c": "1" } } })),
            ("a:b:c", json!({ "a": { "b": { "c": "1" } } })),
            ("a.b:c", json!({ "a": { "b:c": "1" } })),
            ("a.\"b.c\".d", json!({ "a": { "b.c": { "d": "1" } } })),
            ("\"a.b\"", json!({ "a.b": "1" })),
            ("a..b", json!({ "a": { "b": "1" } })),
            ("a:", json!({ "a": "1" })),
            ("a b:c", json!({ "a b": { "c": "1" } })),
        ] {
            let mut conf = ModuleConf::default();
            conf.set(key, "1").unwrap();
            assert_eq!(conf, ModuleConf::parse(&expected.to_string()).unwrap(), "{key}");
            assert_eq!(conf.get(key).unwrap(), Some(&json!("1")), "{key}");
            assert!(
                conf.unset(key).unwrap() && conf.get(key).unwrap().is_none(),
                "{key}"
            );
        }
    }

    #[test]
    fn keys_that_are_refused() {
        let mut conf = ModuleConf::default();
        for key in ["__proto__.x", "a:constructor", "prototype"] {
            assert!(matches!(conf.set(key, "1"), Err(KeyError::Reserved(_))), "{key}");
            assert!(conf.get(key).is_err() && conf.unset(key).is_err(), "{key}");
        }
        assert_eq!(conf.set("", "1"), Err(KeyError::Empty));
        assert_eq!(conf.set("...", "1"), Err(KeyError::Empty));
        assert_eq!(conf.set(&"a.".repeat(40), "1"), Err(KeyError::Deep(40)));
        assert_eq!(conf, ModuleConf::default());
    }

    #[test]
    fn a_deeper_key_replaces_what_is_no_object() {
        let mut conf = conf(json!({ "a": "1", "z": "2" }));
        conf.set("a.b", "2").unwrap();
        assert_eq!(conf.get("a").unwrap(), Some(&json!({ "b": "2" })));
        assert_eq!(conf.get("a.b.c").unwrap(), None);
        assert!(!conf.unset("a.x.y").unwrap() && !conf.unset("nope").unwrap());
        assert_eq!(conf.get("z").unwrap(), Some(&json!("2")));
    }

    #[test]
    fn many_at_once() {
        assert_eq!(
            pairs("q:a 1 q:b \"x y\" odd"),
            [("q:a".into(), "1".into()), ("q:b".into(), "\"x y\"".into())]
        );
        assert!(pairs("  ").is_empty());
    }

    #[test]
    fn the_text_is_indented_by_four() {
        let mut conf = ModuleConf::parse("\u{feff} {}").unwrap();
        conf.set("a:b", "1").unwrap();
        assert_eq!(conf.to_text(), "{\n    \"a\": {\n        \"b\": \"1\"\n    }\n}");
        conf.clear();
        assert_eq!(conf.to_text(), "{}");
    }

    #[test]
    fn broken_files_are_told() {
        assert_eq!(ModuleConf::parse("[]"), Err(ModuleConfError::NoObject));
        let told = ModuleConf::parse("{\n \"a\": }").unwrap_err().to_string();
        assert!(told.starts_with("not JSON at line 2, column 7"), "{told}");
        assert_eq!(ModuleConf::parse(" \n"), Ok(ModuleConf::default()));
    }

    #[test]
    fn modules_are_noted_and_forgotten() {
        let mut conf = conf(
            json!({ "module-db-v2": { "old": { "uid": 1000, "gid": "" }, "odd": 3 }, "m": { "a": "mine" } }),
        );
        conf.note_module(
            "m",
            &ModuleUser {
                uid: Some("www".into()),
                gid: None,
            },
        );
        conf.note_tarball("t", "/x.tar.gz", 1_700_000_000_000);
        let modules: Vec<_> = conf.modules().collect();
        assert_eq!(
            modules[0],
            (
                "old",
                ModuleUser {
                    uid: Some("1000".into()),
                    gid: None
                }
            )
        );
        assert_eq!(modules[1], ("odd", ModuleUser::default()));
        assert_eq!(modules[2].1.uid.as_deref(), Some("www"));
        assert_eq!(conf.tarballs().next().unwrap().1["install_url"], "/x.tar.gz");
        let defaults = json!({ "a": "default", "b": 2 });
        conf.set_defaults("m", defaults.as_object().unwrap());
        assert_eq!(conf.section("m"), json!({ "a": "mine", "b": 2 }).as_object());
        assert!(conf.forget_module("m") && conf.forget_module("t") && !conf.forget_module("m"));
        assert_eq!((conf.modules().count(), conf.tarballs().count()), (2, 0));
        assert!(conf.section("m").is_some());
    }

    proptest::proptest! {
        /// Whatever is stored is found again, survives the file, and leaves nothing behind when it is removed.
        #[test]
        fn what_is_set_is_found(key in "[a-c.:\"]{0,8}", value in ".{0,8}") {
            let mut conf = ModuleConf::default();
            if conf.set(&key, value.as_str()).is_ok() {
                let again = ModuleConf::parse(&conf.to_text()).unwrap();
                proptest::prop_assert_eq!(&again, &conf);
                proptest::prop_assert_eq!(again.get(&key).unwrap(), Some(&Value::from(value)));
                proptest::prop_assert!(conf.unset(&key).unwrap());
            }
        }
    }
}
