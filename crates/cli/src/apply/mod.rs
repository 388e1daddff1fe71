//! Making the list equal to a file: what has to be done, computed from both. Doing it is `verbs::apply`'s part.

mod difference;
mod plan;

pub(crate) use difference::Difference;
pub(crate) use plan::{Change, Desired, Step, plan};
