//! The folders and files of `$PM2_HOME` that the command line keeps.

use crate::context::{Context, var};
use crate::failure::Failure;
use pm2::Object;
use pm2::home::Home;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Makes what is missing of a home.
pub(crate) fn prepare(home: &Home) -> Result<(), Failure> {
    for dir in [&home.root, &home.log_dir, &home.pid_dir, &home.module_dir] {
        fs::create_dir_all(dir).map_err(Failure::file("making the folder", dir))?;
    }
    if !home.module_conf_file.exists() {
        fs::write(&home.module_conf_file, "{}").map_err(Failure::file("writing", &home.module_conf_file))?;
    }
    Ok(())
}

/// Greets a new user, once per home and on a terminal only: a banner in a pipe breaks the JSON behind it.
pub(crate) fn greet(context: &Context<'_>) {
    let touch = &context.home.touch;
    if touch.exists() || var("PM2_PROGRAMMATIC").is_some() {
        return;
    }
    // A home that can't be written to has worse problems, and they will be told.
    let _ = fs::write(touch, now_ms().to_string());
    if context.discreet || context.console.width.is_none() {
        return;
    }
    let (brush, program) = (context.console.brush, context.program);
    context.console.say(format_args!(
        "\n  {} keeps your programs running.\n\n  \
         {program} start app.js          start an app, in any language\n  \
         {program} start app.js -i max   as many as there are CPUs\n  \
         {program} ls                    what runs\n  \
         {program} logs                  what it says\n  \
         {program} save                  remember it for the next start\n  \
         {program} link …                see it in the dashboard\n",
        brush.bold("Pilothouse")
    ));
}

/// What `set` stored; a file that can't be read counts as empty.
pub(crate) fn module_conf(home: &Home) -> Object {
    crate::module_conf::read(home).unwrap_or_default().into_object()
}

/// Replaces a file as a whole: the old one stays until the new one is safe on the disk.
pub(crate) fn write_atomically(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let fresh = path.with_file_name(name);
    let write = || {
        let mut file = fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(mode)
            .open(&fresh)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().inspect_err(|_| {
        // The half-written file is of no use; if it can't be removed, the first error is the one to tell.
        let _ = fs::remove_file(&fresh);
    })
}

/// Epoch time.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(&dir.path().join("a/b"), |_| None);
        prepare(&home).unwrap();
        fs::write(&home.module_conf_file, r#"{"api":{"a":"1"}}"#).unwrap();
        prepare(&home).unwrap();
        assert_eq!(module_conf(&home)["api"]["a"], "1");
        fs::write(&home.module_conf_file, "{").unwrap();
        assert!(module_conf(&home).is_empty());
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dump.pm2");
        write_atomically(&path, b"one", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert!(write_atomically(&dir.path().join("no/such/dump.pm2"), b"x", 0o600).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
