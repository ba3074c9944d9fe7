"""A world that looks like Babylon: its words, its tables, decisions in JSON, outcomes hours later.

Another model serves its agents at first, right in 70 % of its trades; the lineage takes over.
"""
