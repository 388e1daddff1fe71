//! In-process behaviour here; the deaths are in [`deaths`].

mod deaths;

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::*;

pub(super) use deaths::fault_point;

fn pair() -> (Channel, UnixStream) {
    pair_with(Limits::default())
}

fn pair_with(limits: Limits) -> (Channel, UnixStream) {
    let (ours, peer) = crate::socket::stream_pair().unwrap();
    (Channel::new(ours, None, limits).unwrap(), UnixStream::from(peer))
}

fn lines(channel: &mut Channel) -> Vec<u8> {
    let mut buffer = Vec::new();
    match channel.read(&mut buffer).unwrap() {
        Incoming::Lines(lines) => lines.to_vec(),
        other => panic!("{other:?} instead of lines"),
    }
}

#[track_caller]
fn reads_as(channel: &mut Channel, expected: Incoming<'_>) {
    assert_eq!(channel.read(&mut Vec::new()).unwrap(), expected);
}

#[test]
fn lines_stay_until_they_are_consumed() {
    let (mut channel, mut peer) = pair();
    reads_as(&mut channel, Incoming::Blocked);
    peer.write_all(b"{\"a\":1}\n\"ready\"\n{\"half").unwrap();
    let both = b"{\"a\":1}\n\"ready\"\n";
    assert_eq!(lines(&mut channel), both);
    assert_eq!(lines(&mut channel), both);
    channel.consume().unwrap();
    // The half has no line feed: it is to be moved out of the way.
    reads_as(&mut channel, Incoming::NeedStash);
    channel.attach(Stash::create().unwrap());
    reads_as(&mut channel, Incoming::Blocked);
    peer.write_all(b"\":2}\nnext\n").unwrap();
    assert_eq!(lines(&mut channel), b"{\"half\":2}\n");
    channel.consume().unwrap();
    assert_eq!(lines(&mut channel), b"next\n");
    channel.consume().unwrap();
    reads_as(&mut channel, Incoming::Blocked);
    peer.write_all(b"torn").unwrap();
    drop(peer);
    reads_as(&mut channel, Incoming::Closed { torn_bytes: 4 });
}

#[test]
fn a_peer_that_writes_single_bytes_into_a_full_socket_is_not_stuck() {
    let (mut channel, peer) = pair();
    channel.attach(Stash::create().unwrap());
    let writer = std::thread::spawn(move || {
        let mut peer = peer;
        for _ in 0..3000 {
            peer.write_all(b"x").unwrap();
        }
        peer.write_all(b"\n").unwrap();
    });
    let mut buffer = Vec::new();
    let length = loop {
        if let Incoming::Lines(lines) = channel.read(&mut buffer).unwrap() {
            break lines.len();
        }
    };
    assert_eq!(length, 3001);
    writer.join().unwrap();
}

#[test]
fn a_frame_beyond_the_limit_is_skipped_and_the_next_one_read() {
    let (mut channel, peer) = pair_with(Limits {
        max_frame_bytes: 100_000,
        ..Limits::default()
    });
    channel.attach(Stash::create().unwrap());
    let writer = std::thread::spawn(move || {
        let mut peer = peer;
        let long = vec![b'x'; 500_000];
        peer.write_all(&long).unwrap();
        peer.write_all(b"\nafter\n").unwrap();
        peer.write_all(&long).unwrap();
        peer.write_all(b"\nend\n").unwrap();
    });
    let (mut seen, mut buffer) = (Vec::new(), Vec::new());
    loop {
        match channel.read(&mut buffer).unwrap() {
            Incoming::Lines(lines) => seen.extend_from_slice(lines),
            Incoming::Closed { torn_bytes } => {
                assert_eq!(torn_bytes, 0);
                break;
            }
            _ => continue,
        }
        channel.consume().unwrap();
    }
    writer.join().unwrap();
    let seen: Vec<_> = seen
        .split(|&b| b == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(seen, [b"after".as_slice(), b"end"]);
    assert_eq!(channel.skipped_frames(), 2);
}

#[test]
fn descriptors_from_the_child_are_refused_and_its_lines_kept() {
    let (mut channel, peer) = pair();
    let null = std::fs::File::open("/dev/null").unwrap();
    let open_before = crate::proc::open_descriptors(std::process::id()).unwrap();
    for _ in 0..10 {
        crate::pass::send(&peer, b"with\n", &[null.as_fd()]).unwrap();
        crate::pass::send(&peer, b"without\n", &[]).unwrap();
    }
    let mut seen = Vec::new();
    while let Incoming::Lines(lines) = channel.read(&mut Vec::new()).unwrap() {
        seen.extend_from_slice(lines);
        channel.consume().unwrap();
    }
    assert_eq!(seen, b"with\nwithout\n".repeat(10));
    assert_eq!(
        crate::proc::open_descriptors(std::process::id()).unwrap(),
        open_before
    );
}

#[test]
fn only_whole_single_lines_are_sent() {
    let (mut channel, mut peer) = pair();
    for bad in [b"".as_slice(), b"no feed", b"two\nlines\n", b"\n\n"] {
        assert!(
            matches!(channel.write(bad), Err(WriteError::NotOneLine)),
            "{bad:?}"
        );
    }
    assert_eq!(channel.write(b"good\n").unwrap(), Written::Sent);
    let mut got = [0; 16];
    assert_eq!(peer.read(&mut got).unwrap(), 5);
    drop(peer);
    match channel.write(b"more\n") {
        Err(WriteError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::BrokenPipe),
        other => panic!("{other:?}"),
    }
}

#[test]
fn large_frames_and_a_full_socket_queue_in_order_up_to_the_limit() {
    let (mut channel, mut peer) = pair_with(Limits {
        max_queued_bytes: 4 << 20,
        ..Limits::default()
    });
    let mut large = vec![b'a'; 1 << 20];
    large.push(b'\n');
    assert_eq!(channel.write(&large).unwrap(), Written::NeedStash);
    channel.attach(Stash::create().unwrap());
    assert_eq!(channel.write(&large).unwrap(), Written::Queued);
    assert_eq!(channel.write(b"small, but behind\n").unwrap(), Written::Queued);
    assert!(
        !channel.write_with_fd(b"fd\n", std::io::stderr().as_fd()).unwrap(),
        "it would overtake"
    );
    let mut sent = 2;
    let refused = loop {
        match channel.write(&large) {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused, WriteError::Full { queued_bytes } if queued_bytes > 2 << 20),
        "{refused}"
    );
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        all
    });
    while !channel.flush().unwrap() {
        std::thread::yield_now();
    }
    assert_eq!(channel.queued_bytes().unwrap(), 0);
    // Read, so its memory is free again and the next one fits.
    let mut written = channel.write(&large);
    while let Err(WriteError::Full { .. }) = written {
        written = channel.write(&large);
    }
    while !channel.flush().unwrap() {
        std::thread::yield_now();
    }
    drop(channel);
    let all = reader.join().unwrap();
    let frames: Vec<_> = all.split_inclusive(|&b| b == b'\n').collect();
    assert_eq!(frames.len(), sent + 1);
    assert!(frames.iter().enumerate().all(|(i, &frame)| frame
        == if i == 1 {
            b"small, but behind\n".as_slice()
        } else {
            &large
        }));
}

#[test]
fn a_descriptor_goes_with_its_frame() {
    let (mut channel, peer) = pair();
    let (read, write) = crate::fd::pipe().unwrap();
    assert!(
        channel
            .write_with_fd(b"{\"cmd\":\"NODE_HANDLE\"}\n", write.as_fd())
            .unwrap()
    );
    drop(write);
    let (mut buffer, mut fds) = ([0; 64], Vec::<OwnedFd>::new());
    let got = crate::pass::receive(&peer, &mut buffer, &mut fds).unwrap();
    assert_eq!((got.bytes, fds.len()), (22, 1));
    std::fs::File::from(fds.remove(0)).write_all(b"hi").unwrap();
    let mut text = String::new();
    std::fs::File::from(read).read_to_string(&mut text).unwrap();
    assert_eq!(text, "hi");
}

/// The kernel fact that direct frames rest on.
#[test]
fn up_to_the_direct_size_a_send_is_all_or_nothing() {
    let (ours, peer) = crate::socket::stream_pair().unwrap();
    let frame = vec![b'x'; MAX_DIRECT_FRAME];
    let mut seed = 7_u64;
    let mut random = move |below: usize| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let (mut full, mut buffer) = (0, vec![0; 100_000]);
    for _ in 0..20_000 {
        let length = 1 + random(MAX_DIRECT_FRAME);
        match rustix::net::send(&ours, &frame[..length], rustix::net::SendFlags::DONTWAIT) {
            Ok(sent) => assert_eq!(sent, length),
            Err(rustix::io::Errno::AGAIN) => {
                full += 1;
                // Odd amounts, so that the free room is any.
                let part = 1 + random(buffer.len());
                rustix::net::recv(&peer, &mut buffer[..part], rustix::net::RecvFlags::DONTWAIT).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(full > 1000, "the socket was full {full} times only");
}
