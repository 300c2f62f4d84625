"""Weights on disk: what is saved comes back, and what was damaged is refused in one line."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.classifiers import weights


@pytest.fixture
def state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    tensors = {f"layer{i}.weight": torch.randn(50, 7 + i, generator=generator) for i in range(5)}
    return {**tensors, "steps": torch.tensor(12)}


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "PART_BYTES", 4000)


def test_what_is_saved_comes_back(tmp_path: Path, state: dict[str, Tensor]) -> None:
    facts = {"accuracy": 0.5, "schedule": {"stages": [1, 2]}}
    paths = weights.save(tmp_path, "judge", state, facts)
    assert [path.name for path in paths] == ["judge.safetensors"]
    loaded, read = weights.load(tmp_path, "judge")
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    assert read["accuracy"] == 0.5
    assert read["schedule"] == {"stages": [1, 2]}
    assert read["weights"] == weights.fingerprint(state)


def test_parts_stay_below_their_limit_and_come_back(
    tmp_path: Path, state: dict[str, Tensor], in_parts: None
) -> None:
    paths = weights.save(tmp_path, "judge", state, {})
    assert len(paths) > 2
    assert paths[0].name == f"judge-1of{len(paths)}.safetensors"
    assert all(path.stat().st_size < 4000 + 1000 for path in paths)
    loaded, _ = weights.load(tmp_path, "judge")
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_half_precision_is_what_rounded_says(tmp_path: Path, state: dict[str, Tensor]) -> None:
    weights.save(tmp_path, "judge", state, {}, half=True)
    loaded, facts = weights.load(tmp_path, "judge")
    expected = weights.rounded(state, half=True)
    assert facts["precision"] == "float16"
    for name, tensor in state.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], expected[name])
        assert torch.allclose(loaded[name].double(), tensor.double(), rtol=2**-11, atol=1e-7)


def test_saving_again_leaves_no_old_part(
    tmp_path: Path, state: dict[str, Tensor], in_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights.save(tmp_path, "judge", state, {})
    monkeypatch.setattr(weights, "PART_BYTES", 10**6)
    weights.save(tmp_path, "judge", state, {})
    assert [path.name for path in tmp_path.iterdir()] == ["judge.safetensors"]


def test_nothing_there_is_told_apart_from_damage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="judge"):
        weights.load(tmp_path, "judge")


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_part_is_refused(
    tmp_path: Path, state: dict[str, Tensor], in_parts: None, keep: int
) -> None:
    path = weights.save(tmp_path, "judge", state, {})[1]
    path.write_bytes(path.read_bytes()[:keep])
    assert path.name in refusal(tmp_path)


def test_an_altered_part_is_refused(tmp_path: Path, state: dict[str, Tensor], in_parts: None) -> None:
    path = weights.save(tmp_path, "judge", state, {})[1]
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    message = refusal(tmp_path)
    assert path.name in message
    assert "altered" in message


def test_a_missing_part_is_refused(tmp_path: Path, state: dict[str, Tensor], in_parts: None) -> None:
    weights.save(tmp_path, "judge", state, {})[1].unlink()
    assert "fetch them all" in refusal(tmp_path)


def test_a_part_of_other_weights_is_refused(tmp_path: Path, state: dict[str, Tensor], in_parts: None) -> None:
    path = weights.save(tmp_path, "judge", state, {})[1]
    other = {name: tensor + 1 for name, tensor in state.items()}
    foreign = weights.save(tmp_path / "other", "judge", other, {})[1]
    path.write_bytes(foreign.read_bytes())
    assert "other weights" in refusal(tmp_path)


def test_the_fingerprint_sees_every_name_shape_and_bit(state: dict[str, Tensor]) -> None:
    first = weights.fingerprint(state)
    assert weights.fingerprint(dict(reversed(state.items()))) == first
    renamed = {("other" if name == "steps" else name): tensor for name, tensor in state.items()}
    reshaped = {**state, "layer3.weight": state["layer3.weight"].T.contiguous().T.reshape(10, 50)}
    nudged = {**state, "layer0.weight": torch.nextafter(state["layer0.weight"], torch.tensor(9.0))}
    assert len({first, *map(weights.fingerprint, (renamed, reshaped, nudged))}) == 4


def refusal(folder: Path) -> str:
    """The one line that refuses to load."""
    with pytest.raises(weights.WeightsError) as caught:
        weights.load(folder, "judge")
    message = str(caught.value)
    assert "\n" not in message
    return message
