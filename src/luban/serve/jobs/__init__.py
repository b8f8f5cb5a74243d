"""Long work: files and long lists of rows, in the background."""
