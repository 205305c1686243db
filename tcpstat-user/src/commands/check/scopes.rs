//! The lines of `tcpstat check` about scopes: which kinds work here, and what the others lack.

use super::Report;
use crate::{
    commands::netns::SCOPES_MAX,
    kernel::{self, Namespaces, ProcessIds, Program, TaskIterator, Tracer},
    procfs::{Privileges, Procfs},
    text::plural,
    tracker::{self, NetnsCount},
};

impl Report {
    /// Adds a line for each kind of scopes, and below it what is missing. `program` is the one that would count.
    pub(super) fn scopes(
        &mut self,
        procfs: &Procfs,
        program: Option<Program>,
        privileges: &Privileges,
    ) {
        self.netns(procfs, program, privileges);
        self.add("cgroup", &cgroup(program));
        self.add(
            "port",
            if program.is_some() {
                "works: it needs nothing but the tracer"
            } else {
                "does not work without a tracer"
            },
        );
    }

    fn netns(&mut self, procfs: &Procfs, program: Option<Program>, privileges: &Privileges) {
        if !procfs.is_mount() {
            let path = procfs.root().display();
            return self
                .add("netns", &format!("only one: {path} is not the mount point of a procfs"));
        }
        let refused = TaskIterator::load(ProcessIds::Initial).err();
        match tracker::count_netns(procfs, refused.is_none()) {
            Ok(NetnsCount { others, hidden }) => {
                let how =
                    if refused.is_none() { "by iter/task" } else { "in the files of processes" };
                let s = plural(others as u64);
                self.add("netns", &format!("{others} other{s} found {how}"));
                if hidden > 0 {
                    self.add(
                        "",
                        &format!("{hidden} namespaces or processes hidden: this procfs does not show all processes"),
                    );
                }
            }
            Err(error) => self.add("netns", &error.to_string()),
        }
        if let Some(error) = refused {
            error.write_kernel_log();
            self.add("", &format!("iter/task refused: {}", error.with_remedy(privileges)));
        }
        if Procfs::in_initial_pid_namespace() == Some(false) {
            self.add(
                "",
                "only those with a process in this PID namespace: run tcpstat in that of the host \
                 (hostPID: true, --pid host)",
            );
        }
        self.add("", &slots(procfs, program, privileges));
        if let Ok(inum) = procfs.netns_inum() {
            self.held(program, inum);
        }
    }
}

/// Whether the tracer can count other namespaces.
fn slots(procfs: &Procfs, program: Option<Program>, privileges: &Privileges) -> String {
    let (Some(program), Ok(inum)) = (program, procfs.netns_inum()) else {
        return "snapshots only, without a tracer".to_owned();
    };
    match Tracer::load(program, inum, Namespaces::All { others: SCOPES_MAX }) {
        Ok(_) => {
            let key = match kernel::netns_has_cookie() {
                Ok(true) => ", and mistakes none for an earlier one (each has a cookie)",
                Ok(false) => {
                    ", and can mistake a new one for one that ended seconds ago: before 5.12 they have no cookie, \
                     and inode numbers come again"
                }
                Err(_) => "",
            };
            format!("{} counts them{key}", program.word())
        }
        Err(error) => {
            error.write_kernel_log();
            format!("{} does not count them: {}", program.word(), error.with_remedy(privileges))
        }
    }
}

fn cgroup(program: Option<Program>) -> String {
    match Procfs::has_cgroup_v2() {
        Err(error) => format!("unknown: {error}"),
        Ok(false) => "does not work: there is no cgroup v2 at /sys/fs/cgroup, only v1".into(),
        Ok(true) if program.is_none() => "does not work without a tracer".into(),
        Ok(true) => "works: cgroup v2 is mounted".into(),
    }
}
