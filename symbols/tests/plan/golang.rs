//! Go programs, made by `fixtures/make-small.sh` from `golang.s`.

use wstap_symbols::{Action, Direction, Library, Options, Stack, SymbolSource, Technique, Verdict};

use super::only_library;

const IMAGES: [(&str, &[u8]); 3] = [
    ("the table has the text's address", include_bytes!("../fixtures/golang")),
    ("the module data have it", include_bytes!("../fixtures/golang-module")),
    ("the loader writes it there", include_bytes!("../fixtures/golang-pie")),
];

/// Offsets of the probes for an action.
fn offsets(library: &Library, action: Action) -> Vec<u64> {
    let probes = library.probes.iter().filter(|probe| probe.action == action);
    probes.map(|probe| probe.offset).collect()
}

#[test]
fn every_return_of_a_go_method_is_probed() {
    for (name, image) in IMAGES {
        let library = only_library(image, &Options::default());
        assert_eq!((library.stack, library.symbols), (Stack::Go, SymbolSource::GoTable), "{name}");
        assert_eq!(library.version.as_deref(), Some("1.27.3"), "{name}");
        for (direction, returns) in [(Direction::Sent, 2), (Direction::Received, 1)] {
            let returned = offsets(&library, Action::GoReturn(direction));
            assert_eq!(returned.len(), returns, "{name}");
            for offset in returned {
                assert_eq!(image[usize::try_from(offset).expect("an offset")], 0xc3, "{name}");
            }
        }
    }
}

#[test]
fn a_go_method_is_entered_behind_its_stack_check() {
    for (name, image) in IMAGES {
        let library = only_library(image, &Options::default());
        for direction in [Direction::Sent, Direction::Received] {
            let [offset] = offsets(&library, Action::GoEnter(direction))[..] else {
                panic!("{name}: one probe where the method is entered");
            };
            // push rbp
            assert_eq!(image[usize::try_from(offset).expect("an offset")], 0x55, "{name}");
        }
        let techniques = library.probes.iter().map(|probe| probe.technique);
        assert!(
            techniques
                .into_iter()
                .all(|technique| { matches!(technique, Technique::Prologue | Technique::Return) })
        );
    }
}

#[test]
fn a_go_connection_ends_where_it_is_closed() {
    for (name, image) in IMAGES {
        let library = only_library(image, &Options::default());
        let [offset] = offsets(&library, Action::GoRelease)[..] else {
            panic!("{name}: one probe where a connection is closed");
        };
        // push rbp
        assert_eq!(image[usize::try_from(offset).expect("an offset")], 0x55, "{name}");
    }
}

/// Go 1.17 has the same section with another magic number, and Go for arm64 other instructions.
#[test]
fn a_go_program_that_cannot_be_tapped_is_named_with_the_reason() {
    let (_, image) = IMAGES[0];
    let magic = [0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8];
    let table = memchr::memmem::find(image, &magic).expect("a table");
    let mut old = image.to_vec();
    old[table] = 0xfa;
    let mut foreign = image.to_vec();
    // e_machine: EM_AARCH64
    foreign[18] = 183;
    for (image, verdict) in [(old, Verdict::OldGo), (foreign, Verdict::UnsupportedMachine)] {
        let library = only_library(&image, &Options::default());
        assert_eq!((library.stack, library.verdict), (Stack::Go, verdict));
        assert!(library.probes.is_empty());
    }
}

#[test]
fn module_data_that_contradict_themselves_prove_nothing() {
    let (_, image) = IMAGES[1];
    // The text's address: 160 bytes into the module data as the lowest counter, 176 as the text.
    let text = (entry(image) - BEFORE_WRITE).to_le_bytes();
    let lowest = memchr::memmem::find_iter(image, &text)
        .find(|at| image[at + 16..].starts_with(&text))
        .expect("module data");
    for at in [lowest, lowest + 16] {
        let mut changed = image.to_vec();
        changed[at + 1] ^= 1;
        assert!(super::planned(&changed, &Options::default()).libraries.is_empty());
    }
}

/// Bytes that `golang.s` puts between the beginning of the text and the method that sends.
const BEFORE_WRITE: u64 = 64;

/// The entry point, which in `golang.s` is the method that sends.
fn entry(image: &[u8]) -> u64 {
    u64::from_le_bytes(*image[0x18..].first_chunk().expect("an ELF header"))
}
