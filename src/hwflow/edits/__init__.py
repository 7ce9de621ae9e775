"""Edits: changes of a network with a face on paper and a face in the torch module."""
