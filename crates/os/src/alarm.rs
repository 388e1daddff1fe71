//! An alarm at a time of day. Unlike a wait, it is right when the clock is set, and when the machine has slept.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// An alarm clock. Readable when there is something to [take](WallAlarm::take).
#[derive(Debug)]
pub struct WallAlarm(OwnedFd);

/// Why the alarm is readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rang {
    /// The time has come.
    Time,
    /// The clock was set. The alarm must be set anew.
    ClockSet,
    /// It did not ring.
    No,
}

impl WallAlarm {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self(timerfd_create(TimerfdClockId::Realtime, flags)?))
    }

    /// Rings at this time, ms since the epoch (at once if that has passed), and when the clock is set before; `None`: never.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub fn set(&self, at_ms: Option<i64>) -> io::Result<()> {
        let value = match at_ms {
            // All zero would switch it off.
            Some(ms) => Timespec {
                tv_sec: ms.max(1).div_euclid(1000),
                tv_nsec: ms.max(1).rem_euclid(1000) * 1_000_000,
            },
            None => Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
        };
        let spec = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: value,
        };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        timerfd_settime(&self.0, flags, &spec)?;
        Ok(())
    }

    /// Whether, and why, it rang since the last call.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub fn take(&self) -> io::Result<Rang> {
        let mut count = [0; 8];
        match rustix::io::read(&self.0, &mut count) {
            Ok(_) => Ok(Rang::Time),
            Err(Errno::CANCELED) => Ok(Rang::ClockSet),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Rang::No),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for WallAlarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    fn rings(alarm: &WallAlarm, timeout_ms: i64) -> bool {
        let mut fds = [PollFd::new(alarm, PollFlags::IN)];
        let timeout = Timespec {
            tv_sec: timeout_ms / 1000,
            tv_nsec: timeout_ms % 1000 * 1_000_000,
        };
        poll(&mut fds, Some(&timeout)).unwrap() == 1
    }

    #[test]
    fn it_rings_at_its_time_and_not_when_it_was_switched_off() {
        let alarm = WallAlarm::new().unwrap();
        assert_eq!(alarm.take().unwrap(), Rang::No);
        alarm.set(Some(1)).unwrap();
        assert!(rings(&alarm, 5000), "a time that has passed");
        assert_eq!(
            (alarm.take().unwrap(), alarm.take().unwrap()),
            (Rang::Time, Rang::No)
        );
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        alarm
            .set(Some(i64::try_from(now.as_millis()).unwrap() + 50))
            .unwrap();
        assert!(rings(&alarm, 5000), "a time to come");
        alarm.set(Some(i64::MAX / 1_000_000)).unwrap();
        assert!(!rings(&alarm, 0));
        alarm.set(None).unwrap();
        assert_eq!(alarm.take().unwrap(), Rang::No);
    }
}
