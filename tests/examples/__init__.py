"""Tests of the examples, run as the programs that they are."""
