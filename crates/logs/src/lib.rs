//! Writes: the log pump, formats, rotation, tail and follow.
