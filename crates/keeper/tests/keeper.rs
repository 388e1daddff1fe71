//! The real keeper as a process, its daemons killed and its connection held by the test.

mod support;

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use keeper::client::{ClientError, Keeper};
use keeper::protocol::{Event, IpcPlace, LentFds, Part, Request, RequestKind, SpawnSpec};
use os::signal::{SIGHUP, SIGKILL, SIGTERM};
use os::spawn::Step;
use os::wait::Exit;
use support::{House, Seat, WithStdin as _, alive, read_to_end, script, until};

#[test]
fn a_child_is_started_told_of_and_forgotten() {
    let house = House::new();
    let mut seat = house.seat();
    let before = seat.everything();
    assert_eq!(before.daemon_starts, 1);
    assert!(before.children.is_empty() && before.stored.is_empty());

    let info = seat.spawn(7, &script("echo out; echo err >&2; exit 3"));
    assert_eq!(info.key, 7);
    assert!(info.start_ticks > 0 && info.spawned_at_ms > 1_600_000_000_000 && !info.adopted);
    let (pid, report) = seat.exit_of(7);
    assert_eq!((pid, report.exit), (info.pid, Exit::Code(3)));
    assert!(report.usage.max_rss_bytes > 0);
    // The keeper's own ends must be closed for this to end: it holds ours only.
    seat.send(&Request::Forget { key: 7 });
    assert_eq!(read_to_end(info.fds.stdout.unwrap()), "out\n");
    assert_eq!(read_to_end(info.fds.stderr.unwrap()), "err\n");
    seat.send(&Request::Forget { key: 7 });
    assert_eq!(seat.refusal(), (RequestKind::Forget, 7, "NoSuchFile".into()));
}

#[test]
fn stdin_the_channel_and_extra_descriptors_are_where_they_should_be() {
    let house = House::new();
    let mut seat = house.seat();
    seat.everything();
    let (read, write) = os::fd::pipe().unwrap();
    for (key, ipc, channel, extra) in [(1, IpcPlace::First, 3, 4), (2, IpcPlace::Last, 4, 3)] {
        let line =
            format!("read line; echo \"$line\" >&{channel}; echo extra >&{extra}; echo $LISTEN_PID = $$");
        let mut spec = script(&line);
        spec.stdin_pipe = true;
        spec.ipc = ipc;
        spec.program.listen_pid = true;
        seat.send(&Request::Spawn {
            key,
            spec: &spec,
            extra: &[write.as_fd()],
        });
        let info = seat.spawned(key);
        rustix::io::write(info.fds.stdin.as_ref().unwrap(), b"through\n").unwrap();
        seat.exit_of(key);
        let mut buffer = [0; 64];
        let length = rustix::io::read(info.fds.ipc.unwrap(), &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"through\n");
        let length = rustix::io::read(&read, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"extra\n");
        seat.send(&Request::Forget { key });
        let text = read_to_end(info.fds.stdout.unwrap());
        assert_eq!(text.trim(), format!("{0} = {0}", info.pid));
    }
}

#[test]
fn a_child_writes_itself_into_its_cgroup_before_it_is_anything() {
    let house = House::new();
    let mut seat = house.seat();
    seat.everything();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cgroup.procs");
    std::fs::write(&path, "").unwrap();
    let door = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    // By the time that the program runs, it is in; and it has not got the descriptor.
    let mut spec = script(&format!("cat {}; ls /proc/self/fd | wc -l", path.display()));
    spec.in_cgroup = true;
    seat.send(&Request::Spawn {
        key: 1,
        spec: &spec,
        extra: &[door.as_fd()],
    });
    let info = seat.spawned(1);
    seat.exit_of(1);
    // 0 stands for whoever writes; three streams, and the folder that is listed.
    assert_eq!(read_to_end(info.fds.stdout.unwrap()), "04\n");
    let shut = std::fs::File::open(&path).unwrap();
    for (extra, step, errno) in [(&[shut.as_fd()][..], Step::Cgroup, 9), (&[], Step::Prepare, 9)] {
        seat.send(&Request::Spawn {
            key: 2,
            spec: &spec,
            extra,
        });
        assert_eq!(seat.failure(), (2, step, errno));
    }
}

#[test]
fn a_failed_start_names_its_step_and_leaves_the_key_free() {
    let house = House::new();
    let mut seat = house.seat();
    seat.everything();
    let mut missing = script("true");
    missing.program.exec = "/nonexistent".into();
    let mut nowhere = script("true");
    nowhere.program.cwd = "/nonexistent".into();
    for (spec, step) in [(&missing, Step::Exec), (&nowhere, Step::WorkingDirectory)] {
        seat.send(&Request::Spawn {
            key: 1,
            spec,
            extra: &[],
        });
        assert_eq!(seat.failure(), (1, step, 2));
    }
    seat.spawn(1, &script("exec sleep 60"));
    seat.send(&Request::Spawn {
        key: 1,
        spec: &missing,
        extra: &[],
    });
    assert_eq!(seat.failure(), (1, Step::Prepare, 17));
    seat.send(&Request::Forget { key: 1 });
    assert_eq!(seat.refusal().2, "ResourceBusy");
}

#[test]
fn megabytes_of_environment_pass() {
    let house = House::new();
    let mut seat = house.seat();
    seat.everything();
    let mut spec = script("cat /proc/self/environ | wc -c");
    // The kernel bounds one string to 128 KiB.
    spec.program
        .env
        .extend((0..12).map(|n| format!("BIG{n}={}", "x".repeat(100_000)).into()));
    let info = seat.spawn(1, &spec);
    seat.exit_of(1);
    seat.send(&Request::Forget { key: 1 });
    let length: usize = read_to_end(info.fds.stdout.unwrap()).trim().parse().unwrap();
    assert!(length > 1_200_000, "{length}");
}

#[test]
fn a_killed_daemon_is_back_at_once_and_finds_everything() {
    let house = House::new();
    let mut seat = house.seat();
    seat.everything();
    let mut spec = script("echo before; read line <&3; echo \"$line\"; exec sleep 60");
    spec.ipc = IpcPlace::First;
    let living = seat.spawn(1, &spec);
    // It ends while nobody is there to be told.
    let ending = seat.spawn(2, &script("read line; exit 5").with_stdin());
    let record = os::memfd::with_content("record", b"what I know").unwrap();
    seat.send(&Request::Put {
        name: "record",
        fds: &[record.as_fd(), record.as_fd()],
    });
    seat.send(&Request::Put {
        name: "gone",
        fds: &[record.as_fd()],
    });
    seat.send(&Request::Remove { name: "gone" });
    let stdin = os::fd::duplicate(ending.fds.stdin.as_ref().unwrap()).unwrap();
    drop((living, ending, record));

    seat.kill_daemon();
    rustix::io::write(&stdin, b"go\n").unwrap();
    let killed = Instant::now();
    let mut seat = house.seat();
    let back_after = killed.elapsed();
    let mut found = seat.everything();
    assert_eq!(found.daemon_starts, 2);
    assert_eq!(found.stored.len(), 1);
    assert_eq!(
        os::memfd::read_all(&found.stored["record"][0], 100).unwrap(),
        b"what I know"
    );
    assert_eq!(found.stored["record"].len(), 2);
    // Not a measurement, but a restart that waits for something would take its second.
    assert!(back_after < Duration::from_secs(1), "{back_after:?}");

    let ended = found.children.remove(&2).unwrap();
    let report = ended.exited.unwrap_or_else(|| seat.exit_of(2).1);
    assert_eq!(report.exit, Exit::Code(5));
    let living = found.children.remove(&1).unwrap();
    assert!(living.exited.is_none() && alive(living.pid));
    rustix::io::write(living.fds.ipc.as_ref().unwrap(), b"after\n").unwrap();
    let stdout = living.fds.stdout.unwrap();
    let mut text = String::new();
    until("both lines", || {
        let mut buffer = [0; 64];
        if let Ok(length) = rustix::io::read(&stdout, &mut buffer) {
            text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        text == "before\nafter\n"
    });
}

#[test]
fn what_a_daemon_sent_before_its_death_is_done() {
    let house = House::new();
    // Few, as the keeper pauses longer and longer between daemons that die young.
    for round in 0..4 {
        let mut seat = house.seat();
        seat.everything();
        let name = format!("round {round}");
        let null = File::open("/dev/null").unwrap();
        for _ in 0..50 {
            seat.send(&Request::Put {
                name: &name,
                fds: &[null.as_fd()],
            });
        }
        seat.send(&Request::Spawn {
            key: 1000 + round,
            spec: &script("exec sleep 60"),
            extra: &[],
        });
        seat.kill_daemon();
    }
    let mut seat = house.seat();
    let found = seat.everything();
    assert_eq!((found.stored.len(), found.children.len()), (4, 4));
}

#[test]
fn garbage_costs_the_daemon_its_life_and_the_children_nothing() {
    let house = House::new();
    let mut seat = house.seat();
    seat.everything();
    let child = seat.spawn(1, &script("exec sleep 60"));
    let first = seat.daemon_pid;
    os::pass::send(seat.keeper.as_fd(), b"\x01\x00\x00\x00garbage", &[]).unwrap();
    let mut seat = house.seat();
    let found = seat.everything();
    assert_ne!(seat.daemon_pid, first);
    until("the first daemon to be gone", || !alive(first));
    assert_eq!(found.children[&1].pid, child.pid);
    assert!(alive(child.pid));
    // An unknown kind is only refused: it may come from a newer daemon.
    os::pass::send(seat.keeper.as_fd(), &[0x70, 0x70, 0, 0], &[]).unwrap();
    assert_eq!(seat.refusal().0, RequestKind::Unknown);
}

#[test]
fn a_daemon_that_can_be_told_nothing_any_more_is_replaced() {
    let house = House::new();
    let mut seat = house.seat();
    seat.everything();
    let first = seat.daemon_pid;
    // It lives, and sends, but what it is told finds nobody.
    rustix::net::shutdown(&seat.keeper, rustix::net::Shutdown::Read).unwrap();
    seat.send(&Request::Spawn {
        key: 1,
        spec: &script("exec sleep 60"),
        extra: &[],
    });
    let mut next = house.seat();
    let found = next.everything();
    assert_ne!(next.daemon_pid, first);
    until("the first daemon to be gone", || !alive(first));
    assert!(alive(found.children[&1].pid));
}

#[test]
fn a_released_channel_is_a_disconnect() {
    let house = House::new();
    let mut seat = house.seat();
    seat.everything();
    let mut spec = script("cat <&3; exit 4");
    spec.ipc = IpcPlace::First;
    let info = seat.spawn(1, &spec);
    drop(info.fds);
    seat.send(&Request::Release {
        key: 1,
        part: Part::Ipc,
    });
    assert_eq!(seat.exit_of(1).1.exit, Exit::Code(4));
}

#[test]
fn shutdown_ends_it_and_frees_the_home() {
    let mut house = House::new();
    let mut seat = house.seat();
    seat.everything();
    let child = seat.spawn(1, &script("exec sleep 60"));
    seat.send(&Request::Shutdown);
    seat.end_daemon();
    assert_eq!(house.keeper_exit(), Some(0));
    assert!(alive(child.pid), "the keeper never kills an app");
    os::process::kill(child.pid, SIGKILL).unwrap();
    let mut next = House::at(house.take_home());
    next.seat().everything();
    assert_eq!(next.second_keeper_exit(), Some(17), "one keeper at a time");
}

#[test]
fn signals_are_the_daemons_business() {
    let house = House::new();
    let mut seat = house.seat();
    seat.everything();
    seat.send(&Request::Remove {
        name: "any request shows that it listens",
    });
    seat.spawn(1, &script("exec sleep 60"));
    os::process::kill(house.keeper_pid(), SIGHUP).unwrap();
    os::process::kill(house.keeper_pid(), SIGTERM).unwrap();
    assert_eq!(seat.told(), b'T');
    seat.kill_daemon();
    // The next one is told too, once it has shown that it listens.
    let mut seat = house.seat();
    let found = seat.everything();
    assert!(found.children[&1].exited.is_none());
    seat.send(&Request::Remove { name: "x" });
    assert_eq!(seat.told(), b'T');
}

#[test]
fn its_program_is_replaced_in_place() {
    let house = House::new();
    let mut seat = house.seat();
    seat.everything();
    let child = seat.spawn(1, &script("read line; echo \"$line\"; exit 6").with_stdin());
    let null = File::open("/dev/null").unwrap();
    seat.send(&Request::Put {
        name: "kept",
        fds: &[null.as_fd()],
    });
    seat.send(&Request::Exec {
        path: std::path::Path::new("/nonexistent"),
    });
    assert_eq!(seat.refusal().0, RequestKind::Exec);
    let program = house.copy_of_the_program();
    seat.send(&Request::Exec { path: &program });
    match seat.event() {
        Event::Welcome {
            keeper_pid,
            daemon_starts: 1,
            ..
        } => assert_eq!(keeper_pid, house.keeper_pid()),
        other => panic!("{other:?}"),
    }
    let running = std::fs::read_link(format!("/proc/{}/exe", house.keeper_pid())).unwrap();
    assert_eq!(running, program);
    // It is still the parent, and still has everything.
    rustix::io::write(child.fds.stdin.as_ref().unwrap(), b"hello\n").unwrap();
    assert_eq!(seat.exit_of(1).1.exit, Exit::Code(6));
    seat.kill_daemon();
    let mut seat = house.seat();
    let mut found = seat.everything();
    assert_eq!((found.daemon_starts, found.stored.len()), (2, 1));
    let child = found.children.remove(&1).unwrap();
    let mut text = [0; 6];
    File::from(child.fds.stdout.unwrap())
        .read_exact(&mut text)
        .unwrap();
    assert_eq!(&text, b"hello\n");
}

#[test]
fn after_a_dead_keeper_another_one_adopts_what_the_daemon_has() {
    let mut house = House::new();
    let mut seat = house.seat();
    seat.everything();
    let child = seat.spawn(1, &script("exec sleep 60"));
    let stored = os::memfd::with_content("record", b"kept").unwrap();
    house.kill_keeper();
    until("the end of the connection", || {
        matches!(seat.keeper.recv(), Err(ClientError::Gone))
    });
    assert!(alive(child.pid));

    // The test is the living daemon now.
    let mut seat = Seat::of(Keeper::respawn(&house.respawn()).unwrap());
    let found = seat.everything();
    assert!(found.children.is_empty());
    let fds = LentFds {
        stdout: child.fds.stdout.as_ref().map(AsFd::as_fd),
        pidfd: child.fds.pidfd.as_ref().map(AsFd::as_fd),
        ..LentFds::default()
    };
    seat.send(&Request::Adopt {
        key: 1,
        pid: child.pid,
        spawned_at_ms: child.spawned_at_ms,
        fds,
    });
    seat.send(&Request::Put {
        name: "record",
        fds: &[stored.as_fd()],
    });
    seat.send(&Request::Adopt {
        key: 2,
        pid: u32::MAX >> 1,
        spawned_at_ms: 0,
        fds: LentFds::default(),
    });
    assert_eq!(seat.refusal(), (RequestKind::Adopt, 2, "NoSuchProcess".into()));
    os::process::kill(child.pid, SIGKILL).unwrap();
    let (pid, report) = seat.exit_of(1);
    assert_eq!(pid, child.pid);
    assert!(matches!(report.exit, Exit::Unknown | Exit::Signal(SIGKILL)));
    seat.send(&Request::Forget { key: 1 });
    seat.send(&Request::Shutdown);
    drop(seat);
}

#[test]
fn hundreds_of_children_are_told_to_the_next_daemon() {
    let house = House::new();
    let mut seat = house.seat();
    seat.everything();
    let spec: SpawnSpec = script("exec sleep 60").with_stdin();
    for key in 0..300 {
        seat.send(&Request::Spawn {
            key,
            spec: &spec,
            extra: &[],
        });
    }
    // Not one event was fetched by this daemon: the keeper must not have minded.
    seat.kill_daemon();
    let mut seat = house.seat();
    let found = seat.everything();
    assert_eq!(found.children.len(), 300);
    assert!(
        found
            .children
            .values()
            .all(|child| child.fds.pidfd.is_some() && alive(child.pid))
    );
}

#[test]
fn a_daemon_that_never_works_is_given_up_and_its_starter_told() {
    let mut house = House::without_listener();
    let mut ready = house.ready.take().unwrap();
    let mut byte = Vec::new();
    ready.read_to_end(&mut byte).unwrap();
    assert!(byte.is_empty(), "the end of the pipe without a byte is failure");
    assert_eq!(house.keeper_exit(), Some(18));
}
