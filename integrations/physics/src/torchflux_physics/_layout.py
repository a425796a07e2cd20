"""The layout of a traced program: element-wise operations on transposed matrices are done on what is transposed.

Jets hand matrices on with the points innermost, as transposes. A compiler that lays out each intermediate result anew
copies them back and forth; here transposes are moved behind the element-wise operations, where they meet the next ones
and vanish.
"""

import torch
from torch import Tensor, fx

__all__: list[str] = []

T = torch.ops.aten.t.default


def points_innermost(program: fx.GraphModule) -> fx.GraphModule:
    """Moves transposes behind element-wise operations. The program must have been traced with its tensors' shapes."""
    graph = program.graph
    for node in list(graph.nodes):
        if node.op == "call_function" and _elementwise(node) and any(map(_is_transpose, node.all_input_nodes)):
            _swap(graph, node)
    for node in list(graph.nodes):
        if _is_transpose(node) and _is_transpose(node.args[0]):
            node.replace_all_uses_with(node.args[0].args[0])
    graph.eliminate_dead_code()
    program.recompile()
    return program


def _swap(graph: fx.Graph, node: fx.Node) -> None:
    """op(xᵀ, …) becomes op(x, …)ᵀ."""
    with graph.inserting_before(node):
        flipped = {x: _flipped(graph, x) for x in node.all_input_nodes}
    with graph.inserting_after(node):
        done = graph.call_function(T, (node,))
        done.meta["val"] = node.meta["val"]
    node.replace_all_uses_with(done, delete_user_cb=lambda user: user is not done)
    node.args, node.kwargs = fx.node.map_arg((node.args, node.kwargs), lambda x: flipped[x])
    node.meta["val"] = node.meta["val"].t()


def _flipped(graph: fx.Graph, x: fx.Node) -> fx.Node:
    """The transpose of an argument, as it takes part in the operation."""
    dims = x.meta["val"].dim()
    if _is_transpose(x):
        return x.args[0]  # type: ignore[return-value]
    if dims == 0:
        return x
    made = graph.call_function(T, (x,)) if dims == 2 else graph.call_function(torch.ops.aten.unsqueeze.default, (x, 1))
    made.meta["val"] = x.meta["val"].t() if dims == 2 else x.meta["val"].unsqueeze(1)
    return made


def _elementwise(node: fx.Node) -> bool:
    out = node.meta.get("val")
    return torch.Tag.pointwise in getattr(node.target, "tags", ()) and isinstance(out, Tensor) and out.dim() == 2


def _is_transpose(node: object) -> bool:
    return isinstance(node, fx.Node) and node.target is T
