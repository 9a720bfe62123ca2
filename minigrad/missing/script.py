"""Which names of PyTorch a script uses and this engine lacks, told from its text alone.

Imports and their aliases are followed, names that are assigned once, layers that a class keeps in ``self``, and what
functions and methods of this engine give. A method of a tensor is looked at where its object is known to be a tensor;
where that cannot be told, only if no other object has such a method: so nothing is said without need.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import minigrad
from minigrad.arguments import OTHER_NAMES
from minigrad.missing import MODULES, hint, in_torch
from minigrad.missing.kinds import (
    ROOTS,
    TENSOR,
    Instance,
    Kind,
    Known,
    Own,
    OwnInstance,
    attribute,
    has,
    keywords,
    module,
    result,
)
from minigrad.optim.checks import WITHOUT_EFFECT

# Arguments that are taken as long as they are off.
REFUSED = {
    "create_graph", "proj_size", "amsgrad", "max_norm", "scale_grad_by_freq", "add_bias_kv", "add_zero_attn",
    *WITHOUT_EFFECT,
}  # fmt: skip
_CLIPPING = (minigrad.nn.utils.clip_grad_norm_, minigrad.nn.utils.clip_grad_value_)  # which take what they name
COMPANIONS = {  # what comes beside PyTorch
    "torchtext": "the text modules of seq2seq",
    "torchvision": "arrays of NumPy, as in seq2seq.examples.digits",
    "torchaudio": "frames of NumPy, as in seq2seq.examples.tones",
    "pytorch_lightning": "a loop of your own",
    "lightning": "a loop of your own",
}


class Missing(NamedTuple):
    """A name that is not here. ``text`` says what to do without it."""

    line: int
    name: str
    text: str


def missing_names(source: str, filename: str = "<script>") -> list[Missing]:
    """What a script uses and this engine lacks, in the order of its lines; SyntaxError where it is no Python."""
    reader = _Reader()
    reader.visit(ast.parse(source, filename))
    return sorted(set(reader.found))


class _Reader(ast.NodeVisitor):
    """Goes through a script scope by scope. A scope is looked through for what its names stand for, then read."""

    def __init__(self) -> None:
        self.found: list[Missing] = []
        self._scopes: list[dict[str, Kind]] = []
        self._classes: list[Own] = []

    # --- scopes -----------------------------------------------------------------------------------------------------
    def visit_Module(self, node: ast.Module) -> None:
        self._read_scope(node, {})

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for each in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults, node.returns):
            if each is not None:
                self.visit(each)
        self._read_scope(node, self._parameters(node))

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815  (ast's name)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._scopes.append({each.arg: None for each in _arguments(node.args)})
        self.visit(node.body)
        self._scopes.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for each in (*node.bases, *node.decorator_list):
            self.visit(each)
        self._classes.append(self._own_class(node))
        self._read_scope(node, {})
        self._classes.pop()

    def _read_scope(self, node: Any, names: dict[str, Kind]) -> None:
        self._scopes.append(names)
        body = list(_statements(node))
        for name, kinds in self._assigned(body).items():
            names[name] = kinds[0] if all(kind == kinds[0] for kind in kinds) else None
        for each in node.body:
            self.visit(each)
        self._scopes.pop()

    def _assigned(self, body: list[ast.stmt]) -> dict[str, list[Kind]]:
        """What each name of a scope is assigned; later lines may use what earlier ones assign."""
        found: dict[str, list[Kind]] = {}
        for each in body:
            for name, kind in self._bindings(each):
                found.setdefault(name, []).append(kind)
                same = all(kind == other for other in found[name])
                self._scopes[-1][name] = kind if same else None
        return found

    def _bindings(self, node: ast.stmt) -> Iterator[tuple[str, Kind]]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imported(node)
        elif isinstance(node, ast.ClassDef):
            yield node.name, self._own_class(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, None
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _targets(target, self._kind(node.value))
        elif isinstance(node, ast.AnnAssign | ast.AugAssign) and node.value is not None:
            yield from _targets(node.target, self._kind(node.value) if isinstance(node, ast.AnnAssign) else None)
        elif isinstance(node, ast.For | ast.AsyncFor):
            yield from _targets(node.target, None)
        elif isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                yield from _targets(item.optional_vars, None) if item.optional_vars else ()

    def _parameters(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, Kind]:
        """A method's first argument is an object of its class; annotations say what others are."""
        names: dict[str, Kind] = {}
        for position, each in enumerate(_arguments(node.args)):
            said = self._kind(each.annotation) if each.annotation is not None else None
            single = each not in (node.args.vararg, node.args.kwarg)
            names[each.arg] = TENSOR if single and said == Known("torch.Tensor", minigrad.Tensor) else None
            if position == 0 and self._classes and len(self._scopes) == 2:
                names[each.arg] = OwnInstance(self._classes[-1])
        return names

    def _own_class(self, node: ast.ClassDef) -> Own:
        own = Own(node.name, None)
        for kind in map(self._kind, node.bases):
            if isinstance(kind, Known) and isinstance(kind.value, type):
                own.base = Instance(kind.name, kind.value)
            elif isinstance(kind, Own):
                own.base = kind.base
        for each in ast.walk(node):
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                own.names.add(each.name)
            elif isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store):
                own.names.add(each.attr)
            elif isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                own.names.add(each.id)
            if isinstance(each, ast.Assign):
                for target in each.targets:
                    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                        kind = self._kind(each.value)
                        own.attributes[target.attr] = kind if own.attributes.get(target.attr, kind) == kind else None
        return own

    # --- kinds ------------------------------------------------------------------------------------------------------
    def _kind(self, node: ast.expr | None) -> Kind:
        """What an expression stands for."""
        if isinstance(node, ast.Name):
            return next((scope[node.id] for scope in reversed(self._scopes) if node.id in scope), None)
        if isinstance(node, ast.Attribute):
            return attribute(self._kind(node.value), node.attr)
        if isinstance(node, ast.Call):
            return result(self._kind(node.func))
        if isinstance(node, ast.Subscript | ast.UnaryOp):
            inner = self._kind(node.value if isinstance(node, ast.Subscript) else node.operand)
            return TENSOR if inner == TENSOR else None
        if isinstance(node, ast.BinOp):
            return TENSOR if TENSOR in (self._kind(node.left), self._kind(node.right)) else None
        return None

    # --- what is missing --------------------------------------------------------------------------------------------
    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._check_module(node.lineno, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or node.module is None or not self._check_module(node.lineno, node.module):
            return
        owner = module(_as_torch(node.module))
        for alias in node.names:
            if owner is not None and alias.name != "*" and not has(owner, alias.name):
                self._add(node.lineno, f"{owner.name}.{alias.name}", hint(owner.name, alias.name, owner.value))

    def _check_module(self, line: int, name: str) -> bool:
        """Whether a module of PyTorch, by its dotted name, is here."""
        root = name.split(".")[0]
        if root in COMPANIONS:
            self._add(line, root, f"minigrad comes without it; nearest: {COMPANIONS[root]}")
        if root not in ROOTS or _is_own_file(name):
            return False
        parts = _as_torch(name).split(".")
        for end in range(2, len(parts) + 1):
            if module(".".join(parts[:end])) is None:
                owner = module(".".join(parts[: end - 1]))
                assert owner is not None
                self._add(line, ".".join(parts[:end]), hint(owner.name, parts[end - 1], owner.value))
                return False
        return True

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.visit(node.value)
        if isinstance(node.ctx, ast.Load):
            self._check_attribute(node, self._kind(node.value))

    def _check_attribute(self, node: ast.Attribute, owner: Kind) -> None:
        name = node.attr
        if name.startswith("__"):
            return
        if isinstance(owner, Known):
            if not has(owner, name):
                self._add(node.lineno, f"{owner.name}.{name}", _said_of(owner, name))
        elif owner == TENSOR:
            if not has(TENSOR, name):
                self._add(node.lineno, f"torch.Tensor.{name}", hint("torch.Tensor", name, minigrad.Tensor))
        elif isinstance(owner, OwnInstance):
            base = owner.owner.base
            if base is not None and name not in owner.owner.names and not has(base, name) and _of_module(base, name):
                self._add(node.lineno, f"torch.nn.Module.{name}", hint("torch.nn.Module", name, minigrad.nn.Module))

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        function = node.func
        if isinstance(function, ast.Attribute):
            self._check_method(function, self._kind(function.value))
        self._check_keywords(node, self._kind(function))

    def _check_method(self, node: ast.Attribute, owner: Kind) -> None:
        """A method of an object: of one of this engine's, or of one of which nothing is known but the method's name.

        No other objects have methods whose names end with an underscore.
        """
        name = node.attr
        if isinstance(owner, Instance) and owner != TENSOR and not has(owner, name):
            if issubclass(owner.value, minigrad.nn.Module):
                if in_torch("torch.nn.Module", name):
                    self._add(node.lineno, f"torch.nn.Module.{name}", hint("torch.nn.Module", name, owner.value))
            elif not name.startswith("_"):
                self._add(node.lineno, f"{owner.name}.{name}", "minigrad's has no such method")
        elif owner is None and name.endswith("_") and in_torch("torch.Tensor", name) and not has(TENSOR, name):
            self._add(node.lineno, f"torch.Tensor.{name}", hint("torch.Tensor", name, minigrad.Tensor))

    def _check_keywords(self, node: ast.Call, function: Kind) -> None:
        given = {each.arg: each.value for each in node.keywords if each.arg is not None}
        if isinstance(node.func, ast.Attribute) and node.func.attr == "backward" and function is None:
            given = {name: value for name, value in given.items() if name == "create_graph"}
        elif not isinstance(function, Known):
            return
        taken = isinstance(function, Known) and function.value in _CLIPPING
        for name, value in given.items():
            if name in REFUSED and not taken and not (isinstance(value, ast.Constant) and not value.value):
                self._add(
                    value.lineno, f"{ast.unparse(node.func)}({name}=...)", "minigrad takes it only where it is off"
                )
            elif isinstance(function, Known) and name not in REFUSED:
                self._check_keyword(value.lineno, function, name)

    def _check_keyword(self, line: int, function: Known, name: str) -> None:
        taken = keywords(function.value)
        if taken is None or name in taken or any(own in taken for own in OTHER_NAMES.get(name, ())):
            return
        listed = ", ".join(sorted(taken - {"self"}))
        self._add(line, f"{function.name}({name}=...)", f"minigrad's takes no {name}; it takes {listed}")

    def _add(self, line: int, name: str, text: str) -> None:
        self.found.append(Missing(line, name, text))


def _said_of(owner: Known, name: str) -> str:
    if isinstance(owner.value, type) and owner.value is not minigrad.Tensor:
        if issubclass(owner.value, minigrad.nn.Module):
            return hint("torch.nn.Module", name, owner.value) or "minigrad's has no such attribute"
        return "minigrad's has no such attribute"
    return hint(owner.name, name, owner.value) or "minigrad's has no such attribute"


def _of_module(base: Instance, name: str) -> bool:
    return issubclass(base.value, minigrad.nn.Module) and in_torch("torch.nn.Module", name) is not None


def _is_own_file(name: str) -> bool:
    """Whether it names a file of this engine that is none of PyTorch's modules."""
    path = Path(minigrad.__file__).parents[1].joinpath(*name.split("."))
    return name not in MODULES and (path.is_dir() or path.with_suffix(".py").is_file())


def _as_torch(name: str) -> str:
    root, dot, rest = name.partition(".")
    return f"torch{dot}{rest}" if root in ROOTS else name


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Kind]]:
    """The names that an import binds."""
    for alias in node.names:
        if isinstance(node, ast.Import):
            whole = _as_torch(alias.name) if alias.asname else _as_torch(alias.name.split(".")[0])
            yield alias.asname or alias.name.split(".")[0], module(whole) if whole.split(".")[0] == "torch" else None
        elif alias.name == "*":
            owner = module(_as_torch(node.module or ""))
            for name in dir(owner.value) if owner is not None and not node.level else ():
                if not name.startswith("_"):
                    yield name, attribute(owner, name)
        else:
            whole = _as_torch(node.module or "")
            foreign = whole.split(".")[0] != "torch" or node.level or _is_own_file(node.module or "")
            yield alias.asname or alias.name, attribute(None if foreign else module(whole), alias.name)


def _targets(target: ast.expr, kind: Kind) -> Iterator[tuple[str, Kind]]:
    if isinstance(target, ast.Name):
        yield target.id, kind
    elif isinstance(target, ast.Tuple | ast.List):
        for each in target.elts:
            yield from _targets(each, None)
    elif isinstance(target, ast.Starred):
        yield from _targets(target.value, None)


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    single = [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *single]


def _statements(node: Any) -> Iterator[ast.stmt]:
    """The statements of a scope, in order, those within loops and conditions too, but not those of inner scopes."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.stmt | ast.ExceptHandler | ast.match_case):
            if isinstance(each, ast.stmt):
                yield each
            if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from _statements(each)
