//! The filter in a thread of its own. The calls fail, and so could be made without it too.

use std::{ffi::CString, fs, io::Error, ptr::null, thread};

use super::*;

/// Runs `work` in a thread with the filter, and returns the numbers of what was refused meanwhile.
///
/// One test does all of it, because the handler of SIGSYS and its queue belong to the process.
fn filtered(needs: Needs, work: impl FnOnce() + Send + 'static) -> Vec<i32> {
    thread::spawn(move || {
        let (refusals, calls) = install(needs).unwrap();
        assert!((80..160).contains(&calls), "{calls}");
        work();
        std::iter::from_fn(|| refusals.next()).collect()
    })
    .join()
    .unwrap()
}

fn errno(result: i64) -> Option<i32> {
    (result == -1).then(|| Error::last_os_error().raw_os_error()).flatten()
}

fn call(number: i64, arguments: [i64; 5]) -> Option<i32> {
    let [first, second, third, fourth, fifth] = arguments;
    // SAFETY: the calls of these tests are refused, or have no effect.
    errno(unsafe { libc::syscall(number, first, second, third, fourth, fifth) })
}

#[test]
fn a_call_that_tcpstat_never_makes_fails_and_is_reported_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "before").unwrap();
    let path = path.to_str().unwrap().to_owned();
    let file = path.clone();
    let refused = filtered(Needs::default(), move || {
        let name = CString::new(file.clone()).unwrap();
        let word = name.as_ptr() as i64;
        let open =
            |flags: i32| call(libc::SYS_openat, [libc::AT_FDCWD.into(), word, flags.into(), 0, 0]);
        let [program, arguments] = [c"/bin/true".as_ptr() as i64, null::<u8>() as i64];
        for (number, arguments) in [
            (libc::SYS_execve, [program, arguments, arguments, 0, 0]),
            (libc::SYS_ptrace, [0; 5]),
            (libc::SYS_setns, [0; 5]),
            (libc::SYS_mount, [0; 5]),
            (libc::SYS_kill, [0; 5]),
            (libc::SYS_bpf, [0; 5]),
            (libc::SYS_socket, [libc::AF_INET.into(), libc::SOCK_STREAM.into(), 0, 0, 0]),
            (libc::SYS_clone, [libc::SIGCHLD.into(), 0, 0, 0, 0]),
            (libc::SYS_ioctl, [0, i64::try_from(libc::TIOCSTI).unwrap(), 0, 0, 0]),
            (libc::SYS_mprotect, [0, 0, libc::PROT_EXEC.into(), 0, 0]),
        ] {
            assert_eq!(call(number, arguments), Some(libc::EPERM), "{number}");
        }
        assert_eq!(open(libc::O_WRONLY), Some(libc::EPERM));
        assert_eq!(open(libc::O_RDONLY | libc::O_TRUNC), Some(libc::EPERM));
        // What tcpstat does.
        assert_eq!(fs::read_to_string(&file).unwrap(), "before");
        assert_eq!(thread::spawn(|| 7).join().unwrap(), 7);
    });
    let expected = [
        "execve", "ptrace", "setns", "mount", "kill", "bpf", "socket", "clone", "ioctl",
        "mprotect", "openat", "openat",
    ];
    let names: Vec<_> = refused.iter().filter_map(|&number| name(number)).collect();
    assert_eq!(names, expected);

    // With more needs, more is allowed, and no more than that.
    let needs = Needs { serves: true, writes_files: true, bpf: true, ..Needs::default() };
    let refused = filtered(needs, move || {
        fs::write(&path, "after").unwrap();
        std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap_err();
        // BPF_OBJ_GET and BPF_PROG_GET_FD_BY_ID, then BPF_MAP_LOOKUP_ELEM, whose arguments are missing.
        for command in [7, 13] {
            assert_eq!(call(libc::SYS_bpf, [command, 0, 0, 0, 0]), Some(libc::EPERM));
        }
        assert_ne!(call(libc::SYS_bpf, [1, 0, 0, 0, 0]), None);
    });
    let names: Vec<_> = refused.iter().filter_map(|&number| name(number)).collect();
    assert_eq!(names, ["socket", "bpf", "bpf"]);
}

#[test]
fn the_longest_filter_is_short_enough_for_the_kernel() {
    let all = Needs {
        bpf: true,
        enters_netns: true,
        writes_files: true,
        serves: true,
        unix_sockets: true,
        connects: true,
        draws: true,
    };
    for needs in [Needs::default(), all] {
        let rules = calls::allowed(needs).unwrap();
        let length = program(rules, SeccompAction::Trap, SeccompAction::Allow).unwrap().len();
        // BPF_MAXINSNS
        assert!(length < 4096, "{length}");
    }
}
