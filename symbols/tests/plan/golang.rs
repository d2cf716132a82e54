//! Go programs, made by `fixtures/golang/make.sh` from `golang.s`.

use wstap_symbols::{Action, Direction, Library, Options, Stack, SymbolSource, Technique, Verdict};

use super::only_library;

/// How an image was made, the image, its version of Go, and the first byte of the instruction at
/// which its methods are entered.
type Made = (&'static str, &'static [u8], &'static str, u8);

/// `push %rbp` and `jbe` with a distance of one byte.
const PUSH: u8 = 0x55;
const JUMP: u8 = 0x76;

const IMAGES: [Made; 5] = [
    (
        "the table has the text's address",
        include_bytes!("../fixtures/golang/table"),
        "1.27.3",
        PUSH,
    ),
    ("the module data have it", include_bytes!("../fixtures/golang/module"), "1.27.3", PUSH),
    ("the loader writes it there", include_bytes!("../fixtures/golang/pie"), "1.27.3", PUSH),
    ("the table has addresses", include_bytes!("../fixtures/golang/17"), "1.17.8", JUMP),
    ("the loader writes them", include_bytes!("../fixtures/golang/17-pie"), "1.17.8", JUMP),
];

/// Offsets of the probes for an action.
fn offsets(library: &Library, action: Action) -> Vec<u64> {
    let probes = library.probes.iter().filter(|probe| probe.action == action);
    probes.map(|probe| probe.offset).collect()
}

/// The byte at an offset.
fn byte(image: &[u8], offset: u64) -> u8 {
    image[usize::try_from(offset).expect("an offset")]
}

/// Where `wanted` is in an image that has it once.
fn place(image: &[u8], wanted: &[u8]) -> usize {
    let places: Vec<usize> = memchr::memmem::find_iter(image, wanted).collect();
    assert_eq!(places.len(), 1, "{wanted:x?}");
    places[0]
}

fn assert_refused(image: &[u8], verdict: Verdict) -> Library {
    let library = only_library(image, &Options::default());
    assert_eq!((library.stack, library.verdict), (Stack::Go, verdict));
    assert!(library.probes.is_empty());
    library
}

#[test]
fn every_return_of_a_go_method_is_probed() {
    for (name, image, version, _) in IMAGES {
        let library = only_library(image, &Options::default());
        assert_eq!((library.stack, library.symbols), (Stack::Go, SymbolSource::GoTable), "{name}");
        assert_eq!(library.version.as_deref(), Some(version), "{name}");
        for (direction, returns) in [(Direction::Sent, 2), (Direction::Received, 1)] {
            let returned = offsets(&library, Action::GoReturn(direction));
            assert_eq!(returned.len(), returns, "{name}");
            for offset in returned {
                assert_eq!(byte(image, offset), 0xc3, "{name}");
            }
        }
    }
}

#[test]
fn a_go_method_is_entered_where_the_kernel_emulates() {
    for (name, image, _, first) in IMAGES {
        let library = only_library(image, &Options::default());
        for action in [
            Action::GoEnter(Direction::Sent),
            Action::GoEnter(Direction::Received),
            Action::GoRelease,
        ] {
            let [offset] = offsets(&library, action)[..] else {
                panic!("{name}: one probe for {action:?}");
            };
            assert_eq!(byte(image, offset), first, "{name}: {action:?}");
        }
        let mut techniques = library.probes.iter().map(|probe| probe.technique);
        assert!(techniques.all(|it| matches!(it, Technique::Prologue | Technique::Return)));
    }
}

/// Go before 1.16 has the same section with another magic number, and Go for arm64 other
/// instructions.
#[test]
fn a_go_program_that_cannot_be_tapped_is_named_with_the_reason() {
    for (_, image, version, _) in IMAGES {
        let mut foreign = image.to_vec();
        // e_machine: EM_AARCH64
        foreign[18] = 183;
        assert_refused(&foreign, Verdict::UnsupportedMachine);
        if image == IMAGES[1].1 || image == IMAGES[2].1 {
            continue;
        }
        let mut old = image.to_vec();
        old[place(image, &[0xff, 0xff, 0xff, 0, 0, 1, 8]) - 1] = 0xfb;
        let library = assert_refused(&old, Verdict::StackArguments);
        let refusal = library.refusal().expect("it is refused");
        let expected = format!("crypto/tls of Go {version}: it passes arguments on the stack");
        assert!(refusal.starts_with(&expected), "{refusal}");
    }
}

/// What a method saves before its stack grows is what it was given in registers.
#[test]
fn a_go_method_that_saves_other_registers_is_not_tapped() {
    for (name, image, ..) in IMAGES {
        // mov %rcx, 24(%rsp), in both methods that move plaintext
        let saves: Vec<usize> =
            memchr::memmem::find_iter(image, &[0x48, 0x89, 0x4c, 0x24, 24]).collect();
        assert_eq!(saves.len(), 2, "{name}");
        for at in saves {
            let mut changed = image.to_vec();
            // mov %rdx
            changed[at + 2] = 0x54;
            assert_refused(&changed, Verdict::Unproven);
        }
    }
}

/// A jump to another function is not followed: where that returns nobody looks.
#[test]
fn a_go_method_that_is_left_by_a_jump_is_not_tapped() {
    for (name, image, ..) in IMAGES {
        // At the end of the methods that move plaintext: mov 32(%rsp), %rdi; jmp to the beginning.
        let ends = memchr::memmem::find_iter(image, &[0x48, 0x8b, 0x7c, 0x24, 32, 0xeb]);
        let ends: Vec<usize> = ends.map(|at| at + 6).collect();
        assert_eq!(ends.len(), 2, "{name}");
        for at in ends {
            let mut changed = image.to_vec();
            // Forward by 127 bytes.
            changed[at] = 0x7f;
            assert_refused(&changed, Verdict::Unproven);
        }
    }
}

/// Where a method begins is said twice: in the list of functions, and where each is described.
#[test]
fn a_go_table_that_contradicts_itself_proves_nothing() {
    let (_, image, ..) = IMAGES[0];
    let offset = u32::try_from(BEFORE_WRITE).expect("four bytes").to_le_bytes();
    let (_, addresses, ..) = IMAGES[3];
    let address = entry(addresses).to_le_bytes();
    for (image, start) in [(image, &offset[..]), (addresses, &address[..])] {
        let names = place(image, b"runtime.morestack\0");
        let functions = memchr::memmem::find(&image[names..], start).expect("functions") + names;
        // The first of them is the method that sends; it is described at this distance.
        let distance = usize::from(image[functions + start.len()]);
        assert!(image[functions + distance..].starts_with(start));
        for at in [functions, functions + distance] {
            let mut changed = image.to_vec();
            changed[at] ^= 1;
            assert_refused(&changed, Verdict::Unproven);
        }
    }
}

#[test]
fn module_data_that_contradict_themselves_prove_nothing() {
    let (_, image, ..) = IMAGES[1];
    // The text's address: 160 bytes into the module data as the lowest counter, 176 as the text.
    let text = (entry(image) - BEFORE_WRITE).to_le_bytes();
    let lowest = memchr::memmem::find_iter(image, &text)
        .find(|at| image[at + 16..].starts_with(&text))
        .expect("module data");
    for at in [lowest, lowest + 16] {
        let mut changed = image.to_vec();
        changed[at + 1] ^= 1;
        assert_refused(&changed, Verdict::Unproven);
    }
}

/// Bytes that `golang.s` puts between the beginning of the text and the method that sends.
const BEFORE_WRITE: u64 = 64;

/// The entry point, which in `golang.s` is the method that sends.
fn entry(image: &[u8]) -> u64 {
    u64::from_le_bytes(*image[0x18..].first_chunk().expect("an ELF header"))
}
