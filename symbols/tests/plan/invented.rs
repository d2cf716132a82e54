//! Invented code in a sound image: whatever the functions contain, a site must be one that the
//! kernel can take. What is checked here is computed anew, with nothing of the planner's own.

use std::collections::HashSet;
use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, Register};
use proptest::prelude::*;
use wstap_symbols::{Action, Library, Options, Probe, Technique, Verdict, plan};

use super::entries;

/// Seven exported functions and one internal one, each of [`SIZE`] bytes, from [`TEXT`] on; file
/// offsets and addresses are the same.
const BLANK: &[u8] = include_bytes!("../fixtures/small/blank.so");
const FUNCTIONS: [&str; 7] =
    ["SSL_read", "SSL_read_ex", "SSL_write", "SSL_write_ex", "SSL_peek", "SSL_free", "SSL_clear"];
const SIZE: usize = 256;
const TEXT: Range<usize> = 0x400..0x400 + 8 * SIZE;

/// A piece of code as compilers write it; the places to fill are the targets of branches.
#[derive(Clone, Debug)]
enum Piece {
    Plain(&'static [u8]),
    /// An opcode with an 8-bit distance.
    Short(u8, i8),
    /// A call or jump to byte `.2` of function number `.1`.
    Near(u8, usize, usize),
    Bytes(Vec<u8>),
}

const PLAIN: &[&[u8]] = &[
    &[0xf3, 0x0f, 0x1e, 0xfa],       // endbr64
    &[0x55],                         // push rbp
    &[0x41, 0x56],                   // push r14
    &[0x5d],                         // pop rbp
    &[0x41, 0x5e],                   // pop r14
    &[0x48, 0x83, 0xec, 0x18],       // sub rsp, 0x18
    &[0x48, 0x83, 0xc4, 0x18],       // add rsp, 0x18
    &[0x48, 0x89, 0xe5],             // mov rbp, rsp
    &[0x48, 0x89, 0xe1],             // mov rcx, rsp
    &[0xc9],                         // leave
    &[0xc3],                         // ret
    &[0x85, 0xc0],                   // test eax, eax
    &[0x85, 0xd2],                   // test edx, edx
    &[0x48, 0x63, 0xd2],             // movsxd rdx, edx
    &[0x48, 0x8d, 0x4c, 0x24, 0x08], // lea rcx, [rsp+8]
    &[0x8b, 0x44, 0x24, 0x08],       // mov eax, [rsp+8]
    &[0x8b, 0x04, 0x24],             // mov eax, [rsp]
    &[0x31, 0xc0],                   // xor eax, eax
    &[0x31, 0xd2],                   // xor edx, edx
    &[0x0f, 0x48, 0xc2],             // cmovs eax, edx
    &[0x83, 0xc8, 0xff],             // or eax, -1
    &[0x49, 0x89, 0xc8],             // mov r8, rcx
    &[0x48, 0x89, 0x7d, 0xf8],       // mov [rbp-8], rdi
    &[0x48, 0x8b, 0x7d, 0xf8],       // mov rdi, [rbp-8]
    &[0x90],                         // nop
    &[0x0f, 0x1f, 0x44, 0x00, 0x00], // 5-byte nop
    &[0xff, 0xe0],                   // jmp rax
    &[0xff, 0x50, 0x10],             // call [rax+0x10]
    &[0x48, 0x89, 0xf7],             // mov rdi, rsi
    &[0x48, 0x83, 0xe4, 0xf0],       // and rsp, -16
    &[0x0f, 0x0b],                   // ud2
    &[0xf0, 0x0f, 0xc1, 0x47, 0x20], // lock xadd [rdi+0x20], eax
    &[0x2e, 0x2e, 0x55],             // push rbp, padded with prefixes
    &[0x3e, 0xff, 0xe0],             // notrack jmp rax
];

fn piece() -> impl Strategy<Value = Piece> {
    let branches = prop::sample::select(&[0x74, 0x75, 0x78, 0x7e, 0x7f, 0xeb][..]);
    let near = prop::sample::select(&[0xe8, 0xe9][..]);
    prop_oneof![
        12 => prop::sample::select(PLAIN).prop_map(Piece::Plain),
        3 => (branches, -40_i8..60).prop_map(|(opcode, by)| Piece::Short(opcode, by)),
        3 => (near, 0..8_usize, prop_oneof![6 => Just(0), 1 => 0..SIZE])
            .prop_map(|(opcode, function, byte)| Piece::Near(opcode, function, byte)),
        1 => prop::collection::vec(any::<u8>(), 1..8).prop_map(Piece::Bytes),
    ]
}

/// The image with code in its functions.
fn image(functions: &[Vec<Piece>]) -> Vec<u8> {
    let mut image = BLANK.to_vec();
    for (number, pieces) in functions.iter().enumerate() {
        let start = TEXT.start + number * SIZE;
        let mut code: Vec<u8> = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Plain(bytes) => code.extend_from_slice(bytes),
                Piece::Short(opcode, by) => code.extend([*opcode, by.cast_unsigned()]),
                Piece::Near(opcode, function, byte) => {
                    let target = TEXT.start + function * SIZE + byte;
                    let next = start + code.len() + 5;
                    let distance = i32::try_from(target.cast_signed() - next.cast_signed());
                    code.push(*opcode);
                    code.extend(distance.expect("a small image").to_le_bytes());
                }
                Piece::Bytes(bytes) => code.extend(bytes),
            }
        }
        code.truncate(SIZE);
        image[start..start + code.len()].copy_from_slice(&code);
    }
    image
}

/// The instructions from `entry` to `site`, if one begins there.
fn straight_line(image: &[u8], entry: usize, site: usize) -> Option<Vec<Instruction>> {
    let code = &image[entry..TEXT.end];
    let mut decoder = Decoder::with_ip(64, code, entry as u64, DecoderOptions::NONE);
    let mut before = Vec::new();
    while decoder.ip() < site as u64 {
        before.push(decoder.decode());
    }
    (decoder.ip() == site as u64).then_some(before)
}

/// What must hold for the way from a function's entry to a site in it.
fn check_way(image: &[u8], entry: usize, probe: &Probe) {
    let site = usize::try_from(probe.offset).expect("an offset in the file");
    let way = straight_line(image, entry, site);
    let way = way.unwrap_or_else(|| panic!("{probe:?} is in the middle of an instruction"));
    for instruction in &way {
        assert_eq!(instruction.flow_control(), FlowControl::Next, "{probe:?}: {instruction:?}");
    }
    if matches!(probe.action, Action::Transfer(_)) {
        let change = stack_change(&way);
        // A function whose first instruction takes no probe has one further on.
        let is_sound =
            if is_refused(&image[entry..]) { change.is_some() } else { change == Some(0) };
        assert!(is_sound, "{probe:?}: {way:?}");
    }
}

/// Bytes by which the instructions move the stack pointer; `None` where that is not plain to see,
/// or where it gets above the return address.
fn stack_change(way: &[Instruction]) -> Option<i64> {
    let mut depth = 0_i64;
    let mut frame = None;
    for instruction in way {
        let to = instruction.op0_register();
        let by = instruction.try_immediate(1).ok().map(u64::cast_signed);
        match (instruction.mnemonic(), to) {
            (Mnemonic::Sub, Register::RSP) => depth -= by?,
            (Mnemonic::Add, Register::RSP) => depth += by?,
            (Mnemonic::Mov, Register::RBP) if instruction.op1_register() == Register::RSP => {
                frame = Some(depth);
            }
            (Mnemonic::Leave, _) => depth = frame.take()? + 8,
            (Mnemonic::Push | Mnemonic::Test | Mnemonic::Cmp, _) => {
                depth += i64::from(instruction.stack_pointer_increment());
            }
            (_, Register::RSP) => return None,
            _ => depth += i64::from(instruction.stack_pointer_increment()),
        }
        if depth > 0 {
            return None;
        }
    }
    Some(depth)
}

/// Where instructions begin: as control gets to them from the start of a function, and one after
/// the other.
fn instructions(image: &[u8]) -> HashSet<usize> {
    let mut found = HashSet::new();
    let mut pending: Vec<usize> = TEXT.step_by(SIZE).collect();
    while let Some(at) = pending.pop() {
        if !TEXT.contains(&at) || !found.insert(at) {
            continue;
        }
        let mut decoder =
            Decoder::with_ip(64, &image[at..TEXT.end], at as u64, DecoderOptions::NONE);
        let instruction = decoder.decode();
        let address = |ip: u64| usize::try_from(ip).unwrap_or(usize::MAX);
        pending.push(address(instruction.next_ip()));
        if instruction.is_jcc_short_or_near() || instruction.is_jmp_short_or_near() {
            pending.push(address(instruction.near_branch_target()));
        }
    }
    found
}

/// Whether the kernel refuses a probe on this instruction: `is_prefix_bad` and `good_insns_64` in
/// `arch/x86/kernel/uprobes.c`, as far as one byte of opcode says.
fn is_refused(code: &[u8]) -> bool {
    let is_prefix =
        |byte: &&u8| matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3);
    let prefixes = code.iter().take_while(is_prefix).count();
    if code[..prefixes].iter().any(|byte| matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0xf0)) {
        return true;
    }
    let opcode = code[prefixes..].iter().find(|byte| !matches!(byte, 0x40..=0x4f));
    matches!(
        opcode,
        None | Some(
            0x06 | 0x07 | 0x0e | 0x16 | 0x17 | 0x1e | 0x1f | 0x27 | 0x2f | 0x37 | 0x3f | 0x60..=0x62
                | 0x6c..=0x6f | 0x82 | 0x9a | 0xc4 | 0xc5 | 0xcc..=0xcf | 0xd4..=0xd6 | 0xe4..=0xe7
                | 0xea | 0xec..=0xef | 0xf1 | 0xf4 | 0xfa | 0xfb
        )
    )
}

/// From this instruction control goes straight to a return, with the stack as it is there.
fn check_way_to_return(code: &[u8], probe: &Probe) {
    let decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let mut way = Vec::new();
    for instruction in decoder {
        match instruction.flow_control() {
            FlowControl::Next => way.push(instruction),
            FlowControl::Return => break,
            _ => panic!("{probe:?}: {instruction:?} goes elsewhere"),
        }
    }
    assert_eq!(stack_change(&way), Some(0), "{probe:?}: {way:?}");
}

/// What must hold for an instruction at which a call is said to return.
fn check_return(image: &[u8], probe: &Probe, site: usize) {
    let Action::TransferReturn(expected) = probe.action else { panic!("{probe:?}") };
    assert!(instructions(image).contains(&site), "{probe:?} is in the middle of an instruction");
    let code = &image[site..TEXT.end];
    let instruction = Decoder::with_ip(64, code, 0, DecoderOptions::NONE).decode();
    if probe.technique == Technique::Return {
        if expected.distance == 0 {
            check_way_to_return(code, probe);
        }
    } else if probe.technique == Technique::ReturnJump {
        let cheap = matches!(code[0], 0x50..=0x57 | 0x70..=0x7f | 0x90 | 0xe8 | 0xe9 | 0xeb)
            || matches!(code[..2], [0x41, 0x50..=0x57] | [0x0f, 0x80..=0x8f]);
        assert!(cheap, "{probe:?}: {instruction:?}");
    }
}

fn check(image: &[u8], probe: &Probe) {
    let site = usize::try_from(probe.offset).expect("an offset in the file");
    assert!(TEXT.contains(&site), "{probe:?} is outside the code");
    assert!(!is_refused(&image[site..TEXT.end]), "the kernel takes no probe there: {probe:?}");
    if probe.is_return() {
        return check_return(image, probe, site);
    }
    if probe.technique == Technique::Internal {
        let (_, entry) = probe.reason.split_once("0x").expect("the reason names the function");
        let entry: String = entry.chars().take_while(char::is_ascii_hexdigit).collect();
        let entry = usize::from_str_radix(&entry, 16).expect("an address");
        return check_way(image, entry, probe);
    }
    let number = FUNCTIONS.iter().position(|name| *name == probe.function()).expect("exported");
    let entry = TEXT.start + number * SIZE;
    assert!((entry..entry + SIZE).contains(&site), "{probe:?} is outside its function");
    match probe.technique {
        Technique::Symbol => assert_eq!(site, entry),
        _ => check_way(image, entry, probe),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_code_leads_to_a_site_that_cannot_be_probed(
        functions in prop::collection::vec(prop::collection::vec(piece(), 0..40), 8)
    ) {
        let image = image(&functions);
        let plan = plan(&image, &Options::default()).expect("a sound image");
        for probe in plan.libraries.iter().flat_map(|library| &library.probes) {
            check(&image, probe);
        }
    }

    #[test]
    fn no_bytes_lead_to_a_site_that_cannot_be_probed(
        code in prop::collection::vec(any::<u8>(), TEXT.len())
    ) {
        let mut image = BLANK.to_vec();
        image[TEXT].copy_from_slice(&code);
        let plan = plan(&image, &Options::default()).expect("a sound image");
        for probe in plan.libraries.iter().flat_map(|library| &library.probes) {
            check(&image, probe);
        }
    }
}

/// Direct jumps in a function, wherever they lead.
#[test]
fn a_site_that_a_loop_comes_back_to_is_not_taken() {
    // test rdi, rdi; je to itself's test: the branch is a site only if nothing jumps before it.
    let looping = Piece::Plain(&[0x48, 0x85, 0xff, 0x74, 0xfc, 0xc3]);
    let image = image(&vec![vec![looping]; 8]);
    let plan = plan(&image, &Options::default()).expect("a sound image");
    let techniques: Vec<_> = entries(&plan.libraries[0]).map(|probe| probe.technique).collect();
    assert_eq!(techniques, [Technique::Symbol; 6]);
}

/// The only library of an image whose functions all consist of this code.
fn library_of(code: &'static [u8]) -> Library {
    let image = image(&vec![vec![Piece::Plain(code)]; 8]);
    let mut libraries = plan(&image, &Options::default()).expect("a sound image").libraries;
    assert_eq!(libraries.len(), 1);
    libraries.remove(0)
}

/// Where the probes of `SSL_read` are in it, and how far the stack pointer is above that of the first of them
/// where the function returns.
fn of_read(library: &Library) -> Vec<(u64, Technique, Option<i32>)> {
    let probes = library.probes.iter().filter(|probe| probe.function() == "SSL_read");
    let distance = |action| match action {
        Action::TransferReturn(site) => Some(site.distance),
        _ => None,
    };
    probes.map(|it| (it.offset - TEXT.start as u64, it.technique, distance(it.action))).collect()
}

#[test]
fn a_function_whose_first_instruction_is_refused_is_probed_further_on() {
    let library = library_of(&[
        0x2e, 0x2e, 0x53, // push rbx, padded
        0x48, 0x83, 0xec, 0x10, // sub rsp, 16
        0xe8, 0xf4, 0xff, 0xff, 0xff, // call of the same function
        0x48, 0x83, 0xc4, 0x10, // add rsp, 16
        0x5b, // pop rbx
        0xc3, // ret
    ]);
    assert_eq!(library.verdict, Verdict::Tappable);
    let at_return = (17, Technique::Return, Some(24));
    assert_eq!(of_read(&library), [(7, Technique::Prologue, None), at_return]);
}

#[test]
fn where_nothing_is_emulated_the_next_instruction_is_stepped() {
    let library = library_of(&[
        0x3e, 0x48, 0x89, 0xf8, // mov rax, rdi, padded
        0x48, 0x83, 0xc0, 0x01, // add rax, 1
        0xc3, // ret
    ]);
    assert_eq!(library.verdict, Verdict::Tappable);
    let at_return = (8, Technique::Return, Some(0));
    assert_eq!(of_read(&library), [(4, Technique::Prologue, None), at_return]);
    let entry = library.probes.iter().find(|probe| !probe.is_return()).expect("an entry");
    assert!(entry.reason.contains("takes no probe on the first instruction"), "{}", entry.reason);
}

/// One probe that is refused would leave the whole file without.
#[test]
fn a_library_on_which_the_kernel_takes_no_probe_is_named() {
    for code in [&[0xf4][..], &[0xc5, 0xf8, 0x77, 0xc3], &[0x2e, 0xc3]] {
        let library = library_of(code);
        assert_eq!((library.verdict, library.probes.len()), (Verdict::NoPlace, 0), "{code:x?}");
        let said = library.refusal().expect("a refusal");
        assert!(said.contains("the kernel takes no probe"), "{said}");
    }
}
