"""Clusters of a hundred thousand hosts: zones of the scenario's size, as many as there are hosts for."""
