//! A BPF iterator: loads it, opens it, and reads its records.

use std::{
    fs::File,
    io::{self, Read},
    iter,
    ops::ControlFlow,
    os::fd::AsFd,
};

use aya::{
    Btf, Ebpf,
    programs::{Iter, ProgramError},
};
use nix::errno::Errno;
use thiserror::Error;

use super::{
    btf::{BtfError, KernelTypes},
    error::{LoadError, refusal},
    iter_link::IterLink,
    layout::Globals,
    memory::release_memory,
    object::{OBJECT, loader},
    remedy::is_temporary,
    step::{Attachment, Step},
};
use crate::procfs::Privileges;

/// The kernel returns at most eight pages at once.
const MOST_BYTES_AT_ONCE: usize = 64 * 1024;

/// A loaded iterator.
pub(super) struct RecordIterator {
    link: IterLink,
    kind: Kind,
}

/// Which iterator it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// What the kernel calls it: `NAME` in `iter/NAME`.
    pub(super) name: &'static str,
    /// Its program in the BPF object.
    pub(super) symbol: &'static str,
    /// The size of a record that the program writes.
    pub(super) record_bytes: usize,
}

/// Why reading by an iterator failed.
#[derive(Debug, Error)]
pub(crate) enum IterError {
    /// The iterator could not be opened.
    #[error(transparent)]
    Open(#[from] LoadError),
    /// The kernel did not return all records.
    #[error("reading iter/{iterator}: {cause}")]
    Read { iterator: &'static str, cause: io::Error },
}

impl IterError {
    /// Cause and remedy in one line. The remedy asks for nothing that `privileges` already have.
    #[must_use]
    pub(crate) fn with_remedy(&self, privileges: &Privileges) -> String {
        match self {
            Self::Open(error) => error.with_remedy(privileges),
            Self::Read { .. } => self.to_string(),
        }
    }

    /// As [`LoadError::write_kernel_log`].
    pub(crate) fn write_kernel_log(&self) {
        if let Self::Open(error) = self {
            error.write_kernel_log();
        }
    }

    /// Whether the next reading can succeed: the kernel lacked memory or descriptors.
    #[must_use]
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Open(error) => error.is_temporary(),
            Self::Read { cause, .. } => {
                cause.raw_os_error().is_some_and(|errno| is_temporary(Errno::from_raw(errno)))
            }
        }
    }
}

impl RecordIterator {
    /// Loads the program by itself, with the globals that it needs on a kernel with these types.
    ///
    /// # Errors
    /// [`LoadError`]. Then nothing stays loaded.
    pub(super) fn load(
        kind: Kind,
        globals: impl FnOnce(&KernelTypes) -> Result<Globals, BtfError>,
    ) -> Result<Self, LoadError> {
        if OBJECT.is_empty() {
            return Err(LoadError::NoObject);
        }
        let types = KernelTypes::read()?;
        let globals = globals(&types)?;
        drop(types);
        let mut loader = loader(&globals);
        // An iterator does not use this map, so it gets the minimum size.
        loader.map_max_entries("EVENTS", 4096);
        let loaded = loader.load(OBJECT);
        let mut ebpf = loaded.map_err(|error| refusal(Step::CreateMaps, error.into()))?;
        let btf = Btf::from_sys_fs().map_err(|error| refusal(Step::ReadTypes, error.into()))?;
        let iterator = Self::load_from(&mut ebpf, kind, &btf);
        drop((ebpf, btf));
        release_memory();
        iterator
    }

    /// Loads the program from an object that has its globals. The object is not needed afterwards.
    ///
    /// # Errors
    /// [`LoadError`]. Then the program does not stay loaded.
    pub(super) fn load_from(ebpf: &mut Ebpf, kind: Kind, btf: &Btf) -> Result<Self, LoadError> {
        let attachment = Attachment::Iterator(kind.name);
        let refused = |step, error: ProgramError| refusal(step, error.into());
        let program = ebpf.program_mut(kind.symbol);
        let program: Option<&mut Iter> = program.and_then(|program| program.try_into().ok());
        let program = program.ok_or(LoadError::WrongObject(kind.symbol))?;
        let at_load = |error| refused(Step::Load(attachment), error);
        program.load(kind.name, btf).map_err(at_load)?;
        let link = IterLink::new(program.fd().map_err(at_load)?.as_fd());
        program.unload().map_err(at_load)?;
        let link = link.map_err(|error| refusal(Step::Attach(attachment), error.into()))?;
        Ok(Self { link, kind })
    }

    /// Passes the bytes of each record to `each`.
    ///
    /// # Errors
    /// [`IterError`], after the records before the error.
    pub(super) fn each_record(
        &mut self,
        mut each: impl FnMut(Record<'_>),
    ) -> Result<(), IterError> {
        self.records_until(usize::MAX, |record| {
            each(record);
            ControlFlow::Continue(())
        })
    }

    /// Passes each record that `decode` accepts to `each`.
    ///
    /// # Errors
    /// As [`RecordIterator::each_record`].
    pub(super) fn each_decoded<T>(
        &mut self,
        decode: impl Fn(&[u8]) -> Option<T>,
        mut each: impl FnMut(T),
    ) -> Result<(), IterError> {
        self.each_record(|record| {
            if let Record::Bytes(bytes) = record
                && let Some(decoded) = decode(bytes)
            {
                each(decoded);
            }
        })
    }

    /// As [`RecordIterator::each_record`], until `each` breaks. The first read(2) asks for `at_once` records at most: the kernel
    /// does not look for more objects than it takes for so many. Each next one asks for twice as many: the kernel
    /// begins at the head of a hash bucket each time.
    ///
    /// # Errors
    /// As [`RecordIterator::each_record`].
    pub(super) fn records_until(
        &mut self,
        at_once: usize,
        mut each: impl FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), IterError> {
        let mut file = self.open()?;
        let record_bytes = self.kind.record_bytes;
        let most = MOST_BYTES_AT_ONCE / record_bytes;
        let mut buffer = vec![0; at_once.min(most) * record_bytes];
        loop {
            let count = match self.read(&mut file, &mut buffer)? {
                0 => return Ok(()),
                count => count,
            };
            // The kernel writes whole records, so it returns whole records.
            let records = buffer[..count].chunks_exact(record_bytes);
            let mut all = iter::once(Record::Read).chain(records.map(Record::Bytes));
            if all.any(|record| each(record).is_break()) {
                return Ok(());
            }
            buffer.resize((2 * buffer.len()).min(most * record_bytes), 0);
        }
    }

    /// 0 at the end.
    fn read(&self, file: &mut File, buffer: &mut [u8]) -> Result<usize, IterError> {
        loop {
            match file.read(buffer) {
                Ok(count) => return Ok(count),
                // The kernel returns EAGAIN after a million objects without output.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                    ) => {}
                Err(cause) => return Err(IterError::Read { iterator: self.kind.name, cause }),
            }
        }
    }

    fn open(&self) -> Result<File, LoadError> {
        let step = Step::Attach(Attachment::Iterator(self.kind.name));
        self.link.open().map_err(|error| refusal(step, error.into()))
    }
}

/// What [`RecordIterator::each_record`] passes on.
pub(super) enum Record<'a> {
    /// A read(2) has ended; its records follow.
    Read,
    /// The bytes of one record.
    Bytes(&'a [u8]),
}
