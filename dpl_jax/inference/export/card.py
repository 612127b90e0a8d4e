"""The model card of an exported classifier: README.md with the Hugging Face hub's header."""

from __future__ import annotations

import functools
import json
import re
import shlex
from typing import Any

import jinja2

from dpl_jax.errors import RunFolderError
from dpl_jax.files.places import clip_name, is_hub_id
from dpl_jax.files.printable import printable
from dpl_jax.inference.classifier import Classifier
from dpl_jax.prompts.learned import Supernet
from dpl_jax.summary.table import escape_markdown

TAGS = ["clip", "prompt-learning", "few-shot", "image-classification"]
SHOWN_CLASSES = 200
PLAIN = re.compile(r"[\w ./:{},'()+=-]+")  # what may stand in a code span, where nothing is escaped


class Markdown(str):
    """Text that is Markdown already; everything else is escaped where the card shows it."""


def model_card(
    classifier: Classifier, name: str, *, program: bool = False, onnx: bool = False
) -> str:
    """The card's text.

    Args:
      classifier: to be described.
      name: what the card calls it.
      program: whether the program for JAX alone is there.
      onnx: whether the ONNX model is there.

    Raises:
      RunFolderError: when the results hold a value that the card cannot show.
    """
    try:
        return _render(classifier, name, program, onnx)
    except (TypeError, ValueError, LookupError, AttributeError, jinja2.UndefinedError) as error:
        raise RunFolderError(
            f"The results of the run hold a value that the model card cannot show ({error!s:.200})."
        ) from error


def _render(classifier: Classifier, name: str, program: bool, onnx: bool) -> str:
    results, classes = classifier.results, classifier.classnames
    return _template().render(
        header=Markdown(header(classifier, name)),
        name=name,
        clip=clip_name(str(results["clip"]["path"])),
        command=f"dpl-predict {shlex.quote(name)} photo.jpg",
        results=results,
        test=results.get("evaluations", {}).get("test"),
        supernet=isinstance(classifier.learned, Supernet),
        lengths=results.get("lengths", {}),
        template=classifier.template,
        classes=", ".join(classes[:SHOWN_CLASSES]),
        more=max(len(classes) - SHOWN_CLASSES, 0),
        count=len(classes),
        preprocessing=classifier.preprocessing,
        program=program,
        onnx=onnx,
    )


@functools.cache
def _template() -> jinja2.Template:
    body = jinja2.Environment(
        loader=jinja2.PackageLoader("dpl_jax.inference.export", ""),
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    body.filters |= {"code": _code, "percent": _percent, "python": _python}
    return body.get_template("card.md.jinja")


def header(classifier: Classifier, name: str) -> str:
    """The hub's fields as YAML: library, base model, dataset, results."""
    from huggingface_hub import EvalResult, ModelCardData

    results, fields = classifier.results, dict[str, Any]()
    dataset, path = printable(str(results["dataset"])), str(results["clip"]["path"])
    if is_hub_id(path):
        fields["base_model"] = path
    if test := results.get("evaluations", {}).get("test"):
        fields["model_name"] = printable(name)
        fields["eval_results"] = [
            EvalResult(
                task_type="image-classification",
                dataset_type=dataset,
                dataset_name=printable(
                    f"{dataset}, {results['shots']} shots, seed {results['seed']}"
                ),
                dataset_split="test",
                metric_type=metric,
                metric_value=_number(test["dpl"][metric]),
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


def _shown(value: object) -> str:
    return value if isinstance(value, Markdown) else Markdown(escape_markdown(str(value)))


def _code(value: object) -> Markdown:
    """A code span; a text that could end it stands escaped outside of one."""
    text = str(value)
    return Markdown(f"`{text}`" if PLAIN.fullmatch(text) else escape_markdown(text))


def _python(value: object) -> Markdown:
    """A Python string without what ends a code block or starts a tag."""
    text = json.dumps(str(value))
    return Markdown(text.replace("<", r"\u003c").replace("`", r"\u0060"))


def _percent(share: object) -> str:
    return f"{100 * _number(share):.2f}"


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r:.50} is not a number")
    return value
