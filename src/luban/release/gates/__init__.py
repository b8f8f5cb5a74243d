"""Gates: one question before a release, one file each, with a stable code."""

GATES = {
    "baseline": ".g001_baseline:BeatsBaseline",
    "leak": ".g002_leak:NoLeak",
    "parity": ".g003_parity:Parity",
    "neighbours": ".g004_neighbours:BatchNeighbours",
    "budget": ".g005_budget:WithinBudget",
    "governance": ".g006_governance:Governance",
}
