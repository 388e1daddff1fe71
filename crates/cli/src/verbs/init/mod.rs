//! `init`: a first configuration file.

use super::Then;
use crate::context::Context;
use crate::failure::Failure;
use crate::home::write_atomically;
use std::path::Path;

const FILE: &str = "ecosystem.config.js";
const FULL: &str = include_str!("full.js");
const SIMPLE: &str = include_str!("simple.js");

pub(crate) fn init(context: &Context<'_>) -> Result<Then, Failure> {
    let path = context.cwd.join(FILE);
    let template = match context.typed.operands.first().map(String::as_str) {
        Some("simple") => SIMPLE,
        _ => FULL,
    };
    let text = template.replace("@EXPORT@", export(&context.cwd));
    keep(context, &path, &text)?;
    write_atomically(&path, text.as_bytes(), 0o644).map_err(Failure::file("writing", &path))?;
    context
        .console
        .say(format_args!("File {} generated", path.display()));
    Ok(Then::Done)
}

/// In a package of ES modules a `.js` file is one.
fn export(folder: &Path) -> &'static str {
    let is_module = folder.ancestors().find_map(|folder| {
        let text = std::fs::read_to_string(folder.join("package.json")).ok()?;
        let package: serde_json::Value = serde_json::from_str(&text).ok()?;
        Some(package.get("type").and_then(|kind| kind.as_str()) == Some("module"))
    });
    if is_module == Some(true) {
        "export default"
    } else {
        "module.exports ="
    }
}

/// A file that is there already may be somebody's work: it is put aside, not overwritten.
fn keep(context: &Context<'_>, path: &Path, text: &str) -> Result<(), Failure> {
    match std::fs::read(path) {
        Ok(present) if present == text.as_bytes() => Ok(()),
        Ok(_) => {
            let mut aside = path.as_os_str().to_owned();
            aside.push(".bak");
            std::fs::rename(path, &aside).map_err(Failure::file("putting aside", path))?;
            context.console.warn(format_args!(
                "the {FILE} that was here is {} now",
                Path::new(&aside).display()
            ));
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::file("reading", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_export_suits_the_package() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("package.json"), "{}").unwrap();
        assert_eq!(export(dir.path()), "module.exports =");
        std::fs::write(dir.path().join("package.json"), r#"{"type":"module"}"#).unwrap();
        let below = dir.path().join("a");
        std::fs::create_dir(&below).unwrap();
        assert_eq!(export(&below), "export default");
    }
}
