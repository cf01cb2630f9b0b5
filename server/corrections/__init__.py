"""Corrections: an item is questioned, its source answers, and whoever saw it is told."""
