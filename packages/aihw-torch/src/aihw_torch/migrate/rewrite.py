"""Rewriting of the imports of a script: its text in, its text and what is left to do out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import libcst as cst
import torch
from libcst.metadata import MetadataWrapper, PositionProvider, QualifiedNameProvider

from aihw_torch.migrate import names
from aihw_torch.migrate.syntax import (
    ROOT,
    dotted,
    from_statement,
    import_of,
    is_below_root,
    joined,
    local_name,
    module_below,
    renamed,
    root_of,
    text_of,
)


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
        module = module_below(node)
        if module is None:
            return False
        if isinstance(node.names, cst.ImportStar):
            self._remark(node, f"name what you import from {ROOT}.{module}, a star cannot be rewritten")
            return False
        for alias in node.names:
            name = text_of(alias.name)
            path = f"{module}.{name}" if module else name
            fate = names.lookup(module, name)
            if fate is None and names.is_module(path):
                self.modules.add(f"{ROOT}.{path}")
            else:
                self._judge(alias, f"{ROOT}.{path}", fate)
        return False

    def visit_Import(self, node: cst.Import) -> bool:
        for alias in node.names:
            path = text_of(alias.name)
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
        root = root_of(node) if isinstance(node, cst.Attribute) else node
        bases = {found.name for found in self.get_metadata(QualifiedNameProvider, root, set())}
        if not any(base in self.modules for base in bases):
            return None
        found = {known.name for known in self.get_metadata(QualifiedNameProvider, node, set())}
        return next((path for path in found if path == ROOT or path.startswith(f"{ROOT}.")), None)

    def _imported(self, node: cst.BaseExpression) -> str:
        """Return the path that the first name of an expression stands for."""
        return next(iter(self.get_metadata(QualifiedNameProvider, root_of(node)))).name

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
        root = root_of(original_node)
        if root.value != ROOT and fate.module == self._primary(imported):  # an alias, which stays one
            return cst.Attribute(root, cst.Name(fate.own_name))
        return dotted(fate.target or "")

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
            return updated_node.with_changes(body=joined(made))
        first, *others = made
        lines = [updated_node.with_changes(body=[first])]
        lines += [cst.SimpleStatementLine([statement]) for statement in others]
        if others:  # a comment behind the statement stays on the last line
            lines[0] = lines[0].with_changes(trailing_whitespace=cst.TrailingWhitespace())
            lines[-1] = lines[-1].with_changes(trailing_whitespace=updated_node.trailing_whitespace)
        return cst.FlattenSentinel(lines)

    def _statements(self, statement: cst.BaseSmallStatement) -> Sequence[cst.BaseSmallStatement]:
        if isinstance(statement, cst.ImportFrom) and module_below(statement) is not None:
            return self._from_statements(statement)
        if isinstance(statement, cst.Import):
            return self._import_statements(statement)
        return [statement]

    def _from_statements(self, node: cst.ImportFrom) -> Sequence[cst.BaseSmallStatement]:
        """Return one statement for each module here, and the rest of the old one."""
        module = module_below(node)
        if module is None or isinstance(node.names, cst.ImportStar):
            return [node]
        parts: dict[str, list[cst.ImportAlias]] = {}
        extra: list[cst.BaseSmallStatement] = []
        for alias in node.names:
            name = text_of(alias.name)
            path = f"{module}.{name}" if module else name
            fate = names.lookup(module, name)
            if fate is not None and fate.target:
                parts.setdefault(fate.module, []).append(renamed(alias, fate.own_name))
            elif fate is None and names.is_module(path):
                local = local_name(alias)
                extra += self._module_imports(f"{ROOT}.{path}", local)
            else:
                parts.setdefault(f"{ROOT}.{module}" if module else ROOT, []).append(alias)
        made: list[cst.BaseSmallStatement] = []
        for target, aliases in parts.items():
            made.append(from_statement(node, target, aliases, alone=len(parts) + len(extra) == 1, first=not made))
        return [*made, *extra]

    def _import_statements(self, node: cst.Import) -> Sequence[cst.BaseSmallStatement]:
        kept = [alias for alias in node.names if not is_below_root(alias)]
        if len(kept) == len(node.names):
            return [node]
        made: list[cst.BaseSmallStatement] = []
        if kept:
            made.append(node.with_changes(names=[*kept[:-1], kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)]))
        for alias in node.names:
            if not is_below_root(alias):
                continue
            path = text_of(alias.name)
            if alias.asname is not None:
                made += self._module_imports(path, local_name(alias))
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
                made.append(cst.ImportFrom(dotted(package), [cst.ImportAlias(cst.Name(last))]))
            else:
                made.append(import_of(primary, local))
        return made + [import_of(target) for target in used if target != primary]

    def _dotted_imports(self, path: str, alias: cst.ImportAlias) -> list[cst.BaseSmallStatement]:
        """Return the imports of the modules here that full paths below one of aihwkit became."""
        below = path[len(ROOT) + 1 :]
        used = self._plan.uses.get(ROOT, _Uses()).targets
        own = names.target_module(below) if below else "aihw_torch"
        wanted = [target for target in used if target == own or own is None or not below]
        # Paths through other import statements are imported by those; what this one alone brings is imported here.
        others = [target for target in used if target not in wanted and self._only_through(below, target)]
        targets = list(dict.fromkeys([*wanted, *others])) or ([own] if own else [])
        return [import_of(target) for target in targets] if targets else [cst.Import([alias])]

    def _only_through(self, below: str, target: str) -> bool:
        """Whether some name of a module of aihwkit, or below it, lives in `target`."""
        return any(
            fate.module == target
            for group in names.groups()
            if any(source == below or source.startswith(f"{below}.") for source in group.source)
            for fate in group.fates.values()
            if fate.target
        )
