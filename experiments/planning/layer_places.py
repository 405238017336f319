"""Where a layer of a network that a spec writes out stands in that spec."""

from experiments.language.source import Node, join
from experiments.search_space import Setting


def layer_place(model: Setting, layer: str | None) -> tuple[Node | None, str]:
    """Give the node and the path of a layer such as `2.body.1`.

    Those of the model where the spec does not write it out, or the layer is not known.
    """
    node, path = model.node, model.path
    if node is None or layer is None or model.value.layers is None:
        return node, path
    for step in ("layers", *layer.split(".")):
        if step.isdigit():
            node, path = node.items()[int(step)], f"{path}[{step}]"
            continue
        if path != model.path:  # `residual: {body: [...]}`
            block = node.value[0]
            node, path = block.value, join(path, block.key)
        node, path = node.entries()[step].value, join(path, step)
    return node, path
