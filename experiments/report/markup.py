"""HTML as a tree, so that every text in it is escaped by construction."""

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


def document(root: Node) -> str:
    """Serialize a whole page. What stands in `script` and `style` is taken as it is."""
    return "<!doctype html>\n" + tostring(root, encoding="unicode", method="html")
