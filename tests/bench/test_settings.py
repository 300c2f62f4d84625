"""Settings: what annotations say, and what is refused, in Python and on the command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le, Lt, MultipleOf
from torch import Tensor

from bench.cli import main
from bench.errors import BenchError
from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer
from bench.plugins.registry import Description, describe, find_methods
from bench.settings import Setting, settings_of
from tests.plugin_files import code_of

PLUGIN = code_of("bounded")


@dataclass
class Method(Imputer):
    epochs: Annotated[int, Ge(1)] = 5
    rate: Annotated[float, Gt(0), Lt(1)] = 0.5
    width: Annotated[int, MultipleOf(8), Le(64)] = 8
    share: Annotated[float, Interval(ge=0, le=1)] = 0.5
    loss: Literal["l1", "l2"] = "l1"
    bold: bool = False
    note: str = ""
    free: float = -1.0

    def fit(self, train: MaskedImages, context: FitContext) -> None: ...

    def impute(self, images: MaskedImages) -> Tensor:
        return images.values


def test_annotations_are_read() -> None:
    found = {name: (one.type, one.range) for name, one in settings_of(Method).items()}
    assert found == {
        "epochs": ("int", "at least 1"),
        "rate": ("float", "above 0 and below 1"),
        "width": ("int", "a multiple of 8 and at most 64"),
        "share": ("float", "at least 0 and at most 1"),
        "loss": ("str", "'l1' or 'l2'"),
        "bold": ("bool", ""),
        "note": ("str", ""),
        "free": ("float", ""),
    }
    assert all(Setting(**asdict(one)) == one for one in settings_of(Method).values())


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("epochs", 0, "must be at least 1, not 0"),
        ("epochs", 1.5, "must be a whole number, not 1.5"),
        ("epochs", True, "must be a whole number, not True"),
        ("epochs", "3", "must be a whole number, not '3'"),
        ("rate", 0.0, "must be above 0 and below 1, not 0.0"),
        ("rate", float("nan"), "must be above 0 and below 1, not nan"),
        ("width", 12, "must be a multiple of 8 and at most 64, not 12"),
        ("width", 72, "must be a multiple of 8 and at most 64, not 72"),
        ("share", -0.1, "must be at least 0 and at most 1, not -0.1"),
        ("loss", "L1", "must be 'l1' or 'l2', not 'L1'"),
    ],
)
def test_a_value_out_of_range_is_refused_in_python(name: str, value: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} ") as caught:
        Method(**{name: value})
    assert str(caught.value) == f"{name} {fault}"


def test_values_in_range_are_taken() -> None:
    Method(epochs=1, rate=0.999, width=64, share=1, loss="l2", bold=True, note="any", free=-1e9)


def test_a_field_of_a_base_class_in_another_module_is_resolved_there() -> None:
    @dataclass
    class Heir(Method):
        more: int = 0

    assert settings_of(Heir)["epochs"].range == "at least 1"
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        Heir(epochs=0)


def test_a_default_out_of_range_is_the_author_s_mistake() -> None:
    @dataclass
    class Wrong:
        epochs: Annotated[int, Ge(1)] = 0

    with pytest.raises(TypeError, match="default of setting 'epochs' must be at least 1, not 0"):
        settings_of(Wrong)


@pytest.fixture
def described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Description:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine.py").write_text(PLUGIN)
    return describe(find_methods([tmp_path / "mine.py"])["mine"])


def test_the_command_line_refuses_values_out_of_range(described: Description) -> None:
    assert described.parse("epochs", "7") == 7 and described.parse("loss", "l2") == "l2"
    with pytest.raises(BenchError, match=r"^mine.epochs must be at least 1, not -5$"):
        described.parse("epochs", "-5")
    with pytest.raises(BenchError, match=r"^mine.loss must be 'l1' or 'l2', not 'l3'$"):
        described.parse("loss", "l3")
    with pytest.raises(BenchError, match=r"^mine.epochs must be at least 1, not 0$"):
        described.resolve("smoke", "mnist", {"epochs": 0})


def test_a_preset_out_of_range_is_told_to_its_author(tmp_path: Path, described: Description) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN.replace('{"epochs": 2}', '{"epochs": 0}'))
    with pytest.raises(BenchError, match="in 'smoke', epochs must be at least 1, not 0"):
        describe(find_methods([tmp_path / "mine.py"])["mine"])


@pytest.mark.parametrize("name", sorted(point.name for point in entry_points(group="bench.methods")))
def test_no_method_takes_a_negative_size_or_rate(name: str) -> None:
    (point,) = entry_points(group="bench.methods", name=name)
    method = point.load()
    for setting, about in settings_of(method).items():
        if about.type in ("int", "float") and setting != "tau":
            with pytest.raises(ValueError, match=f"^{setting} must be "):
                method(**{setting: -5})
        if setting in ("epochs", "batch_size", "samples", "iterations", "learning_rate", "width"):
            with pytest.raises(ValueError, match=f"^{setting} must be "):
                method(**{setting: 0})


@pytest.mark.parametrize(
    "override", ["gain.batch_size=-5", "mcflow.epochs=-1", "prflow.patience=0", "miwae.samples=0"]
)
def test_nothing_runs_with_a_setting_out_of_range(
    override: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method, _, rest = override.partition(".")
    name, _, value = rest.partition("=")
    with pytest.raises(SystemExit) as left:
        where = ["--dataset", "mnist", "--rates", "0.8", "--results", str(tmp_path / "runs")]
        main(["run", "--methods", method, "--set", override, *where])
    assert left.value.code == 2
    assert capsys.readouterr().err == f"error: --set: {method}.{name} must be at least 1, not {value}\n"
    assert not (tmp_path / "runs").exists()
