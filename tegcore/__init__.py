"""What all programs of TEG share: units, identities, the wire contract, and the laws of field, motion and price.

Pure: nothing here does I/O, reads a clock or draws randomness it was not handed, and nothing here imports a program.
"""
