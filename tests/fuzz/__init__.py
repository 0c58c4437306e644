"""Thousands of broken state directories, each named by a number, and what must hold for all of them.

`site.py` is a valid directory and what is known of it, `mutants.py` breaks it (`content.py` its bytes, `places.py` its
files, `entries.py` its indexes, `busy.py` while it is read), `oracle.py` says what must hold, `worker.py` runs many.
"""
