//! The record of one process: what a new daemon needs to carry on with it. Pure text in and out.
//!
//! Version 1 is an object `{v, env, facts, phase, lives, former?}`. Fields may be added; a reader passes over what it does not know and takes the
//! default for what is absent.

use std::time::Duration;

use pm2::Object;
use pm2::env::Pm2Env;
use serde::{Deserialize, Serialize};
use supervisor::{Facts, FormerLife, Goal, Incarnation, Mono, Phase, ProcId, Restored};
use thiserror::Error;

/// Largest record that is read back.
pub(crate) const MAX_RECORD: usize = 32 * 1024 * 1024;
/// Room for one that has the variables of a shell, bytes.
const USUAL_RECORD: usize = 8 * 1024;
/// What the keeper stores it under, before the number.
const PREFIX: &str = "process/";

/// The name under which the record of a process is stored.
pub(crate) fn store_name(id: ProcId) -> String {
    format!("{PREFIX}{}", id.0)
}

/// The process whose record this is; `None` if the name belongs to something else.
pub(crate) fn process_of(name: &str) -> Option<ProcId> {
    name.strip_prefix(PREFIX)?.parse().ok().map(ProcId)
}

/// A record that can't be used.
#[derive(Debug, Error)]
pub(crate) enum RecordError {
    /// Not JSON, or of an unexpected shape.
    #[error("reading the record of a process: {0}")]
    Shape(#[from] serde_json::Error),
    /// Written by something newer.
    #[error(
        "reading the record of a process: its version is {0}, this release knows 1; start the release that wrote it"
    )]
    Version(u32),
}

#[derive(Serialize)]
struct RecordOut<'a> {
    v: u32,
    facts: FactsText,
    phase: PhaseText,
    lives: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    former: Option<FormerOut<'a>>,
    env: &'a Pm2Env,
}

#[derive(Serialize)]
struct FormerOut<'a> {
    life: u64,
    serving: Option<FactsText>,
    env: Option<&'a Pm2Env>,
}

#[derive(Deserialize)]
struct FormerIn {
    life: u64,
    #[serde(default)]
    serving: Option<FactsText>,
    #[serde(default)]
    env: Option<Object>,
}

#[derive(Deserialize)]
struct RecordIn {
    v: u32,
    #[serde(default)]
    facts: FactsText,
    phase: PhaseText,
    #[serde(default)]
    lives: Vec<u64>,
    #[serde(default)]
    former: Option<FormerIn>,
    env: Object,
}

/// What a record holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    /// The entry.
    pub(crate) env: Pm2Env,
    /// The entry as it is again if the reload in progress fails.
    pub(crate) former_env: Option<Pm2Env>,
    /// Where the supervisor was.
    pub(crate) restored: Restored,
    /// The lives of this process that the keeper may still hold, the present one among them.
    pub(crate) lives: Vec<Incarnation>,
}

impl Kept {
    /// The keeper was asked for a process, and nobody knows what has come of that.
    pub(crate) fn is_unborn(&self) -> bool {
        matches!(
            self.restored.phase,
            Phase::Launching(_, None) | Phase::Stopping(_, None, _)
        )
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct FactsText {
    created_at: Option<i64>,
    created_mono_ms: u64,
    started_at: i64,
    started_mono_ms: u64,
    restarts: u32,
    unstable_restarts: u32,
    backoff_ms: Option<u64>,
    exit_code: Option<i32>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum PhaseText {
    Stopped,
    Errored {
        life: Option<u64>,
        pid: Option<u32>,
    },
    Launching {
        life: u64,
        pid: Option<u32>,
    },
    Online {
        life: u64,
        pid: u32,
    },
    Stopping {
        life: u64,
        pid: Option<u32>,
        goal: GoalText,
    },
    Waiting {
        at_mono_ms: u64,
    },
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GoalText {
    Stop,
    Restart,
    Delete,
}

/// The bytes to keep.
pub(crate) fn write(
    env: &Pm2Env,
    former_env: Option<&Pm2Env>,
    restored: &Restored,
    lives: &[Incarnation],
) -> Vec<u8> {
    let former = restored.former.map(|former| FormerOut {
        life: former.incarnation.0,
        serving: former.serving.as_ref().map(facts_text),
        env: former_env,
    });
    let record = RecordOut {
        v: 1,
        facts: facts_text(&restored.facts),
        phase: phase_text(restored.phase),
        lives: lives.iter().map(|life| life.0).collect(),
        former,
        env,
    };
    let mut bytes = Vec::with_capacity(USUAL_RECORD);
    // Text keys and plain values always have a JSON form.
    match serde_json::to_writer(&mut bytes, &record) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}

/// What the bytes hold.
pub(crate) fn read(bytes: &[u8]) -> Result<Kept, RecordError> {
    let record: RecordIn = serde_json::from_slice(bytes)?;
    if record.v != 1 {
        return Err(RecordError::Version(record.v));
    }
    let restored = Restored {
        facts: facts(&record.facts),
        phase: phase(&record.phase),
        former: record.former.as_ref().map(|former| FormerLife {
            incarnation: Incarnation(former.life),
            serving: former.serving.as_ref().map(facts),
        }),
    };
    let lives = record.lives.into_iter().map(Incarnation).collect();
    Ok(Kept {
        env: Pm2Env::from(record.env),
        former_env: record.former.and_then(|former| former.env).map(Pm2Env::from),
        restored,
        lives,
    })
}

fn facts_text(facts: &Facts) -> FactsText {
    FactsText {
        created_at: facts.created_at,
        created_mono_ms: facts.created_mono.0,
        started_at: facts.started_at,
        started_mono_ms: facts.started_mono.0,
        restarts: facts.restarts,
        unstable_restarts: facts.unstable_restarts,
        backoff_ms: facts
            .backoff
            .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        exit_code: facts.exit_code,
    }
}

fn facts(text: &FactsText) -> Facts {
    Facts {
        created_at: text.created_at,
        created_mono: Mono(text.created_mono_ms),
        started_at: text.started_at,
        started_mono: Mono(text.started_mono_ms),
        restarts: text.restarts,
        unstable_restarts: text.unstable_restarts,
        backoff: text.backoff_ms.map(Duration::from_millis),
        exit_code: text.exit_code,
    }
}

fn phase_text(phase: Phase) -> PhaseText {
    match phase {
        Phase::Stopped => PhaseText::Stopped,
        Phase::Errored(undead) => PhaseText::Errored {
            life: undead.map(|(life, _)| life.0),
            pid: undead.and_then(|(_, pid)| pid),
        },
        Phase::Launching(life, pid) => PhaseText::Launching { life: life.0, pid },
        Phase::Online(life, pid) => PhaseText::Online { life: life.0, pid },
        Phase::Stopping(life, pid, goal) => {
            let goal = match goal {
                Goal::Stop => GoalText::Stop,
                Goal::Restart => GoalText::Restart,
                Goal::Delete => GoalText::Delete,
            };
            PhaseText::Stopping {
                life: life.0,
                pid,
                goal,
            }
        }
        Phase::Waiting(at) => PhaseText::Waiting { at_mono_ms: at.0 },
    }
}

fn phase(text: &PhaseText) -> Phase {
    match *text {
        PhaseText::Stopped => Phase::Stopped,
        PhaseText::Errored { life, pid } => Phase::Errored(life.map(|life| (Incarnation(life), pid))),
        PhaseText::Launching { life, pid } => Phase::Launching(Incarnation(life), pid),
        PhaseText::Online { life, pid } => Phase::Online(Incarnation(life), pid),
        PhaseText::Stopping { life, pid, goal } => {
            let goal = match goal {
                GoalText::Stop => Goal::Stop,
                GoalText::Restart => Goal::Restart,
                GoalText::Delete => Goal::Delete,
            };
            Phase::Stopping(Incarnation(life), pid, goal)
        }
        PhaseText::Waiting { at_mono_ms } => Phase::Waiting(Mono(at_mono_ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn env() -> Pm2Env {
        let serde_json::Value::Object(map) = json!({ "name": "api", "env": { "A": "1" }, "args": ["x"] })
        else {
            unreachable!("an object")
        };
        Pm2Env::from(map)
    }

    #[test]
    fn every_phase_comes_back_as_it_was() {
        let life = Incarnation(7);
        for phase in [
            Phase::Stopped,
            Phase::Errored(None),
            Phase::Errored(Some((life, Some(9)))),
            Phase::Launching(life, None),
            Phase::Online(life, 9),
            Phase::Stopping(life, Some(9), Goal::Restart),
            Phase::Stopping(life, None, Goal::Delete),
            Phase::Waiting(Mono(12)),
        ] {
            let facts = Facts {
                created_at: Some(5),
                created_mono: Mono(1),
                started_at: 6,
                started_mono: Mono(2),
                restarts: 3,
                unstable_restarts: 4,
                backoff: Some(Duration::from_millis(150)),
                exit_code: Some(-1),
            };
            for serving in [None, Some(None), Some(Some(facts))] {
                let restored = Restored {
                    facts,
                    phase,
                    former: serving.map(|serving| FormerLife {
                        incarnation: Incarnation(8),
                        serving,
                    }),
                };
                let kept = Kept {
                    env: env(),
                    former_env: serving.flatten().map(|_| Pm2Env::default()),
                    restored,
                    lives: vec![life, Incarnation(8)],
                };
                let bytes = write(&kept.env, kept.former_env.as_ref(), &restored, &kept.lives);
                assert_eq!(read(&bytes).unwrap(), kept);
            }
        }
    }

    /// A record as release 0.1 writes it. It stays readable for ever.
    #[test]
    fn the_first_release_is_still_understood() {
        let text = br#"{"v":1,"facts":{"created_at":1,"restarts":2},"phase":{"state":"online","life":3,"pid":4},"lives":[3],"env":{"name":"a"},"later":0}"#;
        let kept = read(text).unwrap();
        assert_eq!((kept.env.name(), kept.restored.facts.restarts), ("a", 2));
        assert_eq!(kept.restored.phase, Phase::Online(Incarnation(3), 4));
        assert_eq!(kept.lives, [Incarnation(3)]);
        assert!(matches!(
            read(br#"{"v":2,"phase":{"state":"stopped"},"env":{}}"#),
            Err(RecordError::Version(2))
        ));
        assert!(matches!(read(b"{"), Err(RecordError::Shape(_))));
        assert_eq!(process_of(&store_name(ProcId(12))), Some(ProcId(12)));
        assert_eq!(process_of("listener/rpc"), None);
    }
}
