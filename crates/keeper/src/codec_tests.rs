use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use super::*;

fn spec(env_bytes: usize) -> SpawnSpec {
    SpawnSpec {
        program: Program {
            exec: OsString::from_vec(vec![b'/', 0xff, b'x']),
            argv: vec!["x".into(), OsString::new()],
            env: vec![OsString::from_vec(vec![b'e'; env_bytes])],
            cwd: "/".into(),
            identity: Some(Identity {
                uid: 7,
                gid: 8,
                groups: vec![8, 9],
            }),
            listen_pid: true,
        },
        stdin_pipe: true,
        ipc: IpcPlace::Last,
        in_cgroup: true,
    }
}

/// Through a real socket and back.
fn travel(request: &Request<'_>) -> Result<Received, Malformed> {
    let (a, b) = os::socket::message_pair().unwrap();
    encode_request(request).unwrap().send(a.as_fd()).unwrap();
    let (mut buffer, mut fds) = (vec![0; 65536], Vec::new());
    let received = os::pass::receive(&b, &mut buffer, &mut fds).unwrap();
    decode_request(&buffer[..received.bytes], fds)
}

#[test]
fn small_and_megabyte_spawns_arrive_as_they_were() {
    let null = std::fs::File::open("/dev/null").unwrap();
    for size in [0, 10, MAX_INLINE_BYTES, 5 << 20] {
        let sent = spec(size);
        let request = Request::Spawn {
            key: 9,
            spec: &sent,
            extra: &[null.as_fd(), null.as_fd()],
        };
        match travel(&request).unwrap() {
            Received::Spawn { key: 9, spec, extra } => {
                assert_eq!(spec, sent);
                assert_eq!(extra.len(), 2);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_spawn_of_a_daemon_that_knows_no_cgroups_is_understood() {
    let sent = spec(0);
    let mut body = Writer::default();
    body.u64(9);
    write_spec(&mut body, &sent);
    // What was added last is not said.
    let older = &body.0[..body.0.len() - 4];
    let mut reader = Reader::new(&older[8..]);
    let read = read_spec(&mut reader).unwrap();
    assert_eq!(
        read,
        SpawnSpec {
            in_cgroup: false,
            ..sent
        }
    );
}

#[test]
fn too_much_is_refused_before_it_is_sent() {
    let huge = spec(MAX_BODY_BYTES);
    let encode = |request| encode_request(&request).map(drop);
    assert!(matches!(
        encode(Request::Spawn {
            key: 1,
            spec: &huge,
            extra: &[]
        }),
        Err(EncodeError::OutOfBounds(_))
    ));
    let long = "n".repeat(MAX_NAME_BYTES + 1);
    for name in ["", &long] {
        assert!(matches!(
            encode(Request::Remove { name }),
            Err(EncodeError::OutOfBounds(_))
        ));
    }
}

#[test]
fn every_other_request_arrives() {
    let null = std::fs::File::open("/dev/null").unwrap();
    let fds = crate::protocol::LentFds {
        ipc: Some(null.as_fd()),
        ..Default::default()
    };
    assert!(matches!(
        travel(&Request::Forget { key: 3 }),
        Ok(Received::Forget { key: 3 })
    ));
    assert!(matches!(
        travel(&Request::Release {
            key: 3,
            part: Part::Ipc
        }),
        Ok(Received::Release {
            key: 3,
            part: Part::Ipc
        })
    ));
    assert!(matches!(travel(&Request::Remove { name: "a" }), Ok(Received::Remove { name }) if name == "a"));
    assert!(matches!(
        travel(&Request::Put { name: "a", fds: &[null.as_fd()] }),
        Ok(Received::Put { name, fds }) if name == "a" && fds.len() == 1
    ));
    assert!(matches!(
        travel(&Request::Adopt {
            key: 1,
            pid: 2,
            spawned_at_ms: 3,
            fds
        }),
        Ok(Received::Adopt {
            key: 1,
            pid: 2,
            spawned_at_ms: 3,
            fds: ChildFds {
                ipc: Some(_),
                stdin: None,
                ..
            }
        })
    ));
    assert!(
        matches!(travel(&Request::Exec { path: Path::new("/x") }), Ok(Received::Exec { path }) if path == "/x")
    );
    assert!(matches!(travel(&Request::Shutdown), Ok(Received::Shutdown)));
}

#[test]
fn cut_and_mangled_messages_are_errors_and_no_panics() {
    let mut w = Writer::default();
    w.u16(RequestKind::Spawn as u16);
    w.u16(0);
    w.u64(1);
    write_spec(&mut w, &spec(20));
    assert!(decode_request(&w.0, Vec::new()).is_ok());
    // Without what was added last it is what an older daemon says.
    let older = w.0.len() - 4;
    for cut in (0..w.0.len()).filter(|cut| *cut != older) {
        assert!(decode_request(&w.0[..cut], Vec::new()).is_err(), "cut at {cut}");
    }
    for at in 4..w.0.len() {
        for value in [0x00, 0x7f, 0xff] {
            let mut mangled = w.0.clone();
            mangled[at] = value;
            // Either meaning is fine, as long as there is one.
            let _ = decode_request(&mangled, Vec::new());
        }
    }
    assert!(matches!(
        decode_request(&[0xfe, 0, 0, 0], Vec::new()),
        Ok(Received::Unknown)
    ));
    assert!(
        decode_request(&[1, 0, 1, 0], Vec::new()).is_err(),
        "a body file that did not come"
    );
}

#[test]
fn an_event_with_a_report_survives() {
    let report = ExitReport {
        exit: Exit::Signal(9),
        at_ms: 1_700_000_000_000,
        usage: Usage {
            max_rss_bytes: 1 << 30,
            user: Duration::from_micros(1_500_001),
            system: Duration::from_micros(3),
        },
    };
    let (a, b) = os::socket::message_pair().unwrap();
    encode_event(Told::Exited {
        key: 5,
        pid: 6,
        report,
    })
    .unwrap()
    .send(a.as_fd())
    .unwrap();
    let mut buffer = [0; 1024];
    let got = os::pass::receive(&b, &mut buffer, &mut Vec::new()).unwrap();
    match decode_event(&buffer[..got.bytes], Vec::new()).unwrap() {
        Event::Exited {
            key: 5,
            pid: 6,
            report: arrived,
        } => assert_eq!(arrived, report),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_shortage_is_waited_out_and_the_end_of_the_other_is_not() {
    use rustix::io::Errno;
    let later = |errno: Errno| is_try_later(&errno.into());
    assert!([Errno::AGAIN, Errno::TOOMANYREFS, Errno::NOBUFS, Errno::NOMEM].map(later) == [true; 4]);
    assert!([Errno::PIPE, Errno::CONNRESET, Errno::BADF].map(later) == [false; 3]);
}
