//! One SQLite file: a single writer thread that commits in groups, and a few readers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::migrate::{Migrations, migrate};
use crate::store::StoreError;

/// Writes that may wait; the next one is told that the store is busy.
const MAX_WAITING: usize = 4096;
/// Writes committed together at most.
const MAX_GROUP: usize = 256;
const MAX_READERS: usize = 4;

/// What a job on a connection gives; SQL errors turn into [`StoreError::Database`].
pub(super) type Sql<T> = Result<T, StoreError>;

/// A write to be run: gives back how to tell its caller, once it is known whether the commit went well.
type Job = Box<dyn FnOnce(&Connection) -> Tell + Send>;
type Tell = Box<dyn FnOnce(Result<(), &str>) + Send>;

/// A database file, open.
#[derive(Debug)]
pub(super) struct Database {
    jobs: Arc<Mutex<Option<mpsc::Sender<Job>>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    readers: Arc<Readers>,
}

#[derive(Debug)]
struct Readers {
    path: PathBuf,
    slots: Arc<Semaphore>,
    pool: Mutex<Pool>,
    /// Told whenever a job is over.
    given_back: Condvar,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Connection>,
    in_use: usize,
    closed: bool,
}

impl Database {
    /// Opens the file, brings it to the newest schema and starts its writer.
    pub(super) fn open(path: &Path, migrations: &Migrations) -> Sql<Self> {
        create_private(path)?;
        let mut connection = connect(path, migrations.page_bytes)?;
        migrate(&mut connection, path, migrations)?;
        let (jobs, queue) = mpsc::channel(MAX_WAITING);
        let thread = std::thread::Builder::new()
            .name(format!(
                "write {}",
                path.file_stem().unwrap_or_default().display()
            ))
            .spawn(move || write_until_closed(&connection, queue))
            .map_err(|source| io("start the writer of", path, source))?;
        let readers = Readers {
            path: path.into(),
            slots: Arc::new(Semaphore::new(MAX_READERS)),
            pool: Mutex::default(),
            given_back: Condvar::new(),
        };
        Ok(Self {
            jobs: Arc::new(Mutex::new(Some(jobs))),
            thread: Mutex::new(Some(thread)),
            readers: Arc::new(readers),
        })
    }

    /// Runs `job` in the next group; resolves when the group is committed, or when the job failed, in which case it
    /// left no trace.
    pub(super) fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        job: impl FnOnce(&Connection) -> Sql<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let (reply, answer) = oneshot::channel();
        let queued: Job = Box::new(move |connection| {
            let done = in_savepoint(connection, job);
            Box::new(move |committed| {
                let done = match (done, committed) {
                    (Ok(_), Err(why)) => Err(StoreError::NotSaved {
                        doing,
                        why: why.to_owned(),
                    }),
                    (done, _) => done.map_err(|error| error.while_doing(doing)),
                };
                // The caller may have gone away; what was written stays written.
                let _ = reply.send(done);
            })
        });
        let jobs = Arc::clone(&self.jobs);
        async move {
            // Not a sender of its own: a write that is never polled would keep the writer from its end.
            let sent = {
                let jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
                jobs.as_ref().map(|jobs| jobs.try_send(queued))
            };
            match sent {
                None | Some(Err(mpsc::error::TrySendError::Closed(_))) => return Err(StoreError::Closed),
                Some(Err(mpsc::error::TrySendError::Full(_))) => {
                    return Err(StoreError::Busy { waiting: MAX_WAITING });
                }
                Some(Ok(())) => {}
            }
            answer.await.map_err(|_| StoreError::Closed)?
        }
        .boxed()
    }

    /// Runs `job` on a reader, on this thread: for the start, when nothing else runs.
    pub(super) fn read_now<T>(&self, job: impl FnOnce(&Connection) -> Sql<T>) -> Sql<T> {
        self.readers.run(job)
    }

    /// Runs `job` on a reader, which sees everything committed so far.
    pub(super) fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        job: impl FnOnce(&Connection) -> Sql<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let readers = Arc::clone(&self.readers);
        async move {
            let slots = Arc::clone(&readers.slots);
            let slot = slots.acquire_owned().await.map_err(|_| StoreError::Closed)?;
            tokio::task::spawn_blocking(move || {
                // A job goes on when its caller goes away, and so keeps its slot.
                let _slot = slot;
                readers.run(job).map_err(|error| error.while_doing(doing))
            })
            .await
            .map_err(|_| StoreError::Closed)?
        }
        .boxed()
    }

    /// Lets readers and the writer finish what they began, folds the write-ahead log into the file, and ends. What is
    /// asked from now on gets [`StoreError::Closed`].
    pub(super) fn close(&self) {
        // The writer's connection must be the last one: SQLite removes the write-ahead log only when a connection that
        // may write is closed and there is no other. So the writer hears of the end when all readers are closed.
        self.readers.close();
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A panic in there was logged when it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.close();
    }
}

impl Readers {
    fn run<T>(&self, job: impl FnOnce(&Connection) -> Sql<T>) -> Sql<T> {
        let mut reader = self.take()?;
        let connection = match reader.connection.take() {
            Some(connection) => connection,
            None => connect_reader(&self.path)?,
        };
        // A connection on which a job panicked is not used again.
        let done = job(&connection);
        reader.connection = Some(connection);
        done
    }

    fn take(&self) -> Sql<Reader<'_>> {
        let mut pool = self.pool();
        if pool.closed {
            return Err(StoreError::Closed);
        }
        pool.in_use += 1;
        Ok(Reader {
            connection: pool.idle.pop(),
            of: self,
        })
    }

    /// Waits for the jobs under way, and closes every connection.
    fn close(&self) {
        let mut pool = self.pool();
        pool.closed = true;
        while pool.in_use > 0 {
            pool = self.given_back.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        pool.idle.clear();
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the readers, given back when dropped, together with the connection that is in it.
struct Reader<'a> {
    connection: Option<Connection>,
    of: &'a Readers,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut pool = self.of.pool();
        pool.in_use -= 1;
        pool.idle.extend(self.connection.take());
        drop(pool);
        self.of.given_back.notify_all();
    }
}

fn write_until_closed(connection: &Connection, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        let mut group = vec![first];
        while group.len() < MAX_GROUP
            && let Ok(next) = queue.try_recv()
        {
            group.push(next);
        }
        write_group(connection, group);
    }
    // Without other connections this leaves one plain file behind; with others SQLite does it later.
    if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::warn!(%error, "could not fold the write-ahead log into the database");
    }
}

fn write_group(connection: &Connection, group: Vec<Job>) {
    let begun = connection
        .execute_batch("BEGIN IMMEDIATE")
        .map_err(|error| error.to_string());
    let tells: Vec<Tell> = group
        .into_iter()
        // A panic in a job must not end the writer: its caller sees a closed reply, its savepoint is undone below.
        .filter_map(|job| catch_unwind(AssertUnwindSafe(|| job(connection))).ok())
        .collect();
    let committed = begun.and_then(|()| {
        connection
            .execute_batch("COMMIT")
            .map_err(|error| error.to_string())
    });
    if let Err(why) = &committed {
        tracing::error!(error = %why, "a group of writes was not saved");
        if !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
    }
    for tell in tells {
        tell(committed.as_ref().map(|_| ()).map_err(String::as_str));
    }
}

/// Runs one job so that its failure undoes only what it did itself.
fn in_savepoint<T>(connection: &Connection, job: impl FnOnce(&Connection) -> Sql<T>) -> Sql<T> {
    struct Undo<'a>(&'a Connection, bool);
    impl Drop for Undo<'_> {
        fn drop(&mut self) {
            if self.1 {
                let _ = self.0.execute_batch("ROLLBACK TO job; RELEASE job");
            }
        }
    }
    connection.execute_batch("SAVEPOINT job")?;
    let mut undo = Undo(connection, true);
    let value = job(connection)?;
    connection.execute_batch("RELEASE job")?;
    undo.1 = false;
    Ok(value)
}

fn connect(path: &Path, page_bytes: u32) -> Sql<Connection> {
    let connection = Connection::open(path)?;
    // The page size and the map for giving free pages back count only for a new file and must come before anything is
    // written. FULL: a commit that was told to somebody survives a power cut.
    connection.execute_batch(&format!(
        "PRAGMA page_size={page_bytes}; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; \
         PRAGMA secure_delete=OFF; PRAGMA temp_store=MEMORY; PRAGMA journal_size_limit=67108864;"
    ))?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

fn connect_reader(path: &Path) -> Sql<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.execute_batch("PRAGMA query_only=ON; PRAGMA mmap_size=268435456;")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Makes the file with mode 0600 before SQLite does with another; its companions take over the mode.
pub(super) fn create_private(path: &Path) -> Sql<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|source| io("create", path, source))
}

pub(super) fn io(doing: &'static str, path: &Path, source: std::io::Error) -> StoreError {
    StoreError::Io {
        doing,
        path: path.display().to_string(),
        source,
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Database {
            doing: "use the database",
            source,
        }
    }
}

impl StoreError {
    fn while_doing(self, doing: &'static str) -> Self {
        match self {
            Self::Database { source, .. } => Self::Database { doing, source },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel as pipe;

    const NUMBERS: Migrations = Migrations {
        page_bytes: 4096,
        steps: &[(1, "CREATE TABLE numbers(n INTEGER) STRICT;")],
    };

    fn insert(db: &Connection) -> Sql<()> {
        db.execute("INSERT INTO numbers VALUES (1)", [])?;
        Ok(())
    }

    fn count(db: &Connection) -> Sql<i64> {
        Ok(db.query_row("SELECT count(*) FROM numbers", [], |row| row.get(0))?)
    }

    #[tokio::test]
    async fn closing_waits_for_a_read_whose_caller_went_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let db = Database::open(&path, &NUMBERS).unwrap();
        db.write("write", insert).await.unwrap();
        let (begun, has_begun) = pipe();
        let (go_on, may_go_on) = pipe::<()>();
        let read = tokio::spawn(db.read("read", move |db| {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
            count(db)
        }));
        tokio::task::spawn_blocking(move || has_begun.recv().unwrap())
            .await
            .unwrap();
        read.abort();
        assert!(read.await.unwrap_err().is_cancelled());

        let (readers, slots) = (Arc::clone(&db.readers), Arc::clone(&db.readers.slots));
        assert_eq!(slots.available_permits(), MAX_READERS - 1, "it still reads");
        let jobs = Arc::clone(&db.jobs);
        let closing = std::thread::spawn(move || {
            db.close();
            db
        });
        // Nothing new is read once it closes; what is being read keeps the file.
        while !readers.pool().closed {
            std::thread::yield_now();
        }
        assert!(matches!(readers.run(count), Err(StoreError::Closed)));
        assert!(!closing.is_finished(), "a reader is still open");
        assert!(
            jobs.lock().unwrap().is_some(),
            "the writer hears of the end only when all readers are closed"
        );
        go_on.send(()).unwrap();
        let db = tokio::task::spawn_blocking(|| closing.join().unwrap())
            .await
            .unwrap();
        assert!(
            !folder.path().join("x.db-wal").exists(),
            "closing leaves one plain file"
        );
        assert!(matches!(db.read("read", count).await, Err(StoreError::Closed)));
        assert!(matches!(db.write("write", insert).await, Err(StoreError::Closed)));
    }

    #[tokio::test]
    async fn a_write_that_nobody_awaits_does_not_hold_up_the_close() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(&folder.path().join("x.db"), &NUMBERS).unwrap();
        let never_awaited = db.write("write", insert);
        tokio::task::spawn_blocking(move || db.close()).await.unwrap();
        assert!(matches!(never_awaited.await, Err(StoreError::Closed)));
    }

    #[tokio::test]
    async fn a_read_that_panics_gives_its_place_back() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(&folder.path().join("x.db"), &NUMBERS).unwrap();
        for _ in 0..=MAX_READERS {
            let broken = db.read::<()>("read", |_| panic!("on purpose"));
            assert!(matches!(broken.await, Err(StoreError::Closed)));
        }
        assert_eq!(db.read("read", count).await.unwrap(), 0);
        assert_eq!(db.readers.pool().in_use, 0);
    }
}
