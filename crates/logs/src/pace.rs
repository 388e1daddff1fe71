//! When a stream is looked at again. Pure: it is told what was carried and when, and decides.
//!
//! An app that prints line by line would wake the pump with each line, and then both would do little else than wait for each other.
//! So a stream that has something again and again within a moment gets a rest: for so long the kernel is not asked to call, and the
//! app fills its pipe undisturbed. A rest is never longer than [`REST_MAX`], so that who follows a log sees each line at once, and
//! becomes short where the app would find its pipe full. A rest in which nothing came is the last: from then on the kernel calls,
//! and a quiet stream costs nothing.

use std::time::{Duration, Instant};

/// What comes within this time after what came before is quick.
const SOON: Duration = Duration::from_millis(1);
/// So many quick turns in a row make a stream a busy one.
const BUSY: u8 = 4;
/// The first rest of a busy stream.
const REST_FIRST: Duration = Duration::from_micros(100);
/// The shortest: the kernel's timers are not much finer.
const REST_MIN: Duration = Duration::from_micros(50);
/// The longest.
const REST_MAX: Duration = Duration::from_millis(1);
/// So many bytes in a row, at a rate that fills half the pipe within the longest rest, are a flood.
const FLOOD: u64 = 2 * 1024 * 1024;

/// What a turn left in the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// There is more.
    Much,
    /// At most what came while it was carried.
    Little,
    /// Nothing: it was looked for.
    Nothing,
}

/// When a stream is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// As soon as the others had their turn.
    Again,
    /// When the kernel says that something came.
    Call,
    /// After this time, and not before, whatever comes.
    Rest(Duration),
}

/// How a stream has come of late.
#[derive(Debug)]
pub(crate) struct Pace {
    may_rest: bool,
    /// When the last turn began that carried something.
    last: Option<Instant>,
    quick: u8,
    rest: Option<Duration>,
    flood: u64,
}

impl Pace {
    /// `may_rest`: it does no harm when several of the app's writes are carried as one.
    pub(crate) fn new(may_rest: bool) -> Self {
        Self {
            may_rest,
            last: None,
            quick: 0,
            rest: None,
            flood: 0,
        }
    }

    /// Is it so busy that a turn should end before it runs after single lines?
    pub(crate) fn is_busy(&self) -> bool {
        self.may_rest && self.quick >= BUSY
    }

    /// Is it a flood, for which a larger pipe would pay? Each flood is told once for each [`FLOOD`] bytes of it.
    pub(crate) fn floods(&mut self) -> bool {
        let floods = self.flood >= FLOOD;
        if floods {
            self.flood = 0;
        }
        floods
    }

    /// A turn that began at `now` has carried `bytes` from a pipe that can hold `capacity`.
    pub(crate) fn carried(&mut self, now: Instant, bytes: u64, left: Left, capacity: usize) -> Next {
        let unrested = match left {
            Left::Nothing => Next::Call,
            Left::Little | Left::Much => Next::Again,
        };
        if bytes == 0 {
            // A call for what had been carried already says nothing; a rest for nothing says that it has calmed down.
            if self.rest.is_some() {
                self.calm();
            }
            return unrested;
        }
        let since = self
            .last
            .replace(now)
            .map(|last| now.saturating_duration_since(last));
        let Some(since) = since.filter(|since| self.rest.is_some() || *since <= SOON) else {
            self.calm();
            return unrested;
        };
        self.quick = self.quick.saturating_add(1);
        self.flood = if fills_half(capacity, bytes, since) {
            self.flood + bytes
        } else {
            0
        };
        if left == Left::Much || !self.is_busy() {
            return unrested;
        }
        let rest = next_rest(self.rest, bytes, capacity);
        self.rest = Some(rest);
        Next::Rest(rest)
    }

    fn calm(&mut self) {
        self.rest = None;
        self.quick = 0;
        self.flood = 0;
    }
}

/// Would half a pipe be full after the longest rest, at the rate of `bytes` in `since`?
fn fills_half(capacity: usize, bytes: u64, since: Duration) -> bool {
    since.as_nanos() * (capacity as u128 / 2) < REST_MAX.as_nanos() * u128::from(bytes)
}

/// The rest after one that has let so many bytes come. The app stops where its pipe is full, so how fast it would go on is not known
/// then: a rest becomes much shorter at once, and longer by steps.
fn next_rest(rest: Option<Duration>, bytes: u64, capacity: usize) -> Duration {
    let capacity = capacity as u64;
    match rest {
        None => REST_FIRST,
        Some(rest) if bytes > capacity / 2 => (rest / 4).max(REST_MIN),
        Some(rest) if bytes < capacity / 4 => (rest * 2).min(REST_MAX),
        Some(rest) => rest,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PIPE: usize = 64 * 1024;

    /// Time that passes as it is told, and a stream's pace in it.
    struct Clock {
        now: Instant,
        pace: Pace,
    }

    impl Clock {
        fn new(may_rest: bool) -> Self {
            Self {
                now: Instant::now(),
                pace: Pace::new(may_rest),
            }
        }

        fn after(&mut self, micros: u64, bytes: u64, left: Left) -> Next {
            self.now += Duration::from_micros(micros);
            self.pace.carried(self.now, bytes, left, PIPE)
        }

        /// One line after the other, until it gets a rest.
        fn busy(&mut self) {
            assert_eq!(self.after(2000, 100, Left::Nothing), Next::Call);
            for _ in 1..BUSY {
                assert_eq!(self.after(20, 100, Left::Nothing), Next::Call);
            }
            assert_eq!(self.after(20, 100, Left::Nothing), Next::Rest(REST_FIRST));
        }
    }

    #[test]
    fn a_line_now_and_then_is_called_for_and_costs_no_timer() {
        let mut clock = Clock::new(true);
        for _ in 0..1000 {
            assert_eq!(clock.after(1500, 100, Left::Nothing), Next::Call);
        }
        assert!(!clock.pace.is_busy());
    }

    #[test]
    fn a_rest_in_which_nothing_came_is_the_last() {
        let mut clock = Clock::new(true);
        clock.busy();
        assert!(matches!(clock.after(100, 100, Left::Little), Next::Rest(_)));
        assert_eq!(clock.after(200, 0, Left::Nothing), Next::Call);
        // What is called for then is no flood of lines until it is seen to be one.
        assert_eq!(clock.after(20, 100, Left::Nothing), Next::Call);
        clock.busy();
    }

    #[test]
    fn calls_for_what_was_carried_already_do_not_calm() {
        let mut clock = Clock::new(true);
        for _ in 0..BUSY {
            assert_eq!(clock.after(20, 100, Left::Nothing), Next::Call);
            assert_eq!(clock.after(1, 0, Left::Nothing), Next::Call);
        }
        assert_eq!(clock.after(20, 100, Left::Nothing), Next::Rest(REST_FIRST));
    }

    #[test]
    fn there_is_no_rest_while_there_is_much_or_where_pieces_count() {
        let mut clock = Clock::new(true);
        clock.busy();
        assert_eq!(clock.after(100, 1 << 20, Left::Much), Next::Again);
        let mut clock = Clock::new(false);
        for _ in 0..100 {
            assert_eq!(clock.after(20, 100, Left::Nothing), Next::Call);
        }
    }

    #[test]
    fn much_in_little_time_is_a_flood() {
        let mut clock = Clock::new(true);
        let mut turns = 0;
        while !clock.pace.floods() {
            clock.after(100, PIPE as u64, Left::Much);
            turns += 1;
        }
        assert_eq!(turns, FLOOD / PIPE as u64 + 1);
        assert!(!clock.pace.floods());
        // As much in lines that trickle is none.
        for _ in 0..2 * FLOOD / 1000 {
            clock.after(900, 1000, Left::Nothing);
            assert!(!clock.pace.floods());
        }
    }

    proptest! {
        /// Whatever an app writes a second: in the long run its pipe is never full, unless even the shortest rest fills it; and
        /// who writes little rests long.
        #[test]
        fn rests_leave_the_pipe_room(rate in 1u64..2000, late in 0u64..40) {
            let capacity = 256 * 1024;
            let mut clock = Clock::new(true);
            clock.busy();
            let (mut rest, mut fullest) = (REST_FIRST, 0);
            for turn in 0..200 {
                let micros = u64::try_from(rest.as_micros()).unwrap() + late;
                let bytes = (rate * micros).min(capacity);
                clock.now += Duration::from_micros(micros);
                let next = clock.pace.carried(clock.now, bytes, Left::Little, capacity as usize);
                let Next::Rest(next) = next else { panic!("{next:?}") };
                prop_assert!((REST_MIN..=REST_MAX).contains(&next));
                rest = next;
                if turn > 20 {
                    fullest = fullest.max(bytes);
                }
            }
            prop_assert!(fullest < capacity || rate * (4 * 50 + late) >= capacity, "{rate} {rest:?} {fullest}");
            if rate < 50 {
                prop_assert_eq!(rest, REST_MAX);
            }
        }
    }
}
