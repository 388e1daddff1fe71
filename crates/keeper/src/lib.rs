//! Holds: the parent of all apps and the store of their descriptors.
