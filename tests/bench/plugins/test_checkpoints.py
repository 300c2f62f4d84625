"""Checkpoints on disk: what goes in comes out; what is torn counts as not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.plugins.checkpoints import DiskCheckpoints

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
plain = st.none() | st.booleans() | numbers | st.text()
tensors = st.lists(st.floats(-10, 10, width=32), max_size=4).map(torch.tensor)
keys = st.text(max_size=5) | st.integers(0, 5)
states = st.dictionaries(
    keys,
    st.recursive(
        plain | tensors, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)
    ),
    max_size=4,
)


def same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and bool(first == second)


def test_keys_that_spell_one_path_and_numbers_that_are_not_finite_come_out(tmp_path: Path) -> None:
    one, two, three = (torch.tensor([float(number)]) for number in range(3))
    state: dict[Any, Any] = {
        "a/b": one,
        "a": {"b": two},
        1: three,
        "1": one,
        "best": float("inf"),
        "least": -float("inf"),
    }
    DiskCheckpoints(tmp_path).save(state)
    found = DiskCheckpoints(tmp_path).load()
    assert found is not None and same(found, state)


@given(state=states)
@settings(max_examples=60)
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, state: dict[Any, Any]) -> None:
    checkpoints = DiskCheckpoints(tmp_path_factory.mktemp("fit"))
    checkpoints.save(state)
    loaded = checkpoints.load()
    assert loaded is not None and same(loaded, state)


def test_two_are_kept_and_the_newest_is_loaded(tmp_path: Path) -> None:
    checkpoints = DiskCheckpoints(tmp_path)
    assert checkpoints.load() is None
    for number in range(5):
        checkpoints.save({"number": number, "values": torch.full((3,), float(number))})
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    loaded = checkpoints.load()
    assert loaded is not None and loaded["number"] == 4


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_torn_one_is_passed_over(tmp_path: Path, suffix: str, damage: str) -> None:
    checkpoints = DiskCheckpoints(tmp_path)
    for number in range(2):
        checkpoints.save({"number": number, "values": torch.arange(100.0)})
    newest = max(tmp_path.glob(f"*.{suffix}"))
    content = newest.read_bytes()
    if damage == "cut":
        newest.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        newest.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
    else:
        newest.unlink()
    loaded = checkpoints.load()
    assert loaded is not None and loaded["number"] == 0


def test_named_states_stay_and_missing_ones_are_told(tmp_path: Path) -> None:
    checkpoints = DiskCheckpoints(tmp_path)
    checkpoints.put("stage-0", {"weight": torch.ones(2)})
    for _ in range(4):
        checkpoints.save({})
    assert torch.equal(checkpoints.get("stage-0")["weight"], torch.ones(2))
    with pytest.raises(KeyError, match="stage-1"):
        checkpoints.get("stage-1")


def test_what_is_no_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"cannot hold a function \(at /inner/0\)"):
        DiskCheckpoints(tmp_path).save({"inner": [lambda: None]})


def test_the_time_of_all_processes_adds_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("bench.plugins.checkpoints.time.monotonic", lambda: clock[0])
    for began, worked, lost, before in (
        (100.0, 7.0, 2.0, 0.0),
        (500.0, 4.0, 9.0, 7.0),
        (900.0, 1.0, 0.0, 11.0),
    ):
        clock[0] = began
        checkpoints = DiskCheckpoints(tmp_path)
        checkpoints.load()
        assert checkpoints.seconds_before == before
        clock[0] += worked
        checkpoints.save({"step": 1})
        # What is done after the newest checkpoint is done again, and counts once.
        clock[0] += lost


UNREADABLE: dict[str, tuple[Any, str]] = {
    "tuple key": ({(1, 2): torch.zeros(1)}, r"the key \(1, 2\) \(at /kept\); give keys that are texts"),
    "infinite key": ({float("inf"): 1}, "the key inf"),
    "long key": ({10**5000: 1}, "a key of more than 10000 bits"),
    "long number": (10**5000, "a whole number of more than 10000 bits"),
    "sparse": (
        torch.zeros(3, 3).to_sparse(),
        r"a tensor of layout sparse_coo \(at /kept\); give tensor.to_dense",
    ),
    "compressed": (torch.zeros(3, 3).to_sparse_csr(), "a tensor of layout sparse_csr"),
    "complex": (
        torch.zeros(3, dtype=torch.complex128),
        "a tensor of torch.complex128 .*; give torch.view_as_real",
    ),
    "quantized": (torch.quantize_per_tensor(torch.ones(3), 1.0, 0, torch.qint8), "a quantized tensor"),
    "nested": (torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "a nested tensor"),
    "no data": (torch.zeros(3, device="meta"), "a tensor without data"),
    "small floats": (torch.empty(4, dtype=torch.float8_e8m0fnu), "a tensor of torch.float8_e8m0fnu"),
    "a set": ({1}, r"a set \(at /kept\); give tensors, numbers"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_could_not_be_read_back_is_refused_when_it_is_saved(name: str, tmp_path: Path) -> None:
    value, why = UNREADABLE[name]
    checkpoints = DiskCheckpoints(tmp_path)
    checkpoints.save({"step": 1})
    for save in (checkpoints.save, lambda state: checkpoints.put("best", state)):
        with pytest.raises(TypeError, match=f"a checkpoint cannot hold {why}") as caught:
            save({"kept": value})
        assert "\n" not in str(caught.value)
    assert DiskCheckpoints(tmp_path).load() == {"step": 1}


@pytest.mark.parametrize("dtype", [torch.complex64, torch.bfloat16, torch.uint16, torch.bool, torch.float64])
def test_tensors_that_can_be_read_back_are_kept(dtype: torch.dtype, tmp_path: Path) -> None:
    state = {"a\ud800": torch.ones(3).to(dtype)}
    DiskCheckpoints(tmp_path).save(state)
    found = DiskCheckpoints(tmp_path).load()
    assert found is not None and same(found, state)
