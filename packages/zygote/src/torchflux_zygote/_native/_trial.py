"""One reading of a loop's body, and whether what it assumed about the types of what the loop carries holds."""

from typing import Any

from ._entries import UNBOUND, ArrayRef, Closure, Conflict, Maybe, Range, Static, View
from ._ir import BOOL, Array, Block, For, Scalar, Value, While, outs
from ._merge import CLEAR, CODE, COMPUTED, equal, shape_key
from ._ops import join
from ._writer import literal

__all__ = ["Trial"]

Entry = Any


class Trial:
    """One reading of a loop's body, on the assumption that it carries `templates` and `arrays`."""

    def __init__(
        self, reader: Any, before: Any, versions: Any, templates: Any, arrays: Any, reshaped: set[int], knot: Any
    ) -> None:
        self.r, self.before, self.versions, self.templates, self.arrays = reader, before, versions, templates, arrays
        self.known_knot = knot  # the arrays that carried names may come to hold; None: two of them the same
        self.knot = [ref for ref in knot if ref is not None]
        self.token = object()
        self.reshaped = reshaped  # the places of carried arrays whose shape may change from trip to trip
        self.carry: list[Value] = []
        self.inits: list[Value] = []
        self.preamble = Block()
        self.header: dict[str, Entry] = {}
        self.array_header: dict[ArrayRef, Value] = {}
        names, contents = dict(before), dict(versions)
        reader.frame.names, reader.versions, reader.dead = names, contents, False
        with reader.w.inside(self.preamble):
            for name, template in templates.items():
                names[name] = self.header[name] = self.head_entry(before.get(name, UNBOUND), template, name)
        for ref in arrays:
            contents[ref] = self.array_header[ref] = self.slot(versions[ref], versions[ref].type)
        self.start_names, self.start_versions = dict(names), dict(contents)

    def slot(self, init: Value, type: Any) -> Value:
        """A place that the loop carries, and the value that it holds at the head."""
        head = Value(type, init.name)
        if isinstance(type, Array) and len(self.carry) not in self.reshaped:
            self.r.w.sizes[head] = tuple(self.r.w.shape(init, k) for k in range(type.ndim))
        self.carry.append(head)
        self.inits.append(self.r.w.cast(init, type) if isinstance(type, Scalar) else init)
        return head

    def head_entry(self, init: Entry, template: Entry, name: str) -> Entry:
        """What a name holds at the head of the loop."""
        r = self.r
        if isinstance(template, Maybe):
            flag = init.flag if isinstance(init, Maybe) else literal(not r.missing(init))
            entry = init.entry if isinstance(init, Maybe) else r.blank(template.entry) if r.missing(init) else init
            return Maybe(self.head_entry(entry, template.entry, name), self.slot(flag, BOOL), template.why)
        if isinstance(template, tuple):
            return tuple(self.head_entry(x, t, name) for x, t in zip(init, template, strict=True))
        if isinstance(template, Value):
            head = self.slot(init, template.type)
            head.name = name
            return head
        if isinstance(template, ArrayRef):
            init_value = r.array(init)
            ref = r.new_array(self.slot(init_value, init_value.type))
            base = init if isinstance(init, ArrayRef) else init.base
            ref.entangled = tuple({base, *base.entangled, *self.knot})
            ref.apart = None if None in self.known_knot else self.token
            self.start_ref(ref)
            return ref
        return template

    def start_ref(self, ref: ArrayRef) -> None:
        """Notes an array that the loop carries under a name."""
        self.array_header[ref] = self.r.versions[ref]

    def read(self, body: Any, halt: Any, start: Any, head: Any, test: Any) -> None:
        """Reads the loop once."""
        r = self.r
        self.head_block, self.body_block = Block(), Block()
        self.cond: Value | None = None
        self.halt: Value | None = None
        if head is None:
            with r.w.inside(self.body_block):
                self.halt = self.bodied(start, body, halt)
            return
        with r.w.inside(self.head_block):
            go = ArrayRef()  # stands among the arrays' contents for whether to go on; not where something was raised
            r.versions[go] = literal(False)
            with r.region():
                r.passed()
                r.execute(head)
                r.versions[go] = r.truth(r.atom(test))
            self.cond = r.versions.pop(go)
            self.head_names, self.head_versions = dict(r.frame.names), dict(r.versions)
            with r.w.inside(self.body_block):
                self.bodied(start, body, None)

    def bodied(self, start: Any, body: Any, halt: Any) -> Value | None:
        """Reads the body, and notes what it leaves; whether the loop ends then."""
        r = self.r
        over = ArrayRef()
        r.versions[CODE], r.versions[over] = CLEAR, literal(True)
        with r.region():
            if start is not None:
                start()
            r.execute(body)
            r.versions[over] = literal(False) if halt is None or r.dead else r.truth(r.atom(halt))
        ends: Value = r.versions.pop(over)
        if self.r.dead:
            raise self.r.refuse("a loop body that always raises", "move the raise out of the loop")
        self.end_names, self.end_versions = dict(self.r.frame.names), dict(self.r.versions)
        return ends if ends.const is None or ends.const else None

    def grown(self, assigned: list[str]) -> bool:
        """Whether the loop carries more than was assumed."""
        r, more = self.r, False
        for ref, version in self.end_versions.items():
            if ref in self.start_versions and ref not in self.array_header and version is not self.start_versions[ref]:
                self.arrays[ref] = None
                more = True
        for name in assigned:
            if name not in self.end_names:
                continue
            new, old = self.end_names[name], self.start_names.get(name, UNBOUND)
            if new is old or (
                isinstance(new, Static | Closure)
                and isinstance(old, Static)
                and r.missing(old)
                and isinstance(new, Closure)
            ):
                continue
            kind = self.kind(self.before.get(name, UNBOUND), old, new)
            if name not in self.templates or not _alike(self.templates[name], kind):
                self.templates[name] = kind
                more = True
        return more or self.knotted()

    def knotted(self) -> bool:
        """Whether carried names come to hold arrays, or two of them the same one, of which nothing was known yet."""
        ends = [base for name in self.header for base in _bases(self.end_names[name], self.header[name])]
        inits = [base for name in self.header for base in _bases(self.before.get(name, UNBOUND), self.header[name])]
        more: dict[ArrayRef | None, None] = {}
        if _tied(ends) or _tied(inits):
            more[None] = None
        for base in (*inits, *ends):
            for ref in (base, *base.entangled):
                if ref in self.versions or ref in self.r.firsts:
                    more[ref] = None
        grown = bool(more.keys() - self.known_knot.keys())
        self.known_knot.update(more)
        return grown

    def kind(self, init: Entry, old: Entry, new: Entry) -> Entry:
        """What a name must be able to hold: what it held before and what a trip leaves."""
        r = self.r
        if isinstance(old, Conflict) or isinstance(new, Conflict):
            return old if isinstance(old, Conflict) else new
        if isinstance(old, Maybe) or isinstance(new, Maybe) or r.missing(old) != r.missing(new):
            parts = [x.entry if isinstance(x, Maybe) else x for x in (old, new) if not r.missing(x)]
            whys = [x.why for x in (old, new) if isinstance(x, Maybe)]
            none = isinstance(old, Static) and old is not UNBOUND
            why = "TypeError: None where a number is due" if none else "UnboundLocalError: a name that isn't bound here"
            return Maybe(self.kind(UNBOUND, parts[0], parts[-1]), literal(True), whys[0] if whys else why)
        if isinstance(old, Value) and isinstance(new, Value):
            return Value(join(old.type, new.type), old.name if old.name != "t" else new.name)
        if isinstance(old, tuple) and isinstance(new, tuple) and len(old) == len(new):
            return tuple(self.kind(init, x, y) for x, y in zip(old, new, strict=True))
        if isinstance(old, ArrayRef | View) and isinstance(new, ArrayRef | View):
            return ArrayRef((), r.array_type(new))
        if isinstance(old, Static) and isinstance(new, Static) and equal(old.value, new.value):
            return old
        if isinstance(new, Closure):
            return Conflict(COMPUTED) if new.computed else new
        return Conflict(f"a name that is {r.describe(old)} before a loop and {r.describe(new)} in it")

    def finish(self, index: Value | None, span: Range | None) -> bool:
        """Adds the loop and goes on behind it; or, if an array changes its shape on the way, says to try again."""
        r = self.r
        nexts: list[Value] = []
        with r.w.inside(self.body_block):
            for name, head_entry in self.header.items():
                self.hand_on(self.end_names[name], head_entry, nexts)
            nexts += [self.end_versions[ref] for ref in self.arrays]
        self.body_block.results = nexts
        if more := self.changed_shapes(nexts):
            self.reshaped |= more
            return True
        for item in self.preamble.items:
            r.w.add(item)
        r.dead = False
        names, versions = dict(self.before), dict(self.versions)
        r.frame.names, r.versions = names, versions
        outs = [Value(head.type, head.name) for head in self.carry]
        for head, out in zip(self.carry, outs, strict=True):
            if head in r.w.sizes:
                r.w.sizes[out] = r.w.sizes[head]
        if span is not None:
            assert index is not None
            loop: Any = For(
                index, span.start, span.stop, span.step, self.carry, self.inits, self.body_block, outs, self.halt
            )
            r.w.add(loop)
            at = dict(zip(self.carry, outs, strict=True))
            self.leave(names, versions, at, {}, {})
            return False
        at = dict(zip(self.carry, outs, strict=True))
        assert self.cond is not None
        self.head_block.results = list(self.carry)
        loop = While(self.carry, self.inits, self.head_block, self.cond, self.body_block, outs)
        r.w.add(loop)
        exported: dict[Value, Value] = dict(at)
        self.leave(names, versions, exported, self.head_names, self.head_versions, loop)
        return False

    def changed_shapes(self, nexts: list[Value]) -> set[int]:
        """The places of carried arrays for which a trip leaves another shape, for all that is known."""
        sizes = self.r.w.sizes
        return {
            k
            for k, (head, end) in enumerate(zip(self.carry, nexts, strict=True))
            if head.is_array and k not in self.reshaped and shape_key(sizes.get(end)) != shape_key(sizes[head])
        }

    def hand_on(self, end: Entry, head: Entry, nexts: list[Value]) -> None:
        """The values that a trip hands on for a carried name."""
        r = self.r
        if isinstance(head, Maybe):
            entry = end.entry if isinstance(end, Maybe) else r.blank(head.entry) if r.missing(end) else end
            self.hand_on(entry, head.entry, nexts)
            nexts.append(end.flag if isinstance(end, Maybe) else literal(not r.missing(end)))
        elif isinstance(head, tuple):
            for x, h in zip(end, head, strict=True):
                self.hand_on(x, h, nexts)
        elif isinstance(head, Value):
            nexts.append(r.w.cast(end, head.type))
        elif isinstance(head, ArrayRef):
            present, r.versions = r.versions, self.end_versions
            nexts.append(r.array(end))
            r.versions = present

    def leave(
        self,
        names: Any,
        versions: Any,
        at: dict[Value, Value],
        head_names: Any,
        head_versions: Any,
        loop: While | None = None,
    ) -> None:
        """What the names hold behind the loop."""

        def out(value: Value) -> Value:
            if value in at or value.const is not None or loop is None:
                return at.get(value, value)
            if value in self.head_values:  # computed in the head
                at[value] = Value(value.type, value.name)
                loop.head.results.append(value)
                loop.outs.append(at[value])
            return at.get(value, value)

        self.head_values = _defined_here(self.head_block)
        for ref in (*self.arrays, *(r for r in self.array_header if r not in self.arrays)):
            head = self.array_header[ref]
            versions[ref] = out(head_versions.get(ref, head)) if head_versions else at[head]

        def exported(entry: Entry) -> Entry:
            if isinstance(entry, Maybe):
                return Maybe(exported(entry.entry), out(entry.flag), entry.why)
            if isinstance(entry, tuple):
                parts = tuple(exported(part) for part in entry)
                return entry if all(x is y for x, y in zip(parts, entry, strict=True)) else parts
            if isinstance(entry, View):
                args = tuple(out(x) for x in entry.args)
                return entry if args == entry.args else View(entry.base, entry.path, args)  # the same one stays it
            return out(entry) if isinstance(entry, Value) else entry

        for name, head_entry in self.header.items():
            names[name] = exported(head_names.get(name, head_entry))
        for name, entry in head_names.items():
            if name not in self.header:
                names[name] = exported(entry)
        if head_versions:
            for ref, version in head_versions.items():
                if ref not in versions or version is not self.start_versions.get(ref, version):
                    versions[ref] = out(version)
        for name, entry in self.end_names.items():
            if name not in names and isinstance(entry, Static | Closure):
                names[name] = Conflict(COMPUTED) if isinstance(entry, Closure) and entry.computed else entry


def _bases(entry: Entry, head: Entry) -> list[ArrayRef]:
    """The arrays that stand in an entry where a loop's head has arrays."""
    if isinstance(head, Maybe):
        return _bases(entry.entry if isinstance(entry, Maybe) else entry, head.entry)
    if isinstance(head, tuple) and isinstance(entry, tuple):
        return [base for x, h in zip(entry, head, strict=False) for base in _bases(x, h)]
    if isinstance(head, ArrayRef) and isinstance(entry, ArrayRef | View):
        return [entry if isinstance(entry, ArrayRef) else entry.base]
    return []


def _tied(refs: list[ArrayRef]) -> bool:
    """Whether two of some arrays are one, or may be views of each other for having been reshaped."""
    return len(set(refs)) < len(refs) or any(a.loosely(b) for k, a in enumerate(refs) for b in refs[:k])


def _defined_here(block: Block) -> set[Value]:
    """What the items of a block define themselves."""
    return {value for item in block.items for value in outs(item)}


def _alike(a: Entry, b: Entry) -> bool:
    """Whether two entries are of one kind."""
    if isinstance(a, Maybe) and isinstance(b, Maybe):
        return _alike(a.entry, b.entry)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(_alike(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, Value) and isinstance(b, Value):
        return a.type == b.type
    if isinstance(a, Conflict) and isinstance(b, Conflict):
        return True
    if isinstance(a, Closure) and isinstance(b, Closure):
        same = a.definition is b.definition and a.env is b.env
        return same and all(map(_same, a.kept, b.kept))
    return type(a) is type(b) and (isinstance(a, ArrayRef) or a is b)


def _same(a: Entry, b: Entry) -> bool:
    """Whether two defaults are one, or equal literals."""
    if isinstance(a, Value) and isinstance(b, Value) and a.const is not None:
        return type(a.const) is type(b.const) and repr(a.const) == repr(b.const)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return a is b or (isinstance(a, Static) and isinstance(b, Static) and equal(a.value, b.value))
