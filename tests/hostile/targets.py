"""Every parser of files that others may have made, with valid files to start from."""

from __future__ import annotations

import functools
import io
import json
from pathlib import Path

import numpy as np
import PIL.Image
from safetensors.numpy import save

from configs import digits
from dpl_jax.clip.config import read_config as read_clip_config
from dpl_jax.clip.preprocessing import read_preprocessing
from dpl_jax.clip.tokenizer import Tokenizer, _load
from dpl_jax.clip.weights import WEIGHTS, WEIGHTS_INDEX, load_params
from dpl_jax.config import get_config, with_shortcuts
from dpl_jax.data.cache import _checksum, read_entry
from dpl_jax.data.folder import read_classnames as read_folder_names
from dpl_jax.data.images import read_image
from dpl_jax.data.label_list import read_label_list
from dpl_jax.data.split import Item
from dpl_jax.data.tfds_source import _check_features
from dpl_jax.exchange.alphas import read_alphas
from dpl_jax.exchange.state_dict import read_prompts
from dpl_jax.files.json import parse_json
from dpl_jax.prompts.lengths_file import read_lengths
from dpl_jax.report.contents import read_contents
from dpl_jax.runs import checkpoints
from dpl_jax.runs.lock import _holder
from dpl_jax.runs.manifest import check_manifest, empty_arrays, make_manifest
from dpl_jax.runs.metrics import read_metrics
from dpl_jax.runs.predictions import Predictions, load_predictions, save_predictions
from dpl_jax.studies.aggregate.records import NoResultsError, read_records
from tests.hostile.annotation_targets import annotation_targets
from tests.hostile.target import Target, as_json, in_file
from tests.support.small_clip import random_tensors, small_config, write_clip

PIXELS = (np.arange(24 * 16 * 3).reshape(24, 16, 3) % 251).astype(np.uint8)


def all_targets(scratch: Path) -> list[Target]:
    """All targets; their files lie in ``scratch``."""
    clip = scratch / "clip"
    sizes = small_config()
    write_clip(clip, sizes, random_tensors(sizes))
    return [
        *_json_targets(scratch),
        *_clip_targets(scratch, clip),
        *annotation_targets(scratch),
        *_run_targets(scratch),
        *_array_targets(scratch, clip),
        *[_image_target(kind, options) for kind, options in IMAGES],
    ]


def _json_targets(scratch: Path) -> list[Target]:
    folder = scratch / "preprocessing"
    features = scratch / "tfds" / "features.json"
    preprocessing = {
        "size": {"shortest_edge": 24},
        "crop_size": {"height": 16, "width": 16},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.2, 0.2, 0.2],
        "resample": 3,
    }
    named = {"pythonClassName": "tensorflow_datasets.core.features.Image", "image": {"shape": [1]}}
    names = scratch / "names" / "classnames.json"
    names.parent.mkdir()
    for number in (1, 2):
        (names.parent / f"{number}.png").touch()
    return [
        Target("json", parse_json, as_json(preprocessing), True, 20, (ValueError,)),
        Target(
            "preprocessing",
            in_file(folder / "preprocessor_config.json", lambda: read_preprocessing(folder, 16)),
            as_json(preprocessing),
            True,
        ),
        Target(
            "tfds features",
            in_file(features, lambda: _check_features(features)),
            as_json({"features": [named, named]}),
            True,
        ),
        Target(
            "folder names",
            in_file(names, lambda: read_folder_names(names.parent, ["a", "b"])),
            as_json({"a": "ant", "b": "bee"}),
            True,
        ),
        Target(
            "label list",
            in_file(names.parent / "x.csv", lambda: read_label_list(names.parent, "x.csv")),
            [
                b"path,label\n1.png,a\n",
                b'"id";"class";"split"\r\n"1";"a";"train"\r\n2.png;"a";test\r\n',
            ],
            share=5,
        ),
        Target("shortcuts", _shortcuts, [b"shots=4,seed=2,T=3,classes=base"]),
        Target("lock", _lock, as_json({"host": "here", "pid": 12}), True),
    ]


def _shortcuts(contents: bytes) -> object:
    return with_shortcuts(get_config(), contents.decode("utf-8", "surrogateescape"))


def _lock(contents: bytes) -> object:
    return _holder(contents)


def _clip_targets(scratch: Path, clip: Path) -> list[Target]:
    weights, index, words = scratch / "weights", scratch / "index", scratch / "words"
    sizes = read_clip_config(clip / "config.json")
    weights.mkdir()
    for name in ("vocab.json", "merges.txt"):
        words.mkdir(exist_ok=True)
        (words / name).write_bytes((clip / name).read_bytes())
    index.mkdir()
    (index / "a.safetensors").write_bytes((clip / WEIGHTS).read_bytes())
    places = {name: "a.safetensors" for name in random_tensors(small_config())}
    config = scratch / "sizes" / "config.json"

    def tokenize() -> object:
        _load.cache_clear()
        return Tokenizer(str(words), 40, 514)(["a photo"])

    def seeded(path: Path) -> Target:
        valid = path.read_bytes()

        def parse(contents: bytes) -> object:
            path.write_bytes(contents)
            try:
                return tokenize()
            finally:
                path.write_bytes(valid)

        return Target(path.name, parse, [valid], path.suffix == ".json", 1)

    return [
        Target(
            "config.json",
            in_file(config, lambda: read_clip_config(config)),
            [(clip / "config.json").read_bytes()],
            True,
            20,
        ),
        Target(
            "safetensors",
            in_file(weights / WEIGHTS, lambda: load_params(weights, sizes)),
            [(clip / WEIGHTS).read_bytes()],
            share=6,
        ),
        Target(
            "safetensors index",
            in_file(index / WEIGHTS_INDEX, lambda: load_params(index, sizes)),
            as_json({"weight_map": places}),
            True,
            3,
        ),
        seeded(words / "vocab.json"),
        seeded(words / "merges.txt"),
    ]


def _run_targets(scratch: Path) -> list[Target]:
    run = scratch / "run"
    run.mkdir()
    scores = {"accuracy": 0.5, "macro_f1": 0.4, "calibration_error": 0.1}
    test = {"images": 4, "sha256": "0" * 64, "zero_shot": scores, "dpl": scores}
    results = {
        "kind": "train",
        "seed": 1,
        "classes": "all",
        "shots": 4,
        "template": "a {}.",
        "clip": {"sha256": "0" * 64},
        "evaluations": {"test": test},
    }
    config = json.loads(json.dumps(digits.get_config().to_dict()))
    about = {"kind": "train", "config": config, "versions": {"jax": "1"}}
    rows = [{"step": n, "epoch": n, "train_loss": 1.0, "train_accuracy": 0.5} for n in (1, 2)]
    files = {
        "config.json": (json.dumps(about).encode(), True),
        "results.json": (json.dumps(results).encode(), True),
        "metrics.jsonl": (b"".join(json.dumps(row).encode() + b"\n" for row in rows), False),
    }
    for name, (seed, _) in files.items():
        (run / name).write_bytes(seed)

    def seeded(name: str) -> Target:
        seed, is_json = files[name]

        def parse(contents: bytes) -> object:
            (run / name).write_bytes(contents)
            try:
                if name == "metrics.jsonl":
                    return read_metrics(run)
                read_contents(run)
                return read_records(run)
            finally:
                (run / name).write_bytes(seed)

        return Target(f"run {name}", parse, [seed], is_json, 8, (NoResultsError,))

    return [seeded(name) for name in files]


def _array_targets(scratch: Path, clip: Path) -> list[Target]:
    sizes = read_clip_config(clip / "config.json")
    npz, alphas, entry = scratch / "test.npz", scratch / "alphas", scratch / "entry"
    logits = {"dpl": np.ones((4, 2), np.float32)}
    labels = np.array([0, 1, 0, 1])
    save_predictions(
        npz,
        Predictions(
            "digits", "test", {"name": "digits"}, ("a", "b"), tuple("wxyz"), labels, logits
        ),
    )
    alphas.mkdir()
    entry.mkdir()
    file = io.BytesIO()
    np.save(file, np.ones((3, 4), np.float32))
    np.save(entry / "sizes.npy", np.ones((3, 4), np.float32))
    sums = {"sizes": _checksum(np.ones((3, 4), np.float32))}
    (entry / "checksums.json").write_text(json.dumps(sums))
    released = {
        f"prompt_learner.ctx_{tower}_lst.{layer}": np.ones((2, width), np.float32)
        for tower, layers, width in (("img", 3, 24), ("txt", 2, 16))
        for layer in range(layers)
    }
    lengths, prompts = scratch / "lengths.json", scratch / "prompts.safetensors"
    read = functools.partial(read_entry, entry, {"sizes": ((3, 4), np.float32)})

    def both_alphas(contents: bytes) -> object:
        for name in ("img", "txt"):
            (alphas / f"alpha_e1_{name}.npy").write_bytes(contents)
        return read_alphas(alphas, 1)

    return [
        Target("npz", in_file(npz, lambda: load_predictions(npz)), [npz.read_bytes()]),
        Target("npy alphas", both_alphas, [file.getvalue()]),
        Target("npy cache", in_file(entry / "sizes.npy", read), [file.getvalue()]),
        Target(
            "released prompts",
            in_file(prompts, lambda: read_prompts(prompts, sizes)),
            [save(released)],
        ),
        Target(
            "lengths",
            in_file(lengths, lambda: read_lengths(lengths, sizes)),
            as_json({"lengths": {"image": [1, 2, 0], "text": [0, 3]}}),
            True,
        ),
        *_checkpoint_targets(scratch),
    ]


def _checkpoint_targets(scratch: Path) -> list[Target]:
    arrays = {"prompts": np.ones((2, 3), np.float32)}
    manifest = make_manifest(1, arrays, {"epoch": 1})
    with checkpoints.Checkpoints(scratch / "checkpoints") as opened:
        opened.save(1, arrays, {"epoch": 1})
    folder = scratch / "checkpoints" / "1"
    files = [path for path in folder.rglob("*") if path.is_file()]

    def whole(contents: bytes) -> object:
        """Puts the contents in the place of one file, chosen by them."""
        path = files[sum(contents) % len(files)]
        valid = path.read_bytes()
        path.write_bytes(contents)
        try:
            return checkpoints.load(folder)
        finally:
            path.write_bytes(valid)

    def parse_manifest(contents: bytes) -> object:
        return empty_arrays(check_manifest(parse_json(contents), 1), stored=1 << 20)

    return [
        Target("manifest", parse_manifest, as_json(manifest), True, 10, (ValueError,)),
        Target("checkpoint", whole, [path.read_bytes() for path in files], share=1),
    ]


# Turned by 90 degrees.
EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
IMAGES: list[tuple[str, dict]] = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True, "exif": EXIF}),
    ("PNG", {}),
    ("GIF", {"save_all": True, "append_images": [PIL.Image.fromarray(PIXELS[::-1])]}),
    ("WEBP", {}),
    ("WEBP", {"save_all": True, "append_images": [PIL.Image.fromarray(PIXELS[::-1])]}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("BMP", {}),
    ("PPM", {}),
]


def _image_target(kind: str, options: dict) -> Target:
    file = io.BytesIO()
    PIL.Image.fromarray(PIXELS).save(file, kind, **options)

    class Encoded:
        def __init__(self, contents: bytes) -> None:
            self.contents = contents

        def read(self) -> bytes:
            return self.contents

    def parse(contents: bytes) -> object:
        return read_image(Item(Encoded(contents), 0, "", "image"), max_pixels=2**22)

    name = "-".join([kind.lower(), *(key for key in options if key != "append_images")])
    return Target(name, parse, [file.getvalue()], share=5)
