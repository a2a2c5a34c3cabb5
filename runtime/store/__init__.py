"""What is kept of every part: verdicts in SQLite, images in a ring of files."""
