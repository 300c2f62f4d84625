"""The identity of code: what may change without outdating a result, and what may not."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.plugins.source_code import read_code

Files = Mapping[str, str]

FILES: Files = {
    "own/__init__.py": "",
    "own/method.py": """
from __future__ import annotations

import math

from own.parts import layers
from own.parts.losses import squared

class Method:
    display_name = "A method"
    presets = {"quick": {"epochs": 3}}
    epochs: int = 10

    def fit(self, train):
        from own.late import RATE
        return layers.depth() + squared(RATE) + math.pi
""",
    "own/late.py": "RATE = 0.5\n",
    "own/parts/__init__.py": '"""Parts."""\n',
    "own/parts/layers.py": "from .sizes import WIDTH\n\ndef depth():\n    return WIDTH // 2\n",
    "own/parts/sizes.py": "WIDTH = 64\nHEIGHT = 64\n",
    "own/parts/losses.py": "def squared(value):\n    return value**2\n",
}
"""A method in a package: what it imports, and what that imports, once inside a function, once relatively."""


def identity(root: Path, files: Files, module: str = "own.method") -> str:
    """The identity of `module`, which the files define; every module below the root is an own one."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)

    def find(name: str) -> Path | None:
        place = root / Path(*name.split("."))
        found = (place.with_name(f"{place.name}.py"), place / "__init__.py")
        return next((path for path in found if path.is_file()), None)

    return read_code(module, "Method", find).identity


def changed(path: str, old: str, new: str, files: Files = FILES) -> dict[str, str]:
    assert old in files[path]
    return {**files, path: files[path].replace(old, new)}


def renamed(*pairs: tuple[str, str], files: Files = FILES) -> dict[str, str]:
    """The files with their paths and their text changed, pair by pair."""
    found = dict(files)
    for old, new in pairs:
        found = {path.replace(old, new): text.replace(old, new) for path, text in found.items()}
    return found


def unparsed(files: Files) -> dict[str, str]:
    """The same code without comments, in the layout that Python itself gives it."""
    return {path: ast.unparse(ast.parse(text)) for path, text in files.items()}


METHOD = "own/method.py"
SAME: dict[str, Files] = {
    "comments": changed("own/late.py", "0.5", "0.5  # a half"),
    "layout": unparsed(FILES),
    "a docstring": changed(
        METHOD, "    def fit(self, train):", '    def fit(self, train):\n        """Fit."""'
    ),
    "a module's docstring": changed("own/late.py", "RATE", '"""Late."""\nRATE'),
    "text below a constant": changed("own/late.py", "0.5", '0.5\n"""How fast."""'),
    "text between imports": changed(METHOD, "from own.parts import", '"""Ours."""\nfrom own.parts import'),
    "what people read": changed(METHOD, '"A method"', '"The method"'),
    "a preset": changed(METHOD, '"epochs": 3', '"epochs": 4'),
    "a citation": changed(METHOD, "    epochs: int", "    citation: str = '@misc'\n    epochs: int"),
    "an absolute import": changed("own/parts/layers.py", "from .sizes", "from own.parts.sizes"),
    "the order of imports": changed(
        METHOD,
        "from own.parts import layers\nfrom own.parts.losses import squared",
        "from own.parts.losses import squared\nfrom own.parts import layers",
    ),
    "a renamed module": renamed(("losses", "criteria")),
    "a renamed module that is called by its name": renamed(("layers", "blocks")),
    "a renamed module that is imported late": renamed(("late", "later")),
    "a renamed package": renamed(("own/parts", "own/pieces"), ("own.parts", "own.pieces")),
    "a moved module": renamed(("own/late", "own/parts/late"), ("own.late", "own.parts.late")),
    "a module moved into a new package": {
        **renamed(("own/late", "own/more/late"), ("own.late", "own.more.late")),
        "own/more/__init__.py": "",
    },
    "a module's name for itself": changed(
        METHOD, "from own.parts import layers", "import own.parts.layers as layers"
    ),
    "a module called by its whole name": changed(
        METHOD,
        "layers.depth()",
        "own.parts.layers.depth()",
        changed(METHOD, "from own.parts import layers", "import own.parts.layers"),
    ),
    "a file that nothing imports": {**FILES, "own/other.py": "VALUE = 1\n"},
}

DIFFERENT: dict[str, Files] = {
    "a number of the method": changed(METHOD, "math.pi", "math.pi + 1"),
    "a default": changed(METHOD, "epochs: int = 10", "epochs: int = 11"),
    "a number that is imported late": changed("own/late.py", "0.5", "0.25"),
    "a number behind a relative import": changed("own/parts/sizes.py", "WIDTH = 64", "WIDTH = 32"),
    "a number that nobody reads": changed("own/parts/sizes.py", "HEIGHT = 64", "HEIGHT = 32"),
    "an integer made a float": changed("own/parts/sizes.py", "WIDTH = 64", "WIDTH = 64.0"),
    "a number made a truth": changed("own/late.py", "0.5", "True"),
    "a package's code": {**FILES, "own/parts/__init__.py": "import torch\ntorch.manual_seed(1)\n"},
    "another function of a module": changed("own/parts/losses.py", "value**2", "abs(value)"),
    "another name that is imported": changed("own/parts/layers.py", "import WIDTH", "import HEIGHT as WIDTH"),
    "another outer module": changed(METHOD, "import math", "import cmath as math"),
    "the order of statements": changed(
        "own/parts/sizes.py", "WIDTH = 64\nHEIGHT = 64", "HEIGHT = 64\nWIDTH = 64"
    ),
    "an attribute for people that the code reads": changed(
        METHOD, "math.pi", "len(self.presets)", changed(METHOD, '{"epochs": 3}', "{}")
    ),
    "a text that is used": changed(METHOD, "math.pi", "len('''a text''')"),
}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> str:
    return identity(tmp_path_factory.mktemp("first"), FILES)


@pytest.mark.parametrize("files", SAME.values(), ids=SAME)
def test_a_change_that_changes_no_number_keeps_the_identity(tmp_path: Path, files: Files, first: str) -> None:
    assert files != FILES
    assert identity(tmp_path, files) == first


@pytest.mark.parametrize("files", DIFFERENT.values(), ids=DIFFERENT)
def test_a_change_that_may_change_a_number_changes_it(tmp_path: Path, files: Files, first: str) -> None:
    assert identity(tmp_path, files) != first


def test_an_attribute_for_people_counts_as_soon_as_any_own_code_reads_it(tmp_path: Path) -> None:
    reading = changed(METHOD, "math.pi", "len(self.presets)")
    more = changed(METHOD, '"epochs": 3', '"epochs": 3, "width": 4', reading)
    assert identity(tmp_path / "one", reading) != identity(tmp_path / "other", more)


def test_a_name_that_two_modules_define_tells_which_is_imported(tmp_path: Path) -> None:
    both = {"one.py": "VALUE = 1\n", "two.py": "VALUE = 2\n"}
    took = [identity(tmp_path, {**both, "m.py": f"from {name} import VALUE"}, "m") for name in ("one", "two")]
    assert took[0] != took[1]
    # With the values exchanged as well, the method takes what it took at first.
    exchanged = {"one.py": "VALUE = 2\n", "two.py": "VALUE = 1\n", "m.py": "from two import VALUE"}
    assert identity(tmp_path, exchanged, "m") == took[0]


def test_two_modules_that_exchange_their_names_are_told_apart(tmp_path: Path) -> None:
    modules = {"one.py": "def f():\n    return 1\n", "two.py": "def f():\n    return 2\n"}
    uses = (
        "from one import f as a\nfrom two import f as b",
        "from two import f as a\nfrom one import f as b",
    )
    found = {identity(tmp_path, {**modules, "m.py": f"{use}\nx = a() - b()"}, "m") for use in uses}
    aliases = ("import one as a, two as b", "import two as a, one as b")
    found |= {identity(tmp_path, {**modules, "m.py": f"{use}\nx = a.f() - b.f()"}, "m") for use in aliases}
    assert len(found) == 4


def test_the_last_of_two_imports_under_one_name_counts(tmp_path: Path) -> None:
    modules = {"one.py": "VALUE = 1\n", "two.py": "VALUE = 2\n"}
    lines = ("from one import VALUE", "from two import VALUE")
    stars = ("from one import *", "from two import *")
    for first, second in (lines, stars):
        texts = (f"{first}\n{second}", f"{second}\n{first}")
        assert len({identity(tmp_path, {**modules, "m.py": text}, "m") for text in texts}) == 2


def test_a_name_of_a_module_that_is_also_an_argument_counts(tmp_path: Path) -> None:
    """`g` returns something of its first argument in one text, of its second in the other."""
    code = "import one as {0}\n\ndef g(a, b):\n    return {0}.VALUE\n"
    modules = {"one.py": "VALUE = 1\n"}
    texts = [code.format(name) for name in ("a", "b")]
    assert len({identity(tmp_path, {**modules, "m.py": text}, "m") for text in texts}) == 2


def test_another_number_in_a_package_that_holds_code_counts(tmp_path: Path) -> None:
    found = set()
    for seed in (1, 2):
        code = f"import torch\ntorch.manual_seed({seed})\n"
        found.add(identity(tmp_path, {**FILES, "own/parts/__init__.py": code}))
    assert len(found) == 2


def test_a_module_that_others_take_from_a_module_keeps_its_name(tmp_path: Path) -> None:
    modules = {"one.py": "VALUE = 1\n", "two.py": "VALUE = 2\n", "m.py": "from hub import u\nx = u.VALUE\n"}
    hubs = ("import one as u, two as v", "import two as u, one as v")
    assert len({identity(tmp_path, {**modules, "hub.py": hub}, "m") for hub in hubs}) == 2


CIRCLE = {
    "c/a.py": "def even(n):\n    from c.b import odd\n    return n == 0 or odd(n - 1)\n",
    "c/b.py": "def odd(n):\n    from c.a import even\n    return n != 0 and even(n - 1)\n",
    "m.py": "from c.a import even\n",
}


def test_a_circle_of_imports_has_an_identity_that_keeps_to_the_same_rules(tmp_path: Path) -> None:
    first = identity(tmp_path / "first", CIRCLE, "m")
    moved = renamed(("c/", "d/"), ("c.", "d."), ("d.b", "d.far"), ("d/b", "d/far"), files=CIRCLE)
    assert "d/far.py" in moved
    assert identity(tmp_path / "moved", moved, "m") == first
    assert identity(tmp_path / "other", changed("c/b.py", "n - 1", "n - 2", CIRCLE), "m") != first
    # The same two functions, but each calls itself: no circle between modules of other content.
    alone = changed("c/a.py", "from c.b import odd", "from c.a import even as odd", CIRCLE)
    assert identity(tmp_path / "alone", alone, "m") != first


def test_long_circles_that_differ_far_away_are_told_apart(tmp_path: Path) -> None:
    def ring(values: list[int]) -> dict[str, str]:
        following = [*range(1, len(values)), 0]
        return {
            f"m{place}.py": f"VALUE = {value}\n\ndef f():\n    import m{following[place]} as other\n"
            for place, value in enumerate(values)
        }

    rings = ([0] * 6, [0] * 5 + [1], [0] * 3 + [1] + [0] * 2)
    assert len({identity(tmp_path / str(n), ring(one), "m0") for n, one in enumerate(rings)}) == 3


def test_what_is_no_python_counts_by_its_bytes(tmp_path: Path) -> None:
    files = {"m.py": "def f():\n    import broken\n", "broken.py": "print 'of another age'\n"}
    first = identity(tmp_path, files, "m")
    assert identity(tmp_path, changed("broken.py", "another", "some", files), "m") != first


def test_a_very_long_expression_counts(tmp_path: Path) -> None:
    files = {"m.py": "from one import VALUE\nx = " + " + ".join(["VALUE"] * 2000), "one.py": "VALUE = 1\n"}
    first = identity(tmp_path, files, "m")
    assert identity(tmp_path, changed("one.py", "1", "2", files), "m") != first


names = st.sampled_from(["a", "b", "presets", "one"])
atoms = st.one_of(
    st.integers(-5, 5).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.text(max_size=4).map(ascii),
    st.booleans().map(str),
    names,
)
expressions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "*", "<", "and"]), inner).map(lambda p: f"({' '.join(p)})"),
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]"),
        st.tuples(names, inner).map(lambda pair: f"{pair[0]}({pair[1]})"),
        st.tuples(names, inner).map(lambda pair: f"(lambda {pair[0]}: {pair[1]})"),
        st.tuples(names, names).map(".".join),
    ),
    max_leaves=6,
)


@given(st.lists(expressions, min_size=1, max_size=3), st.lists(expressions, min_size=1, max_size=3))
def test_two_programs_have_one_identity_only_if_they_parse_alike(
    tmp_path_factory: pytest.TempPathFactory, one: list[str], other: list[str]
) -> None:
    """Against Python's own dump of what it parses: what is the same there is the same here, and only that."""
    folder = tmp_path_factory.mktemp("any")
    texts = ["".join(f"x = {line}\n" for line in lines) for lines in (one, other)]
    dumps = {ast.dump(ast.parse(text)) for text in texts}
    assert len({identity(folder, {"m.py": text}, "m") for text in texts}) == len(dumps)


def in_newer_python(tree: ast.AST) -> None:
    """Give every node of a tree the fields that a later Python could add, holding nothing."""
    for node in ast.walk(tree):
        node._fields = (*node._fields, "of_the_future", "more_of_it")  # type: ignore[misc]
        node.of_the_future, node.more_of_it = None, []  # type: ignore[attr-defined]


@pytest.mark.parametrize("change", [in_newer_python], ids=["new fields"])
def test_a_field_of_a_newer_python_that_holds_nothing_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, change: Callable[[ast.AST], None]
) -> None:
    parse = ast.parse

    def newer(content: bytes) -> ast.Module:
        tree = parse(content)
        change(tree)
        return tree

    monkeypatch.setattr(ast, "parse", newer)
    assert identity(tmp_path, FILES) == first


def test_an_f_string_counts_the_same_however_its_texts_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.12 cuts the texts of f-strings at other places than 3.11 does."""
    files = {"m.py": "x = f'one {2} three'\n"}
    first = identity(tmp_path, files, "m")
    parse = ast.parse

    def cut(content: bytes) -> ast.Module:
        tree = parse(content)
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                text, *rest = node.values
                node.values = [
                    *(ast.Constant(letter) for letter in ast.literal_eval(text)),
                    ast.Constant(""),
                    *rest,
                ]
        return tree

    monkeypatch.setattr(ast, "parse", cut)
    assert identity(tmp_path, files, "m") == first


def test_the_prefix_of_a_text_counts_but_not_the_way_it_is_written(tmp_path: Path) -> None:
    texts = ["'a'", "u'a'", '"""a"""', "'\\x61'", "b'a'"]
    found = [identity(tmp_path, {"m.py": f"x = {text}\n"}, "m") for text in texts]
    assert len(set(found[:4])) == 1 and found[4] != found[0]


def test_no_module_is_imported(tmp_path: Path) -> None:
    identity(tmp_path, {**FILES, "own/late.py": "raise RuntimeError\n"})
    assert not any(name == "own" or name.startswith("own.") for name in sys.modules)
