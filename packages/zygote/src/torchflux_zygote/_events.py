"""What the reverse pass is made of: the events of a block, in the order in which they happened.

The forward half of a pullback is written statement by statement; each leaves an event. The reverse half is
written from the events, last to first (`_backward`).
"""

from dataclasses import dataclass, field

__all__ = ["Alias", "Branch", "Clear", "Ended", "Event", "Loop", "Op", "Steps", "Unpacked", "Yielded"]


class Event:
    """Something that the reverse pass has to answer."""


@dataclass(frozen=True)
class Op(Event):
    """`result, back = pull(...)`: back takes the cotangent of the result and returns the operands'.

    Attributes:
        back: the name of the back.
        result: the variable, or None where the result is not used or has no cotangent.
        operands: the variables; None for an operand that has no cotangent.
        cut: nothing flows through (`torch.no_grad`); changes are undone all the same.
    """

    back: str
    result: str | None
    operands: tuple[str | None, ...]
    cut: bool = False


@dataclass(frozen=True)
class Alias(Event):
    """`new = old`."""

    new: str
    old: str


@dataclass(frozen=True)
class Clear(Event):
    """A variable is assigned a constant."""

    name: str


@dataclass(frozen=True)
class Unpacked(Event):
    """`a, b = whole`."""

    parts: tuple[str | None, ...]
    whole: str


@dataclass(frozen=True)
class Branch(Event):
    """`if flag: body else: other`; in a loop, the record of the branch taken is unpacked first."""

    flag: str
    body: list[Event]
    other: list[Event]
    record: str | None = None
    body_names: tuple[str, ...] = ()
    other_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Loop(Event):
    """A loop: for each trip its record is unpacked. The head of a `while` ran once more than the body."""

    trips: str
    body: list[Event]
    names: tuple[str, ...]
    head: list[Event] = field(default_factory=list)
    last: str | None = None
    head_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ended(Event):
    """A loop over an iterator came to its end: what the iterator did after its last step is undone by `back.end()`."""

    back: str


@dataclass(frozen=True)
class Yielded(Event):
    """`sent = yield operand`: its cotangent comes where that of `sent` goes."""

    operand: str | None
    sent: str | None


@dataclass(frozen=True)
class Steps(Event):
    """A block that may be left anywhere (`try`): a tape of `(step, back)`, one for each event that happened."""

    tape: str
    steps: dict[int, Event]
