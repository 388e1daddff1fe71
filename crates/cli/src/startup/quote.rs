//! Values inside the files of init systems. A path with a blank, a quote or a dollar must stay what it is.

/// One word of a shell command, itself inside double quotes.
pub(super) fn nested_shell(text: &str) -> String {
    let word = format!("'{}'", text.replace('\'', "'\\''"));
    let mut out = String::with_capacity(word.len());
    for c in word.chars() {
        if matches!(c, '\\' | '"' | '$' | '`') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// One word of a shell command.
pub(super) fn shell(text: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ':' | '=' | '@');
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Inside the double quotes of a systemd unit.
pub(super) fn unit(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '"' => out.extend(['\\', c]),
            '%' => out.push_str("%%"),
            _ => out.push(c),
        }
    }
    out
}

/// A word of a command in a systemd unit, where a dollar would be a variable.
pub(super) fn unit_command(text: &str) -> String {
    let inner = unit(text).replace('$', "$$");
    if inner.contains([' ', '\t', '\'', '"', ';']) {
        format!("\"{inner}\"")
    } else {
        inner
    }
}

/// Text of an XML element or attribute.
pub(super) fn xml(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_shell_gives_back_what_was_quoted() {
        for text in ["/plain", "with blank", "it's", "a\"b", "$HOME `id` \\", "ü;&|<>*"] {
            let said = |script: String| {
                let output = Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
                String::from_utf8(output.stdout).unwrap()
            };
            assert_eq!(said(format!("printf %s {}", shell(text))), text);
            assert_eq!(said(format!("sh -c \"printf %s {}\"", nested_shell(text))), text);
        }
    }

    #[test]
    fn units_and_xml() {
        assert_eq!(unit(r#"/a b/100%"x"\"#), r#"/a b/100%%\"x\"\\"#);
        assert_eq!(unit_command("/usr/bin/pm2"), "/usr/bin/pm2");
        assert_eq!(unit_command("/a b/$x%"), "\"/a b/$$x%%\"");
        assert_eq!(xml("a&b<\"c\">"), "a&amp;b&lt;&quot;c&quot;&gt;");
    }
}
