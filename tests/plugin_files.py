"""The plugins in `tests/plugins`, as they are or with another body of `fit` or `impute`."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent, indent

FOLDER = Path(__file__).parent / "plugins"


def code_of(name: str, **bodies: str) -> str:
    """A plugin's code.

    Args:
        bodies: by a method's name, the code that takes the place of the line marked with it: "# FIT".
    """
    code = (FOLDER / f"{name}.py").read_text()
    for method, body in bodies.items():
        indented = indent(dedent(body).strip("\n"), "        ")
        lines = re.findall(rf"(?m)^.*# {method.upper()}$", code)
        assert len(lines) == 1, f"{name} has no line that is marked {method.upper()}"
        code = code.replace(lines[0], indented)
    return code
