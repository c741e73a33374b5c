"""HTML as a tree, so that every text in it is escaped by construction."""

from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element, tostring

Node = Element


def node(tag: str, *children: Node | str, **attributes: str) -> Node:
    """Make an element; `class_` stands for class, `data_flow` for data-flow."""
    names = {name.rstrip("_").replace("_", "-"): text for name, text in attributes.items()}
    made = Element(tag, names)
    last = None
    for child in children:
        if isinstance(child, str):
            if last is None:
                made.text = (made.text or "") + child
            else:
                last.tail = (last.tail or "") + child
        else:
            made.append(child)
            last = child
    return made


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Node | str]], class_: str, *caption: Node
) -> Node:
    """Make a table whose first column names the rows; an entry may be an element already."""
    body = []
    for name, *entries in rows:
        first = name if isinstance(name, Node) else node("th", name, scope="row")
        further = [node("td", x) if isinstance(x, str) else x for x in entries]
        body.append(node("tr", first, *further))
    head = node("tr", *(node("th", text, scope="col") for text in columns))
    parts = (*caption, node("thead", head), node("tbody", *body))
    return node("table", *parts, class_=class_)


def document(root: Node) -> str:
    """Serialize a whole page. The text of `script` and `style` is not escaped."""
    return "<!doctype html>\n" + tostring(root, encoding="unicode", method="html")
