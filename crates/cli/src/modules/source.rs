//! What was typed behind `install`. Pure.

use std::path::{Path, PathBuf};

/// Where a module comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The folder itself, while it is being developed.
    Folder(PathBuf),
    /// A packed folder, as `package` makes it.
    Tarball(Place),
    /// Whatever npm understands: a name with or without a version, git, a URL, a packed package.
    Npm(String),
    /// A helper that PM2 keeps in its own folder; here npm installs it for all.
    Helper(String),
    /// A helper that this program does not need.
    Needless(String),
}

/// Where a tarball is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On this machine.
    File(PathBuf),
    /// Behind `http://` or `https://`.
    Url(String),
}

/// Compilers that apps may be written for.
const HELPERS: [&str; 4] = ["typescript", "livescript", "coffee-script", "coffeescript"];
/// Parts of PM2's monitoring that are native to its Node.
const NEEDLESS: [&str; 5] = [
    "profiler",
    "v8-profiler",
    "gc-stats",
    "event-loop-inspector",
    "deep-monitoring",
];

/// `typed` as it stands on the command line; `tarball` if the option of that name does too.
pub(super) fn source(typed: &str, tarball: bool, cwd: &Path) -> Source {
    // What a shell would take for the end of a word is no part of a name.
    let typed: String = typed.chars().filter(|c| !matches!(c, ';' | '`' | '|')).collect();
    let on_disk = || pm2::home::clean(&cwd.join(typed.strip_prefix("file:").unwrap_or(&typed)));
    if typed == "." {
        return Source::Folder(cwd.to_owned());
    }
    if HELPERS.contains(&typed.as_str()) {
        return Source::Helper(typed);
    }
    if NEEDLESS.contains(&typed.as_str()) {
        return Source::Needless(typed);
    }
    if tarball || typed.ends_with(".tar.gz") {
        let place = match typed.starts_with("http://") || typed.starts_with("https://") {
            true => Place::Url(typed),
            false => Place::File(on_disk()),
        };
        return Source::Tarball(place);
    }
    // npm runs in another folder: what is beside the caller must be named from the root.
    let is_path = [".", "/", "file:"].iter().any(|start| typed.starts_with(start));
    if is_path || typed.ends_with(".tgz") && !typed.contains("://") {
        return Source::Npm(on_disk().to_string_lossy().into_owned());
    }
    Source::Npm(typed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_typed() {
        let npm = |text: &str| Source::Npm(text.into());
        let file = |text: &str| Source::Tarball(Place::File(text.into()));
        for (typed, tarball, expected) in [
            (".", false, Source::Folder("/w".into())),
            ("pm2-logrotate", false, npm("pm2-logrotate")),
            ("@scope/mod@1.2.x", false, npm("@scope/mod@1.2.x")),
            ("owner/repo#main", false, npm("owner/repo#main")),
            ("git+https://h/r.git", false, npm("git+https://h/r.git")),
            ("https://h/mod.tgz", false, npm("https://h/mod.tgz")),
            ("./mod", false, npm("/w/mod")),
            ("file:../mod", false, npm("/mod")),
            ("mod-1.0.0.tgz", false, npm("/w/mod-1.0.0.tgz")),
            ("mod.tar.gz", false, file("/w/mod.tar.gz")),
            ("/x/mod.tgz", true, file("/x/mod.tgz")),
            (
                "https://h/m.tar.gz",
                false,
                Source::Tarball(Place::Url("https://h/m.tar.gz".into())),
            ),
            ("typescript", false, Source::Helper("typescript".into())),
            ("gc-stats", false, Source::Needless("gc-stats".into())),
            ("mod;`rm|", false, npm("modrm")),
        ] {
            assert_eq!(source(typed, tarball, Path::new("/w")), expected, "{typed}");
        }
    }
}
