"""An ablation's members against the same runs alone, through the real run folders."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jsonschema
import numpy as np
import pytest
from absl import flags
from ml_collections import ConfigDict, config_flags

from dpl_jax import config as base
from dpl_jax.errors import ConfigError
from dpl_jax.evaluate import evaluate
from dpl_jax.files.json import read_json
from dpl_jax.members.groups import Grouping, group_members, member_mesh
from dpl_jax.members.seed_bank import SeedBank, load_seed_bank
from dpl_jax.members.stages import search_stage
from dpl_jax.members.states import Member, cut_supernet
from dpl_jax.prompts.trees import TOWERS, limit_alphas
from dpl_jax.runs import checkpoints
from dpl_jax.runs.metrics import read_metrics
from dpl_jax.search import search
from dpl_jax.studies.ablation import ablate, list_members
from dpl_jax.studies.ablation_report import table
from dpl_jax.studies.comparison.compare import compare
from dpl_jax.train import train
from tests.support.results_schema import check_results

EPOCHS = 3
MEMBERS = [Member(2, 1), Member(2, 2), Member(1, 1), Member(1, 2)]
GROUP = 3  # so that the second group has one member and two repeats
LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"


class Compilations(Counter[str]):
    """Counts the programs that JAX compiles (or looks up in the cache on disk), by name."""

    def __call__(self, event: str, duration: float, **about: Any) -> None:
        if event == LOWERED:
            self[str(about["fun_name"])] += 1


@pytest.fixture(scope="module")
def compilations() -> Compilations:
    counter = Compilations()
    jax.monitoring.register_event_duration_secs_listener(counter)
    return counter


@pytest.fixture(scope="module")
def config(clip_folder: Path) -> ConfigDict:
    config = base.get_config()
    config.clip.path = str(clip_folder)
    config.data.shots = 2
    config.progress = "off"
    config.search.prompt_scale = ConfigDict({"image": 0.3, "text": 0.3})
    for stage in (config.search, config.train):
        stage.epochs = EPOCHS
        stage.prompts.learning_rate = 0.02
    config.search.alphas.update({"b1": 0.6, "b2": 0.99})
    config.train.prompt_scale = 0.05
    config.ablate.max_context_length = (2, 1)
    config.ablate.seeds = (1, 2)
    return config


@pytest.fixture(scope="module")
def ablation(config: ConfigDict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dpl_jax.studies.ablation.group_members", lambda *_: in_groups(1))
        return ablate(config, tmp_path_factory.mktemp("ablation"))


def in_groups(devices: int, size: int = GROUP) -> Grouping:
    return Grouping(size, member_mesh(jax.devices()[:devices]))


class Alone(NamedTuple):
    """The folders of a member's search and training by themselves."""

    search: Path
    train: Path


# One of the first group, and one of the group that is filled up.
@pytest.fixture(scope="module", params=MEMBERS[2:], ids=str)
def member(request: pytest.FixtureRequest) -> Member:
    return request.param


@pytest.fixture(scope="module")
def alone(
    member: Member,
    config: ConfigDict,
    compilations: Compilations,  # counts from here on
    tmp_path_factory: pytest.TempPathFactory,
) -> Alone:
    config = stand_alone(config, member)
    searched = search(config, tmp_path_factory.mktemp("search"))
    lengths = searched / "configuration.json"
    return Alone(searched, train(config, lengths, tmp_path_factory.mktemp("train")))


def stand_alone(config: ConfigDict, member: Member) -> ConfigDict:
    config = config.copy_and_resolve_references()
    config.search.max_context_length, config.seed = member
    return config


def group_folder(ablation: Path, stage: str, member: Member) -> tuple[Path, int]:
    first, index = divmod(MEMBERS.index(member), GROUP)
    return ablation / f"{stage}-members-{GROUP * first + 1}-{GROUP * first + GROUP}", index


def params_of(ablation: Path, stage: str, member: Member) -> Any:
    folder, index = group_folder(ablation, stage, member)
    return jax.tree.map(lambda leaf: leaf[index], checkpoints.load(folder).tree["params"])


def found_of(ablation: Path, member: Member) -> Any:
    found = read_json(ablation / "ablation.json")["members"]
    return next(each for each in found if (each["max_context_length"], each["seed"]) == member)


def assert_close(ours: Any, expected: Any) -> None:
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-4), ours, expected)


def test_a_masked_member_equals_the_search_alone(
    ablation: Path, alone: Alone, member: Member
) -> None:
    ours = cut_supernet(params_of(ablation, "search", member), member.max_context_length)
    assert_close(ours, checkpoints.load(alone.search).tree["params"])
    found = read_json(alone.search / "configuration.json")
    assert found_of(ablation, member)["lengths"] == found["lengths"]
    assert found_of(ablation, member)["prompt_tokens"] == found["prompt_tokens"]
    last = read_metrics(alone.search)[-1]
    for name, value in found_of(ablation, member)["search"].items():
        assert value == pytest.approx(last[name], abs=1e-4)


def test_a_masked_member_equals_the_training_alone(
    ablation: Path, alone: Alone, member: Member
) -> None:
    expected = checkpoints.load(alone.train).tree["params"]["prompts"]
    ours = params_of(ablation, "train", member)["prompts"]
    for tower in TOWERS:
        rows = expected[tower].shape[1]
        np.testing.assert_allclose(ours[tower][:, :rows], expected[tower], rtol=0, atol=1e-4)
        assert not ours[tower][:, rows:].any()


def test_a_member_is_evaluated_as_the_run_alone(
    ablation: Path, alone: Alone, member: Member
) -> None:
    found = found_of(ablation, member)
    for folder, method in ((alone.search, "supernet"), (alone.train, "dpl")):
        result = evaluate(folder)
        assert found[method]["accuracy"] == pytest.approx(result["dpl"]["accuracy"], abs=1 / 540)
        zero_shot = read_json(ablation / "ablation.json")["zero_shot"]
        assert zero_shot["accuracy"] == result["zero_shot"]["accuracy"]


def test_members_on_two_devices_equal_those_on_one(config: ConfigDict) -> None:
    config = stand_alone(config, Member(2, 1))
    bank = load_seed_bank(config, [1, 2], hold_out=True)
    epochs = {}
    for devices in (1, 2):
        stage = search_stage(config, bank, in_groups(devices).mesh, MEMBERS)
        epoch = stage.run_steps(stage.start(), 0, slice(None))
        held_by = {leaf.sharding.num_devices for leaf in jax.tree.leaves(epoch)}
        assert held_by == {devices}
        epochs[devices] = jax.device_get(epoch)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), epochs[2], epochs[1]
    )


def test_the_search_moves_prompts_and_alphas(ablation: Path) -> None:
    rows = read_metrics(group_folder(ablation, "search", MEMBERS[0])[0])
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    losses = np.array([row["members"]["val_loss"] for row in rows])
    assert losses.shape == (EPOCHS, GROUP)
    assert (np.ptp(losses, axis=0) > 1e-3).all()
    np.testing.assert_allclose([row["val_loss"] for row in rows], losses.mean(axis=1))


def test_a_finished_ablation_is_not_run_again(
    ablation: Path, config: ConfigDict, compilations: Compilations, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (ablation / "ablation.json").read_text()
    monkeypatch.setattr("dpl_jax.studies.ablation.group_members", lambda *_: in_groups(1))
    programs = compilations.copy()
    ablate(config, ablation)
    assert (ablation / "ablation.json").read_text() == before
    assert not any("members" in name for name in compilations - programs)


def test_epochs_and_runs_of_equal_shapes_compile_once(
    alone: Alone,
    member: Member,
    config: ConfigDict,
    compilations: Compilations,
    tmp_path: Path,
) -> None:
    before = compilations.copy()
    search(stand_alone(config, member._replace(seed=7)), tmp_path / "run")
    assert compilations == before
    assert [count for name, count in compilations.items() if "search_epoch" in name] == [1]


def test_the_table_has_a_row_for_each_context_length(ablation: Path) -> None:
    found = read_json(ablation / "ablation.json")
    columns, rows = table(found)
    assert [row[0] for row in rows] == ["zero-shot", "1", "2"]
    accuracies = [100 * found_of(ablation, Member(2, seed))["dpl"]["accuracy"] for seed in (1, 2)]
    row = dict(zip(columns, rows[2], strict=True))
    assert row["accuracy %"] == pytest.approx(np.mean(accuracies))
    assert row["std"] == pytest.approx(np.std(accuracies, ddof=1))
    for suffix, start in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
        assert (ablation / f"ablation{suffix}").read_bytes().startswith(start)


def test_the_file_fits_its_schema(ablation: Path) -> None:
    found = read_json(ablation / "ablation.json")
    check_results(found)
    del found["members"][3]["dpl"]["macro_f1"]
    with pytest.raises(jsonschema.ValidationError):
        check_results(found)


def test_masked_alphas_have_no_weight_and_no_gradient() -> None:
    alphas = {"image": jnp.array([[0.3, -1.0, 2.0, 0.5]]), "text": jnp.zeros((2, 4))}
    values = jnp.array([1.0, -2.0, 3.0, 1e4])

    def mixture(alphas: dict[str, jax.Array], limit: Any) -> jax.Array:
        limited = limit_alphas(alphas, limit)
        return sum((jax.nn.softmax(limited[tower]) * values).sum() for tower in TOWERS)

    gradients = jax.jit(jax.grad(mixture))(alphas, jnp.asarray(2))
    smaller = {tower: alpha[:, :3] for tower, alpha in alphas.items()}
    for tower, alpha in smaller.items():
        expected = jax.grad(lambda a: (jax.nn.softmax(a) * values[:3]).sum())(alpha)
        np.testing.assert_allclose(gradients[tower][:, :3], expected, atol=1e-6)
        assert (gradients[tower][:, 3] == 0).all()


@pytest.fixture(scope="module")
def bank(config: ConfigDict) -> SeedBank:
    return load_seed_bank(stand_alone(config, Member(2, 1)), [1, 2], hold_out=True)


def groupings(
    config: ConfigDict, bank: SeedBank, devices: int, monkeypatch: pytest.MonkeyPatch
) -> dict[int, Grouping]:
    own = jax.devices()[:devices]
    monkeypatch.setattr("jax.local_devices", lambda: own)
    found = {}
    for limit in range(0, 4_000_000, 200_000):
        monkeypatch.setattr("dpl_jax.members.groups.memory_limit", lambda _, limit=limit: limit)
        found[limit] = group_members(stand_alone(config, Member(2, 1)), bank, MEMBERS)
    return found


def test_members_are_split_by_the_memory_limit(
    config: ConfigDict, bank: SeedBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {limit: each.size for limit, each in groupings(config, bank, 1, monkeypatch).items()}
    assert list(sizes.values()) == sorted(sizes.values())
    assert set(sizes.values()) == {1, 2, 3, 4}
    needed = {size: min(limit for limit in sizes if sizes[limit] == size) for size in (2, 3, 4)}
    one = needed[4] - needed[3]
    assert one == pytest.approx(needed[3] - needed[2], abs=400_000)
    assert one > 100_000


def test_the_cores_of_a_processor_share_its_memory(
    config: ConfigDict, bank: SeedBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_one, on_two = (groupings(config, bank, devices, monkeypatch) for devices in (1, 2))
    for limit, (size, mesh) in on_two.items():
        assert size % mesh.size == 0
        assert size <= on_one[limit].size  # CLIP lies in the memory twice
    assert {mesh.size for _, mesh in on_two.values()} == {1, 2}
    assert {size for size, _ in on_two.values()} == {1, 2, 4}


def test_lists_are_given_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    values = flags.FlagValues()
    digits = Path(__file__).parents[2] / "configs" / "digits.py"
    config_flags.DEFINE_config_file("config", flag_values=values, lock_config=True)
    lists = ["--config.ablate.max_context_length=2,4,6", "--config.ablate.seeds=3"]
    monkeypatch.setattr("sys.argv", ["ablate", f"--config={digits}", *lists])
    values(sys.argv)
    assert list_members(values.config) == [Member(2, 3), Member(4, 3), Member(6, 3)]


@pytest.mark.parametrize("field", ["max_context_length", "seeds"])
@pytest.mark.parametrize("values", [(), (1, 1), (-1,), ("a",), (1.5,)])
def test_wrong_lists_are_named(field: str, values: tuple[Any, ...], config: ConfigDict) -> None:
    config = config.copy_and_resolve_references()
    config.ablate[field] = values
    with pytest.raises(ConfigError, match=f"ablate.{field}"):
        list_members(config)
    config.compare.seeds = values
    with pytest.raises(ConfigError, match=r"config\.compare\.seeds is"):
        compare(config)
