"""What is written for people, held against what the code does."""
