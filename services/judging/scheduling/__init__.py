"""When and where the judge is asked: small policies that know no clock and no network, and the loop that obeys them.

Refuses to know what is asked: an item here is whatever has a caller and a cost.
"""
