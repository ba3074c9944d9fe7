"""Tripwires: what is looked for in the groups that a step is about to take of a window. Pure.

Each file has one wire: it is shown the groups one by one, keeps figures, and at the end says
whether it has tripped. ``examine.py`` runs them all in one pass.
"""
