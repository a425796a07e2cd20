"""Where a `while` loop is left."""

import ast
from dataclasses import dataclass

from ._leaves import ALL, OUT, jumps, leaves

__all__ = ["Exit", "first_exit"]

Block = list[ast.stmt]


@dataclass(frozen=True)
class Exit:
    """The first place at which a `while` loop is left, if that is a plain test.

    Attributes:
        before: what is done before the test, without jumps.
        test: what is tested.
        stays_if: whether the loop goes on if it is true; otherwise it goes on if it is false.
        code: what is done on leaving, without the `break`; it may end with a `return`.
        after: what is done on going on.
        single: whether the loop is left nowhere else.
    """

    before: Block
    test: ast.expr
    stays_if: bool
    code: Block
    after: Block
    single: bool


def first_exit(loop: ast.While) -> Exit | None:
    """The first exit of a loop, if that is an `if` in its body, of which a branch does nothing but leave."""
    index = next((i for i, statement in enumerate(loop.body) if any(jumps([statement], OUT))), None)
    if index is None or any(jumps(loop.body[:index], ast.Continue)):
        return None
    branch = loop.body[index]
    if not isinstance(branch, ast.If):
        return None
    for code, other, stays_if in ((branch.body, branch.orelse, False), (branch.orelse, branch.body, True)):
        if code and isinstance(code[-1], OUT) and not any(jumps(code[:-1], ALL)) and not leaves(code[:-1]):
            code = code[:-1] if isinstance(code[-1], ast.Break) else code
            after = [s for s in other if not isinstance(s, ast.Pass)] + loop.body[index + 1 :]
            return Exit(loop.body[:index], branch.test, stays_if, code, after, not any(jumps(after, OUT)))
    return None
