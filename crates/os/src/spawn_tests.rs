use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn sh(script: &str) -> Program {
    Program {
        exec: "/bin/sh".into(),
        argv: ["sh", "-c", script].map(Into::into).to_vec(),
        env: vec!["PATH=/usr/bin:/bin".into()],
        ..Program::default()
    }
}

/// Runs the program with stdin null and stdout+stderr read here; returns the output and exit.
fn run(program: &Program, more: &[BorrowedFd<'_>]) -> Result<(String, crate::wait::Exit), SpawnError> {
    let null = File::open("/dev/null").unwrap();
    let (read, write) = crate::fd::pipe().unwrap();
    let mut fds = vec![null.as_fd(), write.as_fd(), write.as_fd()];
    fds.extend_from_slice(more);
    let child = spawn(program, &fds)?;
    drop(write);
    let mut text = String::new();
    File::from(read).read_to_string(&mut text).unwrap();
    loop {
        if let Some(reaped) = crate::wait::reap_one(child.pid).unwrap() {
            return Ok((text, reaped.exit));
        }
        std::thread::yield_now();
    }
}

#[test]
fn runs_with_arguments_environment_and_directory() {
    let mut program = sh("echo $A; pwd; exit 3");
    program.env.push("A=b c".into());
    program.cwd = "/usr".into();
    let (text, exit) = run(&program, &[]).unwrap();
    assert_eq!(text, "b c\n/usr\n");
    assert_eq!(exit, crate::wait::Exit::Code(3));
}

#[test]
fn it_leads_its_own_session_and_has_no_inherited_descriptors() {
    let _leak = File::open("/dev/null").unwrap();
    let extra = File::open("/dev/zero").unwrap();
    // Without a pipeline or a glob, which would open descriptors themselves.
    let look = "n=0; while [ $n -lt 100 ]; do [ -e /proc/$$/fd/$n ] && printf '%s ' $n; n=$((n+1)); done";
    let text = format!("read pid x x x group session x < /proc/$$/stat; echo $pid $group $session; {look}");
    let (text, _) = run(&sh(&text), &[extra.as_fd()]).unwrap();
    let (ids, fds) = text.split_once('\n').unwrap();
    let ids: Vec<_> = ids.split(' ').collect();
    assert!(
        ids[0] == ids[1] && ids[1] == ids[2],
        "pid, group and session are one: {ids:?}"
    );
    assert_eq!(fds.trim(), "0 1 2 3");
}

#[test]
fn swapped_descriptors_land_in_their_places() {
    let (read_a, write_a) = crate::fd::pipe().unwrap();
    let (read_b, write_b) = crate::fd::pipe().unwrap();
    let null = File::open("/dev/null").unwrap();
    let (_, exit) = run(
        &sh("echo three >&3; echo four >&4; echo five >&5"),
        &[write_b.as_fd(), write_a.as_fd(), write_b.as_fd()],
    )
    .unwrap();
    assert_eq!(exit, crate::wait::Exit::Code(0));
    drop((write_a, write_b, null));
    let text = |fd: OwnedFd| {
        let mut text = String::new();
        File::from(fd).read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!(
        (text(read_a).as_str(), text(read_b).as_str()),
        ("four\n", "three\nfive\n")
    );
}

#[test]
fn a_missing_program_and_directory_name_their_step() {
    let mut program = sh("true");
    program.exec = "/nonexistent/program".into();
    let error = run(&program, &[]).unwrap_err();
    assert_eq!(
        (error.step, error.source.raw_os_error()),
        (Step::Exec, Some(libc::ENOENT))
    );
    let mut program = sh("true");
    program.cwd = "/nonexistent".into();
    assert_eq!(run(&program, &[]).unwrap_err().step, Step::WorkingDirectory);
    let mut program = sh("true");
    program.argv = vec!["a\0b".into()];
    assert_eq!(run(&program, &[]).unwrap_err().step, Step::Prepare);
}

#[test]
fn names_are_searched_in_the_childs_path_and_bare_scripts_go_to_the_shell() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("bare-script");
    std::fs::write(&script, "echo bare $1\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("PATH=/nonexistent:{}:/bin", dir.path().display());
    let program = Program {
        exec: "bare-script".into(),
        argv: vec!["bare-script".into(), "arg".into()],
        env: vec![path.into()],
        ..Program::default()
    };
    assert_eq!(run(&program, &[]).unwrap().0, "bare arg\n");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = run(&program, &[]).unwrap_err();
    assert_eq!(error.source.raw_os_error(), Some(libc::EACCES));
}

#[test]
fn signals_are_reset_and_listen_pid_is_the_childs() {
    crate::signal::ignore(crate::signal::SIGUSR2).unwrap();
    let mut program = sh("echo $LISTEN_PID $$; grep -E 'SigBlk|SigIgn' /proc/$$/status | tr -d '\\n'");
    program.listen_pid = true;
    let (text, _) = run(&program, &[]).unwrap();
    let (pids, signals) = text.split_once('\n').unwrap();
    let (listen, own) = pids.split_once(' ').unwrap();
    assert_eq!(listen, own);
    assert_eq!(signals, "SigBlk:\t0000000000000000SigIgn:\t0000000000000000");
}

#[test]
fn another_user_is_taken_on_when_we_may() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut program = sh("id -u; id -g; id -G");
    program.identity = Some(Identity {
        uid: 65534,
        gid: 65534,
        groups: vec![65534],
    });
    assert_eq!(run(&program, &[]).unwrap().0, "65534\n65534\n65534\n");
}

/// What a launcher's child writes, and the exit.
fn launch(
    launcher: &mut Launcher,
    program: &Program,
    more: &[BorrowedFd<'_>],
) -> Result<(String, crate::wait::Exit), SpawnError> {
    let null = File::open("/dev/null").unwrap();
    let (read, write) = crate::fd::pipe().unwrap();
    let mut fds = vec![null.as_fd(), write.as_fd(), write.as_fd()];
    fds.extend_from_slice(more);
    let child = launcher.spawn_into(program, &fds, None)?;
    drop(write);
    let mut text = String::new();
    // It ends only if nothing of the pipe stayed in the launcher.
    File::from(read).read_to_string(&mut text).unwrap();
    loop {
        if let Some(reaped) = crate::wait::reap_one(child.pid).unwrap() {
            return Ok((text, reaped.exit));
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_launcher_gives_its_children_what_they_are_to_have_and_nothing_else() {
    let mut launcher = Launcher::new(4).unwrap();
    let many: Vec<_> = (0..100).map(|_| File::open("/dev/null").unwrap()).collect();
    // Below the slots' numbers there may be some of this process, and they are not the child's either.
    let look =
        "n=0; while [ $n -lt 200 ]; do [ -e /proc/$$/fd/$n ] && printf '%s ' $n; n=$((n+1)); done; exit 5";
    let (read, write) = crate::fd::pipe().unwrap();
    std::io::Write::write_all(&mut File::from(write), b"fourth").unwrap();
    for file in many.iter().take(3) {
        let (text, exit) = launch(&mut launcher, &sh(look), &[file.as_fd()]).unwrap();
        assert_eq!((text.trim(), exit), ("0 1 2 3", crate::wait::Exit::Code(5)));
    }
    let (text, _) = launch(&mut launcher, &sh("cat <&3"), &[read.as_fd()]).unwrap();
    assert_eq!(text, "fourth");
    // More than it has slots for, and one that fails: all the same, also for this process's own descriptors.
    let (text, _) = launch(&mut launcher, &sh(look), &[many[0].as_fd(), many[1].as_fd()]).unwrap();
    assert_eq!(text.trim(), "0 1 2 3 4");
    let missing = Program {
        exec: "/no/such/program".into(),
        ..sh("")
    };
    let error = launch(&mut launcher, &missing, &[]).unwrap_err();
    assert_eq!(error.step, Step::Exec);
    assert!(many.iter().all(|file| file.metadata().is_ok()));
}
