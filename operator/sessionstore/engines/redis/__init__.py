"""Redis and Valkey: objects, users and configuration (pure), probe (reads), admin (writes)."""
