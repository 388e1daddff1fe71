//! The entry points of `pilothouse hub`.
