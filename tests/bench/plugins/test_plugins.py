"""Methods, metrics and data sets that others bring: by installed packages and by files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench import datasets, metrics
from bench.errors import BenchError
from bench.plugins.registry import Description, describe, describe_all, find_methods
from tests.bench.installed import METHOD, bench, described, install, write

DATASET = """
import numpy as np
from bench.datasets import Dataset

def load(data_dir):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 1, 6, 6), dtype=np.uint8)
    return Dataset("tiny", pixels[:20], pixels[20:])
"""

METRIC = """
import numpy as np
from bench.errors import Unavailable

def mae(scoring):
    missing = np.broadcast_to(~scoring.observed, scoring.truth.shape)
    return {"value": np.abs(scoring.imputed - scoring.truth / 255)[missing].mean(), "unit": "grey"}

def raises(scoring):
    raise KeyError("no such\\nthing")

def writes(scoring):
    scoring.imputed[:] = 0
    return {"value": 0}

def infinite(scoring):
    return {"value": float("inf")}

def forgetful(scoring):
    return 3

def solo(scoring):
    scoring.per_image["solo"] = scoring.truth.mean(axis=(1, 2, 3))
    return {"value": scoring.per_image["solo"].mean()}

def stray(scoring):
    scoring.per_image["stray"] = [1, 2, 3]
    return {"value": 2}

def absent(scoring):
    raise Unavailable("needs a file; put it there")
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_two_copies_of_a_package_that_share_a_cache_are_told_apart(tmp_path: Path) -> None:
    groups = {"bench.methods": {"constant": "brought:Constant"}}
    for name, value in (("one", "0.1"), ("other", "0.9")):
        (tmp_path / name).mkdir()
        install(tmp_path / name, "brought", groups, METHOD.replace("0.25", value))
    for name, value in (("one", "0.1"), ("other", "0.9"), ("one", "0.1")):
        done = bench(tmp_path / name, "methods", "constant", cache=tmp_path / "shared")
        assert f"value={value}" in done.stdout, done.stdout + done.stderr


def test_one_package_brings_a_method_a_data_set_and_metrics(tmp_path: Path) -> None:
    metrics = ("absent", "forgetful", "infinite", "raises", "writes", "mae", "solo", "stray")
    groups = {
        "bench.methods": {"constant": "brought:Constant"},
        "bench.datasets": {"tiny": "brought:load"},
        "bench.metrics": {name: f"brought:{name}" for name in metrics},
    }
    install(tmp_path, "brought", groups, METHOD + DATASET + METRIC)
    arguments = "--methods constant --dataset tiny --rates 0.5 --preset smoke --train 20 --test 10"
    done = bench(tmp_path, "run", *arguments.split(), "--results", "results")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("results/tiny/pixel-0.5/constant@*/seed-0/result.json")
    result = json.loads(path.read_text())
    assert result["method"]["settings"] == {"value": 0.5, "bold": True}
    scores = result["metrics"]
    # Every imputed value is 0.5, and the true ones are uniform: the mean distance is 1/4.
    assert scores["mae"]["value"] == pytest.approx(0.25, abs=0.04)
    assert scores["mae"]["unit"] == "grey"
    assert scores["rmse"]["value"] == pytest.approx(1 / 12**0.5, abs=0.04)
    reasons = {name: score["reason"] for name, score in scores.items() if score["value"] is None}
    assert reasons["raises"] == r"brought:raises fails with KeyError: 'no such\nthing'"
    assert "read-only" in reasons["writes"]
    assert reasons["infinite"].endswith("its value is inf")
    assert 'a dict with a "value"' in reasons["forgetful"]
    assert reasons["absent"] == "needs a file; put it there"
    assert "10 finite numbers" in reasons["stray"]
    stored = np.load(path.with_name("per-image.npz"))
    assert list(stored["metrics"]) == ["rmse", "solo"]
    assert stored["scores"][1].mean() == pytest.approx(scores["solo"]["value"], rel=1e-6)


def test_a_package_without_its_module_is_shown_with_the_error(tmp_path: Path) -> None:
    install(tmp_path, "half", {"bench.methods": {"lost": "half.gone:Lost"}}, "raise RuntimeError('moved')")
    listed = bench(tmp_path, "methods")
    assert listed.returncode == 0
    lost = listed.stdout.partition("lost\n")[2].splitlines()
    assert lost[0] == "  source    half.gone:Lost (half 1.5)"
    assert "no: the method 'lost' cannot be loaded: RuntimeError: moved (line 1 of half.py)" in lost[1]
    assert "prflow: PRFlow" in listed.stdout


@pytest.mark.parametrize(
    ("group", "listed"),
    [
        ("bench.methods", find_methods),
        ("bench.datasets", datasets.registered),
        ("bench.metrics", metrics.registered),
    ],
)
def test_a_name_used_twice_is_refused_with_both_origins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, listed: Callable[[], object]
) -> None:
    install(tmp_path, "first", {group: {"same": "first:One"}})
    monkeypatch.syspath_prepend(tmp_path)
    listed()
    install(tmp_path, "second", {group: {"same": "second:Two"}})
    with pytest.raises(BenchError, match=r"'same'.* first:One.* second:Two") as told:
        listed()
    assert "\n" not in str(told.value)


def test_a_metric_may_not_take_the_name_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "other", {"bench.metrics": {"rmse": "other:rmse"}})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BenchError, match=r"'rmse': bench.metrics.rmse and other:rmse"):
        metrics.registered()


def test_a_file_and_a_package_of_one_name_are_refused_together(tmp_path: Path) -> None:
    path = write(tmp_path, METHOD, "mcflow")
    with pytest.raises(
        BenchError, match=rf"'mcflow' is used twice, by bench.methods.mcflow:MCFlow.* and by {path}"
    ):
        find_methods([path])


def test_a_method_says_what_it_is(tmp_path: Path) -> None:
    code = METHOD + "    def more(self):\n        import scipy.ndimage, not_installed_anywhere\n"
    found = described(write(tmp_path, code))
    assert found.summary == "Every missing pixel takes one value."
    assert {name: (setting.type, setting.default) for name, setting in found.settings.items()} == {
        "value": ("float", 0.25),
        "bold": ("bool", False),
    }
    assert found.requires == ("not_installed_anywhere", "scipy", "torch")
    assert found.absent == ["not_installed_anywhere"]


def test_what_a_method_prints_is_no_part_of_its_answer(tmp_path: Path) -> None:
    assert described(write(tmp_path, METHOD + 'print("{}")\n')).display_name == "mine"


def test_a_changed_file_is_asked_again(tmp_path: Path) -> None:
    before = described(write(tmp_path, METHOD))
    after = described(write(tmp_path, METHOD.replace("0.25", "0.75")))
    assert after.settings["value"].default == 0.75
    assert after.source != before.source


def test_a_change_of_the_method_it_derives_from_counts(tmp_path: Path) -> None:
    base = tmp_path / "base.py"
    code = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nfrom base import Constant\n"
    code += "class Derived(Constant):\n    'As its base.'\n"
    base.write_text(METHOD)
    before = described(write(tmp_path, code))
    base.write_text(METHOD.replace("0.25", "0.75"))
    after = described(write(tmp_path, code))
    assert (before.source != after.source) and after.settings["value"].default == 0.75


LATE = METHOD + "    def more(self):\n        from helping.numbers import VALUE\n        return VALUE\n"


def helpers(folder: Path, numbers: str = "VALUE = 1\n") -> None:
    """A package beside a plugin file."""
    (folder / "helping").mkdir(parents=True, exist_ok=True)
    (folder / "helping/__init__.py").touch()
    (folder / "helping/numbers.py").write_text(numbers)


def test_a_module_that_is_imported_late_counts_and_is_not_imported_to_find_out(tmp_path: Path) -> None:
    path = write(tmp_path, LATE)
    found = []
    for numbers in ("raise RuntimeError(1)\n", "raise RuntimeError(2)\n", "# Why.\nraise RuntimeError(2)\n"):
        helpers(tmp_path, numbers)
        found.append(described(path))
    assert found[0].source != found[1].source == found[2].source
    assert found[0].requires == ("torch",)


def test_a_module_that_comes_to_be_counts_from_then_on(tmp_path: Path) -> None:
    path = write(tmp_path, LATE)
    before = described(path)
    helpers(tmp_path)
    after = described(path)
    assert before.source != after.source
    assert before.requires == ("helping", "torch") and after.requires == ("torch",)
    (tmp_path / "helping/numbers").mkdir()
    (tmp_path / "helping/numbers/__init__.py").write_text("VALUE = 2\n")
    # Python takes the package where there is a module of its name too.
    assert described(path).source not in (before.source, after.source)


def test_a_module_that_was_loaded_by_other_means_counts(tmp_path: Path) -> None:
    code = (
        "import importlib, sys\nsys.path.insert(0, {!r})\nimportlib.import_module('help' + 'ing.numbers')\n"
    )
    path = write(tmp_path, code.format(str(tmp_path)) + METHOD)
    helpers(tmp_path)
    before = described(path)
    helpers(tmp_path, "VALUE = 2\n")
    assert described(path).source != before.source


def test_sentences_and_the_place_of_a_plugin_do_not_change_its_identity(tmp_path: Path) -> None:
    found = []
    for name in ("one", "other"):
        helpers(tmp_path / name)
        sentence = "Every missing pixel takes one value."
        code = LATE.replace(sentence, f"{sentence[:-1]}, said {name}.")
        found.append(described(write(tmp_path / name, code)))
    assert found[0].source == found[1].source
    assert [one.summary[-4:] for one in found] == ["one.", "her."]
    assert found[0].source.startswith("ast:")


def test_a_change_of_our_networks_counts_for_a_plugin_that_only_uses_them(tmp_path: Path) -> None:
    uses = "from bench.methods.mean import observed_mean\n"
    path = write(tmp_path, uses + METHOD)
    answer = next((tmp_path / "cache/methods").glob("*.json")) if described(path) else None
    assert answer is not None
    files = json.loads(answer.read_text())["files"]
    assert str(path) in files and any(file.endswith("bench/methods/mean.py") for file in files)


def test_an_installed_package_counts_by_relative_imports_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "brought", {"bench.methods": {"constant": "package.method:Constant"}})
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__init__.py").touch()
    (tmp_path / "package/method.py").write_text(LATE.replace("helping.numbers", ".numbers"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = []
    for value in (1, 2):
        (tmp_path / "package/numbers.py").write_text(f"VALUE = {value}\n")
        found.append(describe(find_methods()["constant"]).source)
    assert found[0] != found[1]


def test_the_list_shows_settings_with_what_changes_them(tmp_path: Path) -> None:
    path = write(tmp_path, METHOD.replace("import torch", "import torch, not_installed_anywhere"))
    wrong = write(tmp_path, METHOD + "    def more(self):\n        import not_there\n", "lazy")
    listed = bench(tmp_path, "methods", "mine", "lazy", "--plugin", path.name, "--plugin", wrong)
    assert listed.returncode == 1
    mine, _, lazy = listed.stdout.partition("lazy: lazy\n")
    assert "source    mine.py" in mine and "No module named 'not_installed_anywhere'" in mine
    assert [line.strip() for line in lazy.strip().splitlines()] == [
        "summary   Every missing pixel takes one value.",
        f"source    {wrong}",
        "requires  not_there, torch",
        "usable    no: not_there not installed",
        "setting   value=0.25 (float; smoke 0.5)",
        "setting   bold=false (bool; tiny true)",
    ]
    assert bench(tmp_path, "methods", "mnie", "--plugin", path).stderr == (
        "error: unknown method 'mnie'; did you mean 'mine'?\n"
    )


def test_a_plugin_file_is_run_by_its_name(tmp_path: Path) -> None:
    path = write(tmp_path, METHOD)
    command = ["run", "--methods", "mine", "--plugin", path.name, "--dataset", "mnist", "--rates", "0.9"]
    command += ["--preset", "smoke", "--train", "50", "--test", "40", "--results", "results"]
    wrong = bench(tmp_path, *command, "--set", "mine.valeu=1")
    assert wrong.returncode == 2
    assert wrong.stderr == "error: --set: unknown setting of mine 'valeu'; did you mean 'value'?\n"
    done = bench(tmp_path, *command, "--set", "mine.value=0")
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "results").rglob("result.json")
    result = json.loads(path.read_text())
    assert result["status"] == "ok" and result["cell"]["settings"] == {"value": 0.0}


FORGING = """
import json, os
said = {
    "display_name": "PRFlow", "summary": "", "details": "", "citation": "", "baseline": True,
    "settings": {}, "presets": {}, "for_dataset": {}, "requires": [], "bfloat16": True,
}
answer = ANSWER
for file in os.listdir("/proc/self/fd"):
    try:
        if int(file) > 2 and os.readlink(f"/proc/self/fd/{file}").startswith("pipe:"):
            os.write(int(file), json.dumps({"name": NAME, "answer": json.dumps(answer)}).encode() + b"\\n")
    except OSError:
        pass
os._exit(0)
"""
OTHERS = (
    '{"description": said | {"name": "prflow", "source": "ast:1"}, "files": [], "digest": "", "absent": []}'
)
NOWHERE = (
    '{"description": said, "module": "json", "qualname": "X", "found": {}, "loaded": ["json"], "absent": []}'
)


def forging(answer: str, name: str = "mine") -> str:
    return FORGING.replace("ANSWER", answer).replace("NAME", repr(name))


@pytest.mark.skipif(sys.platform != "linux", reason="the plugin finds its pipe in /proc")
def test_a_plugin_cannot_tell_its_name_or_the_identity_of_its_code(tmp_path: Path) -> None:
    path = write(tmp_path, forging(OTHERS))
    with pytest.raises(BenchError, match="'mine' cannot be loaded: its process sent something that is not a"):
        described(path)


@pytest.mark.skipif(sys.platform != "linux", reason="the plugin finds its pipe in /proc")
def test_the_code_of_a_plugin_that_tells_of_no_file_is_read_all_the_same(tmp_path: Path) -> None:
    """The plugin, and what it imports from beside it: an edit of either gives another identity."""
    code = forging(NOWHERE, "prflow") + "import helping_it\n"
    (tmp_path / "helping_it.py").write_text("VALUE = 1\n")
    path = write(tmp_path, code)
    first = described(path)
    assert first.name == "mine"
    write(tmp_path, code + "MORE = 2\n")
    second = described(path)
    (tmp_path / "helping_it.py").write_text("VALUE = 2\n")
    third = described(path)
    assert len({first.source, second.source, third.source}) == 3


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("found", '{"bench_plugin": "/dev/zero", "helping": "/dev/zero", "a": "a\\0"}'),
        ("loaded", '["a\\0", "", "..", "bench_plugin", "__main__"]'),
        ("qualname", '"\\ud800"'),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the plugin finds its pipe in /proc")
def test_a_false_answer_disturbs_no_other_method(tmp_path: Path, claim: str, value: str) -> None:
    false = write(tmp_path, forging(f'{NOWHERE} | {{"{claim}": {value}}}') + "import helping\n", "false")
    good = write(tmp_path, METHOD, "good")
    methods = find_methods([false, good])
    answers = describe_all([methods["false"], methods["good"]])
    assert isinstance(answers["good"], Description)
    assert isinstance(answers["false"], BenchError) or answers["false"].name == "false"


def test_answers_come_in_the_order_of_the_questions(tmp_path: Path) -> None:
    """Also where some are remembered and others are not."""
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.py").write_text(METHOD)
    methods = find_methods([tmp_path / f"{name}.py" for name in ("a", "b", "c")])
    describe_all([methods["b"]])
    assert [*describe_all(methods[name] for name in ("a", "b", "c"))] == ["a", "b", "c"]
