"""What OpenClaw's files look like, and nothing else. Imports nothing of ours."""
