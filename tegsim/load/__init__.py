"""Ordinary load on a small zone for hours and days: who waits, who is displaced, who is ended, what stands idle."""
