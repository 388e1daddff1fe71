//! What a release of Node can be given before an app's own words.

/// What of ours an interpreter takes. Old releases refuse words that they do not know, and scripts that they cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Takes {
    /// `--enable-source-maps`, from 12.12 on.
    pub source_maps: bool,
    /// [`PRELOAD`](crate::PRELOAD) and [`MONITOR`](crate::MONITOR): they are written for Node 14.18, and 16 or newer.
    pub scripts: bool,
}

impl Takes {
    /// All of it: what is assumed of an interpreter that nobody asked yet, or that is no Node.
    pub const ALL: Self = Self {
        source_maps: true,
        scripts: true,
    };

    /// What the Node of this version takes, such as `20.1.0`.
    pub fn of(version: &str) -> Self {
        let mut numbers = version.split('.').map(str::parse::<u32>);
        let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
            return Self::ALL;
        };
        Self {
            source_maps: (major, minor) >= (12, 12),
            scripts: major >= 16 || (major == 14 && minor >= 18),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_node_is_given_only_what_it_knows() {
        for (version, source_maps, scripts) in [
            ("0.10.48", false, false),
            ("12.11.1", false, false),
            ("12.22.12", true, false),
            ("14.17.6", true, false),
            ("14.21.3", true, true),
            ("15.14.0", true, false),
            ("16.0.0", true, true),
            ("99.1.0", true, true),
            ("no version", true, true),
        ] {
            let takes = Takes { source_maps, scripts };
            assert_eq!(Takes::of(version), takes, "{version}");
        }
    }
}
