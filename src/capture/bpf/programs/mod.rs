//! The programs, each named once: those on functions of TLS libraries ([`uprobes`]), and those on
//! tracepoints ([`tracepoints`]). What they do stands in `bpf/`.

pub(super) mod tracepoints;
pub(super) mod uprobes;
