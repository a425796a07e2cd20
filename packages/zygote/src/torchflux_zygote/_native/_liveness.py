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
    writes = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    if isinstance(node, ast.FunctionDef):
        return _reads(node), {node.name}
    augmented = {node.target.id} if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) else set()
    return _reads(node) | augmented, writes


def live_behind(function: ast.FunctionDef) -> dict[int, set[str]]:
    """For every statement of a function, by its id: the names whose values may be read behind it."""
    found: dict[int, set[str]] = {}
    inner = [node for node in ast.walk(function) if isinstance(node, ast.FunctionDef) and node is not function]
    captured = {name for node in inner for name in _reads(node)}
    _live(function.body, captured, found)
    return found


def _live(block: list[ast.stmt], after: set[str], found: dict[int, set[str]]) -> set[str]:
    """The names alive before a block, from those alive behind it; notes what is alive behind its statements."""
    live = set(after)
    for statement in reversed(block):
        found.setdefault(id(statement), set()).update(live)
        live = _live_before(statement, live, found)
    return live


def _live_before(node: ast.stmt, after: set[str], found: dict[int, set[str]]) -> set[str]:
    """The names alive before one statement."""
    if isinstance(node, ast.If):
        return _reads(node.test) | _live(node.body, after, found) | _live(node.orelse, after, found)
    if isinstance(node, ast.For | ast.While):
        run_over = _reads(node.iter) if isinstance(node, ast.For) else set()
        around = after | run_over | _exposed(node.body)[0]  # at the end of a trip: behind the loop, or in the next one
        return around | _live(node.body, around, found)
    blocks = [
        getattr(node, name) for name in ("body", "orelse", "finalbody") if isinstance(getattr(node, name, None), list)
    ]
    if blocks and not isinstance(node, ast.FunctionDef):
        around = after | _reads(node)  # left from anywhere
        for block in (*blocks, *(handler.body for handler in getattr(node, "handlers", []))):
            _live(block, around, found)
        return around
    reads, writes = _exposed_by(node)
    return (after - writes) | reads
