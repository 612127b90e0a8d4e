"""The towers against transformers' own CLIPModel, with random weights of the real sizes."""

import jax
import numpy as np
import pytest

from dpl_jax import load_clip, zero_shot_logits
from dpl_jax.clip.features import image_features, text_features
from dpl_jax.clip.texts import end_positions

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

BASE_TEXT = {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8}
LARGE_TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
LARGE = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
}
GELU = {"hidden_act": "gelu"}
# name -> (text, vision, width of the common feature), as in the published config.json files
CONFIGS = {
    "ViT-B/32": (BASE_TEXT, BASE | {"patch_size": 32}, 512),
    "ViT-B/16": (BASE_TEXT, BASE | {"patch_size": 16}, 512),
    "ViT-L/14": (LARGE_TEXT, LARGE | {"patch_size": 14}, 768),
    "ViT-L/14@336": (LARGE_TEXT, LARGE | {"patch_size": 14, "image_size": 336}, 768),
    "LAION ViT-B/32": (BASE_TEXT | GELU, BASE | GELU | {"patch_size": 32}, 512),
}
END = 49407
# The second text ends early and is padded with the end-of-text id, as CLIP's tokenizer does.
INPUT_IDS = np.array(
    [[49406, 320, 1125, 539, 1929, 2368, 269, END], [49406, 518, 2000, END, END, END, END, END]]
)


@pytest.fixture(params=CONFIGS)
def pair(request, tmp_path):
    """A CLIPModel and ours, loaded from what it saved."""
    text, vision, features = CONFIGS[request.param]
    config = transformers.CLIPConfig(
        text_config={"num_hidden_layers": 12, "projection_dim": features, **text},
        vision_config={"num_hidden_layers": 12, "projection_dim": features, **vision},
        projection_dim=features,
    )
    torch.manual_seed(0)
    model = transformers.CLIPModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Biases start at 0 and gains at 1; moved, a mix-up of any two shows.
            parameter.add_(0.02 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path)
    clip = load_clip(tmp_path)
    for file in tmp_path.glob("*.safetensors"):
        file.unlink()  # pytest keeps the folders of three runs, and these are gigabytes
    return model, clip


def relative_error(ours, theirs):
    theirs = theirs.detach().numpy()
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def test_features_and_logits_equal_transformers(pair):
    model, clip = pair
    side = clip.sizes.vision.image_size
    images = np.random.default_rng(0).normal(size=(1, side, side, 3)).astype(np.float32)
    with torch.no_grad():
        out = model(
            pixel_values=torch.tensor(images.transpose(0, 3, 1, 2)),
            input_ids=torch.tensor(INPUT_IDS),
        )
    image, text = image_features(clip, images), text_features(clip, INPUT_IDS)
    normalised = [x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (image, text)]
    assert relative_error(normalised[0], out.image_embeds) < 1e-4
    assert relative_error(normalised[1], out.text_embeds) < 1e-4
    logits = zero_shot_logits(clip, images, INPUT_IDS)
    np.testing.assert_allclose(logits, out.logits_per_image.numpy(), atol=2e-3)
    sizes = {leaf.dtype for leaf in jax.tree.leaves(clip.params)}
    assert sizes == {np.dtype(np.float32)}


@pytest.mark.parametrize("eos", [2, 299])
def test_the_end_of_text_is_where_transformers_reads(eos):
    """The legacy id 2 means the largest id; any other means its first occurrence."""
    sizes = {
        "vocab_size": 300,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "eos_token_id": eos,
    }
    config = transformers.CLIPTextConfig(**sizes)
    torch.manual_seed(0)
    model = transformers.CLIPTextModel(config).eval()
    ids = np.random.default_rng(1).integers(5, 290, (6, 12))
    ends = np.arange(3, 9)
    ids[np.arange(6), ends] = 299
    ids[:, 11] = 299  # padding with the same id must not be taken
    with torch.no_grad():
        out = model(input_ids=torch.tensor(ids))
    positions = end_positions(ids, config)
    np.testing.assert_array_equal(positions, ends)
    read = out.last_hidden_state.numpy()[np.arange(6), positions]
    np.testing.assert_allclose(read, out.pooler_output.numpy(), atol=1e-6)
