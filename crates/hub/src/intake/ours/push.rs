//! The way in for agents whose network lets no WebSocket through: `POST /interaction/wire/push`.
//!
//! What they post is handed to a session like any other's, and what that says comes back in the answers. Only commands cannot be
//! told in time, so these servers are shown, and refused, as without a reverse connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::Message;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_channel::mpsc;
use futures_util::{SinkExt, StreamExt};
use wire::push;

use super::{Visitor, Way, admit, is_push, machine, session};
use crate::api::ApiError;
use crate::api::input::{Origin, Peer};
use crate::ids::BucketId;
use crate::ports::Door;
use crate::state::AppState;

/// Sessions at once; more are told to come back.
const MAX_SESSIONS: usize = 20_000;
/// Frames that wait for a session, and those that wait to be fetched.
const WAITING: usize = push::MAX_FRAMES;
/// How long a session may take for what was posted.
const TAKE_WITHIN: Duration = Duration::from_secs(10);
/// How long the answer to hello is waited for.
const WELCOME_WITHIN: Duration = Duration::from_secs(10);
/// How long any other answer waits for something to say: an acknowledgement is under way then.
const LINGER: Duration = Duration::from_millis(100);

/// The sessions that are fed by requests.
#[derive(Debug, Default)]
pub struct Pushes(Mutex<HashMap<String, Arc<Push>>>);

#[derive(Debug)]
struct Push {
    bucket: BucketId,
    to_session: mpsc::Sender<Result<Message, axum::Error>>,
    from_session: tokio::sync::Mutex<mpsc::Receiver<Message>>,
}

impl Pushes {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Push>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, token: &str, bucket: BucketId) -> Option<Arc<Push>> {
        self.lock()
            .get(token)
            .filter(|push| push.bucket == bucket)
            .cloned()
    }

    fn add(&self, token: &str, push: Arc<Push>) -> bool {
        let mut all = self.lock();
        let room = all.len() < MAX_SESSIONS;
        if room {
            all.insert(token.to_owned(), push);
        }
        room
    }
}

pub(super) async fn receive(
    State(state): State<AppState>,
    Origin(root): Origin,
    Peer(address): Peer,
    door: Option<Extension<Door>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let address = address.map(|ip| ip.to_string());
    let (bucket, order) = match admit(&state, &headers, address.as_deref()).await {
        Ok(found) => found,
        Err(refusal) => return refusal.into_response(),
    };
    let frames = match push::frames(&body) {
        Ok(frames) => frames,
        Err(error) => return ApiError::bad_request(error.to_string()).into_response(),
    };
    let token = headers.get(push::SESSION_HEADER).and_then(|v| v.to_str().ok());
    let (token, push, patience) = match token {
        Some(token) => match state.pushes.find(token, bucket.id) {
            Some(push) => (token.to_owned(), push, LINGER),
            None => return StatusCode::GONE.into_response(),
        },
        None => {
            let visitor = Visitor {
                bucket,
                order,
                address,
                root,
                socket: false,
                commands: if is_push(door) { Way::Apart } else { Way::None },
                machine: machine(&headers),
            };
            match begin(&state, visitor) {
                Some((token, push)) => (token, push, WELCOME_WITHIN),
                None => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
            }
        }
    };
    let mut to_session = push.to_session.clone();
    for frame in frames {
        let message = Message::Binary(Bytes::copy_from_slice(frame));
        let taken = tokio::time::timeout(TAKE_WITHIN, to_session.send(Ok(message))).await;
        if !matches!(taken, Ok(Ok(()))) {
            break;
        }
    }
    let (answer, is_over) = collect(&push, patience).await;
    if is_over && answer.is_empty() {
        return StatusCode::GONE.into_response();
    }
    let headers = [
        (push::SESSION_HEADER, token),
        ("content-type", "application/octet-stream".to_owned()),
    ];
    (headers, answer).into_response()
}

fn begin(state: &AppState, visitor: Visitor) -> Option<(String, Arc<Push>)> {
    let token = hex::encode(crate::ids::random::<16>());
    let (to_session, incoming) = mpsc::channel(WAITING);
    let (outgoing, from_session) = mpsc::channel(WAITING);
    let push = Arc::new(Push {
        bucket: visitor.bucket.id,
        to_session,
        from_session: tokio::sync::Mutex::new(from_session),
    });
    if !state.pushes.add(&token, push.clone()) {
        return None;
    }
    let (state, name) = (state.clone(), token.clone());
    tokio::spawn(async move {
        let sink = Box::pin(outgoing.sink_map_err(|_| session::Unheard));
        session::serve(state.clone(), visitor, sink, Box::pin(incoming)).await;
        state.pushes.lock().remove(&name);
    });
    Some((token, push))
}

/// What the session has to say by now, and whether it is over.
async fn collect(push: &Push, patience: Duration) -> (Vec<u8>, bool) {
    let mut from_session = push.from_session.lock().await;
    let mut body = Vec::new();
    let mut next = tokio::time::timeout(patience, from_session.next()).await;
    for _ in 0..push::MAX_FRAMES {
        match next {
            Ok(Some(Message::Binary(frame))) => push::append(&mut body, &frame),
            Ok(Some(Message::Close(_)) | None) => return (body, true),
            Ok(Some(_)) => {}
            Err(_) => break,
        }
        if body.len() > push::MAX_BODY / 2 {
            break;
        }
        // Only what is there already.
        next = tokio::time::timeout(Duration::ZERO, from_session.next()).await;
    }
    (body, false)
}
