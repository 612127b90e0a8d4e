"""Checks a file of results against the schema that the package documents them with."""

import json
from pathlib import Path
from typing import Any

import jsonschema

import dpl_jax

SCHEMA = Path(dpl_jax.__file__).parent / "assets" / "results.schema.json"


def read_schema() -> dict[str, Any]:
    return json.loads(SCHEMA.read_text())


def check_results(contents: Any) -> None:
    """Raises jsonschema.ValidationError naming the field that is wrong."""
    jsonschema.Draft202012Validator(read_schema()).validate(contents)
