"""Tuning: which settings of one family are tried, in which order, and which are given up early."""
