//! From the path of a request to names below the root. Pure.

use thiserror::Error;

/// A path that is not answered.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum BadTarget {
    /// It leads out of the root.
    #[error("the path leads out of the folder")]
    Outside,
    /// Nothing can have this name.
    #[error("the path is no valid text")]
    Malformed,
}

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// Names below the root, joined by slashes; empty for the root itself. Neither `.` nor `..` is among them.
    pub(crate) path: String,
    /// It ended in a slash: a folder is meant.
    pub(crate) folder: bool,
}

impl Target {
    /// Decodes and checks the path of a URL.
    pub(crate) fn parse(path: &str) -> Result<Target, BadTarget> {
        let decoded = decode(path).ok_or(BadTarget::Malformed)?;
        let mut names: Vec<&str> = Vec::new();
        for name in decoded.split('/') {
            match name {
                "" | "." => {}
                // What is written plainly may go up as far as the root, as a browser would resolve it; no further.
                ".." => {
                    names.pop().ok_or(BadTarget::Outside)?;
                }
                name if name.contains('\0') => return Err(BadTarget::Malformed),
                name => names.push(name),
            }
        }
        let path = names.join("/");
        let folder = path.is_empty() || decoded.ends_with('/');
        Ok(Target { path, folder })
    }

    /// The last name.
    pub(crate) fn base(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// `%41` → `A`; `None` if the result is no UTF-8, or a `%` has no two digits behind it.
fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

/// A name as it stands in a link: everything but letters, digits and `-._~` is escaped.
pub(crate) fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Result<String, BadTarget> {
        Target::parse(text).map(|target| target.path)
    }

    #[test]
    fn paths() {
        for (text, expected) in [
            ("/", ""),
            ("/a/b.txt", "a/b.txt"),
            ("//a///b/", "a/b"),
            ("/a%20b/%C3%A4", "a b/ä"),
            ("/./a/./", "a"),
            ("/a/../b", "b"),
            ("/a/%2e%2e/b", "b"),
            ("/...", "..."),
            ("/%2541", "%41"),
        ] {
            assert_eq!(path(text).as_deref(), Ok(expected), "{text}");
        }
        assert!(Target::parse("/a/").unwrap().folder && !Target::parse("/a").unwrap().folder);
        assert_eq!(Target::parse("/a/b.txt").unwrap().base(), "b.txt");
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "/..",
            "/../a",
            "/%2e%2e/a",
            "/..%2fa",
            "/a/../../b",
            "/%2e%2e%2fa",
        ] {
            assert_eq!(path(text), Err(BadTarget::Outside), "{text}");
        }
        for text in ["/%", "/%4", "/%zz", "/%ff", "/a%00b"] {
            assert_eq!(path(text), Err(BadTarget::Malformed), "{text}");
        }
    }

    proptest::proptest! {
        /// No path, however it is written, has a name that leads up or is empty; and a written name is read back.
        #[test]
        fn nothing_leads_out(text in "[/.%2eEfF0a\\\\ä]{0,24}") {
            if let Ok(target) = Target::parse(&text) {
                for name in target.path.split('/').filter(|_| !target.path.is_empty()) {
                    proptest::prop_assert!(!name.is_empty() && name != ".." && name != ".");
                }
                let written: Vec<_> = target.path.split('/').map(encode).collect();
                let again = Target::parse(&written.join("/")).unwrap();
                proptest::prop_assert_eq!(again.path, target.path);
            }
        }
    }
}
