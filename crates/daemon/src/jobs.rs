//! Who waits for what: tickets of the supervisor, gathered into jobs that are answered once.

use std::collections::HashMap;

use supervisor::{ProcId, Refusal, Ticket};

/// Several commands with one answer.
#[derive(Debug)]
pub(crate) struct Job<T> {
    /// The processes, in the order of their commands.
    pub(crate) ids: Vec<ProcId>,
    /// What was refused.
    pub(crate) refused: Vec<(ProcId, Refusal)>,
    /// What to do at the end.
    pub(crate) then: T,
    waiting: usize,
}

/// Name of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct JobId(u64);

/// All jobs in progress.
#[derive(Debug)]
pub(crate) struct Jobs<T> {
    next: u64,
    tickets: HashMap<Ticket, (JobId, ProcId)>,
    jobs: HashMap<JobId, Job<T>>,
}

impl<T> Default for Jobs<T> {
    fn default() -> Self {
        Self {
            next: 1,
            tickets: HashMap::new(),
            jobs: HashMap::new(),
        }
    }
}

impl<T> Jobs<T> {
    /// Nobody waits for anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// A job without commands yet. Add at least one with [`Jobs::ticket`].
    pub(crate) fn open(&mut self, then: T) -> JobId {
        let id = JobId(self.number());
        self.jobs.insert(
            id,
            Job {
                ids: Vec::new(),
                refused: Vec::new(),
                then,
                waiting: 0,
            },
        );
        id
    }

    /// A ticket for one more command of the job.
    pub(crate) fn ticket(&mut self, job: JobId, process: ProcId) -> Ticket {
        let ticket = Ticket(self.number());
        if let Some(job) = self.jobs.get_mut(&job) {
            job.waiting += 1;
            job.ids.push(process);
        }
        self.tickets.insert(ticket, (job, process));
        ticket
    }

    /// A command was answered. Gives the job back if it was the last one.
    pub(crate) fn settle(&mut self, ticket: Ticket, result: Result<(), Refusal>) -> Option<Job<T>> {
        let (id, process) = self.tickets.remove(&ticket)?;
        let job = self.jobs.get_mut(&id)?;
        job.waiting = job.waiting.saturating_sub(1);
        if let Err(refusal) = result {
            job.refused.push((process, refusal));
        }
        if job.waiting == 0 {
            self.jobs.remove(&id)
        } else {
            None
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_given_back_once_with_its_last_answer() {
        let mut jobs = Jobs::default();
        let job = jobs.open("answer");
        let first = jobs.ticket(job, ProcId(0));
        let second = jobs.ticket(job, ProcId(1));
        assert!(jobs.settle(second, Err(Refusal::Superseded)).is_none());
        assert!(jobs.settle(second, Ok(())).is_none(), "an answer counts once");
        let done = jobs.settle(first, Ok(())).expect("all answered");
        assert_eq!((done.then, done.ids), ("answer", vec![ProcId(0), ProcId(1)]));
        assert_eq!(done.refused, [(ProcId(1), Refusal::Superseded)]);
        assert!(jobs.settle(first, Ok(())).is_none());
    }
}
