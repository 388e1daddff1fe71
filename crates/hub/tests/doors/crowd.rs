//! Many agents at once, and a hub that is killed under them: a process of its own, ended by SIGKILL.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use wire::message::ReportBody;
use wire::telemetry::{SampleBatch, Series};

use crate::lab::{Lab, Owner, until};
use crate::wire_agent::{WireAgent, hello_of, knock_at, now, process};

/// Agents. How fast they are back, and how they spread, is measured by `make bench`.
const AGENTS: u16 = 1000;
const FOLDER: &str = "HUB_FOLDER_OF_TEST";
const LISTEN: &str = "HUB_LISTEN_OF_TEST";

/// Not a test: what [`Killable`] runs as a process of its own. Started by the tests below, ended by them.
#[test]
#[ignore = "a program that tests here start"]
fn a_hub_that_can_be_killed() {
    let (Ok(folder), Ok(listen)) = (std::env::var(FOLDER), std::env::var(LISTEN)) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut options = crate::lab::options_in(Path::new(&folder));
        options.listen = listen;
        let hub = hub::server::start(options).await.unwrap();
        let keys = hub.welcome.as_ref().map(|welcome| {
            let bucket = &welcome.bucket;
            json!({ "bucket": bucket.id.to_string(), "public": bucket.public_id, "secret": bucket.secret_id })
        });
        // The harness of tests writes to standard output too: this line has a mark.
        let facts = json!({ "address": hub.address.to_string(), "keys": keys });
        writeln!(std::io::stdout(), "\nHUB {facts}").unwrap();
        std::future::pending::<()>().await;
    });
}

/// Many systems let a process have 1,024 descriptors at first: a crowd takes one for each agent, and another where the hub is in this
/// process, too.
fn room_for_a_crowd() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let enough = maximum.is_none_or(|most| most > 2 * u64::from(AGENTS) + 100);
    assert!(
        enough,
        "this test needs a hard limit (ulimit -Hn) of {} open files",
        2 * u64::from(AGENTS) + 100
    );
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
    .unwrap();
}

struct Killable {
    child: Child,
    address: String,
}

impl Killable {
    async fn start(folder: &Path, listen: &str) -> (Self, serde_json::Value) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "crowd::a_hub_that_can_be_killed",
                "--ignored",
                "--nocapture",
            ])
            .env(FOLDER, folder)
            .env(LISTEN, listen)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let facts = tokio::task::spawn_blocking(move || {
            let mut lines = lines.map_while(Result::ok);
            let found = lines.find_map(|line| line.strip_prefix("HUB ").map(str::to_owned));
            // Whatever it says later must find a reader.
            std::thread::spawn(move || lines.for_each(drop));
            found
        })
        .await
        .unwrap()
        .expect("the hub says where it listens");
        let facts: serde_json::Value = serde_json::from_str(&facts).unwrap();
        let address = facts["address"].as_str().unwrap().to_owned();
        (Self { child, address }, facts["keys"].clone())
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Killable {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Links one agent and lets it report a value a moment until `last` of them are acknowledged, through whatever happens; then
/// it is counted as done, and stays.
async fn report_all(
    address: String,
    keys: String,
    machine: u16,
    begin: u64,
    last: u64,
    done: Arc<AtomicUsize>,
) {
    let mut acknowledged = 0;
    loop {
        let linked = async {
            let socket = knock_at(&address, &keys).await.ok()?;
            WireAgent::greet(socket, hello_of(machine, &format!("host-{machine}")))
                .await
                .ok()
        };
        let Some(mut agent) = linked.await else {
            // Agents draw how long they wait: here the number of the machine is the draw.
            tokio::time::sleep(Duration::from_millis(100 + u64::from(machine) * 3)).await;
            continue;
        };
        assert!(
            agent.welcome.ack >= acknowledged,
            "what was acknowledged is not forgotten"
        );
        let was_done = acknowledged == last;
        acknowledged = agent.welcome.ack;
        agent
            .snapshot(&[(0, process("api", u32::from(machine) + 1))])
            .await;
        while acknowledged < last {
            let seq = acknowledged + 1;
            let batch = SampleBatch {
                at: vec![begin + seq * 1000],
                series: vec![Series {
                    pm_id: Some(0),
                    app: "api".into(),
                    metric: "cpu".into(),
                    values: vec![Some(seq as f64)],
                    ..Series::default()
                }],
            };
            if !agent.try_report(seq, ReportBody::Samples(batch)).await || !agent.try_acknowledged(seq).await
            {
                break;
            }
            acknowledged = seq;
        }
        if acknowledged == last && !was_done {
            done.fetch_add(1, Ordering::Relaxed);
        }
        // Whether it is done or not: until this link ends.
        agent.until_it_ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_killed_under_a_crowd_loses_nothing_that_it_acknowledged() {
    const VALUES: u64 = 40;
    room_for_a_crowd();
    let folder = tempfile::tempdir().unwrap();
    let (mut hub, keys) = Killable::start(folder.path(), "127.0.0.1:0").await;
    let address = hub.address.clone();
    let text = |name: &str| keys[name].as_str().unwrap().to_owned();
    let owner = Owner::of(&address, &text("bucket")).await;
    let pair = format!("{}.{}", text("public"), text("secret"));
    let begin = now() / 1000 * 1000 - 600_000;
    let done = Arc::new(AtomicUsize::new(0));
    let mut agents = tokio::task::JoinSet::new();
    for machine in 0..AGENTS {
        let (address, pair, done) = (address.clone(), pair.clone(), Arc::clone(&done));
        agents.spawn(report_all(address, pair, machine, begin, VALUES, done));
    }
    let path = format!(
        "/series?app=api&metric=cpu&from={begin}&to={}&points=10000",
        begin + 600_000
    );
    // Killed twice in the middle of it, each time when something of it is there.
    for least in [4_000, 20_000] {
        until("some values", async || {
            let found = owner.get(&path).await;
            (values(&found).len() >= least).then_some(())
        })
        .await;
        hub.kill();
        hub = Killable::start(folder.path(), &address).await.0;
    }
    until("everybody is back and done", async || {
        (done.load(Ordering::Relaxed) == usize::from(AGENTS)).then_some(())
    })
    .await;
    let found = owner.get(&path).await;
    assert_eq!(found["series"].as_array().unwrap().len(), usize::from(AGENTS));
    for series in found["series"].as_array().unwrap() {
        let values: Vec<f64> = series["avg"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(serde_json::Value::as_f64)
            .collect();
        let expected: Vec<f64> = (1..=VALUES).map(|n| n as f64).collect();
        assert_eq!(values, expected, "each value once: {series}");
    }
    until("everybody online, each once", async || {
        let servers = owner.get("/servers").await;
        let servers = servers["servers"].as_array().unwrap().clone();
        assert_eq!(servers.len(), usize::from(AGENTS), "no server twice");
        let online = servers
            .iter()
            .all(|s| s["state"] == "online" && s["processes"][0]["name"] == "api");
        online.then_some(())
    })
    .await;
    // An agent that found something wrong has ended.
    while let Some(ended) = agents.try_join_next() {
        ended.unwrap();
    }
}

fn values(found: &serde_json::Value) -> Vec<f64> {
    let series = found["series"].as_array().into_iter().flatten();
    series
        .flat_map(|one| one["avg"].as_array().into_iter().flatten())
        .filter_map(serde_json::Value::as_f64)
        .collect()
}

/// A hub in this process, as others have it: a server that is gone for good takes no place among those that are back.
#[tokio::test]
async fn a_crowd_that_comes_at_once_is_let_in_one_and_all() {
    room_for_a_crowd();
    let lab = Lab::start().await;
    let keys = format!("{}.{}", lab.public_key, lab.secret_key);
    let address = lab.address();
    let agents: Vec<_> = (0..AGENTS)
        .map(|machine| {
            let (address, keys) = (address.clone(), keys.clone());
            tokio::spawn(async move {
                let socket = knock_at(&address, &keys).await.unwrap();
                let mut agent = WireAgent::greet(socket, hello_of(machine, "equal-name"))
                    .await
                    .unwrap();
                agent.snapshot(&[(0, process("api", 1))]).await;
                agent
            })
        })
        .collect();
    let mut linked = Vec::new();
    for agent in agents {
        linked.push(agent.await.unwrap());
    }
    until("everybody online", async || {
        let servers = lab.get("/servers").await;
        let servers = servers["servers"].as_array().unwrap();
        let online = servers
            .iter()
            .filter(|s| s["state"] == "online" && s["processes"][0]["name"] == "api");
        (online.count() == usize::from(AGENTS)).then_some(())
    })
    .await;
}
