//! The one binary. It only finds out which role it plays.

fn main() {}
