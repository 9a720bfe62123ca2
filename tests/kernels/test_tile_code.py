"""The machine code of the tiles, for processors that are not here too: vector multiply-adds, no spills, no calls.

LLVM compiles each tile for a processor by name, and the loop is read from the assembly. A tile whose sums do not fit
into the registers would still be right, and several times slower; only its code tells.
"""

import re
from dataclasses import dataclass

import pytest
from llvmlite import binding, ir
from numba import types

from kernels.cpu import tiles
from kernels.cpu.processor import Shape, choose_shape

LINUX = "-unknown-linux-gnu"
ELEMENTS = {
    "float32": types.float32, "float64": types.float64, "bfloat16": types.uint32, "int8": types.int8,
    "float16": types.uint16,
}  # fmt: skip


@dataclass(frozen=True)
class Processor:
    """One to compile for; patterns of a multiply-add into whole vector registers, and of the stack."""

    triple: str
    name: str
    features: str
    multiply_add: str
    stack: str = r"\(%rsp"

    def shape(self) -> Shape:
        return choose_shape({name[1:]: True for name in self.features.split(",")}, self.triple)


PROCESSORS = {
    "avx512bf16": Processor(
        f"x86_64{LINUX}", "znver4", "+avx512f,+avx512bf16,+avx2,+fma", r"(vfmadd\d+p[sd]|vdpbf16ps)\s.*%zmm\d+$"
    ),
    "avx512": Processor(f"x86_64{LINUX}", "skylake-avx512", "+avx512f,+avx2,+fma", r"vfmadd\d+p[sd]\s.*%zmm\d+$"),
    "avx2": Processor(f"x86_64{LINUX}", "haswell", "+avx2,+fma,+f16c", r"vfmadd\d+p[sd]\s.*%ymm\d+$"),
    "sse2": Processor(f"x86_64{LINUX}", "x86-64", "+sse2", r"mulp[sd]\s.*%xmm\d+$"),
    "neon": Processor(f"aarch64{LINUX}", "generic", "+neon", r"fml[as]\s+v\d+\.[24][sd]", r"\[sp|\[x29"),
}


def assembly(processor, element, rows):
    """The code of one tile as a function of addresses, optimised as Numba does it."""
    kind, i64 = tiles._kind(element), ir.IntType(64)
    module = ir.Module()
    module.triple = processor.triple
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [i64] * 5 + [ir.IntType(1)]), "tile")
    builder = ir.IRBuilder(function.append_basic_block())
    tiles._Tile(builder, kind, rows).emit(*function.args)
    builder.ret_void()
    target = binding.Target.from_triple(processor.triple)
    machine = target.create_target_machine(cpu=processor.name, features=processor.features, opt=3)
    parsed = binding.parse_assembly(str(module))
    options = binding.create_pipeline_tuning_options(speed_level=3)
    builder_of_passes = binding.create_pass_builder(machine, options)
    builder_of_passes.getModulePassManager().run(parsed, builder_of_passes)
    return machine.emit_assembly(parsed)


def loops(code):
    """The basic blocks that jump back to their own start, as lists of instructions."""
    found = []
    for label, body in re.findall(r"^(\.?L\w+):[^\n]*\n((?:\s+[^\n]*\n)+)", code, re.MULTILINE):
        instructions = [line.split("#")[0].split("//")[0].strip() for line in body.splitlines()]
        jumps = [at for at, line in enumerate(instructions) if re.match(rf"(j\w+|b\.?\w*)\s+{re.escape(label)}$", line)]
        if jumps:
            found.append([line for line in instructions[: jumps[-1] + 1] if line and not line.startswith(".")])
    return found


def faults(code, processor, multiply_adds, on_stack=0):
    """What is wrong with the loops of a tile's code: nothing, if they are as fast as they should be.

    LLVM may do several steps of k in one turn, and the last ones in a loop of their own. on_stack: instructions that
    may use the stack.
    """
    found = [] if loops(code) else ["no loop"]
    stack = processor.stack + (r"|\(%rbp" if "%rsp, %rbp" in code else "")  # else it is a register like all others
    for body in loops(code):
        spills = [line for line in body if re.search(stack, line)]
        found += spills if len(spills) > on_stack else []
        found += [line for line in body if re.match(r"(call|bl|blr)\b", line)]
        count = sum(bool(re.match(processor.multiply_add, line)) for line in body)
        if not count or count % multiply_adds:
            found.append(f"{count} multiply-adds; expected a multiple of {multiply_adds}")
    return found


@pytest.fixture(params=PROCESSORS)
def processor(request, monkeypatch):
    """One of PROCESSORS, with the tiles' shape set to its own."""
    processor = PROCESSORS[request.param]
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    binding.initialize_native_asmparser()  # which `tiles` does where the processor itself has the one instruction
    try:
        binding.Target.from_triple(processor.triple)
    except RuntimeError as error:
        pytest.skip(f"this LLVM cannot compile for it: {error}")
    shape = processor.shape()
    monkeypatch.setattr(tiles, "SHAPE", shape)
    monkeypatch.setattr(tiles, "VECTOR_BYTES", shape.vector_bytes)
    monkeypatch.setattr(tiles, "VECTORS", shape.vectors)
    return processor


@pytest.mark.parametrize("element", ELEMENTS)
def test_the_loop_stays_in_registers(processor, element):
    """Where pairs are unpacked, the mask of their high halves takes a register: on x86 one sum may give way to it.

    Without an instruction for float16, each vector of B is multiplied once more as it becomes float32, and two sums may
    give way to the constants of that.
    """
    shape = processor.shape()
    more = shape.vectors if element == "float16" and not shape.has_half else 0
    unpacked = element == "bfloat16" and not shape.has_bf16
    for rows in range(1, shape.rows + 1):
        code = assembly(processor, ELEMENTS[element], rows)
        count = rows * shape.vectors * (2 if unpacked else 1) + more
        assert faults(code, processor, count, on_stack=3 if unpacked else 4 if more else 0) == [], f"{rows} rows"


def test_pairs_take_one_instruction_where_there_is_one(processor):
    code = assembly(processor, types.uint32, processor.shape().rows)
    assert ("vdpbf16ps" in code) == processor.shape().has_bf16 == ("avx512bf16" in processor.features)


def test_halves_take_one_instruction_where_there_is_one(processor):
    code = assembly(processor, types.uint16, processor.shape().rows)
    assert bool(re.search(r"vcvtph2ps|fcvtl", code)) == processor.shape().has_half


def test_a_tile_too_large_for_the_registers_is_found(processor, monkeypatch):
    """The proof that this check can fail: three times the rows make sums that no processor holds."""
    shape = processor.shape()
    code = assembly(processor, types.float32, 3 * shape.rows)
    assert any(re.search(processor.stack, fault) for fault in faults(code, processor, 3 * shape.rows * shape.vectors))


def test_scalar_code_is_found(processor):
    code = assembly(processor, types.float32, 1)
    assert faults(re.sub(r"(fmla|vfmadd\w+|mulps)\s", "scalar ", code), processor, processor.shape().vectors)
    assert faults("", processor, 1) == ["no loop"]


def test_shapes():
    """Which tile which processor gets."""
    arm, x86 = f"aarch64{LINUX}", f"x86_64{LINUX}"
    every = {name: choose_shape({}, triple) for name, triple in (("arm", arm), ("apple", "arm64-apple-darwin"))}
    assert {shape.vector_bytes * shape.rows for shape in every.values()} == {128}
    assert choose_shape({"avx2": True}, x86).has_fma is False
    assert choose_shape({"avx2": True, "fma": True}, x86)[:3] == (32, 4, 3)
    assert choose_shape({"avx2": True, "fma": True, "avx512f": True}, x86)[:3] == (64, 8, 2)
    for shape in (every["arm"], *(processor.shape() for processor in PROCESSORS.values())):
        assert shape.rows % shape.square == 0
        assert shape.vector_bytes // 8 * shape.vectors % shape.square == 0
