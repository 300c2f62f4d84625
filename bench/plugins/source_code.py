"""The identity of a method's code: a hash of its own modules as they are parsed.

Comments, docstrings and formatting do not count. Nor do the names and places of modules: an import of
another own module stands for what that module holds, so that a module can be renamed or moved. A change of
anything else in a module that the method imports changes the identity, also if the import stands inside a
function. The order of neighbouring imports does not count.

Not seen: data files, and modules that a method loads by other means than an import statement while it fits
or imputes.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.plugins.parsed import Binding, Names, Piece, Ref, Unordered, Writer, bindings, has_code

Find = Callable[[str], Path | None]
"""The file of an own module by its dotted name; None if there is no own module of that name."""

PREFIX = "ast:"
"""How an identity begins. The hashes of files' bytes that older results hold begin with "sha256:"."""


@dataclass(frozen=True)
class Code:
    """A method's own code.

    Attributes:
        identity: "ast:" and a SHA-256 in hex.
        files: the paths of all files that were read, sorted.
        digest: hash of the bytes of these files (`digest_of`).
        imports: the top-level names of everything else that these files import.
    """

    identity: str
    files: tuple[str, ...]
    digest: str
    imports: frozenset[str]


def read_code(module: str, name: str, find: Find, also: Iterable[str] = ()) -> Code:
    """Read a method's code: its module and every own module that can be reached by import statements.

    Args:
        module: the dotted name of the module that defines the method.
        name: the method's class.
        find: tells which modules are own.
        also: further own modules that count, such as those that were loaded by other means.

    Raises:
        OSError: a file cannot be read.
    """
    modules: dict[str, _Module] = {}
    _reach(module, find, modules)
    further = [one for one in also if one not in modules]
    for one in further:
        _reach(one, find, modules)
    identities = _identities(modules)
    parts = [name, identities.get(module, ""), *sorted(identities[one] for one in further if one in modules)]
    contents = {str(one.file): one.content for one in modules.values()}
    return Code(
        identity=PREFIX + _hash("\n".join(parts)),
        files=tuple(sorted(contents)),
        digest=_digest(contents[file] for file in sorted(contents)),
        imports=frozenset(binding.external for one in modules.values() for binding in one.bindings) - {""},
    )


def digest_of(files: Iterable[str]) -> str:
    """Hash of the bytes of some files, in the order of their paths. Raises OSError."""
    return _digest(Path(file).read_bytes() for file in sorted(files))


def _digest(contents: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return f"sha256:{digest.hexdigest()}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


@dataclass
class _Module:
    """One own module.

    Attributes:
        tree: None for a file that is not Python source; such a file counts by its bytes.
        packages: the own packages above it that hold code, which its import runs too.
        imports: what each import statement binds.
    """

    name: str
    file: Path
    content: bytes
    tree: ast.Module | None
    packages: list[str] = field(default_factory=list)
    imports: dict[ast.stmt, list[Binding]] = field(default_factory=dict)

    @property
    def bindings(self) -> Iterator[Binding]:
        for bound in self.imports.values():
            yield from bound

    @property
    def has_code(self) -> bool:
        return self.tree is None or has_code(self.tree)


def _reach(name: str, find: Find, modules: dict[str, _Module]) -> None:
    """Add a module and all that it imports to `modules`."""
    waiting = [name]
    while waiting:
        name = waiting.pop()
        file = find(name) if name not in modules else None
        if file is None:
            continue
        module = modules[name] = _read(name, file, find)
        waiting += [str(binding.module) for binding in module.bindings if binding.module]
        waiting += _above(name)
    for module in modules.values():
        above = [package for package in _above(module.name) if package in modules]
        module.packages = [package for package in above if modules[package].has_code]


def _above(name: str) -> list[str]:
    """The packages above a module, the outermost first: "a", "a.b" for "a.b.c"."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _read(name: str, file: Path, find: Find) -> _Module:
    content = file.read_bytes()
    try:
        tree = ast.parse(content) if file.suffix == ".py" else None
    except (SyntaxError, ValueError, RecursionError):
        # A file beside a method that no Python takes: it may never be imported.
        tree = None
    module = _Module(name, file, content, tree)
    package = name if file.stem == "__init__" else name.rpartition(".")[0]
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Import | ast.ImportFrom):
            module.imports[node] = bindings(node, package, lambda one: find(one) is not None)
    return module


def _identities(modules: Mapping[str, _Module]) -> dict[str, str]:
    """The identity of each module, by its name.

    A module's identity contains those of the modules that it imports. Modules may import each other in a
    circle, so the identities are computed in rounds: in each, a module takes its imports' identities of the
    round before. Without a circle they stop changing. In a circle of n modules, those that differ in
    anything differ after fewer than 2 n rounds, as states do when an automaton is minimised.
    """
    names = Names()
    for module in modules.values():
        if module.tree:
            names.collect(module.tree, module.bindings)
    forms = {name: _form(module, modules, names) for name, module in modules.items()}
    identities = dict.fromkeys(modules, "")
    for _ in range(2 * sum(module.has_code for module in modules.values()) + 1):
        before = identities
        identities = {name: _hash(_rendered(form, before)) for name, form in forms.items()}
        if identities == before:
            break
    return identities


def _form(module: _Module, modules: Mapping[str, _Module], names: Names) -> tuple[Piece, ...]:
    packages = tuple(Ref(package) for package in module.packages)
    with suppress(RecursionError):
        if module.tree is not None:
            written = Writer(module.tree, module.imports, lambda one: not modules[one].packages, names)
            return (*packages, *written.form)
    imported = Unordered(tuple((Ref(binding.module),) for binding in module.bindings if binding.module))
    return (*packages, f"bytes {hashlib.sha256(module.content).hexdigest()}", imported)


def _rendered(form: Iterable[Piece], identities: Mapping[str, str]) -> str:
    """A form as text, each reference replaced by the identity of its module."""
    found = []
    for piece in form:
        if isinstance(piece, Ref):
            found.append(f"<{identities[piece.module]}>")
        elif isinstance(piece, Unordered):
            found.append(f"{{{' '.join(sorted(_rendered(part, identities) for part in piece.parts))}}}")
        else:
            found.append(piece)
    return "".join(found)
