//! The BPF object that the binary embeds: a loader for it, its maps, and the attachment of its programs.

use std::os::fd::AsFd;

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Map, MapData},
    programs::{BtfTracePoint, ProgramError, TracePoint},
};

use super::{
    error::{LoadError, refusal},
    program::Program,
    step::{Attachment, Step},
};

pub(super) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpstat.bpf.o"));

/// A loader of [`OBJECT`] that sets these read-only globals.
pub(super) fn loader<'a>(globals: &'a [(&'static str, u32)]) -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    // The object has no relocations that need the kernel's types, which would take megabytes.
    loader.btf(None);
    for (name, value) in globals {
        loader.override_global(name, value, true);
    }
    loader
}

pub(super) fn map<'a>(
    ebpf: &'a Ebpf,
    name: &'static str,
) -> Result<impl AsFd + use<'a>, LoadError> {
    match ebpf.map(name) {
        Some(Map::Array(data)) => Ok(MapData::fd(data).as_fd()),
        _ => Err(LoadError::WrongObject(name)),
    }
}

/// Loads and attaches the program with this name in the object, which is of the kind of `program`.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    program: Program,
    symbol: &'static str,
    btf: &Btf,
) -> Result<(), LoadError> {
    let attachment = match program {
        Program::TpBtf => Attachment::TpBtf,
        Program::Tracepoint => Attachment::Tracepoint,
    };
    let at_load = |error: ProgramError| refusal(Step::Load(attachment), error.into());
    let at_attach = |error: ProgramError| refusal(Step::Attach(attachment), error.into());
    let handle = ebpf.program_mut(symbol).ok_or(LoadError::WrongObject(symbol))?;
    match program {
        Program::TpBtf => {
            let handle: &mut BtfTracePoint = handle.try_into().map_err(at_load)?;
            handle.load("inet_sock_set_state", btf).map_err(at_load)?;
            handle.attach().map_err(at_attach)?;
        }
        Program::Tracepoint => {
            let handle: &mut TracePoint = handle.try_into().map_err(at_load)?;
            handle.load().map_err(at_load)?;
            handle.attach("sock", "inet_sock_set_state").map_err(at_attach)?;
        }
    }
    Ok(())
}
