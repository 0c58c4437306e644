"""The migration, end to end: real files, real stores."""
