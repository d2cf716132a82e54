//! Programs that copy their own code when they start, to put it on large pages.
//!
//! A probe is a breakpoint instruction in the code. Such a program would copy it along, and the
//! kernel does not know the copy: the program would end by SIGTRAP as soon as it runs into it. So
//! the code of such a program gets no probes. Whether it copies is known before it does: it is asked
//! to, by an argument or by its environment.

use std::fs;

/// Whether process `pid` was started so that it copies the code of its program. `false` where its
/// arguments may not be read.
pub(in crate::capture) fn copies_program(pid: u32) -> bool {
    let words = |file| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    asks_node(arguments(&words("cmdline")).skip(1)) || is_told_to(&words("environ"))
}

/// The strings of `/proc/PID/cmdline` or `/proc/PID/environ`.
fn arguments(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|&byte| byte == 0)
}

/// The option of Node.js that is meant here, with the other spelling of the hyphen that it takes.
const OPTIONS: [&[u8]; 2] = [b"--use-largepages", b"--use_largepages"];

/// Whether the last such option has another value than `off`, which is what Node.js has by default.
fn asks_node<'a>(arguments: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut arguments = arguments.peekable();
    let mut asks = false;
    while let Some(argument) = arguments.next() {
        let Some(rest) = OPTIONS.iter().find_map(|option| argument.strip_prefix(*option)) else {
            continue;
        };
        asks = match rest {
            [] => arguments.peek().is_some_and(|value| **value != *b"off"),
            [b'=', value @ ..] => *value != *b"off",
            _ => asks,
        };
    }
    asks
}

/// Whether an environment asks for a copy: through the options of Node.js, or through a library that
/// does it for any program (Intel's `liblppreload.so`, and `libhugetlbfs` where it is told to).
fn is_told_to(environ: &[u8]) -> bool {
    let value = |name: &str| {
        arguments(environ)
            .find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    };
    let node = value("NODE_OPTIONS").unwrap_or_default();
    let preloaded = value("LD_PRELOAD").unwrap_or_default();
    let has_preloaded = |name: &[u8]| preloaded.windows(name.len()).any(|window| window == name);
    asks_node(node.split(u8::is_ascii_whitespace))
        || has_preloaded(b"liblppreload.so")
        || (has_preloaded(b"libhugetlbfs.so")
            && value("HUGETLB_ELFMAP").is_some_and(|value| *value != *b"no"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arguments: &[&str]) -> bool {
        asks_node(arguments.iter().map(|argument| argument.as_bytes()))
    }

    #[test]
    fn node_copies_its_code_where_the_last_option_says_so() {
        for arguments in [
            &["--use-largepages=on", "server.js"][..],
            &["--use-largepages=silent"],
            &["--use_largepages", "on", "server.js"],
            &["--use-largepages=off", "--use-largepages=on"],
        ] {
            assert!(asked(arguments), "{arguments:?}");
        }
        for arguments in [
            &["server.js"][..],
            &["--use-largepages=off"],
            &["--use-largepages", "off"],
            &["--use-largepages=on", "--use-largepages=off"],
            &["--use-largepages-or-not=on"],
            &["--use-largepages"],
        ] {
            assert!(!asked(arguments), "{arguments:?}");
        }
    }

    #[test]
    fn an_environment_asks_for_a_copy_through_options_or_a_library() {
        for environ in [
            &b"A=b\0NODE_OPTIONS=--title=x --use-largepages=on\0"[..],
            b"LD_PRELOAD=/usr/lib/liblppreload.so\0",
            b"LD_PRELOAD=x.so libhugetlbfs.so\0HUGETLB_ELFMAP=RW\0",
        ] {
            assert!(is_told_to(environ), "{}", environ.escape_ascii());
        }
        for environ in [
            &b""[..],
            b"NODE_OPTIONS=--use-largepages=off\0",
            b"LD_PRELOAD=libhugetlbfs.so\0",
            b"LD_PRELOAD=libhugetlbfs.so\0HUGETLB_ELFMAP=no\0",
            b"MY_NODE_OPTIONS=--use-largepages=on\0",
        ] {
            assert!(!is_told_to(environ), "{}", environ.escape_ascii());
        }
    }
}
