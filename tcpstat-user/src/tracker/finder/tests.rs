//! The finder on this machine. Tests with other namespaces need CAP_SYS_ADMIN, those by tasks the BPF object,
//! CAP_BPF and CAP_PERFMON. Where something is missing they say so, and end.

use std::{
    process::{Child, Command},
    thread,
    time::Duration,
};

use super::*;
use crate::procfs::Capabilities;

/// A process in a network namespace of its own.
struct Elsewhere(Child);

impl Elsewhere {
    fn new() -> Self {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "sleep", "1000"]);
        Self::of(unshare)
    }

    /// `command` enters another namespace.
    fn of(mut command: Command) -> Self {
        let (elsewhere, processes) = (Self(command.spawn().unwrap()), processes());
        while processes.table(elsewhere.pid()).unwrap() == processes.own_table().unwrap() {
            thread::sleep(Duration::from_millis(1));
        }
        elsewhere
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn directory(&self) -> PathBuf {
        processes().directory(self.pid())
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn procfs() -> Procfs {
    Procfs::new(Procfs::DEFAULT_ROOT)
}

fn processes() -> Processes {
    procfs().processes().unwrap()
}

/// The finders that run here.
fn finders() -> Vec<Finder> {
    let capabilities = Capabilities::effective().unwrap();
    if !capabilities.sys_admin() {
        println!("ignored: it lacks CAP_SYS_ADMIN");
        return Vec::new();
    }
    let pods = tempfile::tempdir().unwrap().path().to_owned();
    let mut by_tasks = Finder::new(&procfs(), pods.clone(), true);
    let mut finders = vec![Finder::new(&procfs(), pods, false)];
    if by_tasks.find().unwrap().by_tasks {
        finders.push(by_tasks);
    } else {
        println!("only by the files of each process: iter/task is refused");
    }
    finders
}

/// The namespaces of `elsewhere`, in this order.
fn found(found: &Found, elsewhere: &[&Elsewhere]) -> Vec<Option<FoundNetns>> {
    let has = |it: &Elsewhere, netns: &&FoundNetns| netns.processes.contains(&it.directory());
    elsewhere.iter().map(|it| found.others.iter().find(|netns| has(it, netns)).cloned()).collect()
}

#[test]
fn a_namespace_is_found_with_its_processes_until_the_last_one_ends() {
    for mut finder in finders() {
        let (one, other) = (Elsewhere::new(), Elsewhere::new());
        let first = finder.find().unwrap();
        let [Some(of_one), Some(of_other)] = &found(&first, &[&one, &other])[..] else {
            panic!("{first:?}")
        };
        assert_ne!(of_one.key, of_other.key);
        assert_eq!(of_one.processes, [one.directory()]);
        for (it, netns) in [(&one, of_one), (&other, of_other)] {
            assert_eq!(Some(netns.name.inode), processes().netns_inum(it.pid()));
        }
        assert!(first.others.is_sorted_by_key(|netns| netns.key));

        let second = finder.find().unwrap();
        assert_eq!(found(&second, &[&one, &other]), found(&first, &[&one, &other]));

        let directory = one.directory();
        drop(one);
        let third = finder.find().unwrap();
        let has_one = |netns: &FoundNetns| netns.processes.contains(&directory);
        assert!(!third.others.iter().any(has_one), "{third:?}");
        assert_eq!(found(&third, &[&other]), [Some(of_other.clone())]);
    }
}

#[test]
fn a_process_that_enters_another_namespace_is_found_there() {
    for mut finder in finders() {
        let first = Elsewhere::new();
        let path = first.directory().join("ns/net").display().to_string();
        let mut nsenter = Command::new("nsenter");
        nsenter.arg(format!("--net={path}")).args(["sleep", "1000"]);
        let second = Elsewhere::of(nsenter);
        let both = finder.find().unwrap();
        let found = found(&both, &[&first]);
        let processes = &found[0].as_ref().unwrap().processes;
        assert_eq!(processes.len(), 2, "{processes:?}");
        assert!(processes.contains(&second.directory()), "{processes:?}");
    }
}

#[test]
fn the_own_namespace_is_the_hosts_if_process_1_is_in_it() {
    let of_pid_1 = procfs().namespace().unwrap().of_pid_1;
    for mut finder in finders() {
        let found = finder.find().unwrap();
        assert_eq!(Some(found.own.kind.word() == "host"), of_pid_1, "{found:?}");
        assert_eq!(Some(found.own.inode), processes().netns_inum(std::process::id()));
        assert!(found.others.iter().all(|netns| netns.name.inode != found.own.inode));
    }
}

/// A namespace with a name of `ip netns`, until it is dropped.
struct Named(String);

impl Named {
    fn new() -> Self {
        let named = Self(format!("tcpstat-test-{}", std::process::id()));
        named.ip("add");
        named
    }

    fn ip(&self, command: &str) {
        assert!(Command::new("ip").args(["netns", command, &self.0]).status().unwrap().success());
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.ip("del");
    }
}

#[test]
fn a_namespace_of_ip_netns_has_its_name() {
    for mut finder in finders() {
        finder.find().unwrap();
        let named = Named::new();
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &named.0, "sleep", "1000"]);
        let inside = Elsewhere::of(inside);
        let both = finder.find().unwrap();
        let [Some(netns)] = &found(&both, &[&inside])[..] else { panic!("{both:?}") };
        assert_eq!((netns.name.name.as_str(), netns.name.kind.word()), (&*named.0, "named"));
    }
}

#[test]
fn a_procfs_that_lists_no_processes_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut finder = Finder::new(&Procfs::new(folder.path()), PathBuf::new(), true);
    let error = finder.find().unwrap_err();
    assert!(matches!(error, FindError::Procfs(ProcfsError::NotMounted { .. })), "{error}");
}
