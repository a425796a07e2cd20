"""What to keep: the cheapest set of values from which all the needed ones can be computed again (a minimum cut)."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

__all__ = ["cheapest_cut", "operands_first"]

Node = TypeVar("Node", bound=Hashable)
MANY = 10**9


def cheapest_cut(
    needed: Iterable[Node], sources_of: Callable[[Node], list[Node] | None], cost: Callable[[Node], int]
) -> tuple[list[Node], list[Node]]:
    """The nodes to keep, and those to compute again (operands first).

    `sources_of(node)` are the nodes that it is computed from, or None if it can't be computed again.

    >>> graph = {"a": None, "b": None, "c": ["a", "b"]}
    >>> cheapest_cut(["c"], graph.__getitem__, lambda node: 8)
    (['c'], [])

    Source: Ford and Fulkerson (1956), doi:10.4153/CJM-1956-045-5.
    """
    order = operands_first(needed, lambda node: sources_of(node) or ())
    wanted = set(needed)
    capacity: dict[tuple[object, object], int] = {}
    neighbours: dict[object, list[object]] = {}

    def edge(a: object, b: object, c: int) -> None:
        if (a, b) not in capacity:
            neighbours.setdefault(a, []).append(b)
            neighbours.setdefault(b, []).append(a)
            capacity.setdefault((b, a), 0)
        capacity[a, b] = capacity.get((a, b), 0) + c

    for node in order:
        edge(("in", node), ("out", node), cost(node))
        parents = sources_of(node)
        if parents is None:
            edge("source", ("in", node), MANY)
        for parent in parents or []:
            edge(("out", parent), ("in", node), MANY)
        if node in wanted:
            edge(("out", node), "sink", MANY)
    seen = _saturate(capacity, neighbours)
    kept = [node for node in order if ("in", node) in seen and ("out", node) not in seen]
    return kept, _again(order, wanted, set(kept), sources_of)


def operands_first(nodes: Iterable[Node], operands_of: Callable[[Node], Iterable[Node]]) -> list[Node]:
    """The nodes, and all that they are computed from, each behind its operands (graphs are too deep for recursion).

    >>> operands_first("c", {"a": "", "b": "a", "c": "ab"}.__getitem__)
    ['a', 'b', 'c']
    """
    found: dict[Node, None] = {}
    for node in nodes:
        open_nodes = [] if node in found else [(node, iter(operands_of(node)))]
        while open_nodes:
            last, rest = open_nodes[-1]
            for operand in rest:
                if operand not in found:
                    open_nodes.append((operand, iter(operands_of(operand))))
                    break
            else:
                found[last] = None
                open_nodes.pop()
    return list(found)


def _saturate(capacity: dict[tuple[object, object], int], neighbours: dict[object, list[object]]) -> set[object]:
    """Pushes all the flow there is; what can still be reached from the source afterwards."""
    while True:
        parent: dict[object, object] = {"source": None}
        queue: deque[object] = deque(["source"])
        while queue and "sink" not in parent:
            a = queue.popleft()
            for b in neighbours.get(a, []):
                if b not in parent and capacity[a, b] > 0:
                    parent[b] = a
                    queue.append(b)
        if "sink" not in parent:
            return set(parent)
        path: list[tuple[object, object]] = []
        node: object = "sink"
        while parent[node] is not None:
            path.append((parent[node], node))
            node = parent[node]
        flow = min(capacity[edge] for edge in path)
        for a, b in path:
            capacity[a, b] -= flow
            capacity[b, a] += flow


def _again(
    order: list[Node], wanted: set[Node], kept: set[Node], sources_of: Callable[[Node], list[Node] | None]
) -> list[Node]:
    """What has to be computed again where `kept` is there, in order."""
    again: set[Node] = set()
    todo = list(wanted)
    while todo:
        node = todo.pop()
        if node not in kept and node not in again:
            again.add(node)
            todo.extend(sources_of(node) or [])
    return [node for node in order if node in again]
