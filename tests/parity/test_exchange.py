"""The lines of docs/export.md that convert checkpoints, run with PyTorch."""

import re
from pathlib import Path

import numpy as np
import pytest

from dpl_jax.clip.config import ClipConfig, TextConfig, VisionConfig
from dpl_jax.exchange.state_dict import read_prompts, write_prompts

torch = pytest.importorskip("torch")

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
LENGTHS = {"img": [2, 0, 1], "txt": [0, 3]}
WIDTHS = {"img": 8, "txt": 6}
SIZES = ClipConfig(
    text=TextConfig(hidden_size=6, num_attention_heads=1, num_hidden_layers=2),
    vision=VisionConfig(hidden_size=8, num_attention_heads=1, num_hidden_layers=3),
)
CHECKPOINT = "MultiModalPromptLearner/model.pth.tar-40"


def second_stage(length, width):
    return torch.nn.Parameter(torch.randn(length, width))


def supernet(longest, width):
    return torch.nn.ParameterList([second_stage(m + 1, width) for m in range(2)])


def model(layer):
    """Modules named as those of the released trainers, with something frozen beside the prompts."""
    learner = torch.nn.Module()
    for name, width in WIDTHS.items():
        layers = [layer(length, width) for length in LENGTHS[name]]
        setattr(learner, f"ctx_{name}_lst", torch.nn.ParameterList(layers))
    whole = torch.nn.Module()
    whole.prompt_learner, whole.image_encoder = learner, torch.nn.Linear(2, 2)
    return whole


def run_lines(kind):
    """Runs the code block of the page that uses ``kind``."""
    (lines,) = [b for b in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S) if kind in b]
    exec(compile(lines, PAGE, "exec"), {})


@pytest.mark.parametrize("layer", [second_stage, supernet])
def test_a_checkpoint_of_pytorch_comes_and_goes(layer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / CHECKPOINT).parent.mkdir()
    original, copy = model(layer), model(layer)
    torch.save({"state_dict": original.state_dict(), "epoch": 40, "optimizer": {}}, CHECKPOINT)

    run_lines("save_file")
    prompts, lengths = read_prompts(Path("prompt_learner.safetensors"), SIZES)
    expected = original.prompt_learner.state_dict()
    if layer is second_stage:
        assert lengths["image"].tolist() == LENGTHS["img"]
        np.testing.assert_array_equal(prompts["text"][1], expected["ctx_txt_lst.1"])
    else:
        assert lengths is None
        np.testing.assert_array_equal(prompts["text"][1, 1:], expected["ctx_txt_lst.1.1"])

    write_prompts(Path("prompt_learner.safetensors"), prompts, lengths)
    run_lines("load_file")
    state = torch.load(CHECKPOINT)["state_dict"]
    missing, unexpected = copy.load_state_dict(state, strict=False)
    assert missing == ["image_encoder.weight", "image_encoder.bias"] and not unexpected
    for name, tensor in copy.prompt_learner.state_dict().items():
        assert torch.equal(tensor, expected[name])
