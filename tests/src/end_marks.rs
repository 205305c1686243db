//! Notices the end of network namespaces. The kernel destroys a namespace only when nothing refers to it: no
//! process, no socket, no open file of it. With it go the devices in it.

use anyhow::Result;

use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::netns::Namespace;
use crate::resident::Resident;
use crate::tun::Tun;

/// A device in each of some namespaces. Its user end, which this keeps, does not keep the namespace alive.
#[derive(Debug)]
pub struct EndMarks(Vec<Tun>);

impl EndMarks {
    /// Marks the namespaces of these residents; `namespace` is that of the calling thread.
    ///
    /// # Errors
    /// Fails if the kernel makes or moves no device.
    pub fn place(namespace: &Namespace, residents: &[Resident]) -> Result<Self> {
        let name = |resident: &Resident| format!("mark{}", resident.pid());
        let marks = residents.iter().map(|resident| Tun::create(&name(resident)));
        let marks = Self(marks.collect::<Result<_>>()?);
        let moves = residents
            .iter()
            .map(|resident| format!("link set {} netns {}", name(resident), resident.pid()));
        let moves: Vec<_> = moves.collect();
        namespace.ip(&moves.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(marks)
    }

    /// How many of the namespaces are there.
    ///
    /// # Errors
    /// As [`Tun::is_removed`].
    pub fn left(&self) -> Result<usize> {
        let mut left = 0;
        for mark in &self.0 {
            left += usize::from(!mark.is_removed()?);
        }
        Ok(left)
    }

    /// Waits until the kernel has destroyed all of them.
    ///
    /// # Errors
    /// Fails with the number of those that are left after [`DEADLINE`].
    pub fn await_end(&self) -> Result<()> {
        wait_until("end of all marked namespaces", DEADLINE, || {
            Ok(match self.left()? {
                0 => Progress::Done(()),
                left => Progress::NotYet(format!("{left} of {} are there", self.0.len())),
            })
        })
    }
}
