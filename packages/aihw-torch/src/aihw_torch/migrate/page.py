"""The table of names as a page of the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aihw_torch.migrate import names

_STATES = ("present", "changed", "renamed", "left out", "new")


def page() -> str:
    """Return the sections of the page in Markdown: a table of names each, then one of attributes."""
    sections = dict.fromkeys([g.section for g in names.groups()] + [m.section for m in names.members()])
    return "\n".join(line for section in sections for line in _section(section))


def _section(section: str) -> Iterator[str]:
    yield f"## {section}\n"
    yield "| from | name | here | |"
    yield "|---|---|---|---|"
    for group in (group for group in names.groups() if group.section == section):
        sources = ", ".join(f"`aihwkit.{source}`" if source else "`aihwkit`" for source in group.source) or "-"
        for row in _rows(group.fates.values()):
            yield f"| {sources} | {row}"
    yield ""
    owners = [entry for entry in names.members() if entry.section == section]
    if not owners:
        return
    yield "| attributes of | | | |"
    yield "|---|---|---|---|"
    for entry in owners:
        for row in _rows(entry.fates.values(), where=False):
            yield f"| `{entry.owner}` | {row}"
    yield ""


def _rows(fates: Iterable[names.Fate], *, where: bool = True) -> Iterator[str]:
    """Yield the last columns of rows, one for all names that share everything but the name."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for fate in sorted(fates, key=lambda fate: _STATES.index(fate.state)):
        home = fate.target if fate.state == "renamed" else fate.module
        rows.setdefault((fate.state, home or "", fate.note), []).append(fate.name)
    for (state, home, note), found in rows.items():
        place = f", `{home}`" if where and home else ""
        listed = ", ".join(f"`{name}`" if name != "*" else "everything" for name in found)
        yield f"{listed} | {state}{place} | {note} |"
