//! One line of a log.

use crate::style::Brush;

/// A line and who said it.
pub(crate) struct LogLine {
    /// `id|name`, or `PM2`.
    pub(crate) label: String,
    pub(crate) text: String,
    pub(crate) error: bool,
    pub(crate) daemon: bool,
}

/// How lines are shown.
pub(crate) struct LogStyle<'a> {
    pub(crate) raw: bool,
    pub(crate) brush: Brush,
    pub(crate) highlight: Option<&'a str>,
    /// Labels are brought to ten columns.
    pub(crate) cut: bool,
}

const LABEL: usize = 10;

impl LogStyle<'_> {
    pub(crate) fn line(&self, line: &LogLine) -> String {
        let text = match self.highlight.filter(|what| !what.is_empty() && self.brush.on) {
            Some(what) => line.text.replace(what, &format!("\x1b[100m{what}\x1b[49m")),
            None => line.text.clone(),
        };
        if self.raw {
            return text;
        }
        let label = if self.cut {
            let label: String = line.label.chars().take(LABEL).collect();
            format!("{label:<LABEL$} | ")
        } else {
            format!("{} | ", line.label)
        };
        let label = match (line.daemon, line.error) {
            (true, _) => self.brush.blue(label),
            (false, true) => self.brush.red(label),
            (false, false) => self.brush.green(label),
        };
        format!("{label}{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let line = LogLine {
            label: "0|averylongname".into(),
            text: "hello".into(),
            error: true,
            daemon: false,
        };
        let style = |on, cut| LogStyle {
            raw: false,
            brush: Brush { on },
            highlight: Some("ell"),
            cut,
        };
        assert_eq!(style(false, true).line(&line), "0|averylon | hello");
        assert_eq!(style(false, false).line(&line), "0|averylongname | hello");
        assert_eq!(
            style(true, true).line(&line),
            "\x1b[31m0|averylon | \x1b[39mh\x1b[100mell\x1b[49mo"
        );
    }
}
