"""Real OpenClaw on files that we wrote."""
