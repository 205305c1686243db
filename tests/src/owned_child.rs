//! A child process that ends with the test that started it.

use std::ops::{Deref, DerefMut};
use std::process::Child;

/// Ends the process when it is dropped, also if the test fails. A process that is left holds the output of the test open, and
/// the harness waits for its end.
#[derive(Debug)]
pub struct OwnedChild(Child);

impl From<Child> for OwnedChild {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Deref for OwnedChild {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for OwnedChild {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for OwnedChild {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
