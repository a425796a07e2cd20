"""Operations as expressions of generated Python."""

from ._emit_names import Names
from ._ir import F32, INT, Array, Op, Scalar, Value
from ._ops import DERIVATIVES, SPELLING

__all__ = ["Expressions"]

ON_ARRAYS = {
    "max": "np.maximum", "min": "np.minimum", "not": "np.logical_not", "and": "np.logical_and", "or": "np.logical_or",
    "round": "np.round_", "norm": "np.sqrt", "abs": "np.abs",
    "asin": "np.arcsin", "acos": "np.arccos", "atan": "np.arctan", "atan2": "np.arctan2", "asinh": "np.arcsinh",
    "acosh": "np.arccosh", "atanh": "np.arctanh",
}  # fmt: skip
ON_SCALARS = {
    "sign": "np.sign", "abs": "abs", "cbrt": "np.cbrt", "exp2": "np.exp2", "log2": "np.log2", "norm": "math.sqrt",
    "maximum": "rt.maximum", "minimum": "rt.minimum", "round": "round", "floor": "math.floor", "ceil": "math.ceil",
    "hypot": "math.hypot", "floordiv": "", "mod": "",
}  # fmt: skip


class Expressions(Names):
    """The part of the writer that knows expressions."""

    def expression(self, item: Op) -> str:
        """An operation as an expression."""
        assert item.out is not None
        if item.name in DERIVATIVES:
            return self.elementwise(item)
        return str(getattr(self, f"text_{item.name}")(item))

    def elementwise(self, item: Op) -> str:
        """An element-wise operation as an expression."""
        out = item.out
        assert out is not None
        args = [self.operand(arg, out, item.name) for arg in item.args]
        name = item.name
        if (
            name in ("add", "sub")
            and not out.is_array
            and len(args[1]) > 2
            and args[1].startswith("-")
            and args[1][1:].replace(".", "").isdigit()
        ):
            args[1] = f"({args[1]})"
        if out.is_array or any(arg.is_array for arg in item.args):
            if name in ("float", "float32", "int", "bool"):
                kind = {"float": "np.float64", "float32": "np.float32", "int": "np.int64", "bool": "np.bool_"}[name]
                return f"{args[0]}.astype({kind})"
            if name in ON_ARRAYS:
                return f"{ON_ARRAYS[name]}({', '.join(args)})"
            return SPELLING[name].format(*args) if name in SPELLING else f"np.{name}({', '.join(args)})"
        if name == "floordiv" and out.type == INT and item.args[1].const in (None, -1):
            return f"rt.floordiv({', '.join(args)})"  # -2**63 // -1 wraps around
        if name in SPELLING:
            return SPELLING[name].format(*args)
        return f"{ON_SCALARS.get(name) or f'math.{name}'}({', '.join(args)})"

    def operand(self, arg: Value, out: Value, name: str) -> str:
        """An operand, as narrow as the result where that is float32."""
        text = self.text(arg)
        dtype = out.type.dtype if isinstance(out.type, Array) else out.type
        if (
            dtype != F32
            or arg.is_array
            or arg.type == F32
            or not isinstance(arg.type, Scalar)
            or arg.type.kind == "b"
            or name == "float32"
        ):
            return text
        return f"np.float32({text})"

    def text_outside(self, item: Op) -> str:
        """Whether any index of a range is out of bounds."""
        return self.call(item, "rt.outside")

    def text_broadcast(self, item: Op) -> str:
        """The length that two broadcast to."""
        return self.call(item, "rt.broadcast")

    def text_stride(self, item: Op) -> str:
        """How a length moves along another."""
        return self.call(item, "rt.stride")

    def text_shape(self, item: Op) -> str:
        """A length along an axis."""
        return f"{self.text(item.args[0])}.shape[{item.attrs}]"

    def text_range_length(self, item: Op) -> str:
        """The number of trips of a range."""
        return f"rt.range_length({', '.join(self.text(a) for a in item.args)})"

    def text_cast(self, item: Op) -> str:
        """A change of the number type."""
        assert item.out is not None
        x = self.text(item.args[0])
        if isinstance(item.out.type, Array):
            return f"{x}.astype(np.{item.out.type.dtype})"
        return {"float64": f"float({x})", "float32": f"np.float32({x})", "int64": f"int({x})", "bool_": f"bool({x})"}[
            str(item.out.type)
        ]

    def text_zeros(self, item: Op) -> str:
        """A new array."""
        shape = ", ".join(self.text(a) for a in item.args)
        if item.name == "zeros" and item.attrs == "float64" and len(item.args) < 3:
            return f"rt.zeros_{len(item.args)}({shape})"
        return f"np.{item.name}(({shape}{',' if len(item.args) == 1 else ''}), np.{item.attrs})"

    text_ones = text_empty = text_zeros

    def text_zeros_like(self, item: Op) -> str:
        """Zeros in the shape of an array."""
        return f"rt.zeros_like({self.text(item.args[0])})"

    def call(self, item: Op, name: str) -> str:
        """An operation as a call of a function of its operands."""
        return f"{name}({', '.join(self.text(a) for a in item.args)})"

    def text_copy(self, item: Op) -> str:
        """A copy."""
        return f"{self.text(item.args[0])}.copy()"

    def text_sum(self, item: Op) -> str:
        """A sum over everything."""
        return self.call(item, "rt.total")

    def text_sum_axis(self, item: Op) -> str:
        """A sum along an axis."""
        return f"{self.text(item.args[0])}.sum(axis={item.attrs})"

    def text_all(self, item: Op) -> str:
        """NumPy's function of the same name."""
        return self.call(item, f"np.{item.name}")

    text_any = text_argmax = text_argmin = text_all

    def text_plus(self, item: Op) -> str:
        """A step of a sum of cotangents."""
        assert item.out is not None
        return f"rt.plus({', '.join(self.operand(arg, item.out, 'plus') for arg in item.args)})"

    def text_matmul(self, item: Op) -> str:
        """A matrix product."""
        return self.call(item, "rt.matmul")

    def text_solve(self, item: Op) -> str:
        """The solution of a linear system."""
        return self.call(item, "np.linalg.solve")

    def text_inv(self, item: Op) -> str:
        """An inverse."""
        return self.call(item, "np.linalg.inv")

    def text_det(self, item: Op) -> str:
        """A determinant."""
        return self.call(item, "np.linalg.det")

    def text_fill(self, item: Op) -> str:
        """An array filled with a number."""
        return self.call(item, "rt.full_like")

    def text_spread(self, item: Op) -> str:
        """An array repeated along an axis."""
        return f"rt.spread({self.text(item.args[0])}, {self.text(item.args[1])}, {item.attrs})"

    def text_unbroadcast(self, item: Op) -> str:
        """The sum over what was broadcast."""
        shape = ", ".join(self.text(a) for a in item.args[1:])
        return f"rt.unbroadcast{len(item.args) - 1}({self.text(item.args[0])}, {shape})"

    def text_transposed(self, item: Op) -> str:
        """A transposed view."""
        return f"{self.text(item.args[0])}.T"

    def text_eye(self, item: Op) -> str:
        """The unit matrix."""
        return self.call(item, "np.eye")

    def text_arange(self, item: Op) -> str:
        """The numbers of a range."""
        return self.call(item, "np.arange")

    def text_ravel(self, item: Op) -> str:
        """An array in one row."""
        return self.call(item, "rt.ravel")

    def text_reshape(self, item: Op) -> str:
        """An array in another shape."""
        sizes = ", ".join(self.text(a) for a in item.args[1:])
        return f"{self.text(item.args[0])}.reshape(({sizes}{',' if len(item.args) == 2 else ''}))"

    def text_cumsum(self, item: Op) -> str:
        """Running sums."""
        return self.call(item, "rt.cumsum")

    def text_argsort(self, item: Op) -> str:
        """The places of elements in order."""
        return f"np.argsort({self.text(item.args[0])}, kind='mergesort')"

    def text_diagonal(self, item: Op) -> str:
        """A diagonal."""
        return self.call(item, "rt.diagonal")

    def text_on_diagonal(self, item: Op) -> str:
        """A matrix with a diagonal."""
        return self.call(item, "rt.on_diagonal")

    def text_take(self, item: Op) -> str:
        """The elements at some places."""
        return self.call(item, f"rt.{item.name}")

    text_take_last = text_beyond = text_wrapped = text_nonzero = text_take

    def text_outer(self, item: Op) -> str:
        """An outer product."""
        return self.call(item, "rt.outer")
