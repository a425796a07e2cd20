"""Which names a loop has to carry: those that a trip reads before it writes them, and those that are read elsewhere."""

import ast

__all__ = ["carried_names"]


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
    writes = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    if isinstance(node, ast.FunctionDef):
        return _reads(node), {node.name}
    augmented = {node.target.id} if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) else set()
    return _reads(node) | augmented, writes
