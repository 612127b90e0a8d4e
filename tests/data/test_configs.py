import importlib.util
from pathlib import Path

import pytest

from dpl_jax import config as base
from dpl_jax.config import check_config
from dpl_jax.data.coop.expected import EXPECTED
from dpl_jax.data.templates import TEMPLATES

CONFIGS = Path(__file__).parents[2] / "configs"


def load(name):
    spec = importlib.util.spec_from_file_location(name, CONFIGS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_dataset_has_a_config():
    names = {path.stem for path in CONFIGS.glob("*.py")}
    assert names >= set(TEMPLATES)


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_config_names_its_dataset_and_adds_no_field(name):
    config = load(name).get_config()
    check_config(config)
    assert config.data.name == name
    assert set(config.data) == set(base.get_config().data)
    changed = load(name).get_config("shots=4,seed=2")
    assert (changed.data.shots, changed.seed) == (4, 2)


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_configs_docstring_has_the_command_the_template_and_the_sizes(name):
    text = load(name).__doc__
    assert f"--config=configs/{name}.py" in text
    assert f'"{TEMPLATES[name]}"' in text
    if name in EXPECTED:
        sizes = EXPECTED[name]
        assert f"{sizes.classes} classes" in text
        assert str(sizes.test) in text
        if sizes.train:
            assert f"{sizes.train} / {sizes.val} / {sizes.test}" in text
