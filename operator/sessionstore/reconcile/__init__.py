"""The reconcile: frame.py wraps every kind, one room per kind has the five stages."""
