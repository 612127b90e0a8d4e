"""The core's small random CLIP, and one small comparison that several tests look at."""

from pathlib import Path

import pytest
from ml_collections import ConfigDict

from dpl_jax import config as base
from dpl_jax.studies.comparison.compare import compare

METHODS = (
    "zero_shot,linear_probe,tip_adapter,coop,uniform_1,random,dpl,dpl_inherit,mixture,discretised"
)


@pytest.fixture(scope="session")
def config(clip_folder: Path) -> ConfigDict:
    config = base.get_config()
    config.clip.path = str(clip_folder)
    config.data.shots = 2
    config.progress = "off"
    config.search.prompt_scale = ConfigDict({"image": 0.3, "text": 0.3})
    config.search.max_context_length = 2
    config.search.epochs, config.train.epochs = 2, 1
    for stage in (config.search, config.train):
        stage.prompts.learning_rate = 0.02
        stage.prompts.warmup_epochs = 0
    config.compare.methods = METHODS
    config.compare.seeds = (1, 2)
    return config


@pytest.fixture(scope="session")
def comparison(config: ConfigDict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compare(config, tmp_path_factory.mktemp("comparison"))
