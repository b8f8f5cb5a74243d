"""Traffic: who of a model's versions answers whom, what is counted of each, and what follows from it by itself.

    plans       the ledger's deployment → a Plan that servers follow
    counts      what each version did, counted where it answers, added up in the ledger
    shadows     versions that are asked too, after the reply, and compared
    evidence    counts and truth of a canary or a test, gathered from all servers
    verdicts    what follows: step, pass, roll back, better, worse, or wait and for what
    control     one controller of all servers acts on it, held by a lease

Deployments themselves, and who may change them, are `release.deployments`; the statistics are `evaluate.sequential`.
"""
