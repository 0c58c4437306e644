"""The `file` backend beyond the contract: its files, OpenClaw beside it, kills, full disks, long transcripts."""
