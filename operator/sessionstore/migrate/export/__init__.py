"""The way back: a store's sessions written as files, proven, and put in the place of the old ones.

```
run.py        the phases: read, settle, write the indexes, prove, put in place
reading.py    a store, read a few sessions at a time
catalogue.py  what was exported, in a scratch database
files.py      OpenClaw's files · sessions_d.py one file an entry · jsonl.py the portable dump
placing.py    what a file of OpenClaw is called, and what an entry says of it (pure)
staging.py    the directory where it is written first, and the renames that put it in place
proof.py      both sides read again
report.py     what an export tells
```
"""
