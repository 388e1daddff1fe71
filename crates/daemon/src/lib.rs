//! Runs: the shell around the supervisor: one owner loop, RPC, bus, dump; hosts the agent.
