"""What agents use against the anchor, window by window: rollback, proof, ramp. Pure.

``rule.compare`` is the whole of it: parameters, state and a window in, conclusion, new state and
evidence out. docs/promotion.md says what that guarantees.
"""
