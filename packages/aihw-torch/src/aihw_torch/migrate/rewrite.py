"""Rewriting of the imports of a script: its text in, its text and what is left to do out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import libcst as cst
import torch
from libcst.metadata import MetadataWrapper, PositionProvider, QualifiedNameProvider

from aihw_torch.migrate import names

ROOT = "aihwkit"


@dataclass(frozen=True, order=True)
class Remark:
    """Something about one line.

    Attributes:
        line: of the script, from 1.
        text: one sentence.
        open: whether it needs the user: the name is still that of aihwkit.
    """

    line: int
    text: str
    open: bool = True


@dataclass
class Result:
    """A rewritten script.

    Attributes:
        code: the new text; that of the script where nothing was to do.
        remarks: by line.
    """

    code: str
    remarks: list[Remark] = field(default_factory=list)

    @property
    def unresolved(self) -> list[Remark]:
        """Those that need the user."""
        return [remark for remark in self.remarks if remark.open]


def rewrite(code: str) -> Result:
    """Rewrite the imports of a script, and its uses of modules by their full path.

    Raises:
        libcst.ParserSyntaxError: it is no Python.
    """
    wrapper = MetadataWrapper(cst.parse_module(code))
    plan = _Plan()
    wrapper.visit(plan)
    module = wrapper.module.visit(_Rewriter(plan))
    return Result(module.code, sorted(set(plan.remarks)))


@dataclass
class _Uses:
    """What a script takes from one module by attributes."""

    targets: Counter[str] = field(default_factory=Counter)  # modules here


class _Plan(cst.CSTVisitor):
    """Decide about every import and every use of an imported module; nothing is changed."""

    METADATA_DEPENDENCIES = (PositionProvider, QualifiedNameProvider)

    def __init__(self) -> None:
        super().__init__()
        self.remarks: list[Remark] = []
        self.uses: dict[str, _Uses] = {}  # by path of the module in aihwkit, with the leading "aihwkit"
        self.modules: set[str] = set()  # paths that are modules because the script imports them as such
        self.replaced: dict[cst.Attribute, tuple[str, names.Fate]] = {}  # the module it is taken from, and its fate
        self._members = {
            name: why
            for name, why in names.left_out_members().items()
            if "_" in name and not hasattr(torch.Tensor, name) and not hasattr(torch.nn.Module, name)
        }

    # ---- imports

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        module = _from_module(node)
        if module is None:
            return False
        if isinstance(node.names, cst.ImportStar):
            self._remark(node, f"name what you import from {ROOT}.{module}, a star cannot be rewritten")
            return False
        for alias in node.names:
            name = _text(alias.name)
            path = f"{module}.{name}" if module else name
            fate = names.lookup(module, name)
            if fate is None and names.is_module(path):
                self.modules.add(f"{ROOT}.{path}")
            else:
                self._judge(alias, f"{ROOT}.{path}", fate)
        return False

    def visit_Import(self, node: cst.Import) -> bool:
        for alias in node.names:
            path = _text(alias.name)
            if path == ROOT or path.startswith(f"{ROOT}."):
                parts = path.split(".")
                self.modules.update(".".join(parts[: n + 1]) for n in range(len(parts)))
                if names.target_module(path[len(ROOT) + 1 :]) is None and not names.is_module(path[len(ROOT) + 1 :]):
                    self._remark(alias, f"{path} is not a module that this version knows")
        return False

    # ---- uses

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        if node.attr.value in self._members:
            what = f"{node.attr.value} is left out: {self._members[node.attr.value]}"
            self._remark(node.attr, what, open=False)
        path = self._path(node)
        if path is None:
            return True
        chain: cst.BaseExpression = node
        while isinstance(chain, cst.Attribute):
            module, _, name = path.rpartition(".")
            if self._is_module(module):
                fate = None if self._is_module(path) else names.lookup(module[len(ROOT) + 1 :], name)
                if fate is not None and fate.target:
                    self.replaced[chain] = (self._imported(chain), fate)
                    self._uses(self._imported(chain)).targets[fate.module] += 1
                if fate is not None or not self._is_module(path):
                    self._judge(chain, path, fate)
                    return False
            chain, path = chain.value, module
        self._remark(node, f"{self._path(node)} is used as an object; its content is elsewhere")
        return False

    def visit_Name(self, node: cst.Name) -> None:
        path = self._path(node)
        if path is not None and path in self.modules:
            self._remark(node, f"the module {path} is used as an object; look at what is taken from it", open=False)
            self._uses(path)

    def visit_SimpleString(self, node: cst.SimpleString) -> None:
        if f"{ROOT}." in node.value and not node.value.startswith(('"""', "'''", 'r"""')):
            self._remark(node, f"a text names {ROOT}; correct it if it is the path of a module", open=False)

    # ---- helpers

    def _path(self, node: cst.CSTNode) -> str | None:
        """Return the path of what a name or an attribute refers to, if it comes from a module of aihwkit."""
        root = _root(node) if isinstance(node, cst.Attribute) else node
        bases = {found.name for found in self.get_metadata(QualifiedNameProvider, root, set())}
        if not any(base in self.modules for base in bases):
            return None
        found = {known.name for known in self.get_metadata(QualifiedNameProvider, node, set())}
        return next((path for path in found if path == ROOT or path.startswith(f"{ROOT}.")), None)

    def _imported(self, node: cst.BaseExpression) -> str:
        """Return the path that the first name of an expression stands for."""
        return next(iter(self.get_metadata(QualifiedNameProvider, _root(node)))).name

    def _is_module(self, path: str) -> bool:
        """Whether a path is a module: a known one, or what is written like one below it and is no known name."""
        if path in self.modules or (path.startswith(f"{ROOT}.") and names.is_module(path[len(ROOT) + 1 :])):
            return True
        package, _, last = path.rpartition(".")
        looks_like_one = bool(package) and last.islower() and names.lookup(package[len(ROOT) + 1 :], last) is None
        return looks_like_one and self._is_module(package)

    def _uses(self, module: str) -> _Uses:
        return self.uses.setdefault(module, _Uses())

    def _judge(self, node: cst.CSTNode, path: str, fate: names.Fate | None) -> None:
        if fate is None:
            self._remark(node, f"{path} is not a name that this version knows")
        elif fate.target is None:
            self._remark(node, f"{path} is left out: {fate.note}")
        elif fate.note:
            self._remark(node, f"{fate.name} has changed: {fate.note}", open=False)

    def _remark(self, node: cst.CSTNode, text: str, *, open: bool = True) -> None:
        self.remarks.append(Remark(self.get_metadata(PositionProvider, node).start.line, text, open))


class _Rewriter(cst.CSTTransformer):
    """Carry out a plan."""

    def __init__(self, plan: _Plan) -> None:
        super().__init__()
        self._plan = plan

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.BaseExpression:
        if original_node not in self._plan.replaced:
            return updated_node
        imported, fate = self._plan.replaced[original_node]
        root = _root(original_node)
        if root.value != ROOT and fate.module == self._primary(imported):  # an alias, which stays one
            return cst.Attribute(root, cst.Name(fate.own_name))
        return _dotted(fate.target or "")

    def _primary(self, module: str) -> str | None:
        """Return the module here that an alias of a module of aihwkit stands for afterwards."""
        used = self._plan.uses.get(module, _Uses()).targets
        return used.most_common(1)[0][0] if used else names.target_module(module[len(ROOT) + 1 :])

    # ---- statements

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.FlattenSentinel[cst.SimpleStatementLine]:
        made: list[cst.BaseSmallStatement] = []
        for statement in updated_node.body:
            made += self._statements(statement)
        if made == list(updated_node.body):
            return updated_node
        if len(updated_node.body) > 1:
            return updated_node.with_changes(body=_joined(made))
        first, *others = made
        lines = [updated_node.with_changes(body=[first])]
        lines += [cst.SimpleStatementLine([statement]) for statement in others]
        if others:  # a comment behind the statement stays on the last line
            lines[0] = lines[0].with_changes(trailing_whitespace=cst.TrailingWhitespace())
            lines[-1] = lines[-1].with_changes(trailing_whitespace=updated_node.trailing_whitespace)
        return cst.FlattenSentinel(lines)

    def _statements(self, statement: cst.BaseSmallStatement) -> Sequence[cst.BaseSmallStatement]:
        if isinstance(statement, cst.ImportFrom) and _from_module(statement) is not None:
            return self._from_statements(statement)
        if isinstance(statement, cst.Import):
            return self._import_statements(statement)
        return [statement]

    def _from_statements(self, node: cst.ImportFrom) -> Sequence[cst.BaseSmallStatement]:
        """Return one statement for each module here, and the rest of the old one."""
        module = _from_module(node)
        if module is None or isinstance(node.names, cst.ImportStar):
            return [node]
        parts: dict[str, list[cst.ImportAlias]] = {}
        extra: list[cst.BaseSmallStatement] = []
        for alias in node.names:
            name = _text(alias.name)
            path = f"{module}.{name}" if module else name
            fate = names.lookup(module, name)
            if fate is not None and fate.target:
                parts.setdefault(fate.module, []).append(_renamed(alias, fate.own_name))
            elif fate is None and names.is_module(path):
                local = _local(alias)
                extra += self._module_imports(f"{ROOT}.{path}", local)
            else:
                parts.setdefault(f"{ROOT}.{module}" if module else ROOT, []).append(alias)
        made: list[cst.BaseSmallStatement] = []
        for target, aliases in parts.items():
            made.append(_from_statement(node, target, aliases, alone=len(parts) + len(extra) == 1, first=not made))
        return [*made, *extra]

    def _import_statements(self, node: cst.Import) -> Sequence[cst.BaseSmallStatement]:
        kept = [alias for alias in node.names if not _is_ours(alias)]
        if len(kept) == len(node.names):
            return [node]
        made: list[cst.BaseSmallStatement] = []
        if kept:
            made.append(node.with_changes(names=[*kept[:-1], kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)]))
        for alias in node.names:
            if not _is_ours(alias):
                continue
            path = _text(alias.name)
            if alias.asname is not None:
                made += self._module_imports(path, _local(alias))
            else:
                made += self._dotted_imports(path, alias)
        return made

    def _module_imports(self, path: str, local: str) -> list[cst.BaseSmallStatement]:
        """Return the imports behind `local`, which stood for a module of aihwkit."""
        primary = self._primary(path)
        used = list(self._plan.uses.get(path, _Uses()).targets)
        made: list[cst.BaseSmallStatement] = []
        if primary is not None:
            package, _, last = primary.rpartition(".")
            if package and last == local:
                made.append(cst.ImportFrom(_dotted(package), [cst.ImportAlias(cst.Name(last))]))
            else:
                made.append(_import(primary, local))
        return made + [_import(target) for target in used if target != primary]

    def _dotted_imports(self, path: str, alias: cst.ImportAlias) -> list[cst.BaseSmallStatement]:
        """Return the imports of the modules here that full paths below one of aihwkit became."""
        below = path[len(ROOT) + 1 :]
        used = self._plan.uses.get(ROOT, _Uses()).targets
        own = names.target_module(below) if below else "aihw_torch"
        wanted = [target for target in used if target == own or own is None or not below]
        # Paths through other import statements are imported by those; what this one alone brings is imported here.
        others = [target for target in used if target not in wanted and self._only_through(below, target)]
        targets = list(dict.fromkeys([*wanted, *others])) or ([own] if own else [])
        return [_import(target) for target in targets] if targets else [cst.Import([alias])]

    def _only_through(self, below: str, target: str) -> bool:
        """Whether some name of a module of aihwkit, or below it, lives in `target`."""
        return any(
            fate.module == target
            for group in names.groups()
            if any(source == below or source.startswith(f"{below}.") for source in group.source)
            for fate in group.fates.values()
            if fate.target
        )


# ---- syntax


def _text(node: cst.BaseExpression) -> str:
    """Return a dotted name as text."""
    return (
        f"{_text(node.value)}.{node.attr.value}"
        if isinstance(node, cst.Attribute)
        else cst.ensure_type(node, cst.Name).value
    )


def _root(node: cst.BaseExpression) -> Any:
    """Return the first part of a dotted expression, a name wherever the plan has found a module in it."""
    while isinstance(node, cst.Attribute):
        node = node.value
    return node


def _dotted(path: str) -> cst.Attribute | cst.Name:
    first, *others = path.split(".")
    made: cst.Attribute | cst.Name = cst.Name(first)
    for name in others:
        made = cst.Attribute(made, cst.Name(name))
    return made


def _from_module(node: cst.ImportFrom) -> str | None:
    """Return the module below aihwkit of a from-import, "" for aihwkit itself, None for other packages."""
    if node.module is None or node.relative:
        return None
    path = _text(node.module)
    return path[len(ROOT) + 1 :] if path == ROOT or path.startswith(f"{ROOT}.") else None


def _is_ours(alias: cst.ImportAlias) -> bool:
    return _text(alias.name).partition(".")[0] == ROOT


def _local(alias: cst.ImportAlias) -> str:
    """Return the name that an import binds."""
    return _text(alias.name) if alias.asname is None else cst.ensure_type(alias.asname.name, cst.Name).value


def _renamed(alias: cst.ImportAlias, name: str) -> cst.ImportAlias:
    """Return an import of another name that binds the same one."""
    old = _text(alias.name)
    if old == name:
        return alias
    local = cst.AsName(cst.Name(_local(alias)))
    return alias.with_changes(name=cst.Name(name), asname=None if _local(alias) == name else local)


def _import(module: str, local: str | None = None) -> cst.Import:
    asname = None if local is None or local == module else cst.AsName(cst.Name(local))
    return cst.Import([cst.ImportAlias(_dotted(module), asname=asname)])


def _from_statement(
    node: cst.ImportFrom, target: str, aliases: list[cst.ImportAlias], *, alone: bool, first: bool
) -> cst.ImportFrom:
    """Return a from-import of some names of another one; comments inside of parentheses stay with their names."""
    changed = node.with_changes(module=_dotted(target), names=aliases)
    if alone:
        return changed
    comma = aliases[-1].comma
    after = comma.whitespace_after if isinstance(comma, cst.Comma) else None
    if node.rpar is not None and isinstance(after, cst.ParenthesizedWhitespace):  # a line, perhaps with a comment, ends
        comma = cst.Comma(whitespace_after=after.with_changes(last_line=cst.SimpleWhitespace("")))
        rpar = node.rpar.with_changes(whitespace_before=cst.SimpleWhitespace(""))
        changed = changed.with_changes(names=[*aliases[:-1], aliases[-1].with_changes(comma=comma)], rpar=rpar)
    else:
        changed = changed.with_changes(names=[*aliases[:-1], aliases[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)])
    if node.lpar is None or first:
        return changed
    return changed.with_changes(lpar=_without_comment(node.lpar))


def _without_comment(lpar: cst.LeftParen) -> cst.LeftParen:
    """Return an opening parenthesis without what is said behind it, which stays with the first statement."""
    space = lpar.whitespace_after
    if not isinstance(space, cst.ParenthesizedWhitespace):
        return lpar
    line = space.first_line.with_changes(comment=None, whitespace=cst.SimpleWhitespace(""))
    return lpar.with_changes(whitespace_after=space.with_changes(first_line=line, empty_lines=[]))


def _joined(statements: Iterable[cst.BaseSmallStatement]) -> list[cst.BaseSmallStatement]:
    """Return statements of one line, separated by semicolons."""
    made = [statement.with_changes(semicolon=cst.MaybeSentinel.DEFAULT) for statement in statements]
    semicolon = cst.Semicolon(whitespace_after=cst.SimpleWhitespace(" "))
    return [statement.with_changes(semicolon=semicolon) for statement in made[:-1]] + made[-1:]
