//! A hub that is not what it says: the host's own policy has the last word, whatever it is asked and however.

use std::net::{TcpListener, TcpStream};

use agent::config::AgentFile;
use serde_json::json;
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept};
use wire::action::{
    Action, ActionErrorCode, ActionRequest, ActionResult, Custom, Module, Scale, Target, Verb,
};
use wire::message::{Hello, LogSubscribe, Pong, Welcome};
use wire::{AgentMessage, HubMessage};

use crate::home::{Home, PATIENCE, until};

struct ForgedHub(TcpListener);

struct Session {
    socket: WebSocket<TcpStream>,
    asked: u64,
}

impl ForgedHub {
    fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    fn link(&self, home: &Home) {
        let file = AgentFile {
            public_key: "publickey0123456".into(),
            secret_key: "secretkey0123456".into(),
            machine_name: "box".into(),
            reverse_interact: true,
            info_node: format!("http://{}", self.0.local_addr().expect("an address")),
            ..AgentFile::default()
        };
        agent::config::save(home.path(), &file).expect("the link is stored");
        home.call(pm2::rpc::method::AGENT_LINK, &json!([{}]))
            .expect("an agent");
    }

    /// The next link of the agent, before it is welcomed.
    fn accept(&self) -> (Session, Hello) {
        let (stream, _) = self.0.accept().expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        let mut session = Session {
            socket: accept(stream).expect("a WebSocket"),
            asked: 0,
        };
        match session.hear() {
            Some(AgentMessage::Hello(hello)) => (session, hello),
            other => panic!("a hello was expected: {other:?}"),
        }
    }

    fn welcome(&self) -> (Session, Hello) {
        let (mut session, hello) = self.accept();
        session.say(Welcome {
            protocol: 1,
            server_id: "s".into(),
            ..Welcome::default()
        });
        (session, hello)
    }
}

impl Session {
    fn say(&mut self, message: impl Into<HubMessage>) {
        let frame = message.into().to_frame().expect("a frame");
        self.say_bytes(frame);
    }

    fn say_bytes(&mut self, frame: Vec<u8>) {
        self.socket.send(Message::binary(frame)).expect("sent");
    }

    /// What the agent says next; `None` when it has gone.
    fn hear(&mut self) -> Option<AgentMessage> {
        loop {
            match self.socket.read() {
                Ok(Message::Binary(frame)) => match AgentMessage::from_frame(&frame).expect("a message") {
                    AgentMessage::Ping(ping) => self.say(Pong { token: ping.token }),
                    message => return Some(message),
                },
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    fn send(&mut self, action: Action) -> u64 {
        self.asked += 1;
        self.say(ActionRequest {
            id: self.asked,
            action,
            timeout_ms: 1_000,
            by: "mallory".into(),
        });
        self.asked
    }

    /// Asks, and gives the code of the refusal; `None`: it was done.
    fn ask(&mut self, action: Action) -> Option<ActionErrorCode> {
        let id = self.send(action);
        let result = self.result();
        assert_eq!(result.id, id);
        result.error.map(|error| error.code)
    }

    fn result(&mut self) -> ActionResult {
        loop {
            match self.hear().expect("the agent is there") {
                AgentMessage::Result(result) => return result,
                AgentMessage::Progress(progress) => panic!("it began: {progress:?}"),
                _ => {}
            }
        }
    }
}

fn app() -> Target {
    Target::App("api".into())
}

fn module(name: &str) -> Module {
    Module { name: name.into() }
}

fn custom(name: &str, opts: &str) -> Action {
    Action::Custom(Custom {
        target: app(),
        name: name.into(),
        opts: opts.into(),
        uuid: "u".into(),
    })
}

fn scale(number: i32) -> Action {
    Action::Scale(Scale {
        app: "api".into(),
        number,
        relative: false,
    })
}

/// What a hub can ask with this verb, as it should be. A verb that is added has to be added here.
fn good(verb: Verb) -> Option<Action> {
    Some(match verb {
        Verb::Restart => Action::Restart(app()),
        Verb::Reload => Action::Reload(app()),
        Verb::Stop => Action::Stop(app()),
        Verb::Start => Action::Start(app()),
        Verb::Scale => scale(2),
        Verb::Reset => Action::Reset(app()),
        Verb::Delete => Action::Delete(Target::Process(0)),
        Verb::Custom => custom("go", "{}"),
        Verb::Pull => Action::Pull(app()),
        Verb::Backward => Action::Backward(app()),
        Verb::Forward => Action::Forward(app()),
        Verb::Monitor => Action::Monitor(app()),
        Verb::Unmonitor => Action::Unmonitor(app()),
        Verb::Install => Action::Install(module("pm2-logrotate")),
        Verb::Uninstall => Action::Uninstall(module("pm2-logrotate")),
        // Logs are asked for by a message of their own; to answer a ping is no more than to be there.
        Verb::Logs | Verb::Ping | Verb::Unknown(_) => return None,
    })
}

/// What makes no sense, whatever the policy says.
fn bad() -> Vec<Action> {
    let long = "x".repeat(100_000);
    let targets = || {
        [
            Target::App(String::new()),
            Target::App("a\nb".into()),
            Target::App("x".repeat(10_000)),
            Target::Unknown(7),
        ]
    };
    let on: [fn(Target) -> Action; 12] = [
        Action::Restart,
        Action::Reload,
        Action::Stop,
        Action::Start,
        Action::Reset,
        Action::Delete,
        Action::Pull,
        Action::Backward,
        Action::Forward,
        Action::Monitor,
        Action::Unmonitor,
        |target| {
            Action::Custom(Custom {
                target,
                name: "go".into(),
                opts: String::new(),
                uuid: String::new(),
            })
        },
    ];
    let mut all: Vec<_> = on.iter().flat_map(|make| targets().map(make)).collect();
    for name in [
        "",
        "-g",
        "--prefix=/",
        "../up",
        "/etc",
        "file:x",
        "a b",
        "a;b",
        "all\n",
        "https://u:p@h/x",
        &long,
    ] {
        all.push(Action::Install(module(name)));
        all.push(Action::Uninstall(module(name)));
    }
    all.extend([
        Action::Uninstall(module("all")),
        Action::Uninstall(module("mod@1")),
    ]);
    all.extend([
        custom("", "{}"),
        custom("go", "{not json"),
        custom(&long, "{}"),
        custom("go", &long),
    ]);
    all.extend([
        scale(i32::MAX),
        scale(i32::MIN),
        Action::Unknown(11),
        Action::Unknown(u32::MAX),
    ]);
    all
}

#[test]
fn a_forged_hub_gets_nothing_past_the_policy() {
    let home = Home::start();
    let script = home.script("sleep.sh", "exec sleep 1000\n");
    let id = home.run("api", "bash", &script, &json!({}));
    let (pid, policy) = (home.pid(id), home.path().join("policy.toml"));
    let allow = |text: &str| std::fs::write(&policy, text).expect("a policy");
    allow("allow = [\"ping\"]");
    let hub = ForgedHub::start();
    hub.link(&home);

    // Before it was welcomed, nothing counts at all.
    let (mut session, hello) = hub.accept();
    assert_eq!(hello.allowed, [Verb::Ping]);
    session.send(Action::Restart(app()));
    session.say(Welcome {
        protocol: 1,
        server_id: "s".into(),
        ..Welcome::default()
    });
    assert_eq!(
        session.ask(Action::Ping),
        None,
        "the first answer is that of the ping"
    );

    // Each verb, with a policy that has not this one, and one that cannot be understood.
    let verbs: Vec<_> = Verb::ALL
        .iter()
        .filter_map(|verb| Some((*verb, good(*verb)?)))
        .collect();
    for (verb, action) in &verbs {
        let others: Vec<_> = Verb::ALL
            .iter()
            .filter(|other| *other != verb)
            .map(|v| v.as_str())
            .collect();
        allow(&format!("allow = {others:?}"));
        assert_eq!(
            session.ask(action.clone()),
            Some(ActionErrorCode::Denied),
            "{verb}"
        );
    }
    allow("allow = [\"restart\", ");
    for (verb, action) in &verbs {
        assert_eq!(
            session.ask(action.clone()),
            Some(ActionErrorCode::Denied),
            "{verb}"
        );
    }
    // Lists of names narrow what a verb opens.
    allow("allow = [\"custom\", \"install\", \"uninstall\"]\ncustom = [\"stop\"]\nmodules = [\"good\"]");
    for action in [
        custom("go", "{}"),
        custom("Stop", "{}"),
        Action::Install(module("good2")),
        Action::Install(module("good/mod")),
        Action::Install(module("@good/mod@good")),
        Action::Uninstall(module("other")),
    ] {
        assert_eq!(
            session.ask(action.clone()),
            Some(ActionErrorCode::Denied),
            "{action:?}"
        );
    }
    // Even where all is allowed, what makes no sense ends at the agent.
    let all: Vec<_> = Verb::ALL.iter().map(|v| v.as_str()).collect();
    allow(&format!("allow = {all:?}"));
    for action in bad() {
        let code = session.ask(action.clone());
        let refused = [ActionErrorCode::Invalid, ActionErrorCode::Unsupported].map(Some);
        assert!(refused.contains(&code), "{action:?}: {code:?}");
    }
    // Logs go the same way.
    allow("allow = []");
    session.say(LogSubscribe {
        id: 1,
        by: "mallory".into(),
        ..LogSubscribe::default()
    });
    loop {
        if let AgentMessage::LogsEnded(ended) = session.hear().expect("the agent is there") {
            assert_eq!(ended.error.map(|e| e.code), Some(ActionErrorCode::Denied));
            break;
        }
    }

    // Frames that are none end the link, and nothing else: the agent comes back.
    let restart = HubMessage::from(ActionRequest {
        id: 9,
        action: Action::Restart(app()),
        timeout_ms: 0,
        by: String::new(),
    });
    let frame = restart.to_frame().expect("a frame");
    let mut cut_short = frame.clone();
    cut_short.truncate(frame.len() - 3);
    allow(&format!("allow = {all:?}"));
    for broken in [vec![0x10], cut_short, vec![0xff; 64]] {
        session.say_bytes(broken);
        while session.hear().is_some() {}
        session = hub.welcome().0;
    }
    assert_eq!(session.ask(Action::Ping), None);

    let log = home.log("pm2.log");
    assert!(!log.contains("remote action"), "the daemon was asked:\n{log}");
    let shown = home.show(id);
    assert_eq!((home.list().len(), home.pid(id)), (1, pid));
    assert_eq!(shown["pm2_env"]["restart_time"], 0);
    let journal = home.log("agent.log");
    for verb in Verb::ALL.iter().filter(|verb| good(**verb).is_some()) {
        assert!(
            journal.contains(&format!("action {verb}")),
            "{verb} is not written down:\n{journal}"
        );
    }
    assert!(!journal.contains("begun"), "{journal}");

    // And the same question from the same hub is heard once the host allows it: the test asks in the right way.
    assert_eq!(session.ask(Action::Restart(app())), None);
    until("a new process", || (home.pid(id) != pid).then_some(()));
}
