"""Convex models that forget with a proof: re-solved, bounded, and rounded or noised.

Pure functions of arrays. The derivations stand in ``docs/certified.md``.
"""
