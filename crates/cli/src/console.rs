//! What the user sees: PM2's prefixes, silence, colours, and a reader that went away.

use crate::style::Brush;
use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::io::Write;

/// Both output streams of this run.
pub(crate) struct Console {
    out: RefCell<Box<dyn Write>>,
    err: RefCell<Box<dyn Write>>,
    /// For standard output.
    pub(crate) brush: Brush,
    /// For standard error.
    pub(crate) err_brush: Brush,
    /// Columns of the terminal; `None` when standard output is none.
    pub(crate) width: Option<u16>,
    silent: bool,
    /// Words for people stay out of the way of JSON; complaints are still told.
    quiet: Cell<bool>,
    closed: Cell<bool>,
}

impl Console {
    pub(crate) fn new(
        out: Box<dyn Write>,
        err: Box<dyn Write>,
        colour: (bool, bool),
        width: Option<u16>,
        silent: bool,
    ) -> Console {
        Console {
            out: RefCell::new(out),
            err: RefCell::new(err),
            brush: Brush { on: colour.0 },
            err_brush: Brush { on: colour.1 },
            width,
            silent,
            quiet: Cell::new(silent),
            closed: Cell::new(false),
        }
    }

    /// Says nothing but answers and complaints.
    pub(crate) fn quiet(self, quiet: bool) -> Console {
        if quiet {
            self.quiet.set(true);
        }
        self
    }

    /// Runs something of whose progress nothing is told, but complaints are.
    pub(crate) fn hushed<T>(&self, run: impl FnOnce() -> T) -> T {
        let before = self.quiet.replace(true);
        let result = run();
        self.quiet.set(before);
        result
    }

    /// Text for the user; nothing when silent.
    pub(crate) fn say(&self, text: impl Display) {
        if !self.quiet.get() {
            self.put(format_args!("{text}\n"));
        }
    }

    /// What was asked for; printed also when silent, without a newline of its own.
    pub(crate) fn put(&self, text: impl Display) {
        if self.closed.get() {
            return;
        }
        // The reader went away (`pm2 ls | head -1`): the work goes on, the words don't.
        if write!(self.out.borrow_mut(), "{text}").is_err() {
            self.closed.set(true);
        }
    }

    /// Like [`Console::put`], on standard error.
    pub(crate) fn put_err(&self, text: impl Display) {
        // Both may end in one file or terminal: what was said before comes before.
        self.flush();
        // Nobody is left to be told when standard error is gone.
        let _ = write!(self.err.borrow_mut(), "{text}");
    }

    /// A line that the next one takes the place of, where somebody sits at a terminal; nothing elsewhere.
    pub(crate) fn progress(&self, text: &str) {
        if let Some(width) = self.width.filter(|_| !self.silent) {
            let line = crate::render::cut(text, usize::from(width.max(20)).saturating_sub(1));
            self.put(format_args!("\r\x1b[2K{line}"));
            self.flush();
        }
    }

    /// Takes away what [`Console::progress`] wrote.
    pub(crate) fn clear_progress(&self) {
        if self.width.is_some() && !self.silent {
            self.put("\r\x1b[2K");
        }
    }

    /// `[PM2] …`
    pub(crate) fn info(&self, text: impl Display) {
        if !self.quiet.get() {
            let line = format!("[PM2] {text}");
            let line = match self.width {
                // Only single lines that would wrap are cut, as PM2 does.
                Some(width) if !line.contains('\n') => {
                    crate::render::cut(&line, usize::from(width.max(20))).into_owned()
                }
                _ => line,
            };
            let rest = line.strip_prefix("[PM2] ").unwrap_or(&line).to_owned();
            self.put(format_args!("{}{rest}\n", self.brush.green("[PM2] ")));
        }
    }

    /// `[PM2][Module] …`
    pub(crate) fn module(&self, text: impl Display) {
        if !self.quiet.get() {
            let prefix = self.brush.bold(self.brush.green("[PM2][Module] "));
            self.put(format_args!("{prefix}{text}\n"));
        }
    }

    /// `[PM2][Module][ERROR] …` on standard error.
    pub(crate) fn module_error(&self, text: impl Display) {
        if !self.quiet.get() {
            let prefix = self.err_brush.red("[PM2][Module][ERROR] ");
            self.put_err(format_args!("{prefix}{text}\n"));
        }
    }

    /// Words are not wanted.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent
    }

    /// `[PM2][WARN] …` on standard output, as PM2 has it where nothing went wrong; on standard error where the other has answers alone.
    pub(crate) fn notice(&self, text: impl Display) {
        if self.quiet.get() {
            self.warn(text);
        } else {
            self.put(format_args!("{}{text}\n", self.brush.yellow("[PM2][WARN] ")));
        }
    }

    /// `[PM2][WARN] …` on standard error.
    pub(crate) fn warn(&self, text: impl Display) {
        if !self.silent {
            self.put_err(format_args!("{}{text}\n", self.err_brush.yellow("[PM2][WARN] ")));
        }
    }

    /// `[PM2][ERROR] …` on standard error.
    pub(crate) fn error(&self, text: impl Display) {
        if !self.silent {
            self.put_err(format_args!("{}{text}\n", self.err_brush.red("[PM2][ERROR] ")));
        }
    }

    /// Plain text on standard error.
    pub(crate) fn complain(&self, text: impl Display) {
        if !self.silent {
            self.put_err(format_args!("{text}\n"));
        }
    }

    /// Nobody reads standard output any more.
    pub(crate) fn closed(&self) -> bool {
        self.closed.get()
    }

    /// Hands everything written to the kernel.
    pub(crate) fn flush(&self) {
        if self.out.borrow_mut().flush().is_err() {
            self.closed.set(true);
        }
    }
}

#[cfg(test)]
pub(crate) mod capture {
    use super::*;
    use std::rc::Rc;

    #[derive(Clone, Default)]
    pub(crate) struct Sink(Rc<RefCell<Vec<u8>>>);

    impl Sink {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.borrow().clone()).unwrap()
        }
    }

    impl Write for Sink {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(buf);
            Ok(buf.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// A console whose output can be read: (console, out, err).
    pub(crate) fn console(silent: bool, width: Option<u16>) -> (Console, Sink, Sink) {
        let (out, err) = (Sink::default(), Sink::default());
        let console = Console::new(
            Box::new(out.clone()),
            Box::new(err.clone()),
            (false, false),
            width,
            silent,
        );
        (console, out, err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_hides_words_but_not_answers() {
        let (console, out, err) = capture::console(true, None);
        console.info("hello");
        console.error("no");
        console.say("table");
        console.put("[]");
        assert_eq!((out.text().as_str(), err.text().as_str()), ("[]", ""));
    }

    #[test]
    fn long_lines_are_cut_on_a_terminal_only() {
        let (console, out, _) = capture::console(false, Some(20));
        console.info("0123456789abcdefghij");
        assert_eq!(out.text(), "[PM2] 0123456789abc…\n");
        let (console, out, err) = capture::console(false, None);
        console.info("0123456789abcdefghij");
        console.warn("x");
        assert_eq!(out.text(), "[PM2] 0123456789abcdefghij\n");
        assert_eq!(err.text(), "[PM2][WARN] x\n");
    }

    #[test]
    fn a_notice_stays_out_of_the_answer() {
        let (console, out, err) = capture::console(false, None);
        console.notice("x");
        console.hushed(|| console.notice("y"));
        assert_eq!(
            (out.text().as_str(), err.text().as_str()),
            ("[PM2][WARN] x\n", "[PM2][WARN] y\n")
        );
        let (console, out, err) = capture::console(true, None);
        console.notice("x");
        assert_eq!((out.text().as_str(), err.text().as_str()), ("", ""));
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let console = Console::new(Box::new(Gone), Box::new(Gone), (false, false), None, false);
        console.say("x");
        console.error("y");
        assert!(console.closed());
    }
}
