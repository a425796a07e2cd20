"""The walk over statements."""

import ast

from torchflux_syntax import Pass, quote, show


class Renaming(Pass):
    def visit_Assign(self, node):
        match node.targets:
            case [ast.Name(id="gone")]:
                return []
            case [ast.Name(id="twice")]:
                return [node, node]
            case [ast.Name(id="other")]:
                return quote("replaced()")[0]
        return None

    def visit_With(self, node):
        return quote("entered($m)\n$body", m=node.items[0].context_expr, body=self.visit(node.body))


def run(text):
    tree = ast.parse(text)
    before = ast.dump(tree)
    after = show(Renaming().visit(tree.body))
    assert ast.dump(tree) == before
    return after


def test_everything_is_walked_into():
    text = "if a:\n    {}\nelse:\n    {}\nfor i in x:\n    {}\nwhile True:\n    {}\ndef f():\n    {}\ntry:\n    {}\nexcept E:\n    {}\nelse:\n    {}\nfinally:\n    {}"  # noqa: E501
    assert run(text.replace("{}", "other = 1")) == run(text.replace("{}", "replaced()"))


def test_blocks_that_become_empty():
    assert run("if a:\n    gone = 1\nelse:\n    gone = 2") == "if a:\n    pass"
    assert run("try:\n    gone = 1\nfinally:\n    gone = 1") == "try:\n    pass\nfinally:\n    pass"
    assert (
        run("try:\n    gone = 1\nexcept E:\n    gone = 1\nfinally:\n    gone = 1")
        == "try:\n    pass\nexcept E:\n    pass"
    )


def test_several_statements():
    assert run("twice = 1") == "twice = 1\ntwice = 1"
    assert run("with m:\n    other = 1\n    gone = 1") == "entered(m)\nreplaced()"
    assert run("x = 1") == "x = 1"
