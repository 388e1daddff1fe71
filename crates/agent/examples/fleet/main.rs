//! A fleet of agents on real sockets, and a browser that looks on: what a hub is measured with.
//!
//! ```text
//! cargo run --release -p agent --example fleet -- --url http://127.0.0.1:4600 --keys PUBLIC.SECRET --token ACCESS \
//!     --kind ours|pm2 [--agents 1000] [--processes 10] [--seconds 30] [--probes-ms 100] [--until-back true]
//! ```
//!
//! It writes one JSON line when every agent is linked, then at the end of the seconds a second one with what went over
//! the wire and how long an event took from its agent's socket to the browser's (`/primus`, with no filter). With
//! `--until-back true` it goes on until every link was lost and is there again, and writes a third line about that.
//! Connections are opened as the agents open them: ours by [`agent::link`], PM2's five seconds after a failed try.

mod browser;
mod counted;
mod ours;
mod theirs;

use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Anything that stops the fleet.
type Failure = Box<dyn Error + Send + Sync>;

/// What every agent of the fleet knows and counts.
#[derive(Debug)]
struct Fleet {
    /// `HOST:PORT`.
    address: String,
    public: String,
    secret: String,
    token: String,
    processes: u32,
    probes: Duration,
    /// Bytes of all sockets, both ways.
    sent: AtomicU64,
    received: AtomicU64,
    messages: AtomicU64,
    linked: AtomicU64,
    /// Links that ended.
    lost: AtomicU64,
    /// Every connection that was opened or tried: ms since 1970.
    tries: Mutex<Vec<u64>>,
    /// When each probe left, by its number.
    probing: Mutex<HashMap<u64, Instant>>,
    /// How long each probe took, ms.
    took: Mutex<Vec<f64>>,
}

impl Fleet {
    fn tried(&self) {
        lock(&self.tries).push(now_ms());
    }

    fn probe_leaves(&self, number: u64) {
        lock(&self.probing).insert(number, Instant::now());
    }

    fn probe_arrived(&self, number: u64) {
        if let Some(left) = lock(&self.probing).remove(&number) {
            lock(&self.took).push(left.elapsed().as_secs_f64() * 1000.0);
        }
    }
}

fn lock<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A generator of noise, each agent its own.
#[derive(Debug, Clone)]
struct Noise(u64);

impl Noise {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Below `limit`, which is not zero.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

fn main() -> Result<(), Failure> {
    let options = options()?;
    let text = |name: &str| options.get(name).map(String::as_str);
    let number = |name: &str, default: u64| text(name).map_or(Ok(default), str::parse);
    let url = text("url").ok_or("--url is missing")?;
    let (public, secret) = text("keys")
        .and_then(|keys| keys.split_once('.'))
        .ok_or("--keys is missing: PUBLIC.SECRET")?;
    let agents = number("agents", 1000)?;
    let fleet = Arc::new(Fleet {
        address: url.trim_start_matches("http://").trim_end_matches('/').to_owned(),
        public: public.to_owned(),
        secret: secret.to_owned(),
        token: text("token").unwrap_or_default().to_owned(),
        processes: u32::try_from(number("processes", 10)?)?,
        probes: Duration::from_millis(number("probes-ms", 100)?),
        sent: AtomicU64::new(0),
        received: AtomicU64::new(0),
        messages: AtomicU64::new(0),
        linked: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        tries: Mutex::default(),
        probing: Mutex::default(),
        took: Mutex::default(),
    });
    let kind = text("kind").unwrap_or("ours").to_owned();
    let seconds = number("seconds", 30)?;
    let until_back = text("until-back") == Some("true");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(run(fleet, &kind, agents, seconds, until_back))
}

/// `--name value` pairs.
fn options() -> Result<HashMap<String, String>, Failure> {
    let mut words = std::env::args().skip(1);
    let mut found = HashMap::new();
    while let Some(word) = words.next() {
        let name = word
            .strip_prefix("--")
            .ok_or_else(|| format!("{word} is no option"))?;
        let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
        found.insert(name.to_owned(), value);
    }
    Ok(found)
}

async fn run(
    fleet: Arc<Fleet>,
    kind: &str,
    agents: u64,
    seconds: u64,
    until_back: bool,
) -> Result<(), Failure> {
    let begun = Instant::now();
    for number in 0..agents {
        let fleet = Arc::clone(&fleet);
        match kind {
            "ours" => drop(tokio::spawn(ours::run(fleet, number, number == 0))),
            "pm2" => drop(tokio::spawn(theirs::run(fleet, number, number == 0))),
            other => return Err(format!("--kind {other}: it is ours or pm2").into()),
        }
        // Hosts boot one after another; how all come at once is the affair of `--until-back`.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    reached(&fleet, agents, Duration::from_secs(120)).await?;
    tell(&serde_json::json!({ "linked": agents, "after_ms": begun.elapsed().as_millis() as u64 }))?;
    let browser = (!fleet.token.is_empty()).then(|| tokio::spawn(browser::watch(Arc::clone(&fleet))));
    let (sent, received, messages) = counters(&fleet);
    let measured = Instant::now();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let spent = measured.elapsed().as_secs_f64();
    let (sent_after, received_after, messages_after) = counters(&fleet);
    let rate = |before: u64, after: u64| (after - before) as f64 / spent / agents as f64;
    let mut took = lock(&fleet.took).clone();
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took.get(((took.len() as f64 * share) as usize).min(took.len().saturating_sub(1)));
    tell(&serde_json::json!({
            "agents": agents, "seconds": spent, "linked": fleet.linked.load(Ordering::Relaxed),
            "sent_per_agent": rate(sent, sent_after), "received_per_agent": rate(received, received_after),
            "messages_per_agent": rate(messages, messages_after),
            "probes": took.len(), "lost_probes": lock(&fleet.probing).len(), "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": took.last(),
    }))?;
    if let Some(browser) = browser.filter(tokio::task::JoinHandle::is_finished) {
        browser.await??;
    }
    if until_back {
        all_back(&fleet, agents).await?;
    }
    Ok(())
}

/// One line for whoever started the fleet.
fn tell(what: &serde_json::Value) -> Result<(), Failure> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{what}")?;
    Ok(())
}

fn counters(fleet: &Fleet) -> (u64, u64, u64) {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    (read(&fleet.sent), read(&fleet.received), read(&fleet.messages))
}

async fn reached(fleet: &Fleet, agents: u64, within: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + within;
    while fleet.linked.load(Ordering::Relaxed) < agents {
        if Instant::now() > deadline {
            let linked = fleet.linked.load(Ordering::Relaxed);
            return Err(format!("only {linked} of {agents} agents are linked after {within:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Waits until every link was lost and is there again; tells when the last one was, and how the tries were spread.
async fn all_back(fleet: &Fleet, agents: u64) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(120);
    while fleet.lost.load(Ordering::Relaxed) < agents {
        if Instant::now() > deadline {
            return Err("the links were not lost within 120 s".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let lost_at = now_ms();
    reached(fleet, agents, Duration::from_secs(120)).await?;
    let back_at = now_ms();
    let tries: Vec<u64> = lock(&fleet.tries)
        .iter()
        .copied()
        .filter(|at| *at + 1000 >= lost_at)
        .collect();
    let mut tenths: HashMap<u64, u64> = HashMap::new();
    for at in &tries {
        *tenths.entry(at / 100).or_default() += 1;
    }
    tell(&serde_json::json!({
            "lost_at": lost_at, "back_at": back_at, "tries": tries.len(),
            "most_tries_in_100_ms": tenths.values().max(),
    }))?;
    Ok(())
}
