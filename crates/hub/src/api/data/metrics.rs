//! The history of metrics, in the shapes that PM2's client knows.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::shape::Names;
use super::time;
use crate::api::ApiError;
use crate::api::input::Input;
use crate::auth::Member;
use crate::clock::iso;
use crate::ids::ServerId;
use crate::state::AppState;
use crate::store::telemetry::{Point, RangeQuery, SeriesRange};

/// Aggregations in one request.
const MAX_AGGREGATIONS: usize = 50;
/// Points of one series, unless an interval asks for more.
const POINTS: u32 = 300;
/// Points of one series at most.
const MAX_POINTS: u32 = 5_000;
/// How far back a list of metrics looks.
const LISTED_MS: i64 = 24 * 3600 * 1000;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/bucket/{id}/data/metrics", post(metadatas))
        .route("/api/bucket/{id}/data/metrics/list", post(list))
        .route("/api/bucket/{id}/data/metrics/aggregations", post(aggregations))
        .route("/api/bucket/{id}/data/metrics/histogram", post(histogram))
        .route(
            "/api/bucket/{id}/data/metrics/histogramPrecise",
            post(histogram_precise),
        )
}

/// One name or several, or none for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Only(Option<BTreeSet<String>>);

impl Only {
    fn of(value: Option<&Value>) -> Self {
        match value {
            Some(Value::String(name)) if !name.is_empty() => Self(Some(BTreeSet::from([name.clone()]))),
            Some(Value::Array(names)) if !names.is_empty() => Self(Some(
                names
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect(),
            )),
            _ => Self(None),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|names| names.contains(name))
    }
}

/// The names of the bucket's servers, for filters and answers.
pub(super) async fn names(state: &AppState, member: &Member) -> Result<Names, ApiError> {
    state
        .live
        .bucket(member.bucket.id)
        .ask(Names::of)
        .await
        .map_err(|_| ApiError::not_found("bucket"))
}

#[derive(Debug, Deserialize)]
struct List {
    servers: Option<Value>,
    apps: Option<Value>,
    initiator: Option<String>,
}

async fn list(
    State(state): State<AppState>,
    member: Member,
    Input(body): Input<List>,
) -> Result<Json<Value>, ApiError> {
    // Metrics come from processes here; other initiators have none.
    if body
        .initiator
        .as_deref()
        .is_some_and(|i| !matches!(i, "" | "nodejs"))
    {
        return Ok(Json(json!([])));
    }
    let (servers, apps) = (Only::of(body.servers.as_ref()), Only::of(body.apps.as_ref()));
    let names = names(&state, &member).await?;
    let series = state
        .telemetry
        .series(member.bucket.id, None, state.now_ms() - LISTED_MS)
        .await?;
    let list: Value = series
        .iter()
        .filter_map(|series| {
            let (server, app) = (names.name(series.server)?, series.app.as_deref()?);
            (servers.has(server) && apps.has(app)).then(|| {
                json!({
                    "name": series.metric,
                    "unit": series.unit,
                    "initiator": "nodejs",
                    "process": { "server": server, "name": app, "pm_id": series.pm_id },
                    "metadata": {},
                })
            })
        })
        .collect();
    Ok(Json(list))
}

#[derive(Debug, Deserialize)]
struct Metadatas {
    app_name: String,
    server_name: Option<String>,
    before: Option<Value>,
}

async fn metadatas(
    State(state): State<AppState>,
    member: Member,
    Input(body): Input<Metadatas>,
) -> Result<Json<Value>, ApiError> {
    let since = state.now_ms() - time::minutes(body.before.as_ref(), 720)?;
    let names = names(&state, &member).await?;
    let series = state.telemetry.series(member.bucket.id, None, since).await?;
    let mut probes: BTreeMap<&str, &str> = BTreeMap::new();
    for series in &series {
        let named = body
            .server_name
            .as_deref()
            .is_none_or(|wanted| names.name(series.server) == Some(wanted));
        if named && series.app.as_deref() == Some(&body.app_name) {
            probes.insert(&series.metric, &series.unit);
        }
    }
    Ok(Json(
        probes
            .into_iter()
            .map(|(name, unit)| json!({ "name": name, "unit": unit }))
            .collect(),
    ))
}

#[derive(Debug, Deserialize)]
struct Aggregations {
    aggregations: Vec<Aggregation>,
}

#[derive(Debug, Deserialize)]
struct Aggregation {
    name: String,
    #[serde(default)]
    types: Vec<String>,
    start: Value,
    end: Option<Value>,
    apps: Option<Value>,
    servers: Option<Value>,
    /// Seconds between two points.
    interval: Option<f64>,
    initiator: Option<String>,
}

async fn aggregations(
    State(state): State<AppState>,
    member: Member,
    Input(body): Input<Aggregations>,
) -> Result<Json<Value>, ApiError> {
    if body.aggregations.len() > MAX_AGGREGATIONS {
        return Err(ApiError::bad_request(format!(
            "at most {MAX_AGGREGATIONS} aggregations at once"
        )));
    }
    let names = names(&state, &member).await?;
    let mut answers = Vec::with_capacity(body.aggregations.len());
    for aggregation in &body.aggregations {
        answers.push(aggregate(&state, &member, &names, aggregation).await?);
    }
    Ok(Json(Value::Array(answers)))
}

async fn aggregate(
    state: &AppState,
    member: &Member,
    names: &Names,
    asked: &Aggregation,
) -> Result<Value, ApiError> {
    let now = state.now_ms();
    let (from, to) = (
        time::parse(&asked.start, now)?,
        time::parse_or(asked.end.as_ref(), now, now)?,
    );
    let (servers, apps) = (Only::of(asked.servers.as_ref()), Only::of(asked.apps.as_ref()));
    let mut ranges = Vec::new();
    if from < to
        && asked
            .initiator
            .as_deref()
            .is_none_or(|i| matches!(i, "" | "nodejs"))
    {
        ranges = range(
            state,
            member,
            &asked.name,
            from,
            to,
            points(to - from, asked.interval),
        )
        .await?;
        ranges.retain(|r| {
            names.name(r.series.server).is_some_and(|name| servers.has(name))
                && r.series.app.as_deref().is_some_and(|app| apps.has(app))
        });
    }
    let mut answer = json!({ "histogram": histogram_of(ranges.iter()) });
    let wants = |kind: &str| asked.types.iter().any(|t| t == kind);
    if wants("servers") {
        answer["by_server"] = grouped(&ranges, |r| names.name(r.series.server));
    }
    if wants("apps") {
        answer["by_app"] = grouped(&ranges, |r| r.series.app.as_deref());
    }
    Ok(answer)
}

async fn range(
    state: &AppState,
    member: &Member,
    metric: &str,
    from_ms: i64,
    to_ms: i64,
    points: u32,
) -> Result<Vec<SeriesRange>, ApiError> {
    let query = RangeQuery {
        bucket: member.bucket.id,
        server: None,
        app: None,
        pm_id: None,
        metric: metric.to_owned(),
        from_ms,
        to_ms,
        points,
    };
    Ok(state.telemetry.range(query).await?)
}

fn points(width_ms: i64, interval_s: Option<f64>) -> u32 {
    match interval_s {
        Some(seconds) if seconds > 0.0 => (width_ms as f64 / (seconds * 1000.0))
            .ceil()
            .clamp(1.0, f64::from(MAX_POINTS)) as u32,
        _ => POINTS,
    }
}

fn grouped<'a>(ranges: &'a [SeriesRange], key: impl Fn(&'a SeriesRange) -> Option<&'a str>) -> Value {
    let mut groups: BTreeMap<&str, Vec<&SeriesRange>> = BTreeMap::new();
    for range in ranges {
        if let Some(key) = key(range) {
            groups.entry(key).or_default().push(range);
        }
    }
    let buckets: Value = groups
        .into_iter()
        .map(|(key, ranges)| {
            let count: u64 = ranges.iter().flat_map(|r| &r.points).map(|p| p.count).sum();
            json!({ "key": key, "doc_count": count, "histogram": histogram_of(ranges.into_iter()) })
        })
        .collect();
    json!({ "buckets": buckets })
}

/// Points of several series as one, step by step.
fn merged<'a>(ranges: impl Iterator<Item = &'a SeriesRange>) -> BTreeMap<i64, Point> {
    let mut steps: BTreeMap<i64, Point> = BTreeMap::new();
    for point in ranges.flat_map(|range| &range.points) {
        steps
            .entry(point.at_ms)
            .and_modify(|step| {
                step.min = step.min.min(point.min);
                step.max = step.max.max(point.max);
                step.sum += point.sum;
                step.count += point.count;
            })
            .or_insert(*point);
    }
    steps
}

fn histogram_of<'a>(ranges: impl Iterator<Item = &'a SeriesRange>) -> Value {
    let buckets: Value = merged(ranges)
        .into_values()
        .map(|point| {
            json!({
                "key": point.at_ms,
                "key_as_string": iso(point.at_ms),
                "doc_count": point.count,
                "stats": {
                    "count": point.count, "min": point.min, "max": point.max, "avg": point.avg(), "sum": point.sum,
                },
            })
        })
        .collect();
    json!({ "buckets": buckets })
}

#[derive(Debug, Deserialize)]
struct Histogram {
    app_name: Option<String>,
    server_name: Option<String>,
    interval: Option<String>,
    before: Option<Value>,
}

async fn histogram(
    State(state): State<AppState>,
    member: Member,
    Input(body): Input<Histogram>,
) -> Result<Json<Value>, ApiError> {
    let to = state.now_ms();
    let width = time::minutes(body.before.as_ref(), 60)?.max(60_000);
    let step_ms: i64 = match body.interval.as_deref() {
        Some("second") => 1000,
        Some("hour") => 3_600_000,
        Some("day") => 24 * 3_600_000,
        _ => 60_000,
    };
    let points = u32::try_from(width / step_ms)
        .unwrap_or(MAX_POINTS)
        .clamp(1, MAX_POINTS);
    let names = names(&state, &member).await?;
    let mut series = state.telemetry.series(member.bucket.id, None, to - width).await?;
    series.retain(|s| {
        body.app_name
            .as_deref()
            .is_none_or(|app| s.app.as_deref() == Some(app))
            && body
                .server_name
                .as_deref()
                .is_none_or(|server| names.name(s.server) == Some(server))
    });
    let metrics: BTreeSet<&str> = series.iter().map(|s| s.metric.as_str()).collect();
    let mut answer = json!({});
    for metric in metrics {
        let ranges = range(&state, &member, metric, to - width, to, points).await?;
        let mut by: BTreeMap<(ServerId, &str), Vec<&SeriesRange>> = BTreeMap::new();
        for range in &ranges {
            if let Some(app) = range.series.app.as_deref() {
                by.entry((range.series.server, app)).or_default().push(range);
            }
        }
        for ((server, app), ranges) in by {
            let wanted = series
                .iter()
                .any(|s| s.server == server && s.app.as_deref() == Some(app));
            let Some(name) = names.name(server).filter(|_| wanted) else {
                continue;
            };
            let points: Value = merged(ranges.into_iter())
                .into_values()
                .map(|p| json!([p.at_ms, p.avg()]))
                .collect();
            answer[name][app][metric] = json!({ "agg_type": "avg", "timestamps_and_stats": points });
        }
    }
    Ok(Json(answer))
}

#[derive(Debug, Deserialize)]
struct Precise {
    probe: String,
    app: String,
    server: String,
    after: Option<Value>,
}

async fn histogram_precise(
    State(state): State<AppState>,
    member: Member,
    Input(body): Input<Precise>,
) -> Result<Json<Value>, ApiError> {
    let now = state.now_ms();
    let from = time::parse_or(body.after.as_ref(), now, now - 5 * 60_000)?;
    let names = names(&state, &member).await?;
    let Some(server) = names.id(&body.server).filter(|_| from < now) else {
        return Ok(Json(json!([])));
    };
    let mut ranges = range(&state, &member, &body.probe, from, now, MAX_POINTS).await?;
    ranges.retain(|r| r.series.server == server && r.series.app.as_deref() == Some(&body.app));
    Ok(Json(
        merged(ranges.iter())
            .into_values()
            .map(|p| json!([p.at_ms, p.avg()]))
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::telemetry::SeriesInfo;

    fn series(app: &str, points: &[(i64, f64, u64)]) -> SeriesRange {
        SeriesRange {
            series: SeriesInfo {
                server: ServerId::from_bytes([1; 12]),
                app: Some(app.into()),
                pm_id: Some(0),
                metric: "cpu".into(),
                unit: "%".into(),
            },
            step_ms: 1000,
            points: points
                .iter()
                .map(|(at_ms, sum, count)| Point {
                    at_ms: *at_ms,
                    min: *sum,
                    max: *sum,
                    sum: *sum,
                    count: *count,
                })
                .collect(),
        }
    }

    #[test]
    fn instances_are_added_up_step_by_step() {
        let ranges = [
            series("api", &[(0, 2.0, 1), (1000, 4.0, 1)]),
            series("api", &[(1000, 8.0, 3)]),
        ];
        let histogram = histogram_of(ranges.iter());
        let stats = |n: usize| histogram["buckets"][n]["stats"].clone();
        assert_eq!(
            stats(0),
            json!({ "count": 1, "min": 2.0, "max": 2.0, "avg": 2.0, "sum": 2.0 })
        );
        assert_eq!(
            stats(1),
            json!({ "count": 4, "min": 4.0, "max": 8.0, "avg": 3.0, "sum": 12.0 })
        );
        assert_eq!(
            histogram["buckets"][1]["key_as_string"],
            "1970-01-01T00:00:01.000Z"
        );
    }

    #[test]
    fn groups_have_their_own_points() {
        let ranges = [series("api", &[(0, 1.0, 1)]), series("job", &[(0, 5.0, 1)])];
        let by_app = grouped(&ranges, |r| r.series.app.as_deref());
        let keys: Vec<_> = by_app["buckets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|b| b["key"].clone())
            .collect();
        assert_eq!(keys, ["api", "job"]);
        assert_eq!(
            by_app["buckets"][1]["histogram"]["buckets"][0]["stats"]["avg"],
            5.0
        );
    }

    #[test]
    fn an_impossible_name_means_nothing_and_not_everything() {
        assert!(!Only::of(Some(&json!(["nobody"]))).has("web"));
        assert!(Only::of(Some(&json!([]))).has("web"));
        assert!(Only::of(None).has("web"));
        assert!(Only::of(Some(&json!("web"))).has("web"));
    }

    #[test]
    fn an_interval_decides_the_number_of_points() {
        assert_eq!(points(60_000, Some(10.0)), 6);
        assert_eq!(points(60_000, Some(0.0)), POINTS);
        assert_eq!(points(i64::MAX, Some(0.001)), MAX_POINTS);
    }
}
