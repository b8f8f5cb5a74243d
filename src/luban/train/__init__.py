"""From a dataset to a candidate: what is tried, in what order and budget. Names no task and no family."""
