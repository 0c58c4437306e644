"""The migration: read a state directory, plan, copy, verify, report."""
