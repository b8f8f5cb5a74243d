"""From raw rows to an immutable dataset: row steps, set steps, split. Does not know models."""

STEPS = {
    "unicode": ".unicode:Unicode",
    "missing": ".missing:Missing",
    "duplicates": ".duplicates:Duplicates",
    "near-duplicates": ".near_duplicates:NearDuplicates",
    "label-conflicts": ".label_conflicts:LabelConflicts",
}
