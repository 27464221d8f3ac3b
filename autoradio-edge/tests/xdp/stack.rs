//! How much of the kernel's stack the program uses. The verifier tells only of programs that it refuses, so that this is
//! counted from the object that the daemon embeds.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use aya_obj::Object;
use aya_obj::generated::bpf_insn;

/// Embedded as the daemon does it (`build.rs`).
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/autoradio.bpf"));
/// Bytes of stack for a program and all functions on its way (`MAX_BPF_STACK`).
const STACK_BYTES_MAX: u32 = 512;
/// The verifier counts every frame up to a multiple of this (`round_up_stack_depth`), an empty one too.
const FRAME_BYTES: u32 = 32;

/// Registers; the tenth is the end of the frame, which grows downwards.
const REGISTERS: usize = 11;
const FRAME: usize = 10;
// Classes of instructions (RFC 9669 §4.2), in the lowest three bits.
const LD: u8 = 0;
const LDX: u8 = 1;
const ST: u8 = 2;
const STX: u8 = 3;
const ALU: u8 = 4;
const ALU64: u8 = 7;
// Whole instructions.
const CALL: u8 = 0x85;
const MOVE: u8 = 0xbf;
const ADD_NUMBER: u8 = 0x07;
/// A call's source register for a function of the program itself; others are the kernel's.
const OWN_FUNCTION: u8 = 1;

/// The deepest byte below the frame's end that a function reads, writes or points at, in bytes.
///
/// Registers that point into the frame are followed in the order in which the instructions stand, past jumps.
fn frame_bytes(function: &[bpf_insn]) -> u32 {
    let mut offsets = [None; REGISTERS];
    offsets[FRAME] = Some(0);
    let mut deepest = 0_i32;
    for insn in function {
        let (to, from) = (usize::from(insn.dst_reg()), usize::from(insn.src_reg()));
        let base = match insn.code & 7 {
            LDX => offsets[from],
            ST | STX => offsets[to],
            _ => None,
        };
        let mut touched = base.map(|base| base + i32::from(insn.off));
        match (insn.code, insn.code & 7) {
            (MOVE, _) => offsets[to] = offsets[from],
            (ADD_NUMBER, _) => {
                offsets[to] = offsets[to].map(|offset| offset + insn.imm);
                touched = offsets[to];
            }
            (CALL, _) => offsets[..=5].fill(None),
            (_, LD | LDX | ALU | ALU64) => offsets[to] = None,
            _ => {}
        }
        deepest = deepest.min(touched.unwrap_or(0));
    }
    deepest.unsigned_abs()
}

/// A function of a linked program.
struct Function {
    bytes: u32,
    calls: BTreeSet<usize>,
}

/// The functions of a program whose calls are linked, by the place of their first instruction.
fn functions(program: &[bpf_insn]) -> BTreeMap<usize, Function> {
    let call = |(place, insn): (usize, &bpf_insn)| {
        let own = insn.code == CALL && insn.src_reg() == OWN_FUNCTION;
        let target = place.wrapping_add_signed(insn.imm as isize + 1);
        own.then_some((place, target))
    };
    let calls: Vec<(usize, usize)> = program.iter().enumerate().filter_map(call).collect();
    let starts: BTreeSet<usize> = calls.iter().map(|call| call.1).chain([0]).collect();
    let function = |&start: &usize| {
        let end = starts.range(start + 1..).next().copied().unwrap_or(program.len());
        let inside = calls.iter().filter(|call| (start..end).contains(&call.0));
        let calls = inside.map(|call| call.1).collect();
        (start, Function { bytes: frame_bytes(&program[start..end]), calls })
    };
    starts.iter().map(function).collect()
}

/// Bytes of the frame at `start` and of the deepest of those that it leads to, as the verifier counts them.
fn chain_bytes(functions: &BTreeMap<usize, Function>, start: usize) -> u32 {
    let function = &functions[&start];
    let below = function.calls.iter().map(|call| chain_bytes(functions, *call)).max();
    function.bytes.max(1).next_multiple_of(FRAME_BYTES) + below.unwrap_or(0)
}

#[test]
#[ignore = "needs the kernel program: cargo xtask test"]
fn the_program_and_all_it_calls_fit_the_kernels_stack() {
    let mut object = Object::parse(OBJECT).expect("an object");
    for function in object.functions.values() {
        let (bytes, name) = (frame_bytes(&function.instructions), &function.name);
        writeln!(std::io::stdout(), "{bytes:>4} bytes of stack: {name}").expect("printed");
    }
    let sections = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_calls(&sections).expect("linked");
    let program = object.programs["autoradio"].function_key();
    let functions = functions(&object.functions[&program].instructions);
    assert!(functions.len() > 1 && functions[&0].bytes > 0, "functions and frames are found");
    let deepest = chain_bytes(&functions, 0);
    writeln!(std::io::stdout(), "{deepest} bytes of stack at most").expect("printed");
    assert!(deepest <= STACK_BYTES_MAX, "{deepest} bytes of stack");
}
