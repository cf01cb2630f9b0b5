"""Which Held this is."""

VERSION = "0.1.0"
RELEASED = "2026-11-22"
