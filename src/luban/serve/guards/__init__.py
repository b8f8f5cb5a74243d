"""Who may ask, how much, and what of: keys, tokens, limits, shedding, the breaker, rows unlike any seen."""
