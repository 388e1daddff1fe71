//! Who did what, when, to what: the trail of every change.
