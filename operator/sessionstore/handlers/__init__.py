"""kopf's decorators, one to five lines each: triggers, never logic."""
