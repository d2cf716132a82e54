//! Return sites on code that is made by hand, and on code that is made at random and then run.

use proptest::prelude::*;

use super::super::Code;
use super::*;

fn returns(code: &[&[u8]]) -> Result<Vec<ReturnSite>, Unknown> {
    own(&Code(code.concat()), Code::ENTRY, None)
}

/// `sub $24, %rsp`
const FRAME: &[u8] = &[0x48, 0x83, 0xec, 0x18];
/// `add $24, %rsp; ret`
const LEAVE: &[u8] = &[0x48, 0x83, 0xc4, 0x18, 0xc3];
/// `sub %fs:0x28, %rdx`
const CHECK: &[u8] = &[0x64, 0x48, 0x2b, 0x14, 0x25, 0x28, 0, 0, 0];
/// `call` of what is behind the function, which never returns.
const FAIL: &[u8] = &[0xe8, 0, 1, 0, 0];

fn at(offset: u64) -> ReturnSite {
    ReturnSite::ret(Code::ENTRY + offset)
}

fn jump(offset: u64) -> ReturnSite {
    ReturnSite { emulated: Some("jump"), ..at(offset) }
}

fn branch(offset: u64, condition: Option<u8>) -> ReturnSite {
    ReturnSite { emulated: Some("conditional jump"), condition, ..at(offset) }
}

#[test]
fn every_return_of_a_function_is_found() {
    // call; nop of two bytes; ret: nothing is emulated between the call and the return.
    let call: &[u8] = &[0xe8, 0, 1, 0, 0];
    assert_eq!(returns(&[call, &[0x66, 0x90, 0xc3]]), Ok(vec![at(7)]));
    // The first instruction: a jump there would be a call.
    assert_eq!(returns(&[&[0xc3]]), Ok(vec![at(0)]));
}

#[test]
fn a_jump_that_leads_to_a_return_both_ways_is_one_site() {
    // test %edi, %edi; je +1; ret; ret
    assert_eq!(returns(&[&[0x85, 0xff, 0x74, 0x01, 0xc3, 0xc3]]), Ok(vec![branch(2, None)]));
    // mov %edx, %eax before the second: the result is in different registers.
    let code: &[u8] = &[0x85, 0xff, 0x74, 0x01, 0xc3, 0x89, 0xd0, 0xc3];
    let (passed, taken) = (branch(2, Some(5)), branch(2, Some(4)));
    let taken = ReturnSite { register: Some(2), ..taken };
    assert_eq!(returns(&[code]), Ok(vec![passed, taken]));
}

/// Two calls, each with a way of its own to one return, behind which the result is moved.
#[test]
fn the_jumps_to_a_return_stand_for_it() {
    let call: &[u8] = &[0xe8, 0, 1, 0, 0];
    let result: &[u8] = &[0x41, 0x89, 0xc0]; // mov %eax, %r8d
    let leave: &[u8] = &[0x44, 0x89, 0xc0, 0xc3]; // mov %r8d, %eax; ret
    // call; mov; test %eax, %eax; js to the end; call; mov; jmp to the end
    let code = [call, result, &[0x85, 0xc0, 0x78, 0x0a], call, result, &[0xeb, 0x00], leave];
    let r8 = |site| ReturnSite { register: Some(8), ..site };
    let expected = vec![r8(branch(10, Some(8))), r8(jump(20))];
    assert_eq!(returns(&code), Ok(expected));
}

#[test]
fn a_jump_in_a_tight_loop_is_no_site() {
    // call; dec %ecx; jle out; jmp to dec; out: ret
    let call: &[u8] = &[0xe8, 0, 1, 0, 0];
    let code = [call, &[0xff, 0xc9, 0x7e, 0x02, 0xeb, 0xfa, 0xc3]];
    assert_eq!(returns(&code), Ok(vec![at(11)]));
    // call; test %eax, %eax; jle out; jmp to the call; out: ret
    let code = [call, &[0x85, 0xc0, 0x7e, 0x02, 0xeb, 0xf5, 0xc3]];
    assert_eq!(returns(&code), Ok(vec![branch(7, Some(14))]));
}

#[test]
fn calls_that_have_failed_need_no_cheap_site() {
    // test %edi, %edi; jne +6; mov $-1, %eax; ret; call; jmp to that ret.
    let call: &[u8] = &[0xe8, 0, 1, 0, 0];
    let failing: &[u8] = &[0x85, 0xff, 0x75, 0x06, 0xb8, 0xff, 0xff, 0xff, 0xff, 0xc3];
    let failed = ReturnSite { register: None, ..at(4) };
    assert_eq!(returns(&[failing, call, &[0xeb, 0xf8]]), Ok(vec![failed, jump(15)]));
    // Without the call, nothing that succeeds returns there.
    assert_eq!(returns(&[failing, &[0x0f, 0x0b]]), Ok(vec![at(9)]));
}

#[test]
fn the_check_of_the_stack_stands_for_the_return_behind_it() {
    // jne to the failure
    let check: &[u8] = &[0x75, 0x05];
    let code = [FRAME, CHECK, check, LEAVE, FAIL];
    let site = ReturnSite { distance: -24, ..branch(13, None) };
    assert_eq!(returns(&code), Ok(vec![site]));
    // mov %ebx, %eax behind it: the result is in RBX at the check.
    let code = [FRAME, CHECK, &[0x75, 0x07], &[0x89, 0xd8], LEAVE, FAIL];
    assert_eq!(returns(&code), Ok(vec![ReturnSite { register: Some(3), ..site }]));
    // cltq behind it: it is in no register that is known, so the return itself is the site.
    let code = [FRAME, CHECK, &[0x75, 0x07], &[0x48, 0x98], LEAVE, FAIL];
    assert_eq!(returns(&code), Ok(vec![at(21)]));
    // Someone jumps to behind the check: that is another way, in no loop.
    let into: &[u8] = &[0x74, 0x0b];
    let code = [FRAME, into, CHECK, check, LEAVE, FAIL];
    let (other, checked) = (branch(4, Some(4)), branch(15, None));
    let framed = |site| ReturnSite { distance: -24, ..site };
    assert_eq!(returns(&code), Ok(vec![framed(other), framed(checked)]));
}

/// `mov 8(%rdi), %rax; jmp *0x70(%rax)`
const METHOD: &[u8] = &[0x48, 0x8b, 0x47, 0x08, 0xff, 0x60, 0x70];

#[test]
fn a_function_that_ends_in_a_method_returns_where_the_method_does() {
    // The method: call; jmp to ret.
    let method: &[u8] = &[0xe8, 0, 1, 0, 0, 0xeb, 0x00, 0xc3];
    let code = Code([METHOD, method].concat());
    let known = |method| {
        assert_eq!(method, Method { table: 8, slot: 0x70 });
        Some(vec![Code::ENTRY + 7])
    };
    let sites = through(&code, Code::ENTRY, Some(Code::ENTRY + 7), known);
    assert_eq!(sites, Ok(vec![ReturnSite { is_shared: true, ..jump(12) }]));
    assert_eq!(through(&code, Code::ENTRY, Some(Code::ENTRY + 7), |_| None), Err(POINTER));
    // One that cannot be followed.
    let sites = through(&code, Code::ENTRY, Some(Code::ENTRY + 7), |_| Some(vec![0]));
    assert!(sites.is_err(), "{sites:?}");
}

#[test]
fn a_function_that_ends_in_a_jump_through_a_pointer_returns_elsewhere() {
    // mov (%rdi), %rax; jmp *0x10(%rax)
    assert_eq!(returns(&[&[0x48, 0x8b, 0x07, 0xff, 0x60, 0x10]]), Err(POINTER));
    // The same with a frame, as for a switch, but not through a table.
    assert_eq!(returns(&[FRAME, &[0xff, 0xe0], LEAVE]), Err(POINTER));
    // movslq (%rdx,%rax,4), %rax; add %rdx, %rax; jmp *%rax
    let table: &[u8] = &[0x48, 0x63, 0x04, 0x82, 0x48, 0x01, 0xd0, 0xff, 0xe0];
    let sites = returns(&[FRAME, table, LEAVE]);
    assert_eq!(sites, Ok(vec![at(17)]));
}

#[test]
fn behind_a_call_the_first_emulated_instruction_is_the_site() {
    let site = |code: &[u8], kept: &[Register]| {
        after_call(&Code(code.to_vec()), Code::ENTRY, kept).expect("code")
    };
    // pop %rcx; test %eax, %eax; jle
    let found = site(&[0x59, 0x85, 0xc0, 0x7e, 0x01], &[Register::RBX]);
    assert_eq!((found.address, found.distance), (Code::ENTRY + 3, 16));
    assert_eq!(found.emulated, Some("conditional jump"));
    // xor %eax, %eax before the jump: the status is gone.
    let found = site(&[0x31, 0xc0, 0x7e, 0x01], &[]);
    assert_eq!((found.address, found.distance, found.emulated), (Code::ENTRY, 8, None));
    // pop %rbx before it.
    let found = site(&[0x5b, 0x7e, 0x01], &[Register::RBX]);
    assert_eq!((found.address, found.distance, found.emulated), (Code::ENTRY, 8, None));
}

/// One instruction of a function that is made at random. Its targets are numbers of instructions.
#[derive(Clone, Copy, Debug)]
enum Op {
    Call,
    /// `mov %eax, %r8d`
    Keep,
    /// `mov %r8d, %eax`
    Restore,
    /// `mov $-1, %eax`
    Fail,
    /// `movzbl %al, %eax`: something that is not followed.
    Change,
    Jump(usize),
    Branch(u8, usize),
    Return,
}

/// Bytes of each instruction, with its padding.
const SLOT: usize = 8;

fn op(count: usize) -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => Just(Op::Call),
        2 => Just(Op::Keep),
        2 => Just(Op::Restore),
        1 => Just(Op::Fail),
        1 => Just(Op::Change),
        3 => (0..count).prop_map(Op::Jump),
        3 => (0_u8..16, 0..count).prop_map(|(condition, to)| Op::Branch(condition, to)),
        2 => Just(Op::Return),
    ]
}

/// The instructions' bytes; one that cannot be run follows the last.
fn assembled(ops: &[Op]) -> Vec<u8> {
    let mut code = Vec::new();
    for (number, op) in ops.iter().enumerate() {
        let distance = |to: usize, length: usize| {
            let from = number * SLOT + length;
            i32::try_from((to * SLOT) as i64 - from as i64).expect("a small function").to_le_bytes()
        };
        let mut bytes = match *op {
            Op::Call => [&[0xe8][..], &0x10_0000_i32.to_le_bytes()].concat(),
            Op::Keep => vec![0x41, 0x89, 0xc0],
            Op::Restore => vec![0x44, 0x89, 0xc0],
            Op::Fail => vec![0xb8, 0xff, 0xff, 0xff, 0xff],
            Op::Change => vec![0x0f, 0xb6, 0xc0],
            Op::Jump(to) => [&[0xe9][..], &distance(to, 5)].concat(),
            Op::Branch(condition, to) => [&[0x0f, 0x80 | condition][..], &distance(to, 6)].concat(),
            Op::Return => vec![0xc3],
        };
        // No-ops of two and three bytes are single-stepped, and so no sites.
        match SLOT - bytes.len() {
            2 => bytes.extend([0x66, 0x90]),
            3 => bytes.extend([0x0f, 0x1f, 0x00]),
            5 => bytes.extend([0x66, 0x90, 0x0f, 0x1f, 0x00]),
            7 => bytes.extend([0x66, 0x90, 0x66, 0x90, 0x0f, 0x1f, 0x00]),
            _ => unreachable!("every instruction has a length that is padded here"),
        }
        code.extend(bytes);
    }
    code.extend([0x0f, 0x0b]);
    code
}

/// What a register holds while the code runs: which call or change made it, or a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Made(usize),
    Failure,
}

/// Runs the code with these outcomes of its branches. What the sites said the result is, for each
/// time that one of them was passed, and the result itself; `None` if it did not return.
fn run(ops: &[Op], sites: &[ReturnSite], outcomes: &[bool]) -> Option<(Vec<Option<Held>>, Held)> {
    let (mut rax, mut r8) = (Held::Made(0), Held::Made(1));
    let mut made = 1;
    let mut told = Vec::new();
    let mut outcomes = outcomes.iter();
    let mut at = 0;
    loop {
        let op = *ops.get(at)?;
        let taken = match op {
            Op::Branch(..) => *outcomes.next()?,
            _ => true,
        };
        let address = Code::ENTRY + (at * SLOT) as u64;
        let padding = address + 1..address + SLOT as u64;
        let is_passed = |site: &&ReturnSite| match (site.condition, op) {
            (Some(wanted), Op::Branch(condition, _)) => (wanted == condition) == taken,
            (Some(_), _) => panic!("{site:?} is at no conditional jump"),
            (None, _) => true,
        };
        let tell = |site: &ReturnSite, rax, r8| match site.register {
            None => None,
            Some(0) => Some(rax),
            Some(8) => Some(r8),
            Some(_) => panic!("{site:?} names another register"),
        };
        let here = sites.iter().filter(|site| site.address == address).filter(is_passed);
        told.extend(here.map(|site| tell(site, rax, r8)));
        let mut make = || {
            made += 1;
            Held::Made(made)
        };
        match op {
            Op::Call => (rax, r8) = (make(), make()),
            Op::Change => rax = make(),
            Op::Keep => r8 = rax,
            Op::Restore => rax = r8,
            Op::Fail => rax = Held::Failure,
            Op::Return => return Some((told, rax)),
            Op::Jump(to) => {
                outcomes.next()?;
                at = to;
                continue;
            }
            Op::Branch(_, to) if taken => {
                at = to;
                continue;
            }
            Op::Branch(..) => {}
        }
        let behind = sites.iter().filter(|site| padding.contains(&site.address));
        told.extend(behind.map(|site| tell(site, rax, r8)));
        at += 1;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever way a call takes, it passes one site once, and that says what it returns.
    #[test]
    fn every_way_to_a_return_passes_one_site_once(
        ops in (2_usize..24).prop_flat_map(|count| prop::collection::vec(op(count), count)),
        runs in prop::collection::vec(prop::collection::vec(any::<bool>(), 24), 16),
    ) {
        let Ok(sites) = returns(&[&assembled(&ops)]) else { return Ok(()) };
        for outcomes in runs {
            let Some((told, result)) = run(&ops, &sites, &outcomes) else { continue };
            let expected = match (told.as_slice(), result) {
                (&[None], Held::Failure) => vec![None],
                _ => vec![Some(result)],
            };
            prop_assert_eq!(told, expected, "{:?} {:?}", ops, sites);
        }
    }
}
