"""Tests of one part at a time: no I/O but files of their own, no cluster, seconds for all of them."""
