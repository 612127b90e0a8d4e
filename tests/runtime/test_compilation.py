"""Compiled programs are kept in a folder that belongs to the user alone."""

import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from dpl_jax.runtime import compilation as compilation_cache
from dpl_jax.runtime.compilation import private_folder, use_compilation_cache


@pytest.fixture(autouse=True)
def restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No cache to begin with, and the tests' own one afterwards."""
    names = [name for name in jax.config.values if "cache" in name]
    before = {name: jax.config.values[name] for name in names}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("DPL_COMPILATION_CACHE", raising=False)
    jax.config.update("jax_compilation_cache_dir", None)
    with warnings.catch_warnings():
        yield
    for name, value in before.items():
        jax.config.update(name, value)


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


def test_the_folder_is_made_and_private(tmp_path: Path) -> None:
    folder = use_compilation_cache()
    assert folder is not None and tmp_path / "dpl_jax" / "compiled" in folder.parents
    assert mode(folder) == mode(folder.parent) == 0o700
    assert jax.config.values["jax_compilation_cache_dir"] == str(folder)


def test_an_open_folder_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert private_folder(folder) == folder and mode(folder) == 0o700


def test_off_means_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DPL_COMPILATION_CACHE", "off")
    assert use_compilation_cache() is None
    assert jax.config.values["jax_compilation_cache_dir"] is None and not any(tmp_path.iterdir())


def test_a_folder_named_to_jax_stays(tmp_path: Path) -> None:
    jax.config.update("jax_compilation_cache_dir", "named")
    assert use_compilation_cache() == Path("named")
    assert not any(tmp_path.iterdir())


def test_without_a_place_for_it_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert use_compilation_cache() is None
    assert jax.config.values["jax_compilation_cache_dir"] is None


def test_a_folder_of_somebody_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getuid", lambda: 12345)
    assert private_folder(tmp_path / "a" / "b") is None


X86 = "processor : 0\nmodel name\t: A\nflags\t\t: fpu sse avx2\n"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("processor : 7\nmodel name\t: A\nflags\t\t: avx2 fpu sse\nprocessor : 8\n", True),
        ("processor : 0\nmodel name\t: A\nflags\t\t: fpu sse avx2 avx512f\n", False),
        ("processor : 0\nmodel name\t: B\nflags\t\t: fpu sse avx2\n", False),
        ("processor : 0\nFeatures\t: fp asimd\n", False),
    ],
)
def test_machines_that_are_alike_share_their_programs(tmp_path, monkeypatch, other, same) -> None:
    """Whatever their names are: containers get a new one each time."""
    monkeypatch.setattr(compilation_cache, "CPU_INFO", tmp_path / "cpuinfo")
    keys = []
    for name, contents in (("pod-1", X86), ("pod-2", other)):
        monkeypatch.setattr("platform.node", lambda name=name: name)
        (tmp_path / "cpuinfo").write_text(contents)
        keys.append(compilation_cache.machine_key())
    assert (keys[0] == keys[1]) is same


def test_another_jaxlib_has_programs_of_its_own(monkeypatch) -> None:
    before = compilation_cache.machine_key()
    monkeypatch.setattr("jaxlib.__version__", "9.9.9")
    assert compilation_cache.machine_key() != before


def test_the_programs_have_a_bound() -> None:
    use_compilation_cache()
    assert jax.config.values["jax_compilation_cache_max_size"] == 2 << 30
