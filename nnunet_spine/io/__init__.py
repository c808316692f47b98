"""Reading and writing: one reader for each kind of file."""
