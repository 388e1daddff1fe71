//! Colours: who gets them, and which.

use std::fmt::Display;

/// A brush that paints, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Brush {
    pub(crate) on: bool,
}

impl Brush {
    fn paint(self, open: &str, text: impl Display, close: &str) -> String {
        if self.on {
            format!("\x1b[{open}m{text}\x1b[{close}m")
        } else {
            text.to_string()
        }
    }

    pub(crate) fn red(self, text: impl Display) -> String {
        self.paint("31", text, "39")
    }

    pub(crate) fn green(self, text: impl Display) -> String {
        self.paint("32", text, "39")
    }

    pub(crate) fn yellow(self, text: impl Display) -> String {
        self.paint("33", text, "39")
    }

    pub(crate) fn blue(self, text: impl Display) -> String {
        self.paint("34", text, "39")
    }

    pub(crate) fn cyan(self, text: impl Display) -> String {
        self.paint("36", text, "39")
    }

    pub(crate) fn grey(self, text: impl Display) -> String {
        self.paint("90", text, "39")
    }

    pub(crate) fn bold(self, text: impl Display) -> String {
        self.paint("1", text, "22")
    }

    pub(crate) fn italic(self, text: impl Display) -> String {
        self.paint("3", text, "23")
    }

    pub(crate) fn inverse(self, text: impl Display) -> String {
        self.paint("7", text, "27")
    }
}

/// Whether a stream gets colours. `NO_COLOR` and `--no-color` win over `FORCE_COLOR`, which wins over what the stream is.
pub(crate) fn wanted(tty: bool, switched_off: bool, env: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    if switched_off || set("NO_COLOR").is_some() {
        return false;
    }
    match set("FORCE_COLOR").as_deref() {
        Some("0" | "false") => false,
        Some(_) => true,
        None => tty && env("TERM").as_deref() != Some("dumb"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_colours() {
        let env = |vars: &'static [(&str, &str)]| {
            move |name: &str| {
                vars.iter()
                    .find(|(k, _)| *k == name)
                    .map(|(_, v)| (*v).to_owned())
            }
        };
        assert!(wanted(true, false, env(&[])));
        assert!(!wanted(false, false, env(&[])));
        assert!(!wanted(true, true, env(&[("FORCE_COLOR", "1")])));
        assert!(!wanted(
            true,
            false,
            env(&[("NO_COLOR", "1"), ("FORCE_COLOR", "1")])
        ));
        assert!(wanted(true, false, env(&[("NO_COLOR", "")])));
        assert!(wanted(false, false, env(&[("FORCE_COLOR", "1")])));
        assert!(!wanted(true, false, env(&[("FORCE_COLOR", "0")])));
        assert!(!wanted(true, false, env(&[("TERM", "dumb")])));
    }
}
