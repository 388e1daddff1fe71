//! What is wrong with a file, where, and what to do.

use std::fmt;

/// What stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no such file.
    NotFound,
    /// It can't be read: rights, a folder, not text.
    Unreadable,
    /// It can't be evaluated. PM2 says `File x malformated` before its words.
    Malformed,
    /// It was evaluated, but holds something else than apps.
    Shape,
    /// An attribute of an app is wrong.
    Attribute,
}

/// One complaint. Its text shows the place with its source line, so that it can be printed as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What stands in the way.
    pub fault: Fault,
    /// The file as it was named.
    pub file: Box<str>,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Column in characters, from 1.
    pub column: Option<u32>,
    /// What is wrong.
    pub message: Box<str>,
    /// What to do.
    pub help: Option<Box<str>>,
    /// The line itself.
    pub source: Option<Box<str>>,
}

/// A source line longer than this is shown in part.
const MAX_SHOWN: usize = 120;

impl Diagnostic {
    pub(crate) fn new(fault: Fault, file: &str, message: impl Into<Box<str>>) -> Diagnostic {
        Diagnostic {
            fault,
            file: file.into(),
            line: None,
            column: None,
            message: message.into(),
            help: None,
            source: None,
        }
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<Box<str>>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// Sets the place, both from 1, and takes the line out of the text.
    pub(crate) fn at(mut self, text: &str, line: usize, column: usize) -> Diagnostic {
        if line > 0 {
            self.line = u32::try_from(line).ok();
            self.column = u32::try_from(column).ok().filter(|c| *c > 0);
            self.source = text.lines().nth(line - 1).map(Into::into);
        }
        self
    }

    /// Sets the place by a byte offset.
    pub(crate) fn at_offset(self, text: &str, offset: usize) -> Diagnostic {
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        self.at(text, line, column)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.message)?,
            (Some(line), None) => write!(f, "{}:{line}: {}", self.file, self.message)?,
            _ => write!(f, "{}: {}", self.file, self.message)?,
        }
        if let (Some(line), Some(source)) = (self.line, &self.source) {
            let number = line.to_string();
            let (shown, column) = window(source, self.column.unwrap_or(0) as usize);
            write!(f, "\n {number} | {shown}")?;
            if column > 0 {
                write!(f, "\n {} | {}^", " ".repeat(number.len()), " ".repeat(column - 1))?;
            }
        }
        if let Some(help) = &self.help {
            write!(f, "\n help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

/// The part of the line around the column, tabs as blanks, and the column in that part.
fn window(source: &str, column: usize) -> (String, usize) {
    let chars: Vec<char> = source
        .trim_end()
        .chars()
        .map(|c| if c == '\t' { ' ' } else { c })
        .collect();
    let start = if column > MAX_SHOWN {
        column - MAX_SHOWN / 2
    } else {
        0
    };
    let shown: String = chars.iter().skip(start).take(MAX_SHOWN).collect();
    (shown, column.saturating_sub(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_shown() {
        let text = "{\n\tname: 'x' y\n}";
        let d = Diagnostic::new(Fault::Malformed, "a.json", "odd")
            .at_offset(text, 13)
            .help("remove it");
        assert_eq!(
            d.to_string(),
            "a.json:2:12: odd\n 2 |  name: 'x' y\n   |            ^\n help: remove it"
        );
        assert_eq!(
            Diagnostic::new(Fault::Malformed, "a.json", "gone").to_string(),
            "a.json: gone"
        );
        let long = format!("{}!", "x".repeat(500));
        let shown = Diagnostic::new(Fault::Malformed, "a", "m")
            .at(&long, 1, 501)
            .to_string();
        assert!(shown.lines().all(|l| l.chars().count() < 140) && shown.contains("x!"));
    }
}
