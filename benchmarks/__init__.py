"""Speed and memory of the packages, always as a ratio against something measured in the same run.

`python -m pytest benchmarks` measures our packages against plain torch, `python -m benchmarks.peer` against the peer
toolkit in an environment of its own, `python -m benchmarks.table` turns the JSON of either into markdown.
"""
