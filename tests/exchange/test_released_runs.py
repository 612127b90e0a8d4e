"""Alphas and prompts of the released PyTorch code become runs of this package, and come back."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dpl_jax import Clip, load_clip
from dpl_jax.clip.features import class_logits, image_features, text_features
from dpl_jax.errors import ConfigError, RunFolderError
from dpl_jax.exchange.alphas import read_alphas, write_alphas
from dpl_jax.exchange.runs import export_run, import_lengths, import_run
from dpl_jax.exchange.state_dict import read_prompts, write_prompts
from dpl_jax.inference.trained import load_trained
from dpl_jax.prompts.lengths_file import read_lengths
from dpl_jax.prompts.trees import TOWERS
from dpl_jax.report.commands import commands
from dpl_jax.report.contents import read_contents
from dpl_jax.train import load_supernet
from tests.exchange.conftest import GOLDEN, stage2_tensors, supernet_tensors
from tests.support.repository import ROOT
from tests.support.results_schema import check_results


@pytest.fixture(scope="module")
def clip() -> Clip:
    return load_clip(GOLDEN)


@pytest.fixture(scope="module")
def trained(released, config, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("imported") / "trained"
    return import_run(config, released / "stage2.safetensors", folder)


@pytest.fixture(scope="module")
def searched(released, config, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("imported") / "searched"
    return import_run(config, released / "supernet.safetensors", folder, released)


def logits_of(run, golden):
    """Class logits (B, C) of a run, computed as an evaluation does, on the golden images."""
    loaded = load_trained(run)
    images = jnp.asarray(golden["images_nchw"][0].transpose(0, 2, 3, 1))  # (B, H, W, 3)
    image = image_features(loaded.clip, images, loaded.prompts["image"])
    text = text_features(loaded.clip, golden["input_ids"], loaded.prompts["text"])
    return class_logits(image, text, loaded.clip.params["logit_scale"])


def test_a_released_second_stage_gives_the_released_logits(trained, golden):
    np.testing.assert_allclose(
        logits_of(trained, golden), golden["stage2_logits"], rtol=0, atol=1e-4
    )


def test_a_released_search_gives_the_released_logits(searched, golden):
    np.testing.assert_allclose(logits_of(searched, golden), golden["logits"], rtol=0, atol=1e-4)


def test_an_imported_search_can_be_trained_on(searched, golden):
    supernet = load_supernet(searched)
    for tower in TOWERS:
        np.testing.assert_array_equal(supernet["alphas"][tower], golden[f"init_alpha_{tower}"])


def test_lengths_are_the_argmax_of_the_last_epoch(released, golden, clip, tmp_path):
    import_lengths(released, tmp_path / "new" / "lengths.json")
    lengths = read_lengths(tmp_path / "new" / "lengths.json", clip.sizes)
    for tower in TOWERS:
        expected = golden[f"init_alpha_{tower}"].argmax(axis=1)
        np.testing.assert_array_equal(lengths[tower], expected)


def test_image_and_text_are_swapped_in_the_released_names_alone(released, golden, tmp_path):
    alphas = {tower: golden[f"init_alpha_{tower}"] for tower in TOWERS}
    files = write_alphas(tmp_path, alphas, epoch=5, swapped=False)
    assert {tower: path.name for tower, path in files.items()} == {
        "image": "alpha_e5_img.npy",
        "text": "alpha_e5_txt.npy",
    }
    for swapped, folder, epoch in ((True, released, 60), (False, tmp_path, 5)):
        found = read_alphas(folder, epoch, swapped)
        for tower in TOWERS:
            np.testing.assert_array_equal(found[tower], alphas[tower])
    assert len(read_alphas(released, 60, swapped=False)["image"]) == 3  # the text tower's


def test_a_search_comes_back_bit_for_bit(searched, released, tmp_path):
    export_run(searched, tmp_path / "back")
    for name in ("alpha_e60_img.npy", "alpha_e60_txt.npy"):
        assert (tmp_path / "back" / name).read_bytes() == (released / name).read_bytes()
    exported = tmp_path / "back" / "prompt_learner.safetensors"
    assert exported.read_bytes() == (released / "supernet.safetensors").read_bytes()


def test_a_second_stage_comes_back_bit_for_bit(trained, golden, tmp_path):
    exported = load_file(export_run(trained, tmp_path / "back")["prompts"])
    original = stage2_tensors(golden)
    assert exported.keys() == original.keys()
    for name, tensor in original.items():
        assert exported[name].shape == tensor.shape
        assert exported[name].tobytes() == tensor.tobytes()


def test_odd_numbers_survive_the_round_trip(golden, clip, tmp_path):
    tensors = {name: tensor.copy() for name, tensor in supernet_tensors(golden).items()}
    first = tensors["prompt_learner.ctx_img_lst.0.0"]
    first[0, :4] = [-0.0, 1e-45, np.finfo(np.float32).max, -1e-38]
    save_file(tensors, tmp_path / "one.safetensors")
    write_prompts(
        tmp_path / "two.safetensors", *read_prompts(tmp_path / "one.safetensors", clip.sizes)
    )
    one, two = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def test_half_precision_is_read_exactly(golden, clip, tmp_path):
    half = {name: tensor.astype(np.float16) for name, tensor in stage2_tensors(golden).items()}
    save_file(half, tmp_path / "half.safetensors")
    prompts = read_prompts(tmp_path / "half.safetensors", clip.sizes).prompts
    row = half["prompt_learner.ctx_txt_lst.1"]  # (4, 64)
    np.testing.assert_array_equal(prompts["text"][1], row.astype(np.float32), strict=True)


def test_a_second_stage_is_exported_with_alphas_that_choose_its_lengths(trained, golden, tmp_path):
    export_run(trained, tmp_path / "back", swapped=False)
    for short, tower in (("img", "image"), ("txt", "text")):
        alphas = np.load(tmp_path / "back" / f"alpha_e60_{short}.npy")
        assert alphas.shape[1] == 5
        np.testing.assert_array_equal(alphas.argmax(axis=1), golden[f"stage2_lengths_{tower}"])


def test_results_say_where_an_imported_run_comes_from(trained, searched, released):
    for run, file in ((trained, "stage2.safetensors"), (searched, "supernet.safetensors")):
        results = json.loads((run / "results.json").read_text())
        check_results(results)
        assert results["imported"]["prompts"]["file"] == str(released / file)
    alphas = results["imported"]["alphas"]
    assert (alphas["epoch"], alphas["swapped"]) == (60, True)


def test_the_report_gives_the_command_that_imports_again(searched, released):
    (command,) = commands(read_contents(searched))
    launcher = Path(__file__).parents[2] / "launch" / "exchange.py"
    assert shlex.split(command[0]) == [sys.executable, str(launcher), "import"]
    flags = {f"--alphas={released}", "--epoch=60", "--swapped=True"}
    assert flags | {f"--prompts={released}/supernet.safetensors"} <= set(command)


@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [
        ("supernet", {"swapped": False}, r"image alphas are of 3 layers.*--swapped"),
        ("supernet", {"T": 6}, "max_context_length, here 6"),
        ("stage2", {"epoch": 9}, "choose the lengths"),
        ("stage2", {"epoch": 8}, "alpha_e8_txt.npy does not exist"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    prompts, options, message, released, config, tmp_path
):
    config = config.copy_and_resolve_references()
    config.search.max_context_length = options.get("T", 4)
    given = {name: value for name, value in options.items() if name != "T"}
    with pytest.raises(ConfigError, match=message):
        import_run(config, released / f"{prompts}.safetensors", tmp_path / "run", released, **given)
    assert not (tmp_path / "run").exists()


def test_a_supernet_without_alphas_is_refused(released, config, tmp_path):
    for folder, message in ((None, "give --alphas"), (tmp_path, r"holds no alpha_e60_img\.npy")):
        with pytest.raises(ConfigError, match=message):
            import_run(config, released / "supernet.safetensors", tmp_path / "run", folder)
    assert not (tmp_path / "run").exists()


def test_a_second_stage_is_held_against_its_alphas(released, config, tmp_path):
    run = import_run(config, released / "stage2.safetensors", tmp_path / "run", released)
    assert json.loads((run / "configuration.json").read_text())["lengths"]["text"] == [2, 4, 0]


def test_a_folder_with_a_run_is_left_alone(trained, released, config):
    before = (trained / "results.json").read_bytes()
    with pytest.raises(RunFolderError, match="holds a run"):
        import_run(config, released / "stage2.safetensors", trained)
    assert (trained / "results.json").read_bytes() == before


def test_only_finished_runs_are_exported(trained, tmp_path):
    shutil.copy(trained / "config.json", tmp_path)
    with pytest.raises(RunFolderError, match="no finished"):
        export_run(tmp_path, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_the_command_writes_lengths_for_a_training(released, tmp_path):
    output = tmp_path / "lengths.json"
    flags = [f"--alphas={released}", "--epoch=0", f"--output={output}"]
    command = [sys.executable, ROOT / "launch/exchange.py", "import", *flags]
    subprocess.run(command, cwd=ROOT, check=True)
    assert json.loads(output.read_text())["prompt_tokens"] > 0
