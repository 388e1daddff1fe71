//! HTTP basic authentication. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

/// Whether an `Authorization` header holds this user and password. Compared in a time that tells nothing about them.
pub(crate) fn allows(header: Option<&str>, user: &str, password: &str) -> bool {
    let Some(given) = header.and_then(credentials) else {
        return false;
    };
    let wanted = format!("{user}:{password}");
    given.as_slice().ct_eq(wanted.as_bytes()).into()
}

fn credentials(header: &str) -> Option<Vec<u8>> {
    let (scheme, rest) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    STANDARD.decode(rest.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_words_open() {
        let header = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert!(allows(Some(&header("u:p:q")), "u", "p:q"));
        assert!(allows(Some(&header("ü:").replace("Basic", "basic")), "ü", ""));
        for wrong in [
            header("u:p"),
            header("u"),
            header(""),
            "Basic !".into(),
            "Bearer x".into(),
            "Basic".into(),
        ] {
            assert!(!allows(Some(&wrong), "u", "q"), "{wrong}");
        }
        assert!(!allows(None, "", ""));
    }
}
