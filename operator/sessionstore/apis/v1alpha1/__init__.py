"""Version v1alpha1 of the group sessionstore.dev: one kind per file."""
