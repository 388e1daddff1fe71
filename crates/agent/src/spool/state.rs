//! `state.json`: which stream, what is acknowledged, what was dropped.

use super::SpoolError;
use crate::identity;
use serde::{Deserialize, Serialize};
use std::path::Path;
use wire::StreamId;

const FILE: &str = "state.json";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) stream: StreamId,
    pub(super) acked: u64,
    pub(super) dropped: u64,
    /// Dropped, and the hub was not told yet.
    pub(super) untold: u64,
}

#[derive(Serialize, Deserialize)]
struct File {
    stream: String,
    #[serde(default)]
    acked: u64,
    #[serde(default)]
    dropped: u64,
    #[serde(default)]
    untold: u64,
}

impl State {
    /// Reads it. If there is none, or none that can be read, a new stream begins; the old file is kept beside.
    pub(super) fn load(dir: &Path) -> Result<Self, SpoolError> {
        let path = dir.join(FILE);
        let text = identity::read_small(&path, 64 << 10);
        if let Ok(Some(text)) = &text
            && let Ok(file) = serde_json::from_str::<File>(text)
            && let Ok(stream) = file.stream.parse()
            && file.acked <= super::SEQ_MAX
        {
            return Ok(Self {
                stream,
                acked: file.acked,
                dropped: file.dropped,
                untold: file.untold,
            });
        }
        if !matches!(text, Ok(None)) {
            std::fs::rename(&path, dir.join("state.json.before")).map_err(|source| SpoolError {
                path,
                doing: "moving aside",
                source,
            })?;
        }
        let stream = identity::random_id().map_err(|e| SpoolError {
            path: dir.join(FILE),
            doing: "drawing the number of a stream for",
            source: std::io::Error::other(e),
        })?;
        Ok(Self {
            stream: StreamId(stream),
            acked: 0,
            dropped: 0,
            untold: 0,
        })
    }

    pub(super) fn save(&self, dir: &Path) -> Result<(), SpoolError> {
        let file = File {
            stream: self.stream.to_string(),
            acked: self.acked,
            dropped: self.dropped,
            untold: self.untold,
        };
        let text = serde_json::to_vec(&file).map_err(std::io::Error::other);
        let path = dir.join(FILE);
        text.and_then(|text| identity::write_private(&path, &text).map_err(|e| e.source))
            .map_err(|source| SpoolError {
                path,
                doing: "writing",
                source,
            })
    }
}
