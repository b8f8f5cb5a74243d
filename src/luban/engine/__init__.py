"""Where work runs, on how many workers. Does not know what the work is."""
