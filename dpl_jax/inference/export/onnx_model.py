"""A classifier as an ONNX model, for ONNX Runtime and whatever else reads that format."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import jax
from jax.extend.core import jaxpr_as_fun

from dpl_jax.errors import ConfigError
from dpl_jax.files.json import write_file
from dpl_jax.inference.classifier import Classifier
from dpl_jax.inference.export.program import function_of, image_shape, weights_of

MODEL = "model.onnx"
# A protocol buffer, which an ONNX file is, holds no more than this many bytes.
MAX_BYTES = 2**31 - 1


def write_onnx(classifier: Classifier, folder: Path) -> None:
    """Writes ``model.onnx``: ``images`` (B, H, W, 3) uint8 to ``probabilities`` (B, C) float32.

    It is the program of :mod:`dpl_jax.inference.export.program` with the weights inside. Its matrix
    products are in float32 also where those of the classifier are in bfloat16, which ONNX Runtime
    lacks on a CPU.

    Raises:
      ConfigError: when jax2onnx is not installed, or the weights are too large for one file.
    """
    try:
        from jax2onnx import to_onnx
    except ImportError as error:
        raise ConfigError(
            'ONNX needs packages that are not installed: pip install "dpl_jax[onnx]"'
        ) from error
    weights = weights_of(classifier)
    if sum(leaf.nbytes for leaf in weights.values()) > 0.95 * MAX_BYTES:
        raise ConfigError(
            f"The weights of {classifier.clip.source} are larger than an ONNX file can be (2 GB); "
            "--program has no such limit."
        )
    in_float32 = dataclasses.replace(classifier, clip=classifier.clip.replace(dtype="float32"))
    function, shape = function_of(in_float32), image_shape(classifier)
    for name in ("jax2onnx", "onnx_ir"):  # they tell of every plugin and shape that is not needed
        logging.getLogger(name).setLevel(logging.ERROR)
    # jax2onnx cannot follow Linen's modules; traced before, only primitives are left.
    traced = jaxpr_as_fun(jax.make_jaxpr(lambda images: function(weights, images))(shape))
    model = to_onnx(
        lambda images: traced(images)[0],
        [shape],
        model_name="dpl_jax",
        input_names=["images"],
        output_names=["probabilities"],
    )
    _tidy(model.graph)
    with write_file(folder / MODEL) as file:
        file.write(model.SerializeToString())


def _tidy(graph: Any) -> set[str]:
    """Drops the arrays that nothing uses, and the shapes noted inside, some of which are wrong.

    ONNX Runtime would warn of each. Returns the names that are used, by inner graphs too.
    """
    used = {output.name for output in graph.output}
    for node in graph.node:
        used.update(node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                used |= _tidy(attribute.g)
    kept = [leaf for leaf in graph.initializer if leaf.name in used]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(kept)
    return used
