"""The schema's history. Each step is read by a person, adds before it removes, and runs on both databases."""
