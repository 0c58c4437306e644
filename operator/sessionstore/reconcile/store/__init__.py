"""One SessionStore: observe, plan, apply, perform, status."""
