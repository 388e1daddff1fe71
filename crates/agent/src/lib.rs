//! Reports: the link to the hub: state machine, spool, policy.
