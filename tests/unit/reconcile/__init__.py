"""What one pass decides and says."""
