"""How generated functions are declared, and which of them call themselves."""

from ._ir import Call, Program, Scalar, Type, walk

__all__ = ["JIT", "calls_itself", "reached", "signed", "too_deep"]

JIT = 'numba.njit(nogil=True, cache=True, error_model="numpy", no_cfunc_wrapper=True, pipeline_class=rt.Generated)'


def signed(program: Program) -> str:
    """Numba's decorator, with the types of a program that may call itself."""
    params = ", ".join([*(_declared(p.type, "::1" if p in program.stacks else "") for p in program.params), "int64"])
    results = [_declared(r.type, "::1") for r in program.block.results]
    result = results[0] if len(results) == 1 else f"Tuple(({', '.join(results)},))"
    return JIT.replace("(", f'("{result}({params})", ', 1)


def _declared(t: Type, contiguous: str = "") -> str:
    """A type as Numba declares it."""
    if isinstance(t, Scalar):
        return {"bool_": "boolean"}.get(str(t), str(t))
    dims = [":"] * t.ndim
    if contiguous:
        dims[-1] = contiguous
    return f"{ {'bool_': 'boolean'}.get(str(t.dtype), str(t.dtype)) }[{', '.join(dims)}]".replace(" ", "")


def calls_itself(program: Program) -> bool:
    """Whether functions that call themselves are in a program, so that it takes `limit` behind its arguments."""
    return any(p.called for p in reached(program))


def reached(program: Program) -> list[Program]:
    """The programs that are called by one, and it."""
    found: dict[int, Program] = {}

    def visit(p: Program) -> None:
        if id(p) not in found:
            found[id(p)] = p
            for item in walk(p.block):
                if isinstance(item, Call):
                    visit(item.program)

    visit(program)
    return list(found.values())


def too_deep(program: Program) -> str:
    """What is raised where a call no longer fits on the stack."""
    return (
        f"{program.place}: the calls of this function nest too deep for the thread's stack; write it as a loop, or "
        "call it in a thread with a larger stack (threading.stack_size)"
    )
