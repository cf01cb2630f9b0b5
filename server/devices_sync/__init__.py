"""Phones: their registration, what they pull and what they push (docs/reference/sync.md)."""
