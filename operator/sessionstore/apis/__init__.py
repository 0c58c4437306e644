"""The CRD's types: pydantic models, no I/O."""
