"""Answers over HTTP from a released bundle. Does not know how a model was made."""
