//! What a descriptor knows about being a terminal.

use std::io;
use std::os::fd::AsFd;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Whether this is a terminal.
#[must_use]
pub fn is_terminal(fd: impl AsFd) -> bool {
    rustix::termios::isatty(fd)
}

/// (columns, rows) of a terminal, `None` when it is none or does not know.
#[must_use]
pub fn size(fd: impl AsFd) -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(fd).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// A terminal that does not show what is typed, until this is dropped.
#[derive(Debug)]
pub struct Hidden<Fd: AsFd> {
    terminal: Fd,
    before: Termios,
}

/// Shows nothing of what is typed from here on.
///
/// # Errors
/// It is no terminal.
pub fn hide_typing<Fd: AsFd>(terminal: Fd) -> io::Result<Hidden<Fd>> {
    let before = tcgetattr(&terminal)?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Now, &hidden)?;
    Ok(Hidden { terminal, before })
}

impl<Fd: AsFd> Drop for Hidden<Fd> {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}
