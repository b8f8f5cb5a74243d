"""Towers: what reads one list of a row (a text as tokens, or as a bag) inside a neural model, one file each."""

TOWERS = {
    "conv": ".conv:Conv",
    "transformer": ".transformer:Transformer",
    "pretrained": ".pretrained:Pretrained",
    "bag": ".bag:Bag",
}
