"""Who may do what, and what is written down about it. Does not know how it is done."""
