//! What a descriptor knows about being a terminal.

use std::os::fd::AsFd;

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
