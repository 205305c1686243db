//! Hundreds of network namespaces and cgroups, each with a process that holds sockets.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use tcpstat_tests::cgroups::Cgroup;
use tcpstat_tests::resident::{Order, Resident};

/// Residents that obey at once: one for each of two processors.
const AT_ONCE: usize = 4;

/// Namespaces with one process each.
pub(crate) struct Namespaces {
    residents: Vec<Resident>,
}

impl Namespaces {
    /// Makes `number` of them, each with `pairs` connections: two sockets each, and a listener.
    pub(crate) fn make(number: usize, pairs: usize) -> Result<Self> {
        let residents = (0..number).map(|_| Resident::start()).collect::<Result<_>>()?;
        let mut all = Self { residents };
        all.order(&Order::NewNamespace)?;
        all.order(&Order::Connect(pairs))?;
        Ok(all)
    }

    /// Gives all of them an order.
    pub(crate) fn order(&mut self, order: &Order) -> Result<()> {
        for some in self.residents.chunks_mut(AT_ONCE) {
            some.iter_mut().try_for_each(|resident| resident.begin(order))?;
            some.iter_mut().try_for_each(Resident::finish)?;
        }
        Ok(())
    }

    pub(crate) fn inums(&self) -> Result<BTreeSet<u64>> {
        self.residents.iter().map(Resident::inum).collect()
    }

    /// Reads the files that list their sockets; returns the number of bytes.
    pub(crate) fn read_sockets(&self) -> Result<usize> {
        let mut bytes = 0;
        for resident in &self.residents {
            for name in ["tcp", "tcp6"] {
                let file = format!("/proc/{}/net/{name}", resident.pid());
                bytes += fs::read(&file).context(file)?.len();
            }
        }
        Ok(bytes)
    }
}

/// Cgroups in the namespace of the calling thread, with one process and one connection each.
pub(crate) struct Cgroups {
    // They end before their cgroups are removed.
    residents: Vec<Resident>,
    cgroups: Vec<Cgroup>,
}

impl Cgroups {
    pub(crate) fn make(number: usize) -> Result<Self> {
        let mut all = Self { residents: Vec::new(), cgroups: Vec::new() };
        for index in 0..number {
            let mut resident = Resident::start()?;
            let name = format!("tcpstat-bench-{}-{index:03}.service", std::process::id());
            let cgroup = Cgroup::new(&name)?;
            all.cgroups.push(cgroup);
            all.cgroups[index].take(resident.pid())?;
            resident.order(&Order::Connect(1))?;
            all.residents.push(resident);
        }
        Ok(all)
    }
}
