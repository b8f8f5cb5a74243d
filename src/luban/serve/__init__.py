"""Answers from a released bundle: over HTTP, and for whole files. Does not know how a model was made."""
