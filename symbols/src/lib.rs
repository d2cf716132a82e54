//! ELF bytes in, probe plan out.
#![forbid(unsafe_code)]
