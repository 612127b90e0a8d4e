import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpl_jax.data.fewshot import hold_out_validation, sample_few_shot
from dpl_jax.data.load import load_dataset, sample
from dpl_jax.data.own_split import save_lists
from dpl_jax.data.split import Item, list_hash
from dpl_jax.errors import DataError

EXPECTED = json.loads((Path(__file__).parent / "caltech101_part_samples.json").read_text())


def items_of(labels, prefix):
    return [
        Item(Path("none"), label, f"c{label}", f"{prefix}{i}") for i, label in enumerate(labels)
    ]


def coop_sample(train, val, shots, seed):
    """CoOp's sampling, written down again from its description: global stream, no early exit."""
    random.seed(seed)
    drawn = []
    for items, count in ((train, shots), (val, min(shots, 4))):
        order = []
        for item in items:
            if item.label not in order:
                order.append(item.label)
        chosen = []
        for label in order:
            members = [item for item in items if item.label == label]
            if len(members) >= count:
                members = random.sample(members, count)
            chosen.extend(members)
        drawn.append(tuple(chosen))
    return tuple(drawn)


labels = st.lists(st.integers(0, 4), min_size=1, max_size=60)


@given(train=labels, val=labels, shots=st.integers(1, 9), seed=st.integers(0, 2**32))
def test_the_sample_is_coops(train, val, shots, seed):
    train, val = items_of(train, "train"), items_of(val, "val")
    ours = sample_few_shot(train, val, shots, seed, allow_fewer=True)
    assert ours == coop_sample(train, val, shots, seed)


def test_sampling_leaves_the_global_stream_alone(make_items):
    items = make_items({0: 5, 1: 5})
    random.seed(3)
    expected = random.random()
    random.seed(3)
    sample_few_shot(items, items, 2, seed=1)
    assert random.random() == expected


@pytest.mark.parametrize("run", sorted(EXPECTED))
def test_the_sampled_lists_of_real_caltech101(data_root, data_config, run):
    data = data_config(name="caltech101", root=str(data_root), shots=EXPECTED[run]["shots"])
    dataset = load_dataset(data)
    if list_hash(dataset.train) != EXPECTED[run]["split_sha256"]:
        pytest.skip("another part of Caltech101 than the expected lists were made from")
    sampled = sample(dataset, data, seed=EXPECTED[run]["seed"])
    for split in ("train", "val"):
        everything = getattr(dataset, split)
        expected = [everything[place] for place in EXPECTED[run][split]]
        assert [item.name for item in getattr(sampled, split)] == [i.name for i in expected]
    assert sampled.test == dataset.test


def test_zero_shots_take_the_whole_splits(make_items):
    train, val = make_items({0: 3, 1: 7}), make_items({0: 2, 1: 1}, "val")
    assert sample_few_shot(train, val, 0, seed=1) == (tuple(train), tuple(val))


def test_fewer_images_than_shots_is_one_error_that_names_the_classes(make_items):
    items = make_items({0: 3, 1: 9, 2: 1}, classnames={0: "cat", 1: "dog", 2: "emu"})
    with pytest.raises(DataError, match=r"cat \(3\), emu \(1\).*allow_fewer_shots=true"):
        sample_few_shot(items, [], 4, seed=1)


def test_fewer_images_than_shots_are_all_taken_where_allowed(make_items, caplog):
    items = make_items({0: 3, 1: 9}, classnames={0: "cat", 1: "dog"})
    train, _ = sample_few_shot(items, [], 4, seed=1, allow_fewer=True, hold_out=False)
    assert sorted(item.label for item in train) == [0] * 3 + [1] * 4
    assert "cat (3)" in caplog.text


@pytest.mark.parametrize(("shots", "held"), [(2, 1), (4, 2), (8, 4), (16, 4)])
def test_without_validation_part_of_the_sample_is_held_out(make_items, shots, held):
    items = make_items({0: 20, 1: 20})
    everything, none = sample_few_shot(items, [], shots, seed=2, hold_out=False)
    train, val = sample_few_shot(items, [], shots, seed=2)
    assert none == ()
    assert set(train) | set(val) == set(everything)
    assert not set(train) & set(val)
    assert [sum(i.label == label for i in val) for label in (0, 1)] == [held, held]


def test_with_one_shot_every_second_class_gives_its_image_to_validation(make_items):
    train, val = hold_out_validation(make_items({label: 1 for label in range(5)}))
    assert [item.label for item in train] == [0, 2, 4]
    assert [item.label for item in val] == [1, 3]


@pytest.mark.parametrize(("shots", "train"), [(-1, {0: 2}), (1, {})])
def test_what_cannot_be_sampled_is_an_error(make_items, shots, train):
    with pytest.raises(DataError):
        sample_few_shot(make_items(train), [], shots, seed=1)


def test_the_lists_of_a_run_are_saved_with_their_hash(tmp_path, data_config):
    data = data_config(name="digits", shots=2)
    full = load_dataset(data)
    task = sample(full, data, seed=1)
    save_lists(tmp_path, full, task)
    record = json.loads((tmp_path / "sampled.json").read_text())
    assert [row[0] for row in record["train"]] == [item.name for item in task.train]
    assert record["sha256"]["train"] == list_hash(task.train)
    assert record["sha256"]["train"] != list_hash(sample(full, data, seed=2).train)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sampled.json"]
