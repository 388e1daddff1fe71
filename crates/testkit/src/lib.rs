//! Pretends: temp homes, a fake agent, a malicious kernel. For tests only.
