//! Reload, one rule at a time.

use std::time::Duration;

use supervisor::{
    Command, Effect, Event, Exit, Goal, Incarnation, Input, Phase, Policy, Refusal, ReloadFailure, Status,
    Supervisor,
};

use crate::story::{ID, Story, living, quick};

fn overlapping() -> Policy {
    Policy {
        overlap: true,
        ..Policy::default()
    }
}

fn reload(policy: Option<Policy>) -> Command {
    Command::Reload {
        id: ID,
        policy: policy.map(Box::new),
        soft: false,
    }
}

/// A process whose reload has just been asked for; with its old life.
fn reloading(policy: Policy) -> (Story, Incarnation) {
    let mut story = quick(policy);
    story.wait(5_000);
    let old = story.life();
    story.command(reload(None));
    (story, old)
}

impl Story {
    fn listening(&mut self) {
        let incarnation = self.life();
        self.input(Input::Listening { id: ID, incarnation });
    }

    fn broken(&mut self) {
        let incarnation = self.life();
        self.input(Input::Broken { id: ID, incarnation });
    }

    fn end_of(&mut self, incarnation: Incarnation, exit: Exit) {
        self.input(Input::Exited {
            id: ID,
            incarnation,
            exit,
        });
    }

    fn close_channel(&mut self, incarnation: Incarnation) {
        self.input(Input::ChannelClosed { id: ID, incarnation });
    }

    fn former(&self) -> Option<Incarnation> {
        self.sup.view(ID).and_then(|view| view.former)
    }
}

#[test]
fn the_old_life_serves_until_the_new_one_listens_and_the_answer_comes_when_it_has_ended() {
    let (mut story, old) = reloading(overlapping());
    let new = story.life();
    assert!(new > old);
    assert_eq!(
        (story.status(), story.former()),
        (Some(Status::Launching), Some(old))
    );
    assert_eq!(
        (story.signals.len(), story.retired.len(), story.replies.len()),
        (0, 0, 1)
    );
    story.listening();
    assert_eq!(
        (story.status(), &story.retired[..]),
        (Some(Status::Online), &[old][..])
    );
    story.close_channel(old);
    story.end_of(old, Exit::Code(0));
    assert_eq!(
        (story.former(), &story.replies[..]),
        (None, &[Ok(()), Ok(())][..])
    );
    assert_eq!(story.signals.len(), 0, "nobody was hurt");
    assert_eq!((story.life(), story.restarts()), (new, 1));
    assert!(story.seen.contains(&(
        Event::FormerExit {
            incarnation: old,
            exit: Exit::Code(0)
        },
        Status::Online
    )));
}

#[test]
fn what_never_listens_takes_over_after_listen_timeout() {
    let (mut story, old) = reloading(overlapping());
    story.wait(2_999);
    assert_eq!(story.status(), Some(Status::Launching));
    story.wait(1);
    assert_eq!(
        (story.status(), &story.retired[..]),
        (Some(Status::Online), &[old][..])
    );
}

#[test]
fn wait_ready_waits_for_the_word_and_for_nothing_else() {
    let mut story = quick(Policy {
        wait_ready: true,
        ..overlapping()
    });
    let first = story.life();
    story.input(Input::Ready {
        id: ID,
        incarnation: first,
    });
    story.command(reload(None));
    story.listening();
    assert_eq!(story.status(), Some(Status::Launching));
    let incarnation = story.life();
    story.input(Input::Ready { id: ID, incarnation });
    assert_eq!(
        (story.status(), &story.retired[..]),
        (Some(Status::Online), &[first][..])
    );
}

#[test]
fn a_life_that_drained_and_stays_is_signalled_and_then_killed() {
    let (mut story, old) = reloading(overlapping());
    story.listening();
    story.close_channel(old);
    story.wait(250);
    assert_eq!(story.signals, [2]);
    story.wait(1_600);
    assert_eq!(story.signals, [2, 9]);
    story.end_of(old, Exit::Signal(9));
    assert_eq!(story.replies, [Ok(()), Ok(())]);
    assert_eq!(story.status(), Some(Status::Online));
}

#[test]
fn a_life_that_does_not_drain_is_signalled_after_its_kill_timeout() {
    let (mut story, _) = reloading(overlapping());
    story.listening();
    story.wait(1_599);
    assert_eq!(story.signals.len(), 0);
    story.wait(1);
    assert_eq!(story.signals, [2]);
}

#[test]
fn one_without_a_channel_is_signalled_at_once() {
    let mut story = quick(overlapping());
    let old = story.life();
    story.close_channel(old);
    story.command(reload(None));
    story.listening();
    assert_eq!((story.retired.len(), &story.signals[..]), (0, &[2][..]));
}

#[test]
fn a_soft_reload_tells_first_and_is_more_patient() {
    let mut story = quick(overlapping());
    story.command(Command::Reload {
        id: ID,
        policy: None,
        soft: true,
    });
    story.listening();
    assert_eq!((story.asked, story.retired.len()), (1, 1));
    story.wait(7_999);
    assert_eq!(story.signals.len(), 0);
    story.wait(1);
    assert_eq!((story.asked, &story.signals[..]), (1, &[2][..]));
}

#[test]
fn a_new_life_that_does_not_come_up_changes_nothing() {
    let mut story = quick(overlapping());
    story.wait(5_000);
    let before = story.sup.view(ID);
    let rules = story.sup.policy(ID).cloned();
    let old = story.life();
    story.command(reload(Some(Policy {
        max_restarts: 99,
        ..overlapping()
    })));
    story.wait(10);
    story.exit(Exit::Code(1));
    assert_eq!(
        (story.sup.view(ID), story.sup.policy(ID).cloned()),
        (before, rules)
    );
    assert_eq!(story.life(), old);
    assert_eq!(story.replies, [Ok(()), Err(Refusal::ReloadFailed)]);
    assert_eq!(
        story.seen.last(),
        Some(&(
            Event::ReloadFailed(ReloadFailure::Ended(Exit::Code(1))),
            Status::Online
        ))
    );
    assert_eq!((story.spawns, story.signals.len()), (2, 0));
    // And the next one may succeed.
    story.command(reload(None));
    story.listening();
    assert_eq!(story.retired, [old]);
}

#[test]
fn one_at_a_time() {
    let (mut story, old) = reloading(overlapping());
    story.command(reload(None));
    assert_eq!(story.replies.last(), Some(&Err(Refusal::ReloadInProgress)));
    story.listening();
    story.command(reload(None));
    assert_eq!(story.replies.last(), Some(&Err(Refusal::ReloadInProgress)));
    story.end_of(old, Exit::Code(0));
    story.command(reload(None));
    assert_eq!((story.status(), story.spawns), (Some(Status::Launching), 3));
}

#[test]
fn without_overlap_it_is_a_restart_and_so_it_is_for_what_does_not_run() {
    let mut story = quick(Policy::default());
    story.command(reload(None));
    assert_eq!(
        (story.status(), &story.signals[..]),
        (Some(Status::Stopping), &[2][..])
    );
    story.exit(Exit::Code(0));
    assert_eq!((story.status(), story.restarts()), (Some(Status::Online), 1));

    let mut story = quick(overlapping());
    story.command(Command::Stop(ID));
    story.exit(Exit::Code(0));
    story.command(reload(None));
    assert_eq!((story.status(), story.former()), (Some(Status::Online), None));
}

#[test]
fn a_stop_or_a_delete_ends_both_lives() {
    for delete in [false, true] {
        let (mut story, old) = reloading(overlapping());
        let new = story.life();
        story.command(if delete {
            Command::Delete(ID)
        } else {
            Command::Stop(ID)
        });
        assert_eq!(story.signals, [2, 2]);
        assert_eq!(story.replies, [Ok(()), Err(Refusal::Superseded)]);
        story.end_of(new, Exit::Signal(2));
        assert_eq!(story.status(), Some(Status::Stopping), "the old life still runs");
        story.end_of(old, Exit::Signal(2));
        assert_eq!(story.status(), (!delete).then_some(Status::Stopped));
        assert_eq!(story.replies.last(), Some(&Ok(())));
    }
}

#[test]
fn a_stop_after_the_new_life_crashed_for_good_waits_for_the_old_one() {
    let (mut story, old) = reloading(Policy {
        autorestart: false,
        ..overlapping()
    });
    story.listening();
    story.exit(Exit::Code(1));
    assert_eq!(
        (story.status(), story.former()),
        (Some(Status::Stopped), Some(old))
    );
    story.command(Command::Delete(ID));
    assert_eq!(
        (story.status(), &story.signals[..]),
        (Some(Status::Stopping), &[2][..])
    );
    story.end_of(old, Exit::Signal(2));
    assert_eq!(story.status(), None);
    assert_eq!(story.replies, [Ok(()), Ok(()), Ok(())]);
}

#[test]
fn an_old_life_that_crashes_meanwhile_leaves_a_plain_launch() {
    let (mut story, old) = reloading(overlapping());
    story.end_of(old, Exit::Code(1));
    assert_eq!((story.status(), story.former()), (Some(Status::Launching), None));
    story.listening();
    assert_eq!(
        (story.status(), &story.replies[..]),
        (Some(Status::Online), &[Ok(()), Ok(())][..])
    );
}

#[test]
fn too_much_memory_reloads_what_can_overlap() {
    let mut story = quick(Policy {
        max_memory: Some(1_000),
        ..overlapping()
    });
    let incarnation = story.life();
    story.input(Input::Memory {
        id: ID,
        incarnation,
        rss: 1_001,
    });
    assert_eq!(
        (story.status(), story.former()),
        (Some(Status::Launching), Some(incarnation))
    );
    assert_eq!(story.signals.len(), 0);
}

#[test]
fn an_old_life_that_survives_sigkill_is_told_and_blocks_the_next_reload_until_it_has_gone() {
    let (mut story, old) = reloading(overlapping());
    story.listening();
    for _ in 0..3 {
        story.wait(1_600);
    }
    assert_eq!(story.signals, [2, 9]);
    assert_eq!(story.replies.last(), Some(&Err(Refusal::Unkillable)));
    assert_eq!(story.status(), Some(Status::Online));
    story.command(reload(None));
    assert_eq!(story.replies.last(), Some(&Err(Refusal::ReloadInProgress)));
    story.end_of(old, Exit::Signal(9));
    story.command(reload(None));
    assert_eq!(story.status(), Some(Status::Launching));
}

/// What a new shell makes of the record and the two lives.
fn adopted(story: &Story, lives: &[Incarnation]) -> (Supervisor, Vec<Effect>) {
    let kept = story.sup.restorable(ID).expect("a record");
    let alive: Vec<_> = lives.iter().map(|life| living(*life, 500)).collect();
    let mut sup = Supervisor::new(Incarnation(1));
    let former = Some(Policy {
        kill_timeout: Duration::from_millis(77),
        treekill: false,
        ..overlapping()
    });
    let policy = Policy {
        treekill: false,
        ..overlapping()
    };
    assert!(sup.adopt(story.now(), ID, policy, former, kept, &alive));
    let effects = std::iter::from_fn(|| sup.poll_effect()).collect();
    (sup, effects)
}

#[test]
fn a_new_shell_goes_on_with_the_reload() {
    let (mut story, old) = reloading(overlapping());
    let new = story.life();
    assert!(matches!(
        story.sup.restorable(ID).map(|kept| kept.phase),
        Some(Phase::Launching(life, Some(_))) if life == new
    ));
    // Both lives are there: it waits for the new one, and goes back to the old one if that fails.
    let (mut sup, _) = adopted(&story, &[old, new]);
    assert_eq!(sup.view(ID).map(|view| view.former), Some(Some(old)));
    sup.handle(
        story.now(),
        Input::Exited {
            id: ID,
            incarnation: new,
            exit: Exit::Code(1),
        },
    );
    let view = sup.view(ID).expect("a view");
    assert_eq!(
        (view.status, view.incarnation, view.facts.restarts),
        (Status::Online, Some(old), 0)
    );
    assert_eq!(
        sup.policy(ID).map(|rules| rules.kill_timeout.as_millis()),
        Some(77)
    );
    // The launch never came to be: it is repeated.
    let (sup, effects) = adopted(&story, &[old]);
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Spawn { .. }))
    );
    assert_eq!(sup.view(ID).map(|view| view.former), Some(Some(old)));
    // It was being retired: that is begun anew.
    story.listening();
    let (_, effects) = adopted(&story, &[old, new]);
    assert!(effects.contains(&Effect::Retire {
        id: ID,
        incarnation: old
    }));
    // It has gone meanwhile.
    let (sup, _) = adopted(&story, &[new]);
    assert_eq!(
        sup.view(ID).map(|view| (view.former, view.status)),
        Some((None, Status::Online))
    );
}

#[test]
fn a_new_shell_goes_on_with_the_stop_of_both() {
    let (mut story, old) = reloading(overlapping());
    let new = story.life();
    story.command(Command::Delete(ID));
    assert!(matches!(
        story.sup.restorable(ID).map(|kept| kept.phase),
        Some(Phase::Stopping(_, _, Goal::Delete))
    ));
    let (_, effects) = adopted(&story, &[old, new]);
    let ended = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Signal { .. } | Effect::Retire { .. }));
    assert_eq!(ended.count(), 2);
    // Only the old one is left: the entry goes when it has gone.
    let (mut sup, _) = adopted(&story, &[old]);
    assert_eq!(sup.view(ID).map(|view| view.status), Some(Status::Stopping));
    sup.handle(
        story.now(),
        Input::Exited {
            id: ID,
            incarnation: old,
            exit: Exit::Signal(2),
        },
    );
    assert_eq!(sup.view(ID), None);
}

#[test]
fn a_new_life_that_will_never_do_its_work_is_ended_and_the_old_one_stays() {
    let (mut story, old) = reloading(overlapping());
    let new = story.life();
    story.broken();
    assert_eq!(story.replies.last(), Some(&Err(Refusal::ReloadFailed)));
    assert!(
        story
            .seen
            .contains(&(Event::ReloadFailed(ReloadFailure::Broken), Status::Online))
    );
    assert_eq!((story.life(), story.former()), (old, Some(new)));
    assert_eq!((story.retired.len(), &story.signals[..]), (0, &[2][..]));
    story.end_of(new, Exit::Signal(2));
    assert_eq!((story.status(), story.restarts()), (Some(Status::Online), 0));
}

#[test]
fn of_a_life_that_will_never_do_its_work_nothing_is_waited_for() {
    let mut story = quick(Policy {
        wait_ready: true,
        ..Policy::default()
    });
    assert_eq!(
        (story.status(), story.replies.len()),
        (Some(Status::Launching), 0)
    );
    story.broken();
    assert_eq!(
        (story.status(), &story.replies[..]),
        (Some(Status::Online), &[Ok(())][..])
    );
    // Said again, by who is up: it runs on.
    story.broken();
    assert_eq!((story.status(), story.signals.len()), (Some(Status::Online), 0));
}
