//! What a module may be called when a hub asks for it.
//!
//! The name ends as one word on a command line of the host, and is shown and logged, so it must be neither an option nor a path of
//! the host, nor hold a password. Whoever sits at the host may type more than this.

use super::Module;

/// Longest name.
const MAX: usize = 256;
/// Longest name of a package, as the registry has it.
const MAX_PACKAGE: usize = 214;

impl Module {
    /// Why the name is not taken for an installation; `None` if it is.
    ///
    /// Taken are `name`, `@scope/name`, both with `@version` or `@tag`; `owner/repository` and `github:owner/repository`, with
    /// `#branch`; `https://…` and `git+https://…`; `git+ssh://git@…`.
    pub fn refusal(&self) -> Option<&'static str> {
        let name = self.name.as_str();
        if name.is_empty() || name.len() > MAX {
            return Some("the name of a module has 1 to 256 characters");
        }
        // Also `=`, `%`, `+` and `:` stand in addresses; nothing that a shell or an option parser would take for its own does.
        let plain = |c: char| c.is_ascii_alphanumeric() || "@/._-~^#:+%=".contains(c);
        if !name.chars().all(plain) {
            return Some(
                "the name of a module holds letters, digits and @ / . _ - ~ ^ # : + % =, and no spaces",
            );
        }
        if let Some((scheme, rest)) = name.split_once("://") {
            return address(scheme, rest);
        }
        if name.ends_with(".tgz") || name.ends_with(".tar.gz") {
            return Some(
                "a module is not installed from a file of the host, only from an address that begins with https://",
            );
        }
        let name = name.strip_prefix("github:").unwrap_or(name);
        let (path, branch) = name.split_once('#').unwrap_or((name, ""));
        let is_repository =
            !path.starts_with('@') && path.split('/').count() == 2 && path.split('/').all(is_part);
        if is_repository && !branch.starts_with('-') {
            return None;
        }
        // The first letter may be the @ of a scope.
        let version_at = name.rfind('@').filter(|at| *at > 0);
        let (bare, version) = match version_at {
            Some(at) => (&name[..at], Some(&name[at + 1..])),
            None => (name, None),
        };
        let fine = is_package(bare) && version.is_none_or(is_version);
        (!fine).then_some(
            "a module is a package of the registry (name, @scope/name, name@version), owner/repository, or an address that \
             begins with https://, git+https:// or git+ssh://",
        )
    }

    /// Why the name cannot be that of a module that is installed; `None` if it can.
    pub fn refusal_as_installed(&self) -> Option<&'static str> {
        // `all` is a word of its own on the command line.
        (!is_package(&self.name) || self.name == "all")
            .then_some("an installed module has the name of a package: name or @scope/name")
    }

    /// The name without its version, branch or tag: what a host's list of modules holds.
    pub fn without_version(&self) -> &str {
        let name = self.name.as_str();
        let name = name.split('#').next().unwrap_or(name);
        match name.char_indices().skip(1).find(|(_, c)| *c == '@') {
            Some((at, _)) if !name.contains("://") => &name[..at],
            _ => name,
        }
    }
}

fn address(scheme: &str, rest: &str) -> Option<&'static str> {
    let host = rest.split('/').next().unwrap_or_default();
    let (user, host) = match host.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, host),
    };
    match (scheme, user) {
        (_, Some(user)) if user.contains(':') || scheme != "git+ssh" => {
            Some("the address of a module holds no user or password: let the host's own git or npm know them")
        }
        _ if !host.starts_with(|c: char| c.is_ascii_alphanumeric()) || user.is_some_and(|u| !is_part(u)) => {
            Some("the address of a module has no host")
        }
        ("https" | "git+https" | "git+ssh", _) => None,
        _ => Some("the address of a module begins with https://, git+https:// or git+ssh://"),
    }
}

fn is_package(name: &str) -> bool {
    let bare = match name.strip_prefix('@') {
        Some(scoped) => match scoped.split_once('/') {
            Some((scope, bare)) if is_part(scope) => bare,
            _ => return false,
        },
        None => name,
    };
    is_part(bare) && name.len() <= MAX_PACKAGE
}

fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '^' || c == '~')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-^~+".contains(c))
}

/// One name between two slashes: never an option, never a way up.
fn is_part(part: &str) -> bool {
    part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && part
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-~".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str) -> Module {
        Module { name: name.into() }
    }

    #[test]
    fn what_a_hub_may_ask_for() {
        for name in [
            "pm2-logrotate",
            "pm2-logrotate@3.0.0",
            "pm2-logrotate@^3.0.0-rc.1",
            "pm2-logrotate@latest",
            "@scope/mod",
            "@scope/mod@1.x",
            "owner/repo",
            "owner/repo#main",
            "github:owner/repo",
            "https://example.org/mod-1.0.0.tgz",
            "git+https://example.org/mod.git#v1",
            "git+ssh://git@example.org/mod.git",
        ] {
            assert_eq!(module(name).refusal(), None, "{name}");
        }
    }

    #[test]
    fn options_paths_shells_and_passwords_are_refused() {
        for name in [
            "",
            "-g",
            "github:",
            "mod.tgz",
            "owner/repo.tar.gz",
            "--prefix=/",
            ".",
            "..",
            "./mod",
            "../mod",
            "/etc",
            "~/mod",
            "~",
            "@",
            "@/x",
            "@scope",
            "@scope/../x",
            "@scope/mod/more",
            "mod@",
            "mod@-1",
            "mod@file:../x",
            "mod@npm:other",
            "@a/b@@c",
            "owner/..",
            "owner/-repo",
            "owner/repo#--upload-pack=x",
            "a/b/c",
            "file:../mod",
            "file:///etc",
            "http://example.org/mod.tgz",
            "git://example.org/mod.git",
            "git+file:///srv/mod",
            "https://",
            "https://-h/mod",
            "https://user:word@example.org/mod.tgz",
            "https://token@example.org/mod.tgz",
            "git+ssh://git:word@example.org/mod.git",
            "git+ssh://-oProxyCommand=x@h/m",
            "mod;rm",
            "mod rm",
            "$(rm)",
            "mod\nrm",
            "módulo",
        ] {
            assert!(module(name).refusal().is_some(), "{name:?}");
        }
        assert!(module(&"a".repeat(300)).refusal().is_some());
    }

    #[test]
    fn what_can_be_uninstalled_is_a_package() {
        for name in ["mod", "@scope/mod", "_under.score"] {
            assert_eq!(module(name).refusal_as_installed(), None, "{name}");
        }
        for name in ["all", "mod@1", "owner/repo", "-x", "", "../x", "https://h/x"] {
            assert!(module(name).refusal_as_installed().is_some(), "{name}");
        }
    }

    #[test]
    fn versions_do_not_count_for_a_list_of_modules() {
        for (name, bare) in [
            ("mod", "mod"),
            ("mod@1", "mod"),
            ("@scope/mod", "@scope/mod"),
            ("@scope/mod@1", "@scope/mod"),
            ("owner/repo#main", "owner/repo"),
            ("git+ssh://git@h/m.git#v1", "git+ssh://git@h/m.git"),
        ] {
            assert_eq!(module(name).without_version(), bare);
        }
    }
}
