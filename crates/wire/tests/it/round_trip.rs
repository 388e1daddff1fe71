//! What is sent is what arrives.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use wire::action::{
    Action, ActionError, ActionErrorCode, ActionRequest, ActionResult, Custom, Module, Scale, Target, Verb,
};
use wire::live::View;
use wire::message::{Allowed, Events, Exceptions, LogBatch, Report, ReportBody};
use wire::telemetry::{
    ActionKind, AppAction, Event, EventKind, Exception, ExecMode, Host, LogLine, LogStream, Metric, Metrics,
    Process, ProcessRef, ProcessStatus, SampleBatch, Series, Value,
};
use wire::{AgentMessage, HubMessage};

fn text() -> impl Strategy<Value = String> {
    "[a-zé \"\\\\]{0,12}"
}

/// Numbers that metrics are made of: whole, decimal, and any finite one.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<i32>().prop_map(f64::from),
        (any::<i32>(), 0..5i32).prop_map(|(n, s)| f64::from(n) / 10f64.powi(s)),
        any::<f64>().prop_filter("finite", |v| v.is_finite()),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        number().prop_map(Value::Number),
        text().prop_map(Value::Text),
        any::<bool>().prop_map(Value::Bool)
    ]
}

fn metrics() -> impl Strategy<Value = Metrics> {
    let metric = (value(), text(), text(), any::<bool>()).prop_map(|(value, unit, kind, historic)| Metric {
        value,
        unit,
        kind,
        historic,
    });
    btree_map(text(), metric, 0..5).prop_map(Metrics)
}

fn process() -> impl Strategy<Value = Process> {
    let status = prop_oneof![
        proptest::sample::select(ProcessStatus::ALL),
        (100..200u32).prop_map(ProcessStatus::Unknown)
    ];
    let action = (text(), 0..4u32).prop_map(|(name, arity)| AppAction {
        name,
        kind: ActionKind::Internal,
        arity,
        opts: String::new(),
    });
    (
        (text(), any::<u32>(), status, number(), any::<u64>()),
        (any::<u64>(), vec(action, 0..3), metrics(), vec(text(), 0..3)),
    )
        .prop_map(
            |((name, pid, status, cpu, memory), (started_at, actions, metrics, interpreter_args))| Process {
                name,
                pid,
                status,
                exec_mode: ExecMode::Cluster,
                cpu,
                memory,
                started_at,
                actions,
                metrics,
                interpreter_args,
                ..Process::default()
            },
        )
}

fn view() -> impl Strategy<Value = View> {
    let host =
        (any::<u64>(), number(), metrics(), text()).prop_map(|(free_mem, load1, metrics, internal_ip)| {
            Host {
                free_mem,
                load1,
                metrics,
                internal_ip,
                ..Host::default()
            }
        });
    (
        any::<u64>(),
        any::<u64>(),
        host,
        btree_map(0..6u32, process(), 0..5),
    )
        .prop_map(|(rev, at, host, processes)| View {
            rev,
            at,
            host,
            processes,
        })
}

fn samples() -> impl Strategy<Value = SampleBatch> {
    (
        vec(1..5_000u64, 0..20),
        1..4usize,
        1_700_000_000_000..1_800_000_000_000u64,
    )
        .prop_flat_map(|(steps, n, start)| {
            let at: Vec<u64> = steps
                .iter()
                .scan(start, |t, s| {
                    *t += s;
                    Some(*t)
                })
                .collect();
            let one = (
                option::of(0..9u32),
                text(),
                text(),
                vec(option::of(number()), at.len()),
            )
                .prop_map(|(pm_id, app, metric, values)| Series {
                    pm_id,
                    app,
                    metric,
                    unit: String::new(),
                    values,
                });
            vec(one, n).prop_map(move |series| SampleBatch {
                at: at.clone(),
                series,
            })
        })
}

fn report() -> impl Strategy<Value = Report> {
    let of = || {
        (any::<u32>(), text()).prop_map(|(pm_id, name)| ProcessRef {
            pm_id,
            name,
            ..ProcessRef::default()
        })
    };
    let event = (any::<u64>(), text(), option::of(of()), any::<bool>(), text()).prop_map(
        |(at, name, process, manually, data)| Event {
            at,
            kind: EventKind::Custom,
            name,
            process,
            manually,
            data,
        },
    );
    let exception = (any::<u64>(), of(), text(), text(), vec(text(), 0..8)).prop_map(
        |(at, process, message, stack, last_logs)| Exception {
            at,
            process,
            message,
            stack,
            last_logs,
            ..Exception::default()
        },
    );
    let body = prop_oneof![
        samples().prop_map(ReportBody::Samples),
        vec(event, 0..5).prop_map(|list| ReportBody::Events(Events { list })),
        vec(exception, 0..5).prop_map(|list| ReportBody::Exceptions(Exceptions { list })),
    ];
    (any::<u64>(), 0..3u64, body).prop_map(|(seq, dropped, body)| Report { seq, dropped, body })
}

/// Any message of an agent, for the other tests too.
pub(crate) fn agent_message() -> impl Strategy<Value = AgentMessage> {
    let line = (any::<u64>(), any::<u32>(), text(), text()).prop_map(|(at, pm_id, name, data)| LogLine {
        at,
        pm_id,
        name,
        stream: LogStream::Err,
        data,
    });
    let result = (any::<u64>(), option::of(text()), text()).prop_map(|(id, message, data)| ActionResult {
        id,
        error: message.map(|message| ActionError {
            code: ActionErrorCode::Denied,
            message,
        }),
        data,
        took_ms: 3,
    });
    prop_oneof![
        view().prop_map(|v| v.snapshot().into()),
        (view(), view()).prop_map(|(a, b)| a.diff(&b).into()),
        report().prop_map(AgentMessage::from),
        (vec(line, 0..5), any::<u64>()).prop_map(|(lines, dropped)| LogBatch { lines, dropped }.into()),
        Just(
            Allowed {
                verbs: Verb::ALL.to_vec()
            }
            .into()
        ),
        result.prop_map(AgentMessage::from),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let target = prop_oneof![
        any::<u32>().prop_map(Target::Process),
        text().prop_map(Target::App)
    ];
    (target, text(), any::<i32>(), 0..14u8).prop_map(|(target, text, number, which)| match which {
        0 => Action::Restart(target),
        1 => Action::Reload(target),
        2 => Action::Stop(target),
        3 => Action::Start(target),
        4 => Action::Scale(Scale {
            app: text,
            number,
            relative: number < 0,
        }),
        5 => Action::Custom(Custom {
            target,
            name: text,
            opts: String::new(),
            uuid: String::new(),
        }),
        6 => Action::Ping,
        7 => Action::Pull(target),
        8 => Action::Backward(target),
        9 => Action::Forward(target),
        10 => Action::Install(Module {
            name: "pm2-logrotate".into(),
        }),
        11 => Action::Monitor(target),
        12 => Action::Unmonitor(target),
        _ => Action::Delete(target),
    })
}

/// Any action request of a hub.
pub(crate) fn hub_message() -> impl Strategy<Value = HubMessage> {
    (any::<u64>(), action(), any::<u32>(), text()).prop_map(|(id, action, timeout_ms, by)| {
        ActionRequest {
            id,
            action,
            timeout_ms,
            by,
        }
        .into()
    })
}

proptest! {
    #[test]
    fn an_agent_message_arrives_as_it_was_sent(message in agent_message()) {
        let frame = message.to_frame().unwrap();
        prop_assert_eq!(AgentMessage::from_frame(&frame).unwrap(), message);
    }

    #[test]
    fn a_hub_message_arrives_as_it_was_sent(message in hub_message()) {
        let frame = message.to_frame().unwrap();
        prop_assert_eq!(HubMessage::from_frame(&frame).unwrap(), message);
    }

    #[test]
    fn a_delta_turns_one_view_into_the_next(before in view(), next in view()) {
        let delta = before.diff(&next);
        let frame = AgentMessage::from(delta).to_frame().unwrap();
        let AgentMessage::Delta(delta) = AgentMessage::from_frame(&frame).unwrap() else { panic!("not a delta") };
        let mut seen = before.clone();
        seen.apply(delta).unwrap();
        prop_assert_eq!(seen, next);
    }

    #[test]
    fn equal_views_differ_by_nothing(view in view()) {
        prop_assert!(view.diff(&view).is_empty());
    }

    #[test]
    fn a_snapshot_rebuilds_the_view(view in view(), other in view()) {
        let mut seen = other;
        seen.reset(view.snapshot());
        prop_assert_eq!(seen, view);
    }

    #[test]
    fn a_delta_on_another_base_changes_nothing(before in view(), next in view()) {
        let mut delta = before.diff(&next);
        delta.base = before.rev.wrapping_add(1);
        let mut seen = before.clone();
        prop_assert!(seen.apply(delta).is_err());
        prop_assert_eq!(seen, before);
    }
}

/// The figures that apps send every second must stay small on the wire.
#[test]
fn a_minute_of_ordinary_samples_is_small() {
    let at: Vec<u64> = (0..60).map(|i| 1_767_225_600_000 + i * 1000 + i % 3).collect();
    let series = (0..100u32)
        .flat_map(|pm_id| {
            let cpu = (0..60)
                .map(|i| Some(f64::from((pm_id + i) % 17) / 10.0))
                .collect();
            let memory = (0..60)
                .map(|i| Some(5e7 + f64::from(4096 * ((pm_id * i) % 7))))
                .collect();
            let series = |metric: &str, values| Series {
                pm_id: Some(pm_id),
                app: "api".into(),
                metric: metric.into(),
                unit: String::new(),
                values,
            };
            [series("cpu", cpu), series("memory", memory)]
        })
        .collect();
    let batch = SampleBatch { at, series };
    assert!(batch.is_consistent());
    let report = AgentMessage::from(Report {
        seq: 1,
        dropped: 0,
        body: ReportBody::Samples(batch),
    });
    let bytes = report.to_frame().unwrap().len();
    assert!(bytes < 12_000, "12,000 samples took {bytes} bytes");
}
