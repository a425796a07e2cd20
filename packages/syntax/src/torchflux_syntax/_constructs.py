"""The one table of what is read: for each construct of Python, what becomes of it or what to write instead."""

from dataclasses import dataclass

__all__ = ["CONSTRUCTS", "Construct", "construct_table"]


@dataclass(frozen=True)
class Construct:
    """One row: a class of `ast` nodes.

    Attributes:
        title: what people call it.
        becomes: its normal form; for a refused construct, what to write instead.
        refused: whether a program that contains it is refused.
    """

    title: str
    becomes: str
    refused: bool = False


def _refused(title: str, advice: str) -> Construct:
    return Construct(title, advice, refused=True)


CONSTRUCTS: dict[str, Construct] = {
    # statements
    "FunctionDef": Construct("a nested function", "stays; `@dec` is the call `g = dec(g)` after it; annotations go"),
    "Return": Construct("`return`", "stays, with an atom; `return None` is written out where a path ends"),
    "Delete": Construct("`del`", "one name, attribute or item a statement"),
    "Assign": Construct("assignment", "one target a statement; tuple targets are flat"),
    "AugAssign": Construct("`x += y`", "stays for a name; `a[i] += y` reads, adds and stores"),
    "AnnAssign": Construct("`x: T = y`", "`x = y`; the annotation goes"),
    "For": Construct("`for`", "stays, over an atom, with a name; its `else` is an `if` on a flag"),
    "While": Construct("`while c`", "`while True`, with `if c: pass` / `else: break` first; its `else` is an `if`"),
    "If": Construct("`if`", "stays, on an atom"),
    "With": Construct("`with`", "stays, one manager each"),
    "Match": Construct(
        "`match`", "`if` statements, for constants, names, sequences, `|`, `as` and classes without parts"
    ),
    "Raise": Construct("`raise`", "stays, with atoms"),
    "Try": Construct("`try`", "stays; exceptions to catch are names, dotted names or tuples of these"),
    "Assert": Construct("`assert`", "`if test: pass` / `else: raise AssertionError(message)`; nothing under `-O`"),
    "Import": Construct("`import`", "stays"),
    "ImportFrom": Construct("`from m import x`", "stays"),
    "Global": Construct("`global`", "stays"),
    "Nonlocal": Construct("`nonlocal`", "stays"),
    "Expr": Construct(
        "an expression as a statement", "stays for a call and a `yield`; the value of any other gets a name"
    ),
    "Pass": Construct("`pass`", "goes, unless the block is empty"),
    "Break": Construct("`break`", "stays"),
    "Continue": Construct("`continue`", "stays"),
    "AsyncFunctionDef": _refused(
        "an asynchronous function", "write an ordinary function and call it from the `async` one"
    ),
    "ClassDef": _refused("a class inside a function", "define the class outside of the function"),
    "AsyncFor": _refused("`async for`", "collect the items first and loop over the list"),
    "AsyncWith": _refused("`async with`", "enter the manager outside of the function"),
    "TryStar": _refused("`except*`", "catch the group with `except` and look at its `exceptions`"),
    "TypeAlias": _refused("a `type` statement", "write it outside of the function"),
    # expressions
    "BoolOp": Construct("`and`, `or`", "`if` statements that assign one name; the right side only runs when it must"),
    "NamedExpr": Construct("`(x := y)`", "an assignment before the statement"),
    "BinOp": Construct("`x + y`", "stays, of atoms"),
    "UnaryOp": Construct("`-x`, `not x`", "stays, of an atom; the minus of a number is part of it"),
    "Lambda": Construct("`lambda`", "a nested function `lambda_1`"),
    "IfExp": Construct("`x if c else y`", "an `if` statement that assigns one name"),
    "Dict": Construct("a dict display", "stays, of atoms and `**atom`"),
    "Set": Construct("a set display", "stays, of atoms and `*atom`"),
    "ListComp": Construct(
        "a list comprehension", "a loop in place, its names its own; a nested function if it is captured"
    ),
    "SetComp": Construct("a set comprehension", "as a list comprehension"),
    "DictComp": Construct("a dict comprehension", "as a list comprehension"),
    "GeneratorExp": Construct(
        "a generator expression",
        "as a list comprehension where it is used up at once (by sum, min, max, tuple, list, set, frozenset, dict, "
        "sorted, math.prod, math.fsum and `.join`, after a star, unpacked to names), a loop that stops in any and all; "
        "elsewhere a nested function with `yield`, called at once",
    ),
    "Await": _refused("`await`", "call ordinary functions, and await outside"),
    "Yield": Construct("`yield x`", "stays, of an atom, alone or assigned to a name"),
    "YieldFrom": Construct("`yield from x`", "stays, of an atom, alone or assigned to a name"),
    "Compare": Construct("a comparison", "stays, of two atoms; `a < b < c` is `if` statements"),
    "Call": Construct("a call", "stays, of atoms: `f(x, *args, key=y, **rest)`; a method is read first, then called"),
    "FormattedValue": Construct("`{x:.3f}` in an f-string", "stays, of an atom"),
    "JoinedStr": Construct("an f-string", "stays, over atoms"),
    "Constant": Construct("a constant", "is an atom"),
    "Attribute": Construct("`x.name`", "stays, of an atom"),
    "Subscript": Construct("`x[i]`", "stays, of atoms; the index may have slices"),
    "Starred": Construct("`*x`", "stays in calls, displays and tuple targets"),
    "Name": Construct("a name", "is an atom; it gets a second name where what follows could rebind it"),
    "List": Construct("a list display", "stays, of atoms and `*atom`"),
    "Tuple": Construct("a tuple", "stays, of atoms and `*atom`"),
    "Slice": Construct("`i:j:k`", "stays in an index, of atoms"),
    "TemplateStr": _refused("a t-string", "write an f-string"),
    "Interpolation": _refused("`{x}` in a t-string", "write an f-string"),
}
"""By the name of the `ast` class, as some classes are missing in older interpreters."""


def construct_table() -> str:
    """The table in Markdown.

    >>> print(construct_table().splitlines()[2])
    | a nested function | stays; `@dec` is the call `g = dec(g)` after it; annotations go |
    """
    read = [f"| {row.title} | {row.becomes} |" for row in CONSTRUCTS.values() if not row.refused]
    refused = [f"| {row.title} | refused: {row.becomes} |" for row in CONSTRUCTS.values() if row.refused]
    return "\n".join(
        ["| construct | becomes |", "|---|---|", *(line.replace("`|`", r"`\|`") for line in read + refused)]
    )
