//! Reads: finds and evaluates configuration files, with positions in every complaint.
