"""The command line: thin, calls public names, holds no business logic."""
