//! Reads configuration files: finds out their kind, evaluates them, and says exactly what is wrong with them.
//!
//! JSON (also with comments, trailing commas and bare keys), YAML as js-yaml reads it, TOML, and JavaScript, evaluated by the user's
//! own `node`, `bun` or `deno` as a child process, so that `require`, `process.env` and `__dirname` are what they are used to be.
//! What the attributes *mean* is `pm2::schema`'s business: here they are only brought into one shape, [`Loaded`].
//!
//! This crate never runs JavaScript by itself, never writes a file, and prints nothing.

mod diagnostic;
mod javascript;
mod json;
mod locate;
mod shape;
mod toml;
mod yaml;

pub use diagnostic::{Diagnostic, Fault};

use pm2::Object;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest file that is read.
const MAX_FILE: u64 = 16 << 20;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JavaScript expression, which JSON is.
    Json,
    /// YAML.
    Yaml,
    /// A CommonJS or ES module, by node.
    JavaScript,
    /// TOML, which PM2 does not know.
    Toml,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// Its apps, as they are written.
    pub apps: Vec<Object>,
    /// Its `deploy` section.
    pub deploy: Option<Object>,
    /// Its `static` section: sites to be served.
    pub static_sites: Vec<Object>,
    /// The file; none for standard input.
    pub path: Option<PathBuf>,
    /// How it is written.
    pub format: Format,
    /// The file as it was named.
    pub name: String,
    /// The text itself, for the places of complaints.
    pub text: String,
}

impl Loaded {
    /// A complaint about an app, by its index, or about one of its attributes, which may stand under any of these names.
    pub fn complain(&self, app: usize, attribute: &[&str], message: &str) -> Diagnostic {
        let diagnostic = Diagnostic::new(Fault::Attribute, &self.name, message);
        let place = self
            .anchor(app)
            .and_then(|(anchor, nth)| locate::locate(&self.text, self.format, anchor, nth, attribute));
        match place {
            Some(offset) => diagnostic.at_offset(&self.text, offset),
            None => diagnostic,
        }
    }

    /// What tells this app from the others in the text: its name, else its script; and which one of those that share it.
    fn anchor(&self, app: usize) -> Option<((&'static str, &str), usize)> {
        let pair = |app: &'_ Object| {
            ["name"]
                .into_iter()
                .chain(locate::SCRIPT)
                .find_map(|key| Some((key, app.get(key)?.as_str()?.to_owned())))
        };
        let (key, value) = pair(self.apps.get(app)?)?;
        let nth = self.apps[..app]
            .iter()
            .filter(|other| pair(other).is_some_and(|other| other == (key, value.clone())))
            .count();
        let value = self.apps[app].get(key)?.as_str()?;
        Some(((key, value), nth))
    }
}

/// How to evaluate.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder against which a relative path is resolved; none takes the process's own.
    pub cwd: Option<PathBuf>,
    /// The `node` to use; none looks for node, bun and deno.
    pub node: Option<PathBuf>,
    /// Where they are looked for; none takes the process's own PATH.
    pub path: Option<std::ffi::OsString>,
    /// Time after which a configuration that is still being evaluated is killed.
    pub timeout: Duration,
    /// Variables for the evaluation, on top of the present environment.
    pub env: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            cwd: None,
            node: None,
            path: None,
            timeout: Duration::from_secs(30),
            env: Vec::new(),
        }
    }
}

/// The kind of a configuration file by its name, as PM2 tells it: by what the name contains, anywhere. None: it is no
/// configuration file, but a script, a name or an id.
pub fn recognise(name: &str) -> Option<Format> {
    const KINDS: [(&str, Format); 6] = [
        (".json", Format::Json),
        (".yml", Format::Yaml),
        (".yaml", Format::Yaml),
        (".config.js", Format::JavaScript),
        (".config.cjs", Format::JavaScript),
        (".config.mjs", Format::JavaScript),
    ];
    let known = KINDS.iter().find(|(part, _)| name.contains(part));
    match known {
        Some((_, format)) => Some(*format),
        // A kind of our own must not take names from PM2's rule.
        None => name.ends_with(".toml").then_some(Format::Toml),
    }
}

/// Reads a file. Complaints name it as `path` does.
pub fn load(path: &Path, options: &Options) -> Result<Loaded, Diagnostic> {
    let name = path.to_string_lossy().into_owned();
    let format = recognise(&name).ok_or_else(|| {
        Diagnostic::new(
            Fault::Unreadable,
            &name,
            "this is no name of a configuration file",
        )
        .help("use a name that ends in .json, .json5, .yaml, .yml, .toml, .config.js, .config.cjs or .config.mjs")
    })?;
    let path = &options
        .cwd
        .as_ref()
        .map_or_else(|| path.to_owned(), |cwd| cwd.join(path));
    let text = read(path, &name)?;
    let value = match format {
        Format::Json => json::parse(&name, &text, options)?,
        Format::Yaml => yaml::parse(&name, &text)?,
        Format::Toml => toml::parse(&name, &text)?,
        Format::JavaScript => javascript::load_file(path, &name, &text, options)?,
    };
    let mut loaded = shape::take_apart(&name, value, format)?;
    loaded.text = text;
    loaded.path = Some(std::path::absolute(path).unwrap_or_else(|_| path.clone()));
    Ok(loaded)
}

/// Reads JSON that came in by standard input.
pub fn load_stdin(text: &str, options: &Options) -> Result<Loaded, Diagnostic> {
    let value = json::parse("standard input", text, options)?;
    let mut loaded = shape::take_apart("standard input", value, Format::Json)?;
    text.clone_into(&mut loaded.text);
    Ok(loaded)
}

fn read(path: &Path, name: &str) -> Result<String, Diagnostic> {
    let fail = |error: std::io::Error| match error.kind() {
        // PM2's words, which scripts look for.
        std::io::ErrorKind::NotFound => {
            Diagnostic::new(Fault::NotFound, name, format!("File {name} not found"))
                .help("check the name and the folder; `pm2 init` writes a first ecosystem.config.js")
        }
        _ => Diagnostic::new(Fault::Unreadable, name, format!("can't be read: {error}")),
    };
    let meta = std::fs::metadata(path).map_err(fail)?;
    if meta.is_dir() {
        return Err(Diagnostic::new(Fault::Unreadable, name, "this is a folder").help("name the file in it"));
    }
    if meta.len() > MAX_FILE {
        return Err(Diagnostic::new(
            Fault::Unreadable,
            name,
            format!("{} bytes are too large for a configuration", meta.len()),
        ));
    }
    let bytes = std::fs::read(path).map_err(fail)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..at]).into_owned();
        Diagnostic::new(Fault::Unreadable, name, "this is not UTF-8 text")
            .at_offset(&before, before.len())
            .help("save it as UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
