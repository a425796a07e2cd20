"""Which names are read again: what a loop has to carry, and what is alive behind a statement."""

import ast

__all__ = ["carried_names", "live_behind"]


def carried_names(loop: ast.For | ast.While, function: ast.FunctionDef, assigned: set[str]) -> list[str]:
    """Of the names that a loop assigns, those whose value is read in a later trip or outside of the loop."""
    elsewhere = _read_outside(function, loop)
    exposed, _ = _exposed(loop.body)
    return sorted(name for name in assigned if name in elsewhere or name in exposed)


def _reads(node: ast.AST) -> set[str]:
    """The names that are read anywhere in a node."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _read_outside(node: ast.AST, loop: ast.AST) -> set[str]:
    """The names that a node reads outside of a loop in it."""
    if node is loop:
        return _reads(loop.iter) if isinstance(loop, ast.For) else set()
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Load) else set()
    augmented = {node.target.id} if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) else set()
    return augmented.union(*(_read_outside(child, loop) for child in ast.iter_child_nodes(node)))


def _exposed(block: list[ast.stmt]) -> tuple[set[str], set[str]]:
    """The names that a block may read before it writes them, and those that it writes for certain."""
    exposed: set[str] = set()
    written: set[str] = set()
    for statement in block:
        reads, writes = _exposed_by(statement)
        exposed |= reads - written
        written |= writes
    return exposed, written


def _exposed_by(node: ast.stmt) -> tuple[set[str], set[str]]:
    """The same of one statement."""
    if isinstance(node, ast.If):
        (a, x), (b, y) = _exposed(node.body), _exposed(node.orelse)
        return _reads(node.test) | a | b, x & y
    if isinstance(node, ast.For):
        reads, _ = _exposed(node.body)
        target = node.target.id if isinstance(node.target, ast.Name) else ""
        return _reads(node.iter) | (reads - {target}), set()
    if isinstance(node, ast.While):
        return _exposed(node.body)[0], set()
    if isinstance(node, ast.With):
        reads, writes = _exposed(node.body)
        return reads.union(*(_reads(item) for item in node.items)), writes
    if isinstance(node, ast.Try):  # any part of it may not run
        parts = [node.body, node.orelse, node.finalbody, *(handler.body for handler in node.handlers)]
        return set().union(*(_exposed(part)[0] for part in parts)), set()
    writes = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    if isinstance(node, ast.FunctionDef):
        return _reads(node), {node.name}
    augmented = {node.target.id} if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) else set()
    return _reads(node) | augmented, writes


def live_behind(function: ast.FunctionDef) -> dict[int, set[str]]:
    """For every statement of a function, by its id: the names whose values may be read behind it."""
    inner = [node for node in ast.walk(function) if isinstance(node, ast.FunctionDef) and node is not function]
    live = _Live()
    live.block(function.body, set(), {name for node in inner for name in _reads(node)})
    return live.behind


class _Live:
    """Goes through a function from its end.

    In all methods, `after` are the names alive behind, and `always` those alive wherever an exception may be raised.
    """

    def __init__(self) -> None:
        self.behind: dict[int, set[str]] = {}

    def block(self, block: list[ast.stmt], after: set[str], always: set[str]) -> set[str]:
        """The names alive before a block."""
        live = after | always
        for statement in reversed(block):
            self.behind.setdefault(id(statement), set()).update(live)
            live = self.before(statement, live, always) | always
        return live

    def before(self, node: ast.stmt, after: set[str], always: set[str]) -> set[str]:
        """The names alive before one statement."""
        if isinstance(node, ast.If):
            return _reads(node.test) | self.block(node.body, after, always) | self.block(node.orelse, after, always)
        if isinstance(node, ast.For | ast.While):
            run_over = _reads(node.iter) if isinstance(node, ast.For) else set()
            around = after | run_over | _exposed(node.body)[0]  # behind a trip comes the end of the loop, or the next
            return around | self.block(node.body, around, always)
        if isinstance(node, ast.With):
            return self.block(node.body, after, always | after).union(*(_reads(item) for item in node.items))
        if isinstance(node, ast.Try):
            return self.tried(node, after, always)
        reads, writes = _exposed_by(node)
        return (after - writes) | reads

    def tried(self, node: ast.Try, after: set[str], always: set[str]) -> set[str]:
        """The names alive before a `try`: exceptions go to its handlers and to `finally`."""
        end = self.block(node.finalbody, after, always)
        behind = always | end if node.finalbody else always
        caught = set().union(end, *(self.block(handler.body, end, behind) for handler in node.handlers))
        orelse = self.block(node.orelse, end, behind)
        return self.block(node.body, orelse | end, always | caught) | caught
