"""Contract checks that every catalog entry must pass. Shipped, so that plug-ins can run them; nobody imports it."""
