"""Policies that place requests on hosts: the baselines of the claims, and TEG's own, in one world."""
