"""The bridge over real files and processes."""
