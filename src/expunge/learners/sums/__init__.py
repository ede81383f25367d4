"""Learners that are made of sums over their samples: forgetting one is a subtraction, exactly.

Features, targets and weights are integers here (``expunge.learners.features`` makes them so), and
a sum of integers does not depend on the order in which it was made, nor on what was in it once.
What is solved for is a pure function of the sums. So a state after a subtraction is, byte for
byte, that of a build which never saw the samples.
"""
