"""decode.py for one model: the reader's source, with every decision that the model's settings make taken beforehand.

The reader (``decode`` and ``decode_model``) reads any model. What is shipped beside a model is what is left of it once
the model is known: of an ``if`` the branch that is taken, of a table of functions the one that is looked up, and of
everything else what something still uses. Comments and layout stay as they are written, since what is folded is text;
the syntax tree only says where.

Contract: what is left does for this model what the whole does, since a decision is taken only where its every part is
known; the rest stays. Source: Jones, Gomard and Sestoft, "Partial evaluation and automatic program generation" (1993).
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

Facts = Mapping[str, Any]  # what is known, by the source text that stands for it
Cut = tuple[int, int, str]  # from here to there in the text, and what takes its place
_OPERATORS: dict[type, Any] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
    ast.Gt: lambda a, b: a > b,
}
_METHODS = {"get", "startswith", "endswith", "removeprefix"}


class Unknown(Exception):  # noqa: N818 - no fault
    """A value that the settings do not say."""


def folded(source: str, facts: Facts) -> str:
    """What is left of a program where ``facts`` hold."""
    while True:
        text = _Text(source)
        cuts = [*_folds(text, facts), *_unused(text)]
        if not cuts:
            return source
        source = text.without(cuts)


class _Text:
    """A program as text, of ASCII, since columns are told in bytes, and as tree."""

    def __init__(self, source: str) -> None:
        self.source, self.tree = source, ast.parse(source)
        self.lines = [0]
        for line in source.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))

    def start(self, node: Any) -> int:
        return self.lines[node.lineno - 1] + node.col_offset

    def end(self, node: Any) -> int:
        return self.lines[node.end_lineno - 1] + node.end_col_offset

    def of(self, node: Any) -> str:
        return self.source[self.start(node) : self.end(node)]

    def without(self, cuts: list[Cut]) -> str:
        """The program after these cuts, of overlapping ones after the first alone."""
        parts, at = [], 0
        for start, end, instead in sorted(cuts, key=lambda cut: (cut[0], -cut[1])):
            if start >= at:
                parts += [self.source[at:start], instead]
                at = end
        left = "".join([*parts, self.source[at:]])
        left = re.sub(r"\n{3,}(?= )", "\n\n", re.sub(r"\n{4,}", "\n\n\n", left))  # blank lines, as many as is usual
        return re.sub(r"( +import \w+\n)\n(?= +import )", r"\1", left)

    def statements(self, body: list[Any]) -> tuple[int, int]:
        """From the first line of a block, with the comments above it, to its last."""
        first = min([body[0].lineno, *(part.lineno for part in getattr(body[0], "decorator_list", ()))]) - 1
        while first and re.match(r"\s*#", self.source[self.lines[first - 1] : self.lines[first]]):
            first -= 1
        return self.lines[first], self.lines[body[-1].end_lineno]


# --- decisions
def value(node: ast.expr, facts: Facts) -> Any:
    """Of an expression; ``Unknown`` where the facts do not say it."""
    if isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and (name := ast.unparse(node)) in facts:
        return facts[name]
    match node:
        case ast.Constant():
            return node.value
        case ast.Tuple():
            return tuple(value(part, facts) for part in node.elts)
        case ast.BoolOp():
            return _all_or_any(node, facts)
        case ast.UnaryOp(op=ast.Not()):
            return not value(node.operand, facts)
        case ast.IfExp():
            return value(node.body if value(node.test, facts) else node.orelse, facts)
        case ast.Compare(ops=[op], comparators=[right]) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](value(node.left, facts), value(right, facts))
        case ast.Subscript():
            return _at(value(node.value, facts), value(node.slice, facts))
        case ast.Call(func=ast.Attribute(value=owner, attr=method), keywords=[]) if method in _METHODS:
            found = value(owner, facts)
            if isinstance(found, str | dict):
                return getattr(found, method)(*(value(argument, facts) for argument in node.args))
    raise Unknown


def _at(known: Any, key: Any) -> Any:
    if not isinstance(known, dict) or key not in known:
        raise Unknown
    return known[key]


def _all_or_any(node: ast.BoolOp, facts: Facts) -> bool:
    """As a condition, which one part can decide for the others."""
    decides, missing = isinstance(node.op, ast.Or), False
    for part in node.values:
        if not _known(part, facts):
            missing = True
        elif bool(value(part, facts)) == decides:
            return decides
    if missing:
        raise Unknown
    return not decides


def _known(node: ast.expr, facts: Facts) -> bool:
    try:
        value(node, facts)
    except Unknown:
        return False
    return True


def _folds(text: _Text, facts: Facts) -> Iterator[Cut]:
    """The decisions that can be taken, and what stands behind a ``return``."""
    for block, _ in _blocks(text.tree, None):
        ends = [number for number, node in enumerate(block[:-1]) if isinstance(node, ast.Return)]
        if ends:
            yield (*text.statements(block[ends[0] + 1 :]), "")
    tables = _tables(text.tree)
    for node, here in _with_facts(text.tree, facts):
        match node:
            case ast.If() if _known(node.test, here):
                yield _taken(text, node, bool(value(node.test, here)))
            case ast.IfExp() if _known(node.test, here):
                yield _chosen(text, node, node.body if value(node.test, here) else node.orelse)
            case ast.BoolOp():
                yield from _shorter(text, node, here)
            case ast.Subscript(value=ast.Name(id=name)) if name in tables and _known(node.slice, here):
                if (key := value(node.slice, here)) in tables[name]:
                    yield _chosen(text, node, tables[name][key])


def _tables(tree: ast.Module) -> dict[str, dict[Any, ast.expr]]:
    """The dictionaries of a module that are written out, by their names: what stands there for each key."""
    found = {}
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(keys=keys, values=values)):
                found[name] = {value(key, {}): part for key, part in zip(keys, values, strict=True) if key}
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Dict(keys=keys, values=values)):
                found[name] = {value(key, {}): part for key, part in zip(keys, values, strict=True) if key}
    return found


def _with_facts(tree: ast.AST, facts: Facts) -> Iterator[tuple[Any, Facts]]:
    """Every node, with what is known where it stands: in a class what its ``__init__`` sets once, in a function its
    own names that are set once."""
    for node in ast.iter_child_nodes(tree):
        here = facts
        if isinstance(node, ast.ClassDef):
            first = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
            here = _assigned(first[0], facts, node) if first else facts
        elif isinstance(node, ast.FunctionDef):
            here = _assigned(node, facts, node)
        yield node, here
        yield from _with_facts(node, here)


def _assigned(function: ast.FunctionDef, facts: Facts, scope: ast.AST) -> Facts:
    """The facts, and what follows from them in a function; a name that it sets more than once, or an attribute that
    ``scope`` does, is not known."""
    names: list[Any] = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
    attributes = [node for node in ast.walk(scope) if isinstance(node, ast.Attribute)]
    stores = Counter(ast.unparse(node) for node in (*names, *attributes) if isinstance(node.ctx, ast.Store))
    found = dict(facts)
    for node in function.body:
        match node:
            case ast.Assign(targets=[ast.Name() | ast.Attribute() as target], value=given) if _known(given, found):
                if stores[ast.unparse(target)] == 1:
                    found[ast.unparse(target)] = value(given, found)
    return found


def _taken(text: _Text, node: ast.If, holds: bool) -> Cut:
    """An ``if`` or ``elif`` with the branch that is taken in its place."""
    start, end = text.lines[node.lineno - 1], text.lines[node.end_lineno or 0]
    line = text.source[start : text.lines[node.lineno]]
    is_elif = line.lstrip().startswith("elif")
    body = text.source[slice(*text.statements(node.body))]
    if holds:
        return (start, end, re.sub(r"elif .*", "else:", line) + body) if is_elif else (start, end, _dedented(body))
    if not node.orelse:
        return start, end, ""
    rest = text.source[text.lines[node.body[-1].end_lineno or 0] : end]  # from its own ``elif`` or ``else`` on
    if is_elif:
        return start, end, rest
    if rest.lstrip().startswith("elif"):
        return start, end, rest.replace("elif", "if", 1)
    return start, end, _dedented(rest.split("\n", 1)[1])


def _dedented(block: str) -> str:
    return re.sub(r"(?m)^    ", "", block)


def _chosen(text: _Text, node: ast.expr, part: ast.expr) -> Cut:
    """An expression with one of its parts in its place, without parentheses that it no longer needs."""
    start, end = text.start(node), text.end(node)
    before, after = text.source[start - 1], text.source[end]
    is_alone = isinstance(part, ast.Name | ast.Attribute | ast.Call | ast.Subscript | ast.Constant)
    if before + after == "()" and is_alone and re.match(r"[\s(\[{,]", text.source[start - 2]):
        start, end = start - 1, end + 1
    return start, end, text.of(part)


def _shorter(text: _Text, node: ast.BoolOp, facts: Facts) -> Iterator[Cut]:
    """``and`` and ``or`` without the parts that decide nothing."""
    neutral = isinstance(node.op, ast.And)
    kept = [part for part in node.values if not _known(part, facts) or bool(value(part, facts)) != neutral]
    if 0 < len(kept) < len(node.values):
        word = " and " if neutral else " or "
        yield (*_chosen(text, node, kept[0])[:2], word.join(map(text.of, kept)))


# --- what nothing uses any more
def _unused(text: _Text) -> Iterator[Cut]:
    """Functions, methods, constants, imports and names that nothing refers to."""
    everywhere = _used(text.tree)
    within = {node: _used(node) for node in ast.walk(text.tree) if isinstance(node, ast.FunctionDef)}
    for block, function in _blocks(text.tree, None):
        unused = []
        for node in block:
            names, own = _names_of(node), _used(node)
            is_local = function is not None and not any(name.startswith(".") for name in names)
            used = within[function] if is_local else everywhere
            if names and not any(used[name] > own[name] for name in names):
                unused.append(node)
        for node in unused if len(unused) < len(block) else unused[1:]:  # no block may be empty
            yield (*text.statements([node]), "")


def _blocks(node: Any, function: Any) -> Iterator[tuple[list[ast.stmt], Any]]:
    """Every block of statements, and the function that it stands in."""
    function = node if isinstance(node, ast.FunctionDef) else function
    for name in ("body", "orelse"):
        if isinstance(block := getattr(node, name, None), list):
            yield block, function
    for part in ast.iter_child_nodes(node):
        if not isinstance(part, ast.expr):
            yield from _blocks(part, function)


def _names_of(node: ast.stmt) -> set[str]:
    """What a statement does nothing for but to name it, an attribute with its dot; empty where it does more."""
    match node:
        case ast.AnnAssign(target=ast.Attribute(attr=name)):
            return {f".{name}"}
        case ast.FunctionDef(name=name, args=ast.arguments(args=[ast.arg(arg="self"), *_])):
            return {f".{name}"} - {".__init__"}
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import() | ast.ImportFrom():
            return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
        case ast.Assign(targets=[ast.Attribute(attr=name)]):
            return {f".{name}"}
    return set()


def _used(tree: ast.AST) -> Counter[str]:
    """How often each name is read, and each attribute, with its dot."""
    read = [node for node in ast.walk(tree) if isinstance(getattr(node, "ctx", None), ast.Load)]
    names = [node.id for node in read if isinstance(node, ast.Name)]
    return Counter([*names, *(f".{node.attr}" for node in read if isinstance(node, ast.Attribute))])
