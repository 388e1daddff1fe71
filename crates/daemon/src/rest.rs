//! Rest: after something was done, and then nothing for a while, memory that only the doing needed goes back to the system.

use std::time::Duration;

use supervisor::Mono;

/// How long it is quiet before it is called rest. What comes each second must not make it come and go.
const QUIET: Duration = Duration::from_secs(2);

/// When this process may rest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rest {
    /// `None`: it rests, or nothing was done yet.
    due: Option<Mono>,
}

impl Rest {
    /// Something was done that does not come by the clock.
    pub(crate) fn disturb(&mut self, now: Mono) {
        self.due = Some(now.after(QUIET));
    }

    /// When [`Rest::time_is`] is to be called.
    pub(crate) fn due(&self) -> Option<Mono> {
        self.due
    }

    /// Rest, if it was quiet for long enough.
    pub(crate) fn time_is(&mut self, now: Mono) {
        if self.is_over(now) {
            os::memory::rest();
        }
    }

    fn is_over(&mut self, now: Mono) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_once_after_the_last_disturbance() {
        let mut rest = Rest::default();
        assert_eq!(rest.due(), None);
        rest.disturb(Mono(1000));
        rest.disturb(Mono(2500));
        assert_eq!(rest.due(), Some(Mono(4500)));
        assert!(!rest.is_over(Mono(4499)) && rest.is_over(Mono(4500)));
        assert!(!rest.is_over(Mono(9000)) && rest.due().is_none());
    }
}
