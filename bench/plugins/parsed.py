"""One Python module as parsed, in a form that stays the same when only its look changes.

The form is text with references in it: where the module names another own module, the form holds a reference
to that module in the place of its name. It does not depend on the version of Python that parses: a field that
holds nothing is left out, because newer versions of Python have more fields.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

FOR_PEOPLE = frozenset({"display_name", "citation", "presets", "for_dataset", "baseline"})
"""Attributes of a method's class that change no number. (A result's key holds every setting's value.)"""


@dataclass(frozen=True)
class Ref:
    """Stands for the identity of an own module."""

    module: str


@dataclass(frozen=True)
class Unordered:
    """Pieces whose order does not count."""

    parts: tuple[tuple[Piece, ...], ...]


Piece = str | Ref | Unordered


@dataclass(frozen=True)
class Binding:
    """What an import statement binds to one name.

    Attributes:
        local: the name; "*" for all that the module offers.
        target: dotted name of what it stands for.
        module: the own module that it loads; None if it loads no own module.
        attribute: what it takes from that module; "" for the module itself.
        direct: written as "import a.b", which binds "a".
        external: the top-level package that it imports; "" if it imports an own module.
        text: the import as it stands in the file.
    """

    local: str
    target: str
    module: str | None
    attribute: str
    direct: bool
    external: str
    text: str

    @property
    def is_module(self) -> bool:
        """Whether the name stands for an own module."""
        return self.module is not None and not self.attribute


def bindings(
    statement: ast.Import | ast.ImportFrom, package: str, own: Callable[[str], bool]
) -> list[Binding]:
    """What each name of an import statement stands for.

    Args:
        package: the package that relative imports start from; "" for a module outside packages.
        own: whether a dotted name is that of an own module.
    """
    if isinstance(statement, ast.Import):
        return [_imported(alias, own) for alias in statement.names]
    base = _absolute(statement, package)
    return [_imported_from(statement, base, alias, own) for alias in statement.names]


def _imported(alias: ast.alias, own: Callable[[str], bool]) -> Binding:
    root = alias.name.partition(".")[0]
    module = _deepest(alias.name, own)
    return Binding(
        local=alias.asname or root,
        target=alias.name if alias.asname else root,
        module=module,
        attribute=alias.name[len(module) + 1 :] if module else "",
        direct=alias.asname is None,
        external="" if module else root,
        text=f"import {alias.name} as {alias.asname}",
    )


def _imported_from(
    statement: ast.ImportFrom, base: str | None, alias: ast.alias, own: Callable[[str], bool]
) -> Binding:
    target = f"{base}.{alias.name}"
    module = _deepest(target, own) if base else None
    return Binding(
        local=alias.asname or alias.name,
        target=target,
        module=module,
        attribute=target[len(module) + 1 :] if module else "",
        direct=False,
        external="" if module or not base else base.partition(".")[0],
        text=f"from {'.' * statement.level}{statement.module} import {alias.name} as {alias.asname}",
    )


def _absolute(statement: ast.ImportFrom, package: str) -> str | None:
    """The module that an import statement takes names from; None if it leads out of the package."""
    if not statement.level:
        return statement.module
    parts = package.split(".") if package else []
    if statement.level > len(parts):
        return None
    return ".".join([*parts[: len(parts) - statement.level + 1], *filter(None, [statement.module])])


def _deepest(name: str, own: Callable[[str], bool]) -> str | None:
    """The longest beginning of a dotted name that is an own module."""
    while name and not own(name):
        name = name.rpartition(".")[0]
    return name or None


def has_code(tree: ast.Module) -> bool:
    """Whether a module holds more than docstrings and comments."""
    return any(not _is_remark(statement) for statement in tree.body)


def _is_remark(statement: ast.stmt) -> bool:
    """Whether a statement is a docstring, or text that stands below a constant."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _attribute_for_people(statement: ast.stmt) -> str | None:
    """Which of `FOR_PEOPLE` a statement of a class's body sets."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
    elif isinstance(statement, ast.AnnAssign):
        target = statement.target
    else:
        return None
    return target.id if isinstance(target, ast.Name) and target.id in FOR_PEOPLE else None


@dataclass
class Names:
    """The names that some modules use. An attribute for people that code may read is not left out of a form.

    Attributes:
        asked: attributes, keywords, imported names and texts: how other code can reach a name of a module.
        read: names that are read as variables.
    """

    asked: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)

    def collect(self, tree: ast.Module, imports: Iterable[Binding]) -> None:
        """Add the names in one module; a statement that sets an attribute for people is passed over."""
        self.asked |= {name for binding in imports for name in binding.attribute.split(".")}
        waiting: list[ast.AST] = [tree]
        while waiting:
            node = waiting.pop()
            in_class = isinstance(node, ast.ClassDef)
            waiting += [
                child
                for child in ast.iter_child_nodes(node)
                if not (in_class and isinstance(child, ast.stmt) and _attribute_for_people(child))
            ]
            if isinstance(node, ast.Attribute):
                self.asked.add(node.attr)
            elif isinstance(node, ast.keyword) and node.arg:
                self.asked.add(node.arg)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                self.asked.add(node.value)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                self.read.add(node.id)


def _bound_otherwise(tree: ast.Module) -> set[str]:
    """The names that a module binds other than by imports, and some that it does not bind."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.alias | ast.ImportFrom | ast.Attribute):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            continue
        for _, value in ast.iter_fields(node):
            found |= {one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)}
    return found


class Writer:
    """Writes the form of one module.

    Args:
        tree: the module.
        imports: what its import statements bind.
        nameless: the own modules whose names and places do not count: no package above them has code.
        names: what all own modules use.
    """

    def __init__(
        self,
        tree: ast.Module,
        imports: Mapping[ast.stmt, Sequence[Binding]],
        nameless: Callable[[str], bool],
        names: Names,
    ) -> None:
        self._imports = imports
        self._nameless = nameless
        self._left_out = FOR_PEOPLE - names.asked - names.read
        self._modules = self._stand_for_modules(tree, names)
        self._pieces: list[Piece] = []
        self._block(tree.body, in_class=False)

    @property
    def form(self) -> tuple[Piece, ...]:
        return tuple(self._pieces)

    def _stand_for_modules(self, tree: ast.Module, names: Names) -> dict[str, str]:
        """By dotted text, such as "a.b" or "alias": the own module that it always stands for in this file.

        If a name could also be something else, or other code could ask for it, the text itself counts.
        """
        by_local: dict[str, list[Binding]] = defaultdict(list)
        for bound in self._imports.values():
            for binding in bound:
                by_local[binding.local].append(binding)
        found: dict[str, str] = {}
        if "*" in by_local or "*" in names.asked:
            return found
        for local in by_local.keys() - _bound_otherwise(tree) - names.asked:
            same = by_local[local]
            targets = {(binding.target, binding.direct) for binding in same}
            modules = [binding for binding in same if binding.is_module]
            if len(targets) > 1 or not all(self._nameless(str(one.module)) for one in modules):
                continue
            if same[0].direct:
                found |= {str(one.module): str(one.module) for one in modules}
            elif len(modules) == len(same):
                found[local] = str(modules[0].module)
        return found

    def _add(self, piece: Piece) -> None:
        if isinstance(piece, str) and self._pieces and isinstance(self._pieces[-1], str):
            self._pieces[-1] += piece
        else:
            self._pieces.append(piece)

    def _block(self, body: Sequence[ast.stmt], in_class: bool) -> None:
        imports: list[Binding] = []
        for statement in body:
            if statement in self._imports:
                imports += self._imports[statement]
            elif not _is_remark(statement) and not (
                in_class and _attribute_for_people(statement) in self._left_out
            ):
                self._neighbours(imports)
                imports = []
                self._node(statement)
        self._neighbours(imports)

    def _neighbours(self, imports: Sequence[Binding]) -> None:
        """Import statements that follow each other; their order counts only if they bind one name twice."""
        if not imports:
            return
        parts = [tuple(self._import(binding)) for binding in imports]
        targets: dict[str, set[tuple[str, bool]]] = defaultdict(set)
        for binding in imports:
            targets[binding.local].add((binding.target, binding.direct))
        if "*" in targets or any(len(found) > 1 for found in targets.values()):
            for piece in (piece for part in parts for piece in part):
                self._add(piece)
        else:
            self._add(Unordered(tuple(parts)))

    def _import(self, binding: Binding) -> Iterator[Piece]:
        if binding.module is None:
            yield ascii(binding.text)
            return
        yield Ref(binding.module)
        called = binding.module if binding.direct else binding.local
        if binding.is_module and self._modules.get(called) == binding.module:
            return
        if binding.is_module and (binding.direct or not self._nameless(binding.module)):
            yield ascii(binding.text)
        else:
            yield ascii((binding.attribute, binding.local, binding.direct))

    def _node(self, node: ast.AST) -> None:
        if isinstance(node, ast.Name | ast.Attribute) and (dotted := _dotted(node)) in self._modules:
            self._add(Ref(self._modules[dotted]))
            return
        self._add(f"({type(node).__name__}")
        if isinstance(node, ast.Constant):
            self._add(_spelled(node.value))
        else:
            for name in sorted(node._fields):
                self._field(node, name, getattr(node, name, None))
        self._add(")")

    def _field(self, node: ast.AST, name: str, value: object) -> None:
        if isinstance(node, ast.JoinedStr) and name == "values":
            value = _merged(node.values)
        if value is None or value == []:
            return
        self._add(f" {name}=")
        if not isinstance(value, list):
            self._value(value)
            return
        self._add("[")
        if isinstance(value[0], ast.stmt):
            self._block(value, isinstance(node, ast.ClassDef))
        else:
            for one in value:
                self._value(one)
        self._add("]")

    def _value(self, value: object) -> None:
        if isinstance(value, ast.AST):
            self._node(value)
        else:
            self._add(_spelled(value))


def _spelled(value: object) -> str:
    """A constant as text that is the same in every version of Python."""
    return f" {hex(value)}" if type(value) is int else f" {value!a}"


def _dotted(node: ast.AST) -> str:
    """ "a.b.c" for an attribute of an attribute of a name; "" for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (front := _dotted(node.value)):
        return f"{front}.{node.attr}"
    return ""


def _merged(values: Iterable[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string, neighbouring texts as one: versions of Python cut them differently."""
    found: list[ast.expr] = []
    for value in values:
        if isinstance(value, ast.Constant) and found and isinstance(found[-1], ast.Constant):
            found[-1] = ast.Constant(str(found[-1].value) + str(value.value))
        elif not (isinstance(value, ast.Constant) and value.value == ""):
            found.append(value)
    return found
