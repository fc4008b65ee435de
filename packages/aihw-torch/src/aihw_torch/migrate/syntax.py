"""Pieces of Python's syntax as libcst has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeGuard

import libcst as cst

ROOT = "aihwkit"


def text_of(node: cst.BaseExpression) -> str:
    """Return a dotted name as text."""
    return (
        f"{text_of(node.value)}.{node.attr.value}"
        if isinstance(node, cst.Attribute)
        else cst.ensure_type(node, cst.Name).value
    )


def root_of(node: cst.BaseExpression) -> Any:
    """Return the first part of a dotted expression, a name wherever the plan has found a module in it."""
    while isinstance(node, cst.Attribute):
        node = node.value
    return node


def dotted(path: str) -> cst.Attribute | cst.Name:
    """Return a dotted path as an expression."""
    first, *others = path.split(".")
    made: cst.Attribute | cst.Name = cst.Name(first)
    for name in others:
        made = cst.Attribute(made, cst.Name(name))
    return made


def module_below(node: cst.ImportFrom) -> str | None:
    """Return the module below aihwkit of a from-import, "" for aihwkit itself, None for other packages."""
    if node.module is None or node.relative:
        return None
    path = text_of(node.module)
    return path[len(ROOT) + 1 :] if path == ROOT or path.startswith(f"{ROOT}.") else None


def is_below_root(alias: cst.ImportAlias) -> bool:
    """Whether an import is one of aihwkit."""
    return text_of(alias.name).partition(".")[0] == ROOT


def local_name(alias: cst.ImportAlias) -> str:
    """Return the name that an import binds."""
    return text_of(alias.name) if alias.asname is None else cst.ensure_type(alias.asname.name, cst.Name).value


def renamed(alias: cst.ImportAlias, name: str) -> cst.ImportAlias:
    """Return an import of another name that binds the same one."""
    old = text_of(alias.name)
    if old == name:
        return alias
    local = cst.AsName(cst.Name(local_name(alias)))
    return alias.with_changes(name=cst.Name(name), asname=None if local_name(alias) == name else local)


def import_of(module: str, local: str | None = None) -> cst.Import:
    """Return the import of a module, perhaps under another name."""
    asname = None if local is None or local == module else cst.AsName(cst.Name(local))
    return cst.Import([cst.ImportAlias(dotted(module), asname=asname)])


def from_statement(
    node: cst.ImportFrom, target: str, aliases: list[cst.ImportAlias], *, alone: bool, first: bool
) -> cst.ImportFrom:
    """Return a from-import of some names of another one; comments inside of parentheses stay with their names."""
    changed = node.with_changes(module=dotted(target), names=aliases)
    if alone:
        return changed
    comma = aliases[-1].comma
    after = comma.whitespace_after if isinstance(comma, cst.Comma) else None
    if node.lpar is not None and node.rpar is not None and _ends_line(after, node.lpar):
        comma = cst.Comma(whitespace_after=after.with_changes(last_line=cst.SimpleWhitespace("")))
        rpar = node.rpar.with_changes(whitespace_before=cst.SimpleWhitespace(""))
        changed = changed.with_changes(names=[*aliases[:-1], aliases[-1].with_changes(comma=comma)], rpar=rpar)
    else:
        changed = changed.with_changes(names=[*aliases[:-1], aliases[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)])
    if node.lpar is None or first:
        return changed
    return changed.with_changes(lpar=_without_comment(node.lpar))


def _ends_line(
    after: cst.BaseParenthesizableWhitespace | None, lpar: cst.LeftParen
) -> TypeGuard[cst.ParenthesizedWhitespace]:
    """Whether the last name keeps its comma and the end of its line: names have lines of their own, or a comment."""
    if not isinstance(after, cst.ParenthesizedWhitespace):
        return False
    return after.first_line.comment is not None or isinstance(lpar.whitespace_after, cst.ParenthesizedWhitespace)


def _without_comment(lpar: cst.LeftParen) -> cst.LeftParen:
    """Return an opening parenthesis without what is said behind it, which stays with the first statement."""
    space = lpar.whitespace_after
    if not isinstance(space, cst.ParenthesizedWhitespace):
        return lpar
    line = space.first_line.with_changes(comment=None, whitespace=cst.SimpleWhitespace(""))
    return lpar.with_changes(whitespace_after=space.with_changes(first_line=line, empty_lines=[]))


def joined(statements: Iterable[cst.BaseSmallStatement]) -> list[cst.BaseSmallStatement]:
    """Return statements of one line, separated by semicolons."""
    made = [statement.with_changes(semicolon=cst.MaybeSentinel.DEFAULT) for statement in statements]
    semicolon = cst.Semicolon(whitespace_after=cst.SimpleWhitespace(" "))
    return [statement.with_changes(semicolon=semicolon) for statement in made[:-1]] + made[-1:]
