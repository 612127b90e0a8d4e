"""What every table and page reports of a run: the methods with their labels, and the metrics."""

METHODS = {"zero_shot": "zero-shot CLIP", "dpl": "DPL"}
METRICS = ("accuracy", "macro_f1", "calibration_error")  # each from 0 to 1


def method_name(method: str) -> str:
    """What a method is called in tables, on pages and in figures."""
    return METHODS.get(method, method.replace("_", " "))
