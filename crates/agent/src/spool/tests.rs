use super::*;
use proptest::prelude::*;
use std::fs;

const NOW: u64 = 1_767_225_600_000;

fn open(home: &Path) -> Spool {
    Spool::open(home, 1 << 20, NOW).unwrap()
}

fn append(spool: &mut Spool, text: &str) {
    spool.append(|_| Some(text.as_bytes().to_vec()));
}

fn unsent(spool: &mut Spool) -> Vec<(u64, String)> {
    std::iter::from_fn(|| spool.next_unsent())
        .map(|r| (r.seq, String::from_utf8(r.payload).unwrap()))
        .collect()
}

fn texts(spool: &mut Spool) -> Vec<String> {
    unsent(spool).into_iter().map(|(_, text)| text).collect()
}

fn segments(home: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(home.join(DIR))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "seg"))
        .collect();
    found.sort();
    found
}

#[test]
fn reports_survive_a_restart_in_order_and_acknowledged_ones_do_not() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = open(home.path());
    for text in ["a", "b", "c"] {
        append(&mut spool, text);
    }
    let sent = unsent(&mut spool);
    spool.ack(sent[0].0);
    let stream = spool.stream();
    spool.close();
    drop(spool);
    let mut spool = open(home.path());
    assert_eq!(spool.stream(), stream);
    assert_eq!(unsent(&mut spool), sent[1..]);
    append(&mut spool, "d");
    let (seq, text) = unsent(&mut spool).remove(0);
    assert_eq!(text, "d");
    assert!(seq > sent[2].0);
}

#[test]
fn without_a_proper_end_nothing_is_lost_and_some_may_come_twice() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = open(home.path());
    append(&mut spool, "a");
    append(&mut spool, "b");
    let sent = unsent(&mut spool);
    spool.ack(sent[0].0);
    drop(spool);
    let again = unsent(&mut open(home.path()));
    assert!(again.ends_with(&sent[1..]), "{again:?}");
}

#[test]
fn a_new_link_sends_again_what_was_not_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = open(home.path());
    for text in ["a", "b", "c"] {
        append(&mut spool, text);
    }
    let sent = unsent(&mut spool);
    assert_eq!(spool.in_flight(), 3);
    spool.resume(sent[0].0);
    assert_eq!(texts(&mut spool), ["b", "c"]);
}

#[test]
fn numbers_are_never_used_again_even_when_the_end_was_lost() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = open(home.path());
    append(&mut spool, "a");
    let seq = unsent(&mut spool)[0].0;
    drop(spool);
    for segment in segments(home.path()) {
        fs::remove_file(segment).unwrap();
    }
    let mut spool = Spool::open(home.path(), 1 << 20, NOW + 1).unwrap();
    append(&mut spool, "b");
    assert!(unsent(&mut spool)[0].0 > seq);
    // A hub may know more than we do.
    let mut spool = open(home.path());
    spool.resume(u64::MAX / 2);
    append(&mut spool, "c");
    assert!(unsent(&mut spool)[0].0 > u64::MAX / 2);
}

#[test]
fn a_torn_end_is_cut_at_every_byte() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = open(home.path());
    append(&mut spool, "whole");
    append(&mut spool, "torn");
    drop(spool);
    let segment = segments(home.path()).remove(0);
    let bytes = fs::read(&segment).unwrap();
    let second = 16 + "whole".len();
    for end in second..bytes.len() {
        fs::write(&segment, &bytes[..end]).unwrap();
        let mut spool = open(home.path());
        assert_eq!(texts(&mut spool), ["whole"], "cut at {end}");
        append(&mut spool, "next");
        drop(spool);
        assert_eq!(texts(&mut open(home.path())), ["whole", "next"]);
        for other in segments(home.path()) {
            fs::remove_file(other).unwrap();
        }
    }
}

#[test]
fn a_damaged_record_is_counted_and_the_others_are_sent() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = open(home.path());
    for text in ["one", "two", "three"] {
        append(&mut spool, text);
    }
    let segment = segments(home.path()).remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(3).position(|w| w == b"two").unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    assert_eq!(texts(&mut spool), ["one", "three"]);
    assert_eq!(spool.dropped(), 1);
}

#[test]
fn the_oldest_go_when_the_room_is_used_up() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(home.path(), 64 << 10, NOW).unwrap();
    for n in 0..1000 {
        append(&mut spool, &format!("{n:0>200}"));
        assert!(spool.bytes() <= 64 << 10);
    }
    let dropped = spool.dropped();
    let first = spool.next_unsent().unwrap();
    assert_eq!(
        first.dropped, dropped,
        "the hub is told with the first one that is left"
    );
    let left = texts(&mut spool);
    assert_eq!(left.last().unwrap(), &format!("{:0>200}", 999));
    assert_eq!(1 + left.len() as u64 + dropped, 1000);
    spool.resume(0);
    assert_eq!(
        spool.next_unsent().unwrap().dropped,
        dropped,
        "told again until it is acknowledged"
    );
    spool.resume(first.seq);
    assert_eq!(spool.next_unsent().unwrap().dropped, 0);
    let on_disk: u64 = segments(home.path())
        .iter()
        .map(|p| fs::metadata(p).unwrap().len())
        .sum();
    assert!(on_disk <= 64 << 10, "{on_disk}");
}

#[test]
fn acknowledged_segments_are_deleted() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(home.path(), 64 << 10, NOW).unwrap();
    for n in 0..250 {
        append(&mut spool, &format!("{n:0>200}"));
    }
    assert!(segments(home.path()).len() > 5);
    let last = unsent(&mut spool).pop().unwrap().0;
    spool.ack(last);
    assert!(segments(home.path()).len() <= 1);
    assert!(spool.is_empty());
}

#[test]
fn a_disk_that_takes_nothing_leaves_a_little_memory() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = open(home.path());
    // A folder that is gone refuses new files whoever runs the test.
    fs::remove_dir_all(home.path().join(DIR)).unwrap();
    for n in 0..3 {
        append(&mut spool, &format!("{n}"));
    }
    spool.append(|_| Some(vec![0; 500_000]));
    spool.append(|_| Some(vec![0; 500_000]));
    spool.append(|_| Some(vec![0; 500_000]));
    assert_eq!(spool.dropped(), 1);
    assert_eq!(spool.next_unsent().unwrap().payload, b"0");
    while let Some(record) = spool.next_unsent() {
        spool.ack(record.seq);
    }
    assert!(spool.is_empty());
    assert_eq!(spool.bytes(), 0);
}

#[test]
fn a_hub_that_acknowledges_what_it_cannot_have_loses_us_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = open(home.path());
    append(&mut spool, "a");
    append(&mut spool, "b");
    spool.ack(u64::MAX);
    assert_eq!(spool.len(), 2, "nothing was sent yet");
    spool.next_unsent().unwrap();
    spool.ack(u64::MAX);
    assert_eq!(spool.len(), 1, "only what was sent is gone");
    spool.resume(u64::MAX);
    assert_eq!(texts(&mut spool), ["b"]);
    append(&mut spool, "c");
    assert_eq!(texts(&mut spool), ["c"]);
}

#[test]
fn a_state_that_cannot_be_read_is_moved_aside() {
    let home = tempfile::tempdir().unwrap();
    let stream = open(home.path()).stream();
    let state = home.path().join(DIR).join("state.json");
    fs::write(&state, "{ what").unwrap();
    let spool = open(home.path());
    assert_ne!(spool.stream(), stream);
    assert_eq!(
        fs::read_to_string(state.with_extension("json.before")).unwrap(),
        "{ what"
    );
}

#[test]
fn files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    append(&mut open(home.path()), "a");
    let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home.path().join(DIR)), 0o700);
    assert_eq!(mode(&segments(home.path())[0]), 0o600);
}

/// What the spool must look like from outside, kept in the simplest way there is.
#[derive(Default)]
struct Model {
    waiting: Vec<(u64, Vec<u8>)>,
    sent: usize,
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Send,
    /// Acknowledge this share of what was sent.
    Ack(u8),
    Reconnect,
    Restart,
    /// Lose this many bytes at the end of the last segment, as a crash does.
    Tear(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3000usize).prop_map(Step::Append),
        4 => Just(Step::Send),
        2 => any::<u8>().prop_map(Step::Ack),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Restart),
        1 => (1..40u8).prop_map(Step::Tear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn it_is_an_ordered_queue_that_forgets_only_what_is_acknowledged_or_counted(
        steps in proptest::collection::vec(step(), 1..120)
    ) {
        let home = tempfile::tempdir().unwrap();
        let max = 64 << 10;
        let mut now = NOW;
        let mut spool = Spool::open(home.path(), max, now).unwrap();
        let mut model = Model::default();
        let mut written = 0u8;
        let (mut lost, mut highest) = (0u64, 0u64);
        for step in steps {
            match step {
                Step::Append(len) => {
                    written = written.wrapping_add(1);
                    let payload = vec![written; len];
                    let mut seq = 0;
                    let before = spool.dropped();
                    spool.append(|n| { seq = n; Some(payload.clone()) });
                    prop_assert!(seq > highest, "numbers ascend");
                    highest = seq;
                    model.waiting.push((seq, payload));
                    let dropped = usize::try_from(spool.dropped() - before).unwrap();
                    model.waiting.drain(..dropped);
                    model.sent = model.sent.saturating_sub(dropped);
                    lost += dropped as u64;
                }
                Step::Send => {
                    let expected = model.waiting.get(model.sent).cloned();
                    let got = spool.next_unsent().map(|r| (r.seq, r.payload));
                    prop_assert_eq!(&got, &expected);
                    model.sent += usize::from(got.is_some());
                }
                Step::Ack(share) => {
                    let n = model.sent * usize::from(share) / 256;
                    if n > 0 {
                        spool.ack(model.waiting[n - 1].0);
                        model.waiting.drain(..n);
                        model.sent -= n;
                    }
                }
                Step::Reconnect => {
                    spool.resume(spool.acked());
                    model.sent = 0;
                }
                Step::Restart => {
                    spool.close();
                    drop(spool);
                    now += 1;
                    spool = Spool::open(home.path(), max, now).unwrap();
                    model.sent = 0;
                }
                Step::Tear(bytes) => {
                    spool.close();
                    drop(spool);
                    if let Some(last) = segments(home.path()).pop() {
                        let file = fs::OpenOptions::new().write(true).open(last).unwrap();
                        let len = file.metadata().unwrap().len();
                        file.set_len(len.saturating_sub(u64::from(bytes))).unwrap();
                    }
                    now += 1;
                    spool = Spool::open(home.path(), max, now).unwrap();
                    // Only the very end may be missing.
                    prop_assert!(spool.len() <= model.waiting.len());
                    model.waiting.truncate(spool.len());
                    model.sent = 0;
                }
            }
            prop_assert!(spool.bytes() <= max);
            prop_assert_eq!(spool.len(), model.waiting.len());
            prop_assert_eq!(spool.dropped(), lost);
        }
    }
}
