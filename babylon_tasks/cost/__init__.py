"""What a lineage costs: amounts on record, times today's prices. PURE.

Nothing is guessed. What was not recorded, or has no price, is counted among what is not in a sum,
by the reason; a sum in which there is nothing is None, never 0.
"""
