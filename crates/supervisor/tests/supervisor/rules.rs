//! The rules of PM2, one by one.

use std::time::Duration;

use supervisor::{
    Command, Effect, Event, Exit, Goal, Incarnation, Input, Phase, Policy, Refusal, Status, Supervisor,
};

use crate::story::{ID, Story, living, quick};

#[test]
fn a_start_is_online_at_once_and_answers() {
    let story = quick(Policy::default());
    assert_eq!(story.status(), Some(Status::Online));
    assert_eq!(story.seen, [(Event::Online, Status::Launching)]);
    assert_eq!(story.replies, [Ok(())]);
}

#[test]
fn without_autostart_it_is_entered_as_stopped() {
    let mut story = quick(Policy {
        autostart: false,
        ..Policy::default()
    });
    assert_eq!((story.status(), story.spawns), (Some(Status::Stopped), 0));
    story.command(Command::Start(ID));
    assert_eq!((story.status(), story.restarts()), (Some(Status::Online), 0));
}

#[test]
fn a_crash_is_restarted_at_once() {
    let mut story = quick(Policy::default());
    story.wait(5_000);
    story.exit(Exit::Code(1));
    assert_eq!(
        (story.status(), story.restarts(), story.spawns),
        (Some(Status::Online), 1, 2)
    );
    assert_eq!(
        story.seen[1],
        (
            Event::Exit {
                exit: Some(Exit::Code(1))
            },
            Status::Stopped
        )
    );
}

#[test]
fn always_failing_fast_ends_errored_after_max_restarts_lives() {
    let mut story = quick(Policy {
        max_restarts: 3,
        ..Policy::default()
    });
    for _ in 0..3 {
        story.exit(Exit::Code(1));
    }
    assert_eq!(
        (story.status(), story.restarts(), story.spawns),
        (Some(Status::Errored), 2, 3)
    );
    let facts = story.sup.view(ID).map(|view| view.facts);
    assert_eq!(
        facts.map(|facts| (facts.unstable_restarts, facts.created_at)),
        Some((0, None))
    );
    let last_two = &story.seen[story.seen.len() - 2..];
    assert_eq!(last_two[0], (Event::RestartOverlimit, Status::Errored));
    assert_eq!(
        last_two[1],
        (
            Event::Exit {
                exit: Some(Exit::Code(1))
            },
            Status::Errored
        )
    );
}

#[test]
fn a_stable_life_is_not_counted() {
    let mut story = quick(Policy {
        max_restarts: 3,
        ..Policy::default()
    });
    for _ in 0..10 {
        story.wait(1_000);
        story.exit(Exit::Code(1));
    }
    assert_eq!((story.status(), story.restarts()), (Some(Status::Online), 10));
}

#[test]
fn a_signal_counts_as_code_zero() {
    let mut story = quick(Policy {
        stop_exit_codes: vec![0],
        ..Policy::default()
    });
    story.exit(Exit::Signal(9));
    assert_eq!(story.status(), Some(Status::Stopped));
    assert_eq!(story.sup.view(ID).and_then(|view| view.facts.exit_code), Some(0));
}

#[test]
fn restart_delay_waits_and_a_stop_ends_the_wait() {
    let mut story = quick(Policy {
        restart_delay: Some(Duration::from_millis(500)),
        ..Policy::default()
    });
    story.exit(Exit::Code(1));
    assert_eq!(story.status(), Some(Status::WaitingRestart));
    story.wait(499);
    assert_eq!(story.spawns, 1);
    story.wait(1);
    assert_eq!((story.spawns, story.restarts()), (2, 1));
    story.exit(Exit::Code(1));
    story.command(Command::Stop(ID));
    story.wait(60_000);
    assert_eq!((story.spawns, story.status()), (2, Some(Status::Stopped)));
}

#[test]
fn backoff_grows_by_half_up_to_its_ceiling_and_starts_anew_after_a_stable_life() {
    let backoff = Some(Duration::from_millis(101));
    let mut story = quick(Policy {
        exp_backoff: backoff,
        max_restarts: 1_000,
        ..Policy::default()
    });
    let mut waits = Vec::new();
    for _ in 0..15 {
        story.exit(Exit::Code(1));
        let wait = story.sup.next_deadline().map_or(0, |at| at.0 - story.at);
        waits.push(wait);
        story.wait(wait);
    }
    assert_eq!(waits[..4], [101, 151, 226, 339]);
    assert_eq!(waits[14], 15_000);
    let shown = |story: &Story| story.sup.view(ID).and_then(|view| view.facts.backoff);
    story.wait(30_000);
    assert_eq!(shown(&story), Some(Duration::from_secs(15)));
    story.wait(1);
    assert_eq!(shown(&story), Some(Duration::ZERO), "a stable life shows at once");
    story.exit(Exit::Code(1));
    assert_eq!(story.sup.next_deadline().map(|at| at.0 - story.at), Some(101));
}

#[test]
fn a_stop_gives_two_exit_events_and_kills_what_does_not_listen() {
    let mut story = quick(Policy::default());
    story.command(Command::Stop(ID));
    assert_eq!(story.signals, [2]);
    assert_eq!(
        story.replies.len(),
        1,
        "the stop is not answered before it is done"
    );
    story.wait(1_600);
    assert_eq!(story.signals, [2, 9]);
    story.exit(Exit::Signal(9));
    assert_eq!(story.status(), Some(Status::Stopped));
    let exits: Vec<_> = story
        .seen
        .iter()
        .filter(|(event, _)| matches!(event, Event::Exit { .. }))
        .collect();
    assert_eq!(exits.len(), 2);
    assert_eq!((exits[0].1, exits[1].1), (Status::Stopping, Status::Stopped));
    assert_eq!(story.replies, [Ok(()), Ok(())]);
    assert_eq!(story.restarts(), 0);
}

#[test]
fn a_tree_is_waited_for() {
    let mut story = Story::of(Policy::default());
    story.command(Command::Stop(ID));
    story.exit(Exit::Code(0));
    assert_eq!(story.status(), Some(Status::Stopping), "a descendant still lives");
    story.wait(1_600);
    assert_eq!(story.signals, [2, 9]);
    story.tree_gone();
    assert_eq!(story.status(), Some(Status::Stopped));
}

#[test]
fn what_survives_sigkill_is_errored_and_blocks_a_start() {
    let mut story = quick(Policy::default());
    story.command(Command::Stop(ID));
    story.wait(1_600);
    story.wait(1_600);
    assert_eq!(story.status(), Some(Status::Errored));
    assert_eq!(story.replies.last(), Some(&Err(Refusal::Unkillable)));
    story.command(Command::Start(ID));
    assert_eq!(
        story.replies.last(),
        Some(&Err(Refusal::StillAlive { pid: Some(101) }))
    );
    story.exit(Exit::Signal(9));
    story.command(Command::Start(ID));
    assert_eq!((story.status(), story.spawns), (Some(Status::Online), 2));
}

#[test]
fn a_restart_counts_only_if_it_ran() {
    let mut story = quick(Policy::default());
    story.command(Command::Restart { id: ID, policy: None });
    story.exit(Exit::Code(0));
    assert_eq!(
        (story.status(), story.restarts(), story.spawns),
        (Some(Status::Online), 1, 2)
    );
    story.command(Command::Stop(ID));
    story.exit(Exit::Code(0));
    story.command(Command::Restart { id: ID, policy: None });
    assert_eq!(
        (story.status(), story.restarts(), story.spawns),
        (Some(Status::Online), 1, 3)
    );
}

#[test]
fn a_stop_takes_the_place_of_a_restart_in_progress() {
    let mut story = quick(Policy::default());
    story.command(Command::Restart { id: ID, policy: None });
    story.command(Command::Stop(ID));
    story.exit(Exit::Code(0));
    assert_eq!(story.status(), Some(Status::Stopped));
    assert_eq!(story.replies, [Ok(()), Err(Refusal::Superseded), Ok(())]);
}

#[test]
fn a_restart_while_it_launches_answers_those_who_wait_with_the_life_that_comes() {
    let mut story = quick(Policy {
        wait_ready: true,
        ..Policy::default()
    });
    story.command(Command::Restart { id: ID, policy: None });
    assert_eq!((story.status(), story.replies.len()), (Some(Status::Stopping), 0));
    story.exit(Exit::Code(0));
    assert_eq!(
        (story.status(), story.replies.len()),
        (Some(Status::Launching), 0)
    );
    let incarnation = story.life();
    story.input(Input::Ready { id: ID, incarnation });
    assert_eq!(
        (story.status(), &story.replies[..]),
        (Some(Status::Online), &[Ok(()), Ok(())][..])
    );
}

#[test]
fn wait_ready_answers_on_ready_on_time_out_and_on_exit() {
    let policy = Policy {
        wait_ready: true,
        ..Policy::default()
    };
    let mut story = quick(policy.clone());
    assert_eq!(
        (story.status(), story.replies.len()),
        (Some(Status::Launching), 0)
    );
    let incarnation = story.life();
    story.input(Input::Ready { id: ID, incarnation });
    assert_eq!((story.status(), story.replies.len()), (Some(Status::Online), 1));

    let mut story = quick(policy.clone());
    story.wait(3_000);
    assert_eq!((story.status(), story.replies.len()), (Some(Status::Online), 1));

    let mut story = quick(Policy {
        autorestart: false,
        ..policy
    });
    story.exit(Exit::Code(1));
    assert_eq!((story.status(), story.replies.len()), (Some(Status::Stopped), 1));
}

#[test]
fn what_tells_that_it_has_booted_is_online_then_or_after_a_while() {
    let policy = Policy {
        tells_boot: true,
        ..Policy::default()
    };
    let mut story = quick(policy.clone());
    assert_eq!(story.status(), Some(Status::Launching));
    let incarnation = story.life();
    story.input(Input::Booted { id: ID, incarnation });
    assert_eq!((story.status(), story.replies.len()), (Some(Status::Online), 1));

    let mut story = quick(policy.clone());
    story.wait(3_000);
    assert_eq!(story.status(), Some(Status::Online));

    let mut story = quick(Policy {
        wait_ready: true,
        ..policy
    });
    let incarnation = story.life();
    story.input(Input::Booted { id: ID, incarnation });
    assert_eq!(story.status(), Some(Status::Launching), "it promised more");
}

#[test]
fn shutdown_with_message_asks_before_it_kills() {
    let policy = Policy {
        shutdown_with_message: true,
        ..Policy::default()
    };
    let mut story = Story::of(policy.clone());
    story.command(Command::Stop(ID));
    assert_eq!((story.asked, story.signals.len()), (1, 0));
    story.exit(Exit::Code(0));
    assert_eq!(story.status(), Some(Status::Stopped));

    let mut story = Story::of(policy);
    let incarnation = story.life();
    story.input(Input::ChannelClosed { id: ID, incarnation });
    story.command(Command::Stop(ID));
    assert_eq!(
        (story.asked, &story.signals[..]),
        (0, &[2][..]),
        "a closed channel carries no message"
    );
}

#[test]
fn too_much_memory_restarts() {
    let mut story = quick(Policy {
        max_memory: Some(1_000),
        ..Policy::default()
    });
    let incarnation = story.life();
    story.input(Input::Memory {
        id: ID,
        incarnation,
        rss: 1_000,
    });
    assert_eq!(story.signals.len(), 0, "the limit itself is allowed");
    story.input(Input::Memory {
        id: ID,
        incarnation,
        rss: 1_001,
    });
    story.exit(Exit::Code(0));
    assert_eq!((story.status(), story.restarts()), (Some(Status::Online), 1));
}

#[test]
fn delete_forgets_and_reset_zeroes() {
    let mut story = quick(Policy::default());
    story.wait(2_000);
    story.exit(Exit::Code(1));
    assert_eq!(story.restarts(), 1);
    story.command(Command::Reset(ID));
    assert_eq!(story.restarts(), 0);
    story.command(Command::Delete(ID));
    story.command(Command::Start(ID));
    assert_eq!(story.replies.last(), Some(&Err(Refusal::BeingDeleted)));
    story.exit(Exit::Code(0));
    assert_eq!(story.status(), None);
    story.command(Command::Stop(ID));
    assert_eq!(story.replies.last(), Some(&Err(Refusal::UnknownId(ID))));
}

#[test]
fn while_draining_nothing_comes_back() {
    let mut story = quick(Policy {
        restart_delay: Some(Duration::from_secs(1)),
        ..Policy::default()
    });
    story.input(Input::Draining);
    story.exit(Exit::Code(1));
    story.wait(60_000);
    assert_eq!((story.status(), story.spawns), (Some(Status::Stopped), 1));
}

#[test]
fn once_draining_is_over_what_ends_comes_back_again() {
    let mut story = quick(Policy::default());
    story.input(Input::Draining);
    story.input(Input::GoingOn);
    story.exit(Exit::Code(1));
    assert_eq!((story.status(), story.spawns), (Some(Status::Online), 2));
}

#[test]
fn an_adopted_process_keeps_its_life_and_its_counters() {
    let mut first = quick(Policy::default());
    first.wait(5_000);
    first.exit(Exit::Code(1));
    let Some(kept) = first.sup.restorable(ID) else {
        panic!("no record")
    };
    let life = first.life();
    let mut second = Supervisor::new(Incarnation(1));
    assert!(second.adopt(
        first.now(),
        ID,
        Policy::default(),
        None,
        kept,
        &[living(life, 102)]
    ));
    let Some(view) = second.view(ID) else {
        panic!("no view")
    };
    assert_eq!(
        (view.status, view.pid, view.incarnation),
        (Status::Online, Some(102), Some(life))
    );
    assert_eq!(view.facts.restarts, 1);
    while let Some(effect) = second.poll_effect() {
        assert_eq!(effect, Effect::Changed(ID));
    }
    second.handle(
        first.now(),
        Input::Exited {
            id: ID,
            incarnation: life,
            exit: Exit::Code(1),
        },
    );
    let spawned = std::iter::from_fn(|| second.poll_effect())
        .any(|effect| matches!(effect, Effect::Spawn { incarnation, .. } if incarnation > life));
    assert!(spawned);
}

#[test]
fn an_adopted_stop_is_begun_anew() {
    let mut story = quick(Policy::default());
    story.command(Command::Stop(ID));
    let Some(kept) = story.sup.restorable(ID) else {
        panic!("no record")
    };
    assert!(matches!(kept.phase, Phase::Stopping(_, _, Goal::Stop)));
    let life = story.life();
    let mut second = Supervisor::new(Incarnation(1));
    assert!(second.adopt(
        story.now(),
        ID,
        Policy::default(),
        None,
        kept,
        &[living(life, 101)]
    ));
    let again =
        std::iter::from_fn(|| second.poll_effect()).any(|effect| matches!(effect, Effect::Signal { .. }));
    assert!(again);
}
