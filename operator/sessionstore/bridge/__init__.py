"""The sidecar that makes an unmodified gateway's files a live view of a store (docs/design/0015-bridge.md)."""
