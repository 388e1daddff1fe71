//! Questions to whoever types, or to the script that pipes its answers in.

use crate::context::Context;
use crate::failure::Failure;
use std::io::{BufRead as _, Read as _};

/// Longest answer, in bytes.
const LONGEST: u64 = 4096;

/// A line of standard input, without its end. `None`: there is none any more.
pub(crate) fn line(context: &Context<'_>, question: &str) -> Result<Option<String>, Failure> {
    context.console.put(question);
    context.console.flush();
    let mut answer = String::new();
    let read = std::io::stdin()
        .lock()
        .take(LONGEST)
        .read_line(&mut answer)
        .map_err(Failure::file("reading the answer from", "standard input"))?;
    if !os::terminal::is_terminal(std::io::stdin()) {
        // Nobody has typed the end of the line.
        context.console.put("\n");
    }
    Ok((read > 0).then(|| answer.trim().to_owned()))
}

/// The same, without what is typed being seen.
pub(crate) fn secret(context: &Context<'_>, question: &str) -> Result<Option<String>, Failure> {
    let hidden = os::terminal::hide_typing(std::io::stdin());
    let answer = line(context, question)?;
    if hidden.is_ok() {
        context.console.put("\n");
    }
    Ok(answer)
}
