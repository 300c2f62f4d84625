"""`bench new`: a method to start from, and its test."""

from __future__ import annotations

import keyword
from importlib.util import find_spec
from pathlib import Path
from string import Template

import click

from bench.errors import BenchError
from bench.plugins.registry import find_methods

METHOD = Template('''\
"""$title: say here what it does and where it was published."""

from dataclasses import dataclass

from torch import Tensor

from bench.images import MaskedImages
from bench.imputer import FitContext, Imputer


@dataclass
class $title(Imputer):
    """Every missing pixel takes the mean of the training images' observed values there."""

    prior: float = 1.0  # A setting: how many mid-grey observations each pixel starts with.

    display_name = "$title"
    presets = {"paper": {"prior": 0.1}}

    def fit(self, train: MaskedImages, context: FitContext) -> None:
        seen = train.observed.sum(0)
        self.mean = (train.values.sum(0) + 0.5 * self.prior) / (seen + self.prior)

    def impute(self, images: MaskedImages) -> Tensor:
        return self.mean.expand(images.pixels.shape)
''')

TEST = Template('''\
"""Tests of $title."""

from pathlib import Path

import torch
from $name import $title

from bench.plugins.conformance import failures
from bench.images import MaskedImages
from bench.imputer import FitContext


def test_it_keeps_the_contract() -> None:
    assert failures(Path(__file__).with_name("$name.py")) == []


def test_it_imputes_the_mean_of_what_was_observed() -> None:
    pixels = torch.tensor([0, 51, 102], dtype=torch.uint8).view(3, 1, 1, 1)
    observed = torch.tensor([False, True, True]).view(3, 1, 1, 1)
    images = MaskedImages(pixels, observed)
    method = $title(prior=0.0)
    method.fit(images, FitContext())
    assert torch.allclose(method.impute(images), torch.tensor(0.3))
''')


@click.command("new")
@click.argument("name")
def command(name: str) -> int:
    """Write a small working method, NAME.py, and its test, test_NAME.py, into the current folder."""
    check_name(name)
    title = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    files = {f"{name}.py": METHOD, f"test_{name}.py": TEST}
    for file in files:
        if Path(file).exists():
            raise BenchError(f"{file} exists already; choose another name or move it away")
    for file, template in files.items():
        Path(file).write_text(template.substitute(name=name, title=title))
        click.echo(f"wrote {file}")
    click.echo(f"check it with: bench check {name}.py")
    return 0


def check_name(name: str) -> None:
    """Check that a name can be a module's and is not taken.

    Raises:
        BenchError: it cannot, or it is taken.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or not name.strip("_"):
        raise BenchError(f"{name!r} cannot name a Python file; use letters, digits and _, as in my_method")
    if name in (known := find_methods()):
        raise BenchError(f"the method name {name!r} is taken by {known[name].origin}; choose another")
    if find_spec(name) is not None:
        raise BenchError(f"{name!r} is the name of an installed Python package; choose another")
