import hashlib

import numpy as np
import pytest

from dpl_jax.data.load import load_dataset
from dpl_jax.data.split import Item, build_dataset, list_hash, subsample_classes
from dpl_jax.data.templates import TEMPLATES, prompts_for
from dpl_jax.errors import DataError


def build(make_items, counts, **options):
    return build_dataset(
        "toy",
        train=make_items(counts, "train"),
        val=make_items(counts, "val"),
        test=make_items(counts, "test"),
        template="{}",
        **options,
    )


def test_labels_with_gaps_are_numbered_in_their_own_order(make_items):
    dataset = build(make_items, {7: 2, 3: 1, 12: 1})
    assert dataset.classnames == ("class 3", "class 7", "class 12")
    for split in (dataset.train, dataset.val, dataset.test):
        assert all(dataset.classnames[item.label] == item.classname for item in split)
        assert {item.label for item in split} == {0, 1, 2}


@pytest.mark.parametrize("count", [2, 5, 8])
def test_base_and_new_part_the_classes_and_number_them_from_zero(make_items, count):
    dataset = build(make_items, {label: 3 for label in range(count)})
    base, new = subsample_classes(dataset, "base"), subsample_classes(dataset, "new")
    assert len(base.classnames) == -(-count // 2)
    assert base.classnames + new.classnames == dataset.classnames
    for split in ("train", "val", "test"):
        names = [i.name for part in (base, new) for i in getattr(part, split)]
        assert sorted(names) == sorted(i.name for i in getattr(dataset, split))
        for part in (base, new):
            items = getattr(part, split)
            assert {item.label for item in items} == set(range(len(part.classnames)))
            assert all(part.classnames[item.label] == item.classname for item in items)


def test_an_unknown_choice_of_classes_and_an_empty_half_are_errors(make_items):
    with pytest.raises(DataError, match="base"):
        subsample_classes(build(make_items, {0: 1, 1: 1}), "old")
    with pytest.raises(DataError, match="no half"):
        subsample_classes(build(make_items, {0: 1}), "new")


def test_class_names_must_tell_the_classes_apart(make_items):
    names = {0: "Sea_Lion", 1: "sea lion"}
    items = make_items({0: 1, 1: 1}, classnames=names)
    with pytest.raises(DataError, match=r"sea lion.*label 0 and label 1"):
        build_dataset("toy", train=items, val=[], test=[], template="{}")
    same = build_dataset("toy", train=items, val=[], test=[], template="{}", same_names=True)
    assert same.classnames == ("Sea_Lion", "sea lion")


def test_one_label_cannot_have_two_names(make_items):
    train = make_items({0: 1}, classnames={0: "cat"})
    test = make_items({0: 1}, "test", classnames={0: "dog"})
    with pytest.raises(DataError, match="'cat' and 'dog'"):
        build_dataset("toy", train=train, val=[], test=test, template="{}")


def test_a_dataset_without_images_is_an_error():
    with pytest.raises(DataError, match="no images"):
        build_dataset("toy", train=[], val=[], test=[], template="{}")


def test_the_hash_covers_names_labels_and_order():
    blank = np.zeros((1, 1, 3), np.uint8)
    items = [Item(blank, 0, "a", "x"), Item(blank, 1, "b", "y")]
    assert list_hash(items) == hashlib.sha256(b'["x", 0]\n["y", 1]\n').hexdigest()
    assert list_hash(items[::-1]) != list_hash(items)


def test_underscores_become_spaces_in_prompts():
    prompts = prompts_for(["sea_lion", "Boeing 707"], "a photo of a {}, a type of pet.")
    assert prompts == [
        "a photo of a sea lion, a type of pet.",
        "a photo of a Boeing 707, a type of pet.",
    ]


@pytest.mark.parametrize("template", ["a photo.", "{} and {}"])
def test_a_template_has_one_place_for_the_class_name(template, data_config):
    with pytest.raises(DataError, match="exactly once"):
        prompts_for(["cat"], template)
    with pytest.raises(DataError, match="exactly once"):
        load_dataset(data_config(name="digits", template=template))


def test_every_template_can_be_used():
    for template in TEMPLATES.values():
        assert prompts_for(["cat"], template) == [template.format("cat")]


def test_the_digits_are_split_evenly_and_look_like_the_source(data_config):
    from sklearn.datasets import load_digits

    source = load_digits()
    dataset = load_dataset(data_config(name="digits"))
    splits = [dataset.train, dataset.val, dataset.test]
    assert [len(split) for split in splits] == [898, 359, 540]
    assert len({item.name for split in splits for item in split}) == 1797
    for split, share in zip(splits, (0.5, 0.2, 0.3), strict=True):
        counts = np.bincount([item.label for item in split])
        np.testing.assert_allclose(counts, share * np.bincount(source.target), atol=1)
    for item in dataset.test[::50]:
        index = int(item.name.removeprefix("digits/"))
        assert source.target[index] == item.label
        np.testing.assert_allclose(item.image[:, :, 1], source.images[index] * 255 / 16, atol=0.5)


def test_an_unknown_dataset_or_source_is_one_error(data_config):
    with pytest.raises(DataError, match=r"data.name is 'cifar10'; known are .*caltech101"):
        load_dataset(data_config(name="cifar10"))
    with pytest.raises(DataError, match=r"data\.source"):
        load_dataset(data_config(name="caltech101", source="web"))
