//! Which version of Node a PM2 needs. Both ends ask here, so that host and hub refuse the same pairs in the same words.

use std::fmt;

/// Floors, newest first: from this (major, minor) of PM2 on, at least that (major, minor) of Node.
const FLOORS: [((u32, u32), (u32, u32)); 2] = [((3, 0), (4, 0)), ((2, 0), (0, 12))];

/// A Node that is too old for the PM2 it is used with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooOld {
    /// Version of PM2, as told.
    pub pm2: String,
    /// Version of Node, as told.
    pub node: String,
    /// The oldest Node that this PM2 works with, (major, minor).
    pub needs: (u32, u32),
}

impl fmt::Display for TooOld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pm2, node, needs } = self;
        let node = node.trim().trim_start_matches('v');
        write!(f, "PM2 {} needs Node.js {}", pm2.trim(), needs.0)?;
        if needs.1 > 0 {
            write!(f, ".{}", needs.1)?;
        }
        write!(f, " or newer, and apps here run with {node}")
    }
}

impl std::error::Error for TooOld {}

/// Whether a pair fits. What is no version, or not told, is not complained of.
///
/// # Errors
/// The Node is below the floor of the PM2.
pub fn check(pm2: &str, node: &str) -> Result<(), TooOld> {
    let (Some(has), Some(runs)) = (parts(pm2), parts(node)) else {
        return Ok(());
    };
    match FLOORS.iter().find(|(from, _)| has >= *from) {
        Some((_, needs)) if runs < *needs => Err(TooOld {
            pm2: pm2.chars().take(40).collect(),
            node: node.chars().take(40).collect(),
            needs: *needs,
        }),
        _ => Ok(()),
    }
}

/// Major and minor of `v20.1.0`, `20.1` or `20`.
fn parts(version: &str) -> Option<(u32, u32)> {
    let version = version.trim();
    let mut numbers = version.strip_prefix('v').unwrap_or(version).split(['.', '-']);
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next().map_or(Some(0), |minor| minor.parse().ok())?;
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s42_which_node_each_pm2_needs() {
        for (pm2, node, fits) in [
            ("7.0.4", "v20.1.0", true),
            ("7.0.4", "4.0.0", true),
            ("7.0.4", "v0.12.18", false),
            ("7.0.4", "v3.3.1", false),
            ("3.0.0", "v4.0.0", true),
            ("3.0.0", "v0.12.0", false),
            ("3.0.0-rc1", "v0.12.0", false),
            ("2.10.4", "0.12.0", true),
            ("2.0.0", "v0.12.0", true),
            ("2.4.0", "v0.10.48", false),
            ("2.0.0", "v0.11.16", false),
            ("1.1.3", "v0.10.48", true),
            // Nothing is known, so nothing is said.
            ("", "v0.10.48", true),
            ("7.0.4", "", true),
            ("7.0.4", "nonsense", true),
            ("nonsense", "v0.10.48", true),
            ("7.0.4", "v4294967296.0.0", true),
        ] {
            assert_eq!(check(pm2, node).is_ok(), fits, "PM2 {pm2}, Node {node}");
        }
    }

    #[test]
    fn s42_the_refusal_says_what_is_needed() {
        let told = |pm2, node| check(pm2, node).unwrap_err().to_string();
        assert_eq!(
            told("7.0.4", "v0.10.48"),
            "PM2 7.0.4 needs Node.js 4 or newer, and apps here run with 0.10.48"
        );
        assert_eq!(
            told("2.4.0", "0.10.48"),
            "PM2 2.4.0 needs Node.js 0.12 or newer, and apps here run with 0.10.48"
        );
    }
}
