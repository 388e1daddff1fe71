//! Fills a store with what a fleet reports and tells what it costs: samples a second of time and of CPU, bytes a sample, time
//! of a query.
//!
//! `cargo run --release -p hub --example history -- [hosts] [minutes]`

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use hub::Clock;
use hub::ids::{BucketId, ServerId};
use hub::options::Retention;
use hub::store::Telemetry;
use hub::store::sqlite::{DataFolder, SqliteTelemetry};
use hub::store::telemetry::{Batch, RangeQuery, Sample};

const APPS: usize = 20;
const BEGIN: i64 = 604_800_000 * 2_800;
const BUCKET: BucketId = BucketId::from_bytes([1; 12]);

/// A small generator of noise: the same fleet at each run.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// About normal, mean 0 and deviation 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// One process of the fleet.
struct App {
    name: Arc<str>,
    level: f64,
    pages: f64,
    handles: f64,
}

impl App {
    /// What it reports in a second: cpu, memory, event loop, handles, requests.
    fn report(&mut self, at_ms: i64, noise: &mut Noise, into: &mut Vec<Sample>) {
        self.pages = (self.pages + noise.normal() * 12.0).max(5_000.0).round();
        if noise.uniform() < 0.05 {
            self.handles += noise.normal().round();
        }
        let values = [
            (
                "cpu",
                ((self.level + noise.normal() * self.level / 4.0).max(0.0) * 10.0).round() / 10.0,
            ),
            ("memory", self.pages * 4096.0),
            (
                "Event Loop Latency",
                ((0.4 - noise.uniform().ln() * 0.4) * 100.0).round() / 100.0,
            ),
            ("Active handles", self.handles),
            ("HTTP", ((self.level * 40.0) + noise.normal() * 5.0).round()),
        ];
        let unit: Arc<str> = "".into();
        into.extend(values.map(|(metric, value)| Sample {
            app: Some(self.name.clone()),
            pm_id: Some(0),
            metric: metric.into(),
            unit: unit.clone(),
            at_ms,
            value,
        }));
    }
}

/// CPU that all threads of this process have used, ns.
fn cpu_ns() -> u64 {
    let used = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    let tasks = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    tasks.filter_map(used).sum()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<usize>());
    let hosts = args.next().unwrap_or(Ok(20))?;
    let minutes = args.next().unwrap_or(Ok(60))? as i64;
    let path = std::env::temp_dir().join(format!("pilothouse-history-{}", std::process::id()));
    let folder = DataFolder::hold(&path)?;
    let clock = Clock::held(BEGIN);
    let store = SqliteTelemetry::open(folder.path(), Retention::default(), clock.clone())?;
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut fleet: Vec<(ServerId, Vec<App>)> = (0..hosts)
        .map(|host| {
            let mut id = [0; 12];
            id[..8].copy_from_slice(&(host as u64).to_be_bytes());
            let apps = (0..APPS).map(|n| App {
                name: format!("app-{n}").into(),
                level: noise.uniform() * 20.0,
                pages: 10_000.0 + noise.uniform() * 30_000.0,
                handles: (noise.uniform() * 30.0).round(),
            });
            (ServerId::from_bytes(id), apps.collect())
        })
        .collect();

    let (mut taken, mut spent, mut cpu) = (0usize, std::time::Duration::ZERO, 0u64);
    for second in 0..minutes * 60 {
        let at_ms = BEGIN + second * 1000;
        clock.set(at_ms);
        let batches: Vec<Batch> = fleet
            .iter_mut()
            .map(|(server, apps)| {
                let mut samples = Vec::with_capacity(APPS * 5);
                apps.iter_mut()
                    .for_each(|app| app.report(at_ms, &mut noise, &mut samples));
                Batch {
                    bucket: BUCKET,
                    server: *server,
                    source: Some(("s".into(), second as u64 + 1)),
                    samples,
                    events: vec![],
                }
            })
            .collect();
        taken += batches.iter().map(|batch| batch.samples.len()).sum::<usize>();
        let (begun, before) = (Instant::now(), cpu_ns());
        futures_util::future::try_join_all(batches.into_iter().map(|batch| store.append(batch))).await?;
        store.maintain(at_ms).await?;
        spent += begun.elapsed();
        cpu += cpu_ns().saturating_sub(before);
    }
    clock.set(BEGIN + minutes * 60_000 + 70_000);
    for _ in 0..200 {
        clock.set(clock.now_ms() + 1000);
        store.maintain(clock.now_ms()).await?;
    }
    let query = |span_ms: i64, points| RangeQuery {
        bucket: BUCKET,
        server: Some(fleet[0].0),
        app: Some("app-7".into()),
        pm_id: None,
        metric: "cpu".into(),
        from_ms: BEGIN + minutes * 60_000 - span_ms,
        to_ms: BEGIN + minutes * 60_000,
        points,
    };
    let mut out = std::io::stdout().lock();
    for (name, query) in [
        ("10 min, every second", query(600_000, 601)),
        ("24 h in 500 points", query(86_400_000, 500)),
    ] {
        let mut times = Vec::new();
        for _ in 0..50 {
            let begun = Instant::now();
            store.range(query.clone()).await?;
            times.push(begun.elapsed());
        }
        times.sort();
        writeln!(out, "{name}: {:?} median, {:?} slowest", times[25], times[49])?;
    }
    store.close().await?;
    let bytes = std::fs::metadata(path.join("telemetry.db"))?.len();
    writeln!(
        out,
        "{taken} samples, {:.0} a second, {:.0} a second of CPU",
        taken as f64 / spent.as_secs_f64(),
        taken as f64 / (cpu as f64 / 1e9)
    )?;
    writeln!(out, "{:.3} bytes a sample on disk", bytes as f64 / taken as f64)?;
    if std::env::var_os("KEEP").is_none() {
        std::fs::remove_dir_all(&path)?;
    } else {
        writeln!(out, "kept {}", path.display())?;
    }
    Ok(())
}
