//! Health checks and readiness, one rule at a time.

use std::time::Duration;

use supervisor::{
    Command, Event, Exit, Health, HealthRules, Input, Policy, Readiness, Refusal, ReloadFailure, Status,
};

use crate::story::{ID, Story, quick};

fn checked() -> Policy {
    Policy {
        health: Some(HealthRules {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            retries: 2,
            start_period: Duration::ZERO,
            restart: true,
        }),
        ..Policy::default()
    }
}

impl Story {
    /// The next look, and what it sees.
    fn look(&mut self, good: bool) {
        while self.probe.is_none() {
            let at = self.sup.next_deadline().expect("a look ahead");
            self.wait(at.0 - self.at);
        }
        let (incarnation, round) = (self.life(), self.probe.take().expect("a look"));
        self.input(Input::Probed {
            id: ID,
            incarnation,
            round,
            good,
        });
    }

    /// Looks fail until that has a consequence.
    fn fail_for_good(&mut self) {
        let before = self.seen.len();
        for _ in 0..100 {
            if self.seen.len() > before {
                return;
            }
            self.look(false);
        }
        panic!("a hundred failures and nothing follows");
    }

    fn readiness(&self) -> Option<Readiness> {
        self.sup.readiness(ID, self.now())
    }

    fn health(&self) -> Option<Health> {
        self.sup.view(ID)?.health.map(|(health, _)| health)
    }
}

#[test]
fn a_process_is_ready_once_it_is_healthy() {
    let mut story = quick(checked());
    assert_eq!(
        (story.status(), story.readiness()),
        (Some(Status::Online), Some(Readiness::Pending))
    );
    story.look(true);
    assert_eq!(
        (story.health(), story.readiness()),
        (Some(Health::Healthy), Some(Readiness::Ready))
    );
    assert!(
        story
            .seen
            .contains(&(Event::Health(Health::Healthy), Status::Online))
    );
}

#[test]
fn an_unhealthy_process_is_restarted_and_looked_at_anew() {
    let mut story = quick(checked());
    story.look(true);
    story.look(false);
    assert_eq!(story.signals.len(), 0, "once is not enough");
    story.look(false);
    assert_eq!(
        (story.status(), &story.signals[..]),
        (Some(Status::Stopping), &[2][..])
    );
    story.exit(Exit::Signal(2));
    assert_eq!((story.status(), story.restarts()), (Some(Status::Online), 1));
    assert_eq!(story.health(), Some(Health::Starting));
}

#[test]
fn it_is_only_shown_where_no_restart_is_wanted() {
    let mut policy = checked();
    policy.health = policy.health.map(|rules| HealthRules {
        restart: false,
        ..rules
    });
    let mut story = quick(policy);
    story.fail_for_good();
    assert_eq!(
        (story.health(), story.readiness()),
        (Some(Health::Unhealthy), Some(Readiness::Unhealthy))
    );
    assert_eq!((story.status(), story.signals.len()), (Some(Status::Online), 0));
    story.look(true);
    assert_eq!(story.readiness(), Some(Readiness::Ready));
}

#[test]
fn a_stopped_process_is_not_looked_at() {
    let mut story = quick(checked());
    story.command(Command::Stop(ID));
    story.exit(Exit::Code(0));
    assert_eq!((story.sup.next_deadline(), story.health()), (None, None));
    assert_eq!(story.readiness(), Some(Readiness::Down));
}

fn reloading() -> Story {
    let mut story = quick(Policy {
        overlap: true,
        ..checked()
    });
    story.look(true);
    story.command(Command::Reload {
        id: ID,
        policy: None,
        soft: false,
    });
    story
}

#[test]
fn a_reload_waits_for_health_too() {
    let mut story = reloading();
    let incarnation = story.life();
    story.input(Input::Listening { id: ID, incarnation });
    assert_eq!(
        (story.status(), story.retired.len()),
        (Some(Status::Launching), 0)
    );
    story.look(true);
    assert_eq!((story.status(), story.retired.len()), (Some(Status::Online), 1));
}

#[test]
fn a_new_life_that_is_not_healthy_is_ended_and_the_old_one_stays() {
    let mut story = reloading();
    let (old, new) = (story.sup.view(ID).and_then(|view| view.former), story.life());
    story.fail_for_good();
    assert_eq!(story.replies.last(), Some(&Err(Refusal::ReloadFailed)));
    assert!(
        story
            .seen
            .contains(&(Event::ReloadFailed(ReloadFailure::Unhealthy), Status::Online))
    );
    assert_eq!((Some(story.life()), &story.signals[..]), (old, &[2][..]));
    assert_eq!(story.sup.view(ID).and_then(|view| view.former), Some(new));
    story.input(Input::Exited {
        id: ID,
        incarnation: new,
        exit: Exit::Signal(2),
    });
    assert_eq!((story.status(), story.restarts()), (Some(Status::Online), 0));
}

#[test]
fn readiness_is_what_the_process_can_tell() {
    // Nothing: it has to stay up for min_uptime.
    let mut story = quick(Policy::default());
    assert_eq!(story.readiness(), Some(Readiness::Pending));
    story.wait(1_000);
    assert_eq!(story.readiness(), Some(Readiness::Ready));
    // Its word: the time-out makes it online, not ready.
    let mut story = quick(Policy {
        wait_ready: true,
        ..Policy::default()
    });
    story.wait(60_000);
    assert_eq!(
        (story.status(), story.readiness()),
        (Some(Status::Online), Some(Readiness::Pending))
    );
    let incarnation = story.life();
    story.input(Input::Ready { id: ID, incarnation });
    assert_eq!(story.readiness(), Some(Readiness::Ready));
    // Listening.
    let mut story = quick(Policy {
        overlap: true,
        ..Policy::default()
    });
    assert_eq!(story.readiness(), Some(Readiness::Pending));
    let incarnation = story.life();
    story.input(Input::Listening { id: ID, incarnation });
    assert_eq!(story.readiness(), Some(Readiness::Ready));
}
