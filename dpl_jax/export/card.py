"""The model card of an exported classifier: README.md with the Hugging Face hub's header."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jinja2

from dpl_jax.printable import printable

if TYPE_CHECKING:
    from dpl_jax.classifier import Classifier

TAGS = ["clip", "prompt-learning", "few-shot", "image-classification"]
SHOWN_CLASSES = 200


def model_card(
    classifier: Classifier, name: str, *, program: bool = False, onnx: bool = False
) -> str:
    """The card's text.

    Args:
      classifier: to be described.
      name: what the card calls it.
      program: whether the program for JAX alone is there.
      onnx: whether the ONNX model is there.
    """
    results, classes = classifier.results, [printable(one) for one in classifier.classnames]
    body = jinja2.Environment(
        loader=jinja2.PackageLoader("dpl_jax.export", ""),
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        keep_trailing_newline=True,
    )
    return body.get_template("card.md.jinja").render(
        header=header(classifier, name),
        name=printable(name),
        results=results,
        test=results.get("evaluations", {}).get("test"),
        supernet="alphas" in classifier.params,
        lengths=results.get("lengths", {}),
        template=printable(classifier.template),
        classes=classes[:SHOWN_CLASSES],
        more=max(len(classes) - SHOWN_CLASSES, 0),
        count=len(classes),
        preprocessing=classifier.preprocessing,
        program=program,
        onnx=onnx,
    )


def header(classifier: Classifier, name: str) -> str:
    """The hub's fields as YAML: library, base model, dataset, results."""
    from huggingface_hub import EvalResult, ModelCardData

    from dpl_jax.export.folder import is_hub_id

    results, fields = classifier.results, dict[str, Any]()
    dataset = str(results["dataset"])
    if is_hub_id(results["clip"]["path"]):
        fields["base_model"] = results["clip"]["path"]
    if test := results.get("evaluations", {}).get("test"):
        fields["model_name"] = name
        fields["eval_results"] = [
            EvalResult(
                task_type="image-classification",
                dataset_type=dataset,
                dataset_name=f"{dataset}, {results['shots']} shots, seed {results['seed']}",
                dataset_split="test",
                metric_type=metric,
                metric_value=test["dpl"][metric],
            )
            for metric in ("accuracy", "macro_f1")
        ]
    card = ModelCardData(
        language="en",
        license="unknown",
        library_name="dpl_jax",
        pipeline_tag="image-classification",
        tags=TAGS,
        datasets=[dataset],
        metrics=["accuracy"],
        **fields,
    )
    return str(card.to_yaml()).strip()
