"""Comprehensions become loops in place; so do generator expressions that are used up at once."""

import ast
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ._names import Comprehension, bound, free
from ._quote import copy
from ._rename import loop_names, scope
from ._statements import Statements

__all__ = ["Comprehensions"]

Step = Callable[[], None]

_CONSUMERS = (sum, min, max, tuple, list, set, frozenset, dict, sorted, math.prod, math.fsum)
_SEES_NAMES: dict[Any, int] = {locals: 0, vars: 0, dir: 0, eval: 1, exec: 1}


class Comprehensions(Statements):
    """Comprehensions, and the calls whose meaning depends on what is called."""

    def value_ListComp(self, node: Comprehension) -> ast.expr:
        return self._called(node) if captured(node) else self._looped(node)

    value_SetComp = value_DictComp = value_ListComp

    def _looped(self, node: Comprehension) -> ast.expr:
        first = self.atom(node.generators[0].iter)
        name = self.fresh()
        empty = {ast.ListComp: "$name = []", ast.DictComp: "$name = {}", ast.SetComp: "$name = $set()"}[type(node)]
        kind = {"set": self.builtin("set", node)} if isinstance(node, ast.SetComp) else {}
        self.emit(empty, node, name=name, **kind)

        def step() -> None:
            if isinstance(node, ast.DictComp):
                key, value = self.operands([node.key, node.value])
                self.emit("$name[$key] = $value", node.key, name=name, key=key, value=value)
            else:
                element, add = self.atom(node.elt), self.fresh()
                method = "append" if isinstance(node, ast.ListComp) else "add"
                self.emit(f"$add = $name.{method}; $add($element)", node.elt, add=add, name=name, element=element)

        self._loops(first, node.generators, step, lambda: None)
        return self.name(name, node)

    def _loops(self, items: ast.expr, clauses: list[ast.comprehension], step: Step, end: Step) -> None:
        """The loops of a comprehension around `step`, the first one over `items`; `end` comes after each inner one."""
        clause, *rest = clauses
        if clause.is_async:
            raise self.refuse(clause.target, "an asynchronous comprehension", "collect the items first")

        def body() -> None:
            if rest:
                self._loops(self.atom(rest[0].iter), rest, step, end)
                end()
            else:
                step()

        with self.inner() as block:
            name = self.loop_name(clause.target)
            self._conditions(clause.ifs, body)
        self.emit("for $name in $items: $block", clause.target, name=name, items=items, block=block)

    def _conditions(self, conditions: list[ast.expr], body: Step) -> None:
        if not conditions:
            body()
            return
        test = self.test(conditions[0])
        with self.inner() as block:
            self._conditions(conditions[1:], body)
        self.emit("if $test: $block", conditions[0], test=test, block=block)

    def _called(self, node: Comprehension) -> ast.expr:
        """A comprehension whose loop names a function captures: a nested function that is called at once."""
        if bound([node]):
            advice = "write the loop: a function in the comprehension captures its names"
            raise self.refuse(node, "`:=` in a comprehension", advice)
        first = self.atom(node.generators[0].iter)
        name, items = self.fresh("comprehension"), self.fresh("items")
        with self.inner() as block:
            inside = copy(node)
            inside.generators[0].iter = self.name(items, node)
            self.emit("return $value", node, value=self._looped(inside))
        return self._call_of(name, items, block, first, node)

    def value_GeneratorExp(self, node: ast.GeneratorExp) -> ast.expr:
        """A nested function with `yield`, called at once; what it loops over first is asked for its iterator now."""
        if bound([node]):
            raise self.refuse(node, "`:=` in a generator expression", "write a function with `yield`")
        first = self.atom(node.generators[0].iter)
        first = self.named(ast.copy_location(ast.Call(self.builtin("iter", node), [first], []), node), node)
        name, items = self.fresh("generator"), self.fresh("items")

        def step() -> None:
            self.emit("yield $element", node.elt, element=self.atom(node.elt))

        with self.inner() as block:
            self._loops(self.name(items, node), node.generators, step, lambda: None)
            self.emit("return None", node)
        return self._call_of(name, items, block, first, node)

    def _call_of(self, name: str, items: str, block: list[ast.stmt], first: ast.expr, node: ast.expr) -> ast.expr:
        """The result of a nested function of one parameter, called where it is made."""
        self.emit("def $name($items): $block", node, name=name, items=items, block=block)
        return self.named(ast.copy_location(ast.Call(self.name(name, node), [first], []), node), node)

    # calls

    def value_Call(self, node: ast.Call) -> ast.expr:
        callee = self.static(node.func)
        for function, arguments in _SEES_NAMES.items():
            if callee is function and len(node.args) + len(node.keywords) <= arguments:
                raise self.refuse(node, f"`{function.__name__}` of the names in a function", "use the names themselves")
        if callee is super and not node.args and not node.keywords:
            return self._super(node)
        match node:
            case ast.Call(args=[ast.GeneratorExp() as items], keywords=[]) if callee is any or callee is all:
                return self._any_or_all(items, callee is any)
            case ast.Call(args=[ast.GeneratorExp() as items, *others]) if self._uses_up(node, callee):
                listed = ast.copy_location(ast.ListComp(items.elt, items.generators), items)
                node = ast.copy_location(ast.Call(node.func, [listed, *others], node.keywords), node)
        return super().value_Call(node)

    def static(self, node: ast.expr) -> Any:
        """What a global name, or a dotted name in a module, refers to now; `None` where that is open."""
        match node:
            case ast.Name(id=name):
                return self.resolved(name)
            case ast.Attribute(value=value, attr=name):
                owner = self.static(value)
                return vars(owner).get(name) if isinstance(owner, ModuleType) else None
        return None

    def _uses_up(self, node: ast.Call, callee: Any) -> bool:
        """Whether a generator expression that is the first argument is used up, with nothing evaluated before."""
        simple = (ast.Name, ast.Constant, ast.Lambda, ast.UnaryOp)
        others = [*node.args[1:], *(keyword.value for keyword in node.keywords)]
        if not all(isinstance(other, simple) for other in others):
            return False
        joins = isinstance(node.func, ast.Attribute) and node.func.attr == "join" and callee is None
        return joins or any(callee is consumer for consumer in _CONSUMERS)

    def _any_or_all(self, node: ast.GeneratorExp, is_any: bool) -> ast.expr:
        """A loop that stops when the outcome is known."""
        if captured(node):
            raise self.refuse(node, "a generator expression whose names a function captures", "write the loop")
        first, name = self.atom(node.generators[0].iter), self.fresh()
        self.emit("$name = $outcome", node, name=name, outcome=not is_any)
        known = "if $test: $then" if is_any else "if $test: pass\nelse: $then"

        def step() -> None:
            with self.inner() as then:
                self.emit("$name = $outcome", node, name=name, outcome=is_any)
                self.block.append(ast.copy_location(ast.Break(), node))
            self.emit(known, node.elt, test=self.test(node.elt), then=then)

        def end() -> None:
            self.emit(known, node, test=name, then=[ast.copy_location(ast.Break(), node)])

        self._loops(first, node.generators, step, end)
        return self.name(name, node)

    def _super(self, node: ast.Call) -> ast.expr:
        if "__class__" not in self.function.cells or not self.receiver:
            raise self.refuse(node, "`super()` outside of a method", "write super(Class, self)")
        arguments = [self.name("__class__", node), self.name(self.receiver, node)]
        return ast.copy_location(ast.Call(self.name("super", node), arguments, []), node)


def captured(node: Comprehension) -> bool:
    """Whether a function that a comprehension makes keeps one of its loop names."""
    functions = [n for part in scope(node) for n in ast.walk(part) if isinstance(n, ast.Lambda)]
    return any(free(function) & loop_names(node) for function in functions)
