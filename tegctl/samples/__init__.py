"""Small programs for demonstrations and tests: real work that can be checked, standard library only."""
