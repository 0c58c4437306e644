"""Measurements beside what one would use instead. `make bench` runs them; nothing is asserted about time."""
