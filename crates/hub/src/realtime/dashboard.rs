//! `/api/live`: the dashboard's socket.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::response::Response;
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::sync::{broadcast, mpsc};
use tokio::task::AbortHandle;

use super::conversation::{self, Ending, Party};
use super::protocol::{self, Ask, Code, Topic};
use super::socket::{self, CLOSE_POLICY, CLOSE_UNAUTHORIZED};
use crate::auth::{Member, Session, authenticate};
use crate::ids::{BucketId, ServerId};
use crate::live::BucketHandle;
use crate::live::logs::{LogNews, LogWatch};
use crate::state::AppState;

/// Watches per socket.
const MAX_WATCHES: usize = 32;

#[derive(Deserialize)]
pub(super) struct Params {
    #[serde(default)]
    token: String,
}

/// Takes the socket first and judges the token then: browsers cannot read why an upgrade was refused.
pub(super) async fn connect(
    State(state): State<AppState>,
    Query(params): Query<Params>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade
        .read_buffer_size(socket::READ_BUFFER)
        .max_message_size(socket::MAX_MESSAGE)
        .max_frame_size(socket::MAX_MESSAGE)
        .on_upgrade(move |socket| serve(state, params.token, socket))
}

async fn serve(state: AppState, token: String, socket: WebSocket) {
    let (mut sink, stream) = socket.split();
    let session = match authenticate(&state, &token).await {
        Ok(session) => session,
        Err(error) => {
            let code = if socket::is_expired(&error) {
                Code::Expired
            } else {
                Code::Forbidden
            };
            let _ = socket::send(
                &mut sink,
                Message::Text(protocol::error(None, code, &error.to_string())),
            )
            .await;
            socket::close(&mut sink, CLOSE_UNAUTHORIZED, &error.to_string()).await;
            return;
        }
    };
    let (out, outgoing) = mpsc::channel(socket::OUTGOING);
    let watches = Watches {
        state: state.clone(),
        token,
        session,
        out,
        running: BTreeMap::new(),
    };
    conversation::hold(&state, sink, stream, outgoing, watches).await;
}

fn expired() -> Ending {
    let why = "the access token has expired";
    Ending::Told {
        farewell: Some(protocol::error(None, Code::Expired, why)),
        code: CLOSE_UNAUTHORIZED,
        reason: why.to_owned(),
    }
}

/// The watches of one socket, each a small task that writes into the socket's bounded queue. A task that finds the
/// queue full waits; what it misses meanwhile it makes up with a snapshot.
struct Watches {
    state: AppState,
    token: String,
    session: Session,
    out: mpsc::Sender<Utf8Bytes>,
    running: BTreeMap<u64, (BucketId, AbortHandle)>,
}

impl Drop for Watches {
    fn drop(&mut self) {
        for (_, task) in self.running.values() {
            task.abort();
        }
    }
}

impl Party for Watches {
    /// Does what is asked; an answer is a pong, or the reason why not.
    async fn hear(&mut self, text: &str) -> Option<Utf8Bytes> {
        let (id, bucket, topic) = match serde_json::from_str(text) {
            Ok(Ask::Watch { id, bucket, topic }) => (id, bucket, topic),
            Ok(Ask::Unwatch { id }) => {
                if let Some((_, task)) = self.running.remove(&id) {
                    task.abort();
                }
                return None;
            }
            Ok(Ask::Ping { id }) => return Some(protocol::pong(id)),
            Err(error) => {
                return Some(protocol::error(
                    None,
                    Code::BadRequest,
                    &format!("not understood: {error}"),
                ));
            }
        };
        let refuse = |code, message: &str| Some(protocol::error(Some(id), code, message));
        self.running.retain(|_, (_, task)| !task.is_finished());
        if self.running.contains_key(&id) {
            return refuse(Code::BadRequest, "a watch with this id is running");
        }
        if self.running.len() >= MAX_WATCHES {
            return refuse(
                Code::BadRequest,
                &format!("at most {MAX_WATCHES} watches at once"),
            );
        }
        let Ok(bucket) = bucket.parse::<BucketId>() else {
            return refuse(Code::UnknownBucket, "a bucket id is 24 hexadecimal digits");
        };
        let Ok(member) = Member::find(&self.state, self.session.user.clone(), bucket).await else {
            return refuse(
                Code::UnknownBucket,
                "no such bucket, or you are not a member of it",
            );
        };
        let live = self.state.live.bucket(member.bucket.id);
        let out = self.out.clone();
        let task = match topic {
            Topic::Servers => tokio::spawn(follow_servers(id, live, out)),
            Topic::Logs { server, app } => {
                let server = server.parse::<ServerId>().ok();
                let known = match server {
                    None => None,
                    Some(server) => {
                        let known = live
                            .ask(move |b| b.server(server).is_some())
                            .await
                            .unwrap_or(false);
                        known.then_some(server)
                    }
                };
                let Some(server) = known else {
                    return refuse(Code::BadRequest, "no such server in this bucket");
                };
                tokio::spawn(follow_logs(id, live.tap(server).watch(app), out))
            }
        };
        self.running.insert(id, (member.bucket.id, task.abort_handle()));
        None
    }

    fn hear_binary(&mut self) -> Result<(), Ending> {
        Err(Ending::Told {
            farewell: None,
            code: CLOSE_POLICY,
            reason: "this socket takes JSON text".to_owned(),
        })
    }

    async fn recheck(&mut self) -> Result<(), Ending> {
        if authenticate(&self.state, &self.token).await.is_err() {
            return Err(expired());
        }
        let mut ended = Vec::new();
        for (id, (bucket, task)) in &self.running {
            let role = self.state.catalog.role(*bucket, self.session.user.id).await;
            if let Ok(None) = role {
                task.abort();
                ended.push(*id);
            }
        }
        for id in ended {
            self.running.remove(&id);
            let why = "you are no longer a member of this bucket";
            let frame = protocol::error(Some(id), Code::UnknownBucket, why);
            // A queue that is full is no reason to let it go on.
            let _ = self.out.try_send(frame);
        }
        Ok(())
    }

    fn deadline(&self) -> Option<(Duration, Ending)> {
        let left = socket::time_left(self.session.expires_at_ms, self.state.now_ms());
        Some((left, expired()))
    }
}

async fn follow_servers(id: u64, live: BucketHandle, out: mpsc::Sender<Utf8Bytes>) {
    loop {
        let Ok((_, snapshot, mut changes)) = live.watch().await else {
            let _ = out
                .send(protocol::error(
                    Some(id),
                    Code::UnknownBucket,
                    "the bucket is gone",
                ))
                .await;
            return;
        };
        if out
            .send(protocol::state("snapshot", id, &snapshot))
            .await
            .is_err()
        {
            return;
        }
        loop {
            match changes.recv().await {
                Ok(told) => {
                    if out
                        .send(protocol::state("changes", id, &told.rest))
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "a dashboard reads slowly: it gets a fresh snapshot");
                    break;
                }
                Err(broadcast::error::RecvError::Closed) => {
                    let _ = out
                        .send(protocol::error(
                            Some(id),
                            Code::UnknownBucket,
                            "the bucket is gone",
                        ))
                        .await;
                    return;
                }
            }
        }
    }
}

async fn follow_logs(id: u64, mut watch: LogWatch, out: mpsc::Sender<Utf8Bytes>) {
    // The tap lives as long as its server is known; when it ends, the watch stays silent until it is ended.
    while let Some(LogNews { batch, dropped }) = watch.next().await {
        if let Some(frame) = protocol::logs(id, &batch, dropped, |app| watch.wants(app))
            && out.send(frame).await.is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::live::identity::Newcomer;
    use crate::live::model::{AgentKind, Process};
    use crate::live::server::{ProcessUpdate, Report};
    use crate::live::{Caller, Received};
    use crate::testing::TestHub;

    fn process(restart_time: u64) -> Process {
        Process {
            pm_id: 0,
            facts: std::sync::Arc::default(),
            pid: 1,
            status: "online".into(),
            cpu: 0.0,
            memory: 0,
            restart_time,
            pm_uptime: None,
            metrics: Vec::new(),
        }
    }

    #[tokio::test]
    async fn who_reads_slowly_gets_a_fresh_snapshot_and_no_backlog() {
        let hub = TestHub::start().await;
        let live = hub.state.live.bucket(hub.welcome.bucket.id);
        let (commands, _queue) = BucketHandle::command_queue();
        let newcomer = Newcomer::Machine {
            name: "web".into(),
            hostname: "host".into(),
            username: None,
            machine: "m".into(),
            incarnation: "i".into(),
            linked_at: 0,
        };
        let caller = Caller {
            link: hub.state.live.next_link(),
            kind: AgentKind::Pilothouse,
            newcomer,
            name: "web".into(),
            facts: None,
            commands,
            reverse: crate::live::link::Reverse::Open,
            life: crate::live::absence::Life::default(),
        };
        let Ok(Received::Joined(link)) = live.receive(caller).await else {
            panic!("a new server joins")
        };

        let (out, mut frames) = mpsc::channel(1);
        let following = tokio::spawn(follow_servers(1, live.clone(), out));
        let read = |frame: Utf8Bytes| serde_json::from_str::<Value>(&frame).unwrap();
        assert_eq!(read(frames.recv().await.unwrap())["op"], "snapshot");

        // A second watcher reads everything, so that each restart is told before the next one happens.
        let (_, _, mut told) = live.watch().await.unwrap();
        let restarts = 200;
        for n in 1..=restarts {
            let processes = Some(ProcessUpdate::Full(vec![process(n)]));
            link.report(Report {
                processes,
                ..Report::default()
            })
            .await
            .unwrap();
            tokio::time::timeout(Duration::from_secs(10), told.recv())
                .await
                .unwrap()
                .unwrap();
        }
        let mut taken = Vec::new();
        loop {
            let frame = tokio::time::timeout(Duration::from_secs(10), frames.recv())
                .await
                .unwrap()
                .unwrap();
            let frame = read(frame);
            let seen = frame["servers"][0]["processes"][0]["restart_time"].as_u64();
            taken.push(frame["op"].as_str().unwrap().to_owned());
            if seen == Some(restarts) {
                break;
            }
        }
        assert!(taken.contains(&"snapshot".to_owned()), "{taken:?}");
        assert!(taken.len() < 10, "a backlog of {} frames", taken.len());
        following.abort();
    }

    #[tokio::test]
    async fn who_left_a_bucket_is_told_nothing_more_of_it() {
        let hub = TestHub::start().await;
        let (user, client) = hub.newcomer("guest").await;
        let bucket = hub.welcome.bucket.id;
        let role = crate::auth::Role::User;
        hub.state.catalog.set_member(bucket, user.id, role).await.unwrap();
        let token = client.token.clone().unwrap();
        let (out, mut frames) = mpsc::channel(8);
        let mut watches = Watches {
            state: hub.state.clone(),
            session: authenticate(&hub.state, &token).await.unwrap(),
            token,
            out,
            running: BTreeMap::new(),
        };
        let ask = format!(r#"{{"op":"watch","id":7,"bucket":"{bucket}","topic":"servers"}}"#);
        assert!(watches.hear(&ask).await.is_none());
        assert!(frames.recv().await.unwrap().contains("snapshot"));
        assert!(watches.recheck().await.is_ok());
        assert_eq!(watches.running.len(), 1);

        hub.state.catalog.remove_member(bucket, user.id).await.unwrap();
        assert!(
            watches.recheck().await.is_ok(),
            "the socket may still watch other buckets"
        );
        assert!(watches.running.is_empty());
        let last: Value = serde_json::from_str(&frames.recv().await.unwrap()).unwrap();
        assert_eq!((&last["op"], &last["id"]), (&"error".into(), &7.into()));
        assert!(watches.hear(&ask).await.unwrap().contains("not a member"));
    }
}
