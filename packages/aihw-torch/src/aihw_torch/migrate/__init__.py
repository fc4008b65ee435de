"""Move a script from aihwkit to this package: `python -m aihw_torch.migrate script.py` rewrites its imports.

The table of names, `names.toml`, is also the page "The names of aihwkit" of the documentation. The command needs
libcst, the extra `migrate`.
"""
